package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

func txid(n int) frame.Hash { return frame.HashOf(fmt.Append(nil, n)) }

// TestInventory plays scripts: who announces, who is asked when.
func TestInventory(t *testing.T) {
	const retry = 2 * time.Second
	start := time.Unix(1000, 0)
	x := txid(1)
	tests := []struct {
		name string
		play func(v *inventory) []sessionID // who was asked for x, 0 for nobody
		want []sessionID
	}{
		{"asked of the first that announced it only", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			v.announce(2, []frame.Hash{x})
			return []sessionID{who(v, start, 1), who(v, start, 2)}
		}, []sessionID{1, 0}},
		{"lost: asked of the other, then of the first again", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			v.announce(2, []frame.Hash{x})
			got := []sessionID{who(v, start, 1)}
			for i := range 3 {
				got = append(got, after(v, start.Add(time.Duration(i+1)*retry))...)
			}
			return got
		}, []sessionID{1, 2, 1, 2}},
		{"not found: asked of the other at once", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			v.announce(2, []frame.Hash{x})
			return []sessionID{who(v, start, 1), v.notFound(1, x), who(v, start, 2)}
		}, []sessionID{1, 2, 2}},
		{"not found by the only one: asked again later", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			got := []sessionID{who(v, start, 1), v.notFound(1, x), who(v, start, 1)}
			return append(got, after(v, start.Add(retry))...)
		}, []sessionID{1, 0, 0, 1}},
		{"not found from one that wasn't asked", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			v.announce(2, []frame.Hash{x})
			return []sessionID{who(v, start, 1), v.notFound(2, x), who(v, start, 2)}
		}, []sessionID{1, 0, 0}},
		{"disconnected: asked of the other", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			v.announce(2, []frame.Hash{x})
			got := []sessionID{who(v, start, 1)}
			got = append(got, v.leave(1)...)
			return append(got, who(v, start, 2))
		}, []sessionID{1, 2, 2}},
		{"delivered: never asked again", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			got := []sessionID{who(v, start, 1)}
			v.arrived(x)
			v.announce(2, []frame.Hash{x})
			return append(got, who(v, start, 2))
		}, []sessionID{1, 0}},
		{"seen forgotten: asked again", func(v *inventory) []sessionID {
			v.arrived(x)
			v.clearSeen()
			v.announce(1, []frame.Hash{x})
			return []sessionID{who(v, start, 1)}
		}, []sessionID{1}},
		{"lost behind a block of the only one: waited for", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			got := []sessionID{who(v, start, 1)}
			v.busy(1, true)
			for i := range 2 * maxTries {
				got = append(got, after(v, start.Add(time.Duration(i+1)*retry))...)
			}
			v.busy(1, false)
			return append(got, after(v, start.Add((2*maxTries+1)*retry))...)
		}, []sessionID{1, 1}},
		{"lost behind a block, announced by another too", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			v.announce(2, []frame.Hash{x})
			got := []sessionID{who(v, start, 1)}
			v.busy(1, true)
			return append(got, after(v, start.Add(retry))...)
		}, []sessionID{1, 2}},
		{"given up in the end, and asked when announced anew", func(v *inventory) []sessionID {
			v.announce(1, []frame.Hash{x})
			who(v, start, 1)
			now := start
			for range maxTries {
				now = now.Add(retry)
				after(v, now)
			}
			got := []sessionID{sessionID(len(v.wanted)), sessionID(v.sessions[1].open), sessionID(v.sessions[1].wants)}
			v.announce(1, []frame.Hash{x})
			return append(got, who(v, now, 1))
		}, []sessionID{0, 0, 0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := newInventory(retry, 100)
			v.join(1)
			v.join(2)
			if got := tt.play(v); !slices.Equal(got, tt.want) {
				t.Errorf("asked %v, want %v", got, tt.want)
			}
		})
	}
}

// who returns id if there is something to ask of it.
func who(v *inventory, now time.Time, id sessionID) sessionID {
	if len(v.next(id, now, getDataBatch)) == 0 {
		return 0
	}
	return id
}

