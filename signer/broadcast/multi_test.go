package broadcast_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testarc"
	"github.com/metaim/metaim/signer/broadcast"
)

// multi starts a broadcaster that ends with the test.
func multi(t *testing.T, ways ...broadcast.Way) *broadcast.Multi {
	t.Helper()
	m := broadcast.NewMulti(ways, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return m
}

// TestMulti has two services, and checks which outcome is that of both.
func TestMulti(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	right := testarc.Behaviour{}
	refuses := testarc.Behaviour{State: broadcast.StateRejected, Info: "dust"}
	double := testarc.Behaviour{State: broadcast.StateDoubleSpend}
	missing := testarc.Behaviour{State: broadcast.StateRejected, Info: "missing inputs"}
	holds := testarc.Behaviour{State: broadcast.StateStored}
	wantsExtended := testarc.Behaviour{Status: 460}
	for _, tt := range []struct {
		name   string
		a, b   testarc.Behaviour
		nobody bool // listens instead of b
		want   error
	}{
		{"both accept", right, right, false, nil},
		{"one accepts, one refuses", right, refuses, false, nil},
		{"one refuses, one accepts later", refuses, testarc.Behaviour{State: broadcast.StateStored, Later: broadcast.StateSeen}, false, nil},
		{"one accepts, one is slow", right, testarc.Behaviour{Fault: testarc.Slow}, false, nil},
		{"one accepts, one is down", right, right, true, nil},
		{"both refuse", refuses, refuses, false, errAny},
		{"both refuse, one knows why", refuses, double, false, broadcast.ErrDoubleSpend},
		{"missing inputs explain less", missing, refuses, false, errAny},
		{"one refuses, nobody listens at the other", refuses, right, true, errAny},
		{"one refuses, the other is busy", refuses, testarc.Behaviour{Status: 503, RetryAfter: "60"}, false, errAny},
		{"one refuses, the other may have it", refuses, testarc.Behaviour{Fault: testarc.TakesDies}, false, broadcast.ErrUnavailable},
		{"one refuses, the other keeps it", double, holds, false, broadcast.ErrHeld},
		{"one wants another form, nobody listens at the other", wantsExtended, right, true, broadcast.ErrUnavailable},
		{"both want another form", wantsExtended, wantsExtended, false, broadcast.ErrNeedsExtended},
		{"one wants another form, one refuses", wantsExtended, refuses, false, errAny},
		{"both are down", testarc.Behaviour{Fault: testarc.Down}, right, true, broadcast.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := testarc.New(t, nil), testarc.New(t, nil)
			a.Behave(tt.a)
			b.Behave(tt.b)
			m := multi(t, arcOf(t, a, nil).Way(), arcOf(t, b, func(c *broadcast.ARCConfig) {
				if tt.nobody {
					c.URL = nobody
				}
			}).Way())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tx := sample(t)
			for _, again := range []string{"first", "again"} {
				err := m.Submit(ctx, tx)
				checkOutcome(t, err, tt.want)
				if t.Failed() {
					t.Fatalf("%s: %v", again, err)
				}
			}
		})
	}
}

// TestMultiGoesOn: who is slower than the first still gets the transaction, though
// the request is over; what goes on is bounded, and Run waits for it.
func TestMultiGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, heard atomic.Int32
		quick := broadcast.Way{Name: "quick", Submit: func(context.Context, *broadcast.Transaction) error { return nil }}
		slow := broadcast.Way{Name: "slow", Submit: func(ctx context.Context, _ *broadcast.Transaction) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			select {
			case <-ctx.Done():
				return broadcast.ErrUnavailable
			case <-time.After(5 * time.Second):
				heard.Add(1)
				return nil
			}
		}}
		m := broadcast.NewMulti([]broadcast.Way{slow, quick}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		request, over := context.WithCancel(t.Context())
		for i := range 1000 {
			if err := m.Submit(request, broadcast.Raw(fmt.Append(nil, i))); err != nil {
				t.Fatal(err)
			}
		}
		over()
		synctest.Wait()
		if got := running.Load(); got < 1 || got > 256 {
			t.Errorf("%d submissions go on, want 1 to 256", got)
		}
		time.Sleep(6 * time.Second)
		if got := heard.Load(); got != 256 {
			t.Errorf("the slow way took %d, want the 256 that there is room for", got)
		}
		if err := m.Submit(t.Context(), broadcast.Raw([]byte("last"))); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; err != nil || running.Load() != 0 {
			t.Errorf("run: %v, and %d submissions go on after it, want none", err, running.Load())
		}
		if err := m.Submit(t.Context(), broadcast.Raw([]byte("late"))); !errors.Is(err, broadcast.ErrUnavailable) {
			t.Errorf("after the end: got %v, want %v", err, broadcast.ErrUnavailable)
		}
	})
}

