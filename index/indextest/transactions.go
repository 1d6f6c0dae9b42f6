package indextest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// writeAll uses every writing method.
func writeAll(tx index.Tx, label string, height int32) error {
	p := confirmed(transaction(label, alice, []person{bob}, text(alice, label, 1)), height, 0, signed(frame.Valid, alice))
	lists, err := tx.Save([]*index.Placed{p})
	if err != nil {
		return err
	}
	return errors.Join(
		tx.PutBlock(block(height, ""), stateOf(block(height, ""))),
		tx.PutNames([]*nprotocol.Name{{Name: label, Address: alice.hash}}),
		tx.PutPeers([]*nprotocol.Peer{{PeerKey: nprotocol.PeerKey{Address: alice.hash, IP: label}}}),
		tx.AppendEvents([]*index.Event{about(lists[0][0]), connected(height)}))
}

// sum says how much there is of everything.
func sum(b bench, v index.View) string {
	b.Helper()
	names, peers := 0, 0
	err := errors.Join(v.AllNames(func(*nprotocol.Name) error { names++; return nil }),
		v.AllPeers(func(*nprotocol.Peer) error { peers++; return nil }))
	if err != nil {
		b.Fatalf("read: %v", err)
	}
	return fmt.Sprint("tip ", must[index.Tip](b)(v.Tip()).Height, " frames ", len(allConfirmed(b, v)), " names ", names, " peers ", peers,
		" events ", must[int64](b)(v.LastSeq()), " counts ", must[map[frame.Verdict]int64](b)(v.Counts()))
}

func failedUpdate(b bench, reopen func() bench) {
	b.update(func(tx index.Tx) error { return writeAll(tx, "first", 0) })
	var before string
	b.view(func(v index.View) { before = sum(b, v) })
	mine := errors.New("my own error")
	for i := range 3 {
		err := b.store.Update(context.Background(), func(tx index.Tx) error {
			if err := writeAll(tx, "second", 1); err != nil {
				return err
			}
			if i == 1 {
				if err := errors.Join(tx.DeleteNames([]string{"first"}), tx.CutBlocks(0)); err != nil {
					return err
				}
			}
			return mine
		})
		if !errors.Is(err, mine) {
			b.Fatalf("got %v, want the error of the function", err)
		}
		b.view(func(v index.View) { equal(b, "after a failure", sum(b, v), before) })
	}
	b = reopen()
	b.view(func(v index.View) { equal(b, "reopened", sum(b, v), before) })
	b.update(func(tx index.Tx) error { return writeAll(tx, "second", 1) })
	b.view(func(v index.View) {
		equal(b, "then written", sum(b, v), "tip 1 frames 2 names 2 peers 2 events 4 counts map[valid:2]")
	})
}

func panics(b bench, _ func() bench) {
	func() {
		defer func() { equal(b, "recovered", fmt.Sprint(recover()), "my panic") }()
		_ = b.store.Update(context.Background(), func(tx index.Tx) error {
			if err := writeAll(tx, "first", 0); err != nil {
				b.Error(err)
			}
			panic("my panic")
		})
	}()
	func() {
		defer func() { equal(b, "recovered", fmt.Sprint(recover()), "my panic") }()
		_ = b.store.View(context.Background(), func(index.View) error { panic("my panic") })
	}()
	b.view(func(v index.View) { equal(b, "tip", must[index.Tip](b)(v.Tip()).Height, -1) })
	b.update(func(tx index.Tx) error { return writeAll(tx, "first", 0) })
}

func endedContext(b bench, _ func() bench) {
	ended, cancel := context.WithCancel(context.Background())
	err := b.store.Update(ended, func(tx index.Tx) error {
		defer cancel()
		return writeAll(tx, "first", 0)
	})
	if !errors.Is(err, context.Canceled) {
		b.Errorf("ended while writing: got %v, want context canceled", err)
	}
	if err := b.store.Update(ended, func(index.Tx) error { return errors.New("called") }); !errors.Is(err, context.Canceled) {
		b.Errorf("update: got %v, want context canceled", err)
	}
	if err := b.store.View(ended, func(index.View) error { return errors.New("called") }); !errors.Is(err, context.Canceled) {
		b.Errorf("view: got %v, want context canceled", err)
	}
	reading, cancel := context.WithCancel(context.Background())
	err = b.store.View(reading, func(v index.View) error {
		cancel()
		_, err := v.Entries(index.EntryQuery{Limit: 1})
		return err
	})
	if err == nil {
		b.Error("ended while reading: no error")
	}
	b.view(func(v index.View) { equal(b, "tip", must[index.Tip](b)(v.Tip()).Height, -1) })
	b.update(func(tx index.Tx) error { return writeAll(tx, "first", 0) })
}

