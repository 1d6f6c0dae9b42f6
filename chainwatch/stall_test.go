package chainwatch

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

func TestStalled(t *testing.T) {
	five := Patience{Stall: 5 * time.Minute}
	for _, c := range []struct {
		name     string
		h        Health
		patience Patience
		want     string // a part of the sentence; "": it gets on
	}{
		{"all is well", Health{Height: 7, Best: 7}, five, ""},
		{"nearly too long, thrice", Health{Behind: 299 * time.Second, Standing: 299 * time.Second, Saving: 299 * time.Second}, five, ""},
		{"the loop stands still", Health{Standing: 5 * time.Minute}, five, "isn't followed: nothing has come of what was asked for 5m0s"},
		{"a commit lasts", Health{Saving: 6 * time.Minute, Standing: 6 * time.Minute, Behind: 6 * time.Minute}, five, "hasn't finished a commit for 6m0s"},
		{"work is known and not followed", Health{Height: 7, Best: 9, Behind: time.Hour}, five, "stays at height 7 though blocks with more work are known (to height 9)"},
		{"backfill that gets on", Health{Height: 7, Best: 900_000, Behind: time.Second, Since: 20 * time.Hour}, five, ""},
		{"a node lies about its height", Health{Height: 7, Best: 7, Source: Status{Height: 1 << 30}}, five, ""},
		{"for ever is for ever", Health{Behind: 999 * time.Hour, Standing: 999 * time.Hour, Saving: 999 * time.Hour}, Patience{}, ""},
	} {
		if got := c.h.Stalled(c.patience); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	main, regtest := PatienceOf(frame.Main, time.Minute), PatienceOf(frame.Regtest, time.Minute)
	for _, c := range []struct {
		name     string
		h        Health
		patience Patience
		want     []string // a part of each sentence
	}{
		{"a block of a minute ago", Health{Best: 9, BestTime: now.Add(-time.Minute), Source: Status{Height: 9}}, main, nil},
		{"no header yet", Health{Best: 0, Source: Status{Height: -1}}, main, nil},
		{"two hours without a block", Health{Best: 9, BestTime: now.Add(-2 * time.Hour)}, main, []string{"height 9) is 2h0m0s old"}},
		{"a year on regtest", Health{Best: 9, BestTime: now.Add(-365 * 24 * time.Hour)}, regtest, nil},
		{"a header that is a little ahead", Health{BestTime: now.Add(110 * time.Minute)}, regtest, nil},
		{"this clock is a day late", Health{Best: 9, BestTime: now.Add(24 * time.Hour)}, regtest, []string{"24h0m0s in the future: this clock is wrong"}},
		{"this clock is a day ahead", Health{Best: 9, BestTime: now.Add(-24 * time.Hour)}, main, []string{"24h0m0s old: the nodes may have lost the network, or this clock is wrong"}},
		{"a claim without headers", Health{Best: 9, BestTime: now, Source: Status{Height: 12}}, main, []string{"claims height 12, and no header beyond 9"}},
	} {
		got := c.h.Warnings(now, c.patience)
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: got %q, want %q", c.name, got[i], c.want[i])
			}
		}
	}
}

// A mute is a source and a sink that can be made to answer nothing.
type mute struct {
	mu       sync.Mutex
	headers  chan struct{} // closed: they are answered
	connects chan struct{}
	blocks   error // what asking for a block fails with
	list     []Header
	tip      index.Tip
}

func (m *mute) hold() (headers, connects chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.headers, m.connects
}

func (m *mute) silence(headers, connects bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range []struct {
		is   bool
		gate *chan struct{}
	}{{headers, &m.headers}, {connects, &m.connects}} {
		open := make(chan struct{})
		if !s.is {
			close(open)
		}
		*s.gate = open
	}
}

func (m *mute) Headers(ctx context.Context, _ []frame.Hash) ([]Header, error) {
	gate, _ := m.hold()
	select {
	case <-gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list, nil
}

func (m *mute) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
func (m *mute) Block(context.Context, frame.Hash) (io.ReadCloser, error) { return nil, m.blocks }
func (m *mute) Transactions() <-chan []byte                              { return nil }
func (m *mute) Wake() <-chan struct{}                                    { return nil }
func (m *mute) Status() Status                                           { return Status{Connected: 1, Height: -1} }

func (m *mute) Tip(context.Context) (index.Tip, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tip, nil
}

func (m *mute) Connect(ctx context.Context, blocks []*index.Block) error {
	_, gate := m.hold()
	select {
	case <-gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	last := blocks[len(blocks)-1]
	m.tip = index.Tip{Height: last.Height, Hash: last.Hash, Header: last.Header}
	return nil
}

type muteSink struct{ *mute }

func (muteSink) Headers(context.Context, func(int32, [HeaderSize]byte) error) error { return nil }
func (muteSink) Unconfirmed(context.Context) ([]*index.Transaction, error)          { return nil, nil }
func (muteSink) Disconnect(context.Context, int32) error                            { return nil }
func (muteSink) Seen(context.Context, []*index.Transaction) ([][]index.Decision, error) {
	return nil, nil
}
func (muteSink) Drop(context.Context, []frame.Hash, string) error { return nil }

// TestSilentStall: a node, a store or a block that doesn't come, without any error,
// is noticed after Patience.Stall, and not before; when it comes all is well.
func TestSilentStall(t *testing.T) {
	regtest := ParamsOf(frame.Regtest)
	next := mineOn(regtest.Genesis.Hash(), uint32(regtest.Genesis.Time())+600, regtest.PowLimit, 1)
	for _, c := range []struct {
		name              string
		headers, connects bool // are silent from the start
		list              []Header
		blocks            error
		want              string
	}{
		{"a node that answers nothing", true, false, nil, nil, "isn't followed"},
		{"a store that never commits", false, true, nil, nil, "hasn't finished a commit"},
		{"a header whose block nobody gives", false, false, []Header{next}, errors.New("not here"), "more work are known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mute{list: c.list, blocks: c.blocks, tip: index.Tip{Height: -1}}
				m.silence(c.headers, c.connects)
				f := NewFollower(m, muteSink{m}, Config{Params: regtest})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- f.Run(ctx) }()
				patience := Patience{Stall: 5 * time.Minute}
				stalled := func() string {
					synctest.Wait()
					h := f.Health()
					return h.Stalled(patience)
				}
				time.Sleep(patience.Stall - time.Second)
				if got := stalled(); got != "" {
					t.Errorf("a second too early: got %q", got)
				}
				time.Sleep(90 * time.Second) // a branch may be barred for a minute meanwhile
				if got := stalled(); !strings.Contains(got, c.want) {
					t.Errorf("got %q, want it to say %q", got, c.want)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("at the end: %v", err)
				}
			})
		})
	}
}

// TestStallEnds: what was silent answers again.
func TestStallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mute{tip: index.Tip{Height: -1}}
		m.silence(true, false)
		f := NewFollower(m, muteSink{m}, Config{Params: ParamsOf(frame.Regtest)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		patience := Patience{Stall: 5 * time.Minute}
		h := f.Health()
		if h.Stalled(patience) == "" {
			t.Error("an hour of silence is no stall")
		}
		gate, _ := m.hold()
		close(gate)
		time.Sleep(time.Hour) // of a quiet chain
		synctest.Wait()
		if h = f.Health(); h.Stalled(patience) != "" || !h.Synced || h.Height != 0 {
			t.Errorf("after it answers: %q, %+v; want it synced at height 0", h.Stalled(patience), h)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