// TestMultiNoAnswerInTime: the request ends before anybody answers, and the
// transaction is undecided, not refused.
func TestMultiNoAnswerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := broadcast.NewMulti([]broadcast.Way{{Name: "slow", Submit: func(ctx context.Context, _ *broadcast.Transaction) error {
			<-ctx.Done()
			return &broadcast.Refused{Reason: "too late to count"}
		}}}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Submit(ctx, broadcast.Raw([]byte("x"))); !errors.Is(err, broadcast.ErrUnavailable) {
			t.Errorf("got %v, want %v", err, broadcast.ErrUnavailable)
		}
		over, end := context.WithCancel(t.Context())
		end()
		if err := m.Run(over); err != nil {
			t.Error(err)
		}
	})
}

// A service of TestWatch.
type service struct {
	mu        sync.Mutex
	state     broadcast.State // empty: unknown
	submitted int
	refuses   bool
	asked     int
}

func (s *service) way() broadcast.Way {
	return broadcast.Way{Name: "test", Status: func(_ context.Context, txid frame.Hash) (*broadcast.Status, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		if s.state == "" {
			return nil, broadcast.ErrUnknown
		}
		return &broadcast.Status{TxID: txid, State: s.state}, nil
	}}
}

func (s *service) submit(context.Context, *broadcast.Transaction) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.submitted++
	if s.refuses {
		return &broadcast.Refused{Reason: "no"}
	}
	return nil
}

// TestWatch follows transactions for a day.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name     string
		frames   bool
		state    broadcast.State
		refuses  bool
		inIndex  time.Duration // when it is in a block of the index; 0: never
		least    int           // submissions
		most     int
		followed bool // at the end of the day
	}{
		{"seen, then in the index", true, broadcast.StateSeen, false, 10 * time.Minute, 0, 0, false},
		{"seen for ever: it may be a lie", true, broadcast.StateSeen, false, 0, 20, 24, true},
		{"mined, says the service; the index doesn't have it", true, broadcast.StateMined, false, 0, 0, 0, true},
		{"mined, without frames", false, broadcast.StateMined, false, 0, 0, 0, false},
		{"seen, without frames", false, broadcast.StateSeen, false, 0, 1, 3, false},
		{"dropped", true, "", false, 10 * time.Minute, 2, 8, false},
		{"rejected later", true, broadcast.StateRejected, false, 10 * time.Minute, 2, 8, false},
		{"in a stale block", true, broadcast.StateStale, false, time.Hour, 5, 12, false},
		{"refused when submitted again", true, "", true, 0, 1, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := &service{state: tt.state, refuses: tt.refuses}
				w := broadcast.NewWatch(broadcast.WatchConfig{Ways: []broadcast.Way{s.way()}, Submit: s.submit, Logger: slog.New(slog.DiscardHandler),
					Confirmed: func(context.Context, frame.Hash) (bool, error) {
						return tt.inIndex > 0 && time.Since(began) >= tt.inIndex, nil
					}})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- w.Run(ctx) }()
				tx := broadcast.Raw([]byte("a transaction"))
				w.Add(tx, tt.frames)
				w.Add(tx, tt.frames)
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				s.mu.Lock()
				submitted, asked := s.submitted, s.asked
				s.mu.Unlock()
				if submitted < tt.least || submitted > tt.most {
					t.Errorf("it was submitted %d times again, want %d to %d", submitted, tt.least, tt.most)
				}
				if asked > 24*6+10 {
					t.Errorf("the service was asked %d times in a day", asked)
				}
				if got := w.Len() == 1; got != tt.followed {
					t.Errorf("it is followed at the end: %t, want %t", got, tt.followed)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("run: %v", err)
				}
			})
		})
	}
}

// TestWatchTold: a callback makes the watch look at once, and is not believed.
func TestWatchTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{state: broadcast.StateSeen}
		var confirmed atomic.Bool
		w := broadcast.NewWatch(broadcast.WatchConfig{Ways: []broadcast.Way{s.way()}, Submit: s.submit, Logger: slog.New(slog.DiscardHandler),
			Most: 2, MostBytes: 100, First: time.Hour, Longest: time.Hour,
			Confirmed: func(context.Context, frame.Hash) (bool, error) { return confirmed.Load(), nil }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		one, two, three := broadcast.Raw([]byte("one")), broadcast.Raw([]byte("two")), broadcast.Raw([]byte("three"))
		w.Add(broadcast.Raw([]byte(strings.Repeat("x", 101))), true)
		if got := w.Len(); got != 0 {
			t.Errorf("%d are followed after one that is too large, want none", got)
		}
		w.Add(one, true)
		w.Add(two, true)
		w.Add(three, true)
		if got := w.Len(); got != 2 {
			t.Errorf("%d are followed, want the 2 that there is room for", got)
		}
		w.Told(one.ID)
		w.Told(frame.Hash{1})
		synctest.Wait()
		if got := w.Len(); got != 2 {
			t.Errorf("%d are followed after a callback that isn't so, want 2", got)
		}
		confirmed.Store(true)
		w.Told(one.ID)
		synctest.Wait()
		if got := w.Len(); got != 1 {
			t.Errorf("%d are followed after a callback that is so, want 1", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}