func failedWrite(b bench, _ func() bench) {
	wrong := seen(transaction("x", alice, nil, text(alice, "x", 1))) // no decision
	err := b.store.Update(context.Background(), func(tx index.Tx) error {
		if err := writeAll(tx, "first", 0); err != nil {
			return err
		}
		if _, err := tx.Save([]*index.Placed{wrong}); err == nil {
			b.Error("a wrong save: no error")
		}
		return nil // as if all were well
	})
	if err == nil {
		b.Error("committed half of what was to be written")
	}
	b.view(func(v index.View) { equal(b, "tip", must[index.Tip](b)(v.Tip()).Height, -1) })
}

func readsOwn(b bench, _ func() bench) {
	b.update(func(tx index.Tx) error {
		if err := writeAll(tx, "first", 0); err != nil {
			return err
		}
		equal(b, "inside", sum(b, tx), "tip 0 frames 1 names 1 peers 1 events 2 counts map[valid:1]")
		equal(b, "entries", arrivalsOf(must[[]*index.Entry](b)(tx.Entries(index.EntryQuery{Address: &bob.hash, Limit: 9}))), []int64{1})
		id := text(alice, "first", 1).ID
		equal(b, "facts", must[*index.Facts](b)(tx.Facts(index.Need{FrameIDs: []frame.ID{id}})).Valid[id], true)
		b.view(func(v index.View) { equal(b, "outside", must[index.Tip](b)(v.Tip()).Height, -1) })
		return nil
	})
}

func snapshot(b bench, _ func() bench) {
	b.update(func(tx index.Tx) error { return writeAll(tx, "first", 0) })
	b.view(func(v index.View) {
		before := sum(b, v)
		b.update(func(tx index.Tx) error { return writeAll(tx, "second", 1) })
		equal(b, "in the same view", sum(b, v), before)
		b.view(func(w index.View) {
			equal(b, "in a new view", sum(b, w), "tip 1 frames 2 names 2 peers 2 events 4 counts map[valid:2]")
		})
	})
	// The snapshot is of when the view began, not of its first question.
	b.view(func(v index.View) {
		b.update(func(tx index.Tx) error { return writeAll(tx, "third", 2) })
		equal(b, "asked later", must[index.Tip](b)(v.Tip()).Height, 1)
	})
}

func concurrent(b bench, _ func() bench) {
	const height = 25
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				err := b.store.View(context.Background(), func(v index.View) error { return whole(v) })
				if err != nil {
					b.Errorf("a reader: %v", err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var writers sync.WaitGroup
	next := make(chan int32, height)
	for h := range int32(height) {
		next <- h
	}
	close(next)
	var order sync.Mutex // blocks go in by height; updates themselves may come from anywhere
	for range 2 {
		writers.Go(func() {
			for {
				order.Lock()
				h, ok := <-next
				if ok {
					if err := b.store.Update(context.Background(), func(tx index.Tx) error { return writeAll(tx, fmt.Sprint("block ", h), h) }); err != nil {
						b.Errorf("block %d: %v", h, err)
					}
				}
				order.Unlock()
				if !ok {
					return
				}
				p := seen(transaction(fmt.Sprint("mempool ", h), alice, nil, malformed(frame.N, "x")), index.Decision{Verdict: frame.Malformed})
				err := b.store.Update(context.Background(), func(tx index.Tx) error { _, err := tx.Save([]*index.Placed{p}); return err })
				if err != nil {
					b.Errorf("unconfirmed %d: %v", h, err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	b.view(func(v index.View) {
		equal(b, "tip", must[index.Tip](b)(v.Tip()).Height, height-1)
		equal(b, "unconfirmed", len(must[[]*index.Saved](b)(v.Unconfirmed())), height)
	})
}

// whole tells whether what a view shows fits together: one frame and two events
// for each block.
func whole(v index.View) error {
	tip, err := v.Tip()
	if err != nil {
		return err
	}
	frames := int64(0)
	if err := v.Confirmed(func(*index.Entry) error { frames++; return nil }); err != nil {
		return err
	}
	seq, err := v.LastSeq()
	if err != nil {
		return err
	}
	counts, err := v.Counts()
	if err != nil {
		return err
	}
	if n := int64(tip.Height) + 1; frames != n || seq != 2*n || counts[frame.Valid] != n {
		return fmt.Errorf("tip %d with %d frames, %d events and counts %v", tip.Height, frames, seq, counts)
	}
	return nil
}