// after lets questions expire and returns who is asked then.
func after(v *inventory, now time.Time) []sessionID {
	var got []sessionID
	for _, id := range v.expire(now) {
		if who(v, now, id) != 0 {
			got = append(got, id)
		}
	}
	return got
}

func TestInventoryIsBounded(t *testing.T) {
	v := newInventory(time.Second, 10)
	v.join(1)
	hashes := make([]frame.Hash, maxAnnounced+5)
	for i := range hashes {
		hashes[i] = txid(i)
	}
	if missed := v.announce(1, hashes); missed != 5 || len(v.wanted) != maxAnnounced {
		t.Fatalf("%d missed and %d wanted, want 5 and %d", missed, len(v.wanted), maxAnnounced)
	}
	if v.roomy(1) {
		t.Error("roomy while it is full")
	}
	v.arrived(hashes[0])
	if missed := v.announce(1, hashes[maxAnnounced:]); missed != 4 {
		t.Errorf("%d missed after an arrival, want 4", missed)
	}
	if got := len(v.next(1, time.Unix(0, 0), getDataBatch)); got != getDataBatch {
		t.Errorf("asked for %d at once, want %d", got, getDataBatch)
	}
	if got := len(v.next(1, time.Unix(0, 0), getDataBatch)); got != 0 {
		t.Errorf("asked for %d more while all are open, want 0", got)
	}
	for _, hash := range hashes[:maxAnnounced/2+1] {
		v.arrived(hash)
	}
	if !v.roomy(1) {
		t.Error("not roomy after half has arrived")
	}
	v.leave(1)
	if len(v.wanted) != 0 {
		t.Errorf("%d wanted after the only node left, want 0", len(v.wanted))
	}
}

func TestSeenSet(t *testing.T) {
	const n = 10
	s := newSeenSet(n)
	for i := range 100 {
		s.add(txid(i))
		for back := max(0, i-n+1); back <= i; back++ {
			if !inEither(s, txid(back)) {
				t.Fatalf("after %d: %d is forgotten", i, back)
			}
		}
		if len(s.young)+len(s.old) > 2*n {
			t.Fatalf("after %d: %d kept, want at most %d", i, len(s.young)+len(s.old), 2*n)
		}
	}
	if s.has(txid(0)) {
		t.Error("the first of 100 is still known")
	}
	if s.clear(); s.has(txid(99)) {
		t.Error("known after clear")
	}
}

func TestQueueWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTxQueue(10)
		ctx, cancel := context.WithCancel(t.Context())
		if err := q.push(ctx, make([]byte, 30)); err != nil {
			t.Fatalf("larger than an empty queue: %v", err)
		}
		pushed := make(chan error, 1)
		go func() { pushed <- q.push(ctx, make([]byte, 5)) }()
		synctest.Wait()
		select {
		case err := <-pushed:
			t.Fatalf("push into a full queue returned %v", err)
		default:
		}
		if raw, err := q.first(ctx); len(raw) != 30 || err != nil {
			t.Fatalf("got %d bytes, %v, want 30", len(raw), err)
		}
		q.drop()
		if err := <-pushed; err != nil {
			t.Errorf("push after a drop: %v", err)
		}
		go func() { pushed <- q.push(ctx, make([]byte, 6)) }()
		synctest.Wait()
		cancel()
		if err := <-pushed; !errors.Is(err, context.Canceled) {
			t.Errorf("push at the end: got %v, want %v", err, context.Canceled)
		}
	})
}

func TestBackoff(t *testing.T) {
	b := backoff{least: 100 * time.Millisecond, most: 30 * time.Second}
	whole := b.least
	for i := range 20 {
		if got := b.next(); got < whole/2 || got > whole {
			t.Errorf("attempt %d: waits %s, want %s to %s", i, got, whole/2, whole)
		}
		whole = min(2*whole, b.most)
	}
	b.reset()
	if got := b.next(); got > b.least {
		t.Errorf("after a good session: waits %s, want at most %s", got, b.least)
	}
}

// inEither looks without making anything young.
func inEither(s *seenSet, h frame.Hash) bool {
	_, young := s.young[h]
	_, old := s.old[h]
	return young || old
}
