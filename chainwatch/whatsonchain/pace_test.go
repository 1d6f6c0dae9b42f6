package whatsonchain

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
)

// A direct transport asks a handler without a network, so that the clock can stand
// still while it answers.
type direct struct {
	handler http.Handler
	takes   time.Duration // for an answer
	mu      sync.Mutex
	asked   []time.Time
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.asked = append(d.asked, time.Now())
	d.mu.Unlock()
	select {
	case <-time.After(d.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	rec := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func (d *direct) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

// within counts the most questions in any span of time.
func (d *direct) within(span time.Duration) (most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := 0
	for i := range d.asked {
		for d.asked[i].Sub(d.asked[from]) >= span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// TestPace: whoever asks, for headers, blocks and the tip at once, the service is
// never asked more often than it allows, and is left alone while it says so.
func TestPace(t *testing.T) {
	tests := []struct {
		name      string
		perSecond float64
		takes     time.Duration // for an answer
		refuse    int           // questions that are refused first
		rest      time.Duration // that the service asks for then
		limit     int           // questions in a second
	}{
		{"no key", 0, 100 * time.Millisecond, 0, 0, 3},
		{"no key, slow answers", 0, 900 * time.Millisecond, 0, 0, 3},
		{"ten a second", 10, 100 * time.Millisecond, 0, 0, 10},
		{"one in two seconds", 0.5, 100 * time.Millisecond, 0, 0, 1},
		{"refused, with a time", 0, 100 * time.Millisecond, 2, 20 * time.Second, 3},
		{"refused, without a time", 0, 100 * time.Millisecond, 2, 0, 3},
	}
	m := five()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, m) // its server stays outside of the bubble
			f.set(func(x *faults) { x.refuse, x.retryAfter = tt.refuse, int(tt.rest/time.Second) })
			synctest.Test(t, func(t *testing.T) {
				d := &direct{handler: f.handler, takes: tt.takes}
				s, err := New(Config{Params: chainwatch.ParamsOf(frame.Regtest), URL: "http://woc.example/v1/bsv", PerSecond: tt.perSecond, transport: d})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- s.Run(ctx) }()
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						if headers, transactions, err := everything(ctx, s); headers != fiveBlocks || transactions != fiveTransactions || err != nil {
							t.Errorf("got %d headers, %d transactions, %v, want all", headers, transactions, err)
						}
					})
				}
				wg.Wait()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if got := d.within(time.Second); got > tt.limit || d.count() < 40 {
					t.Errorf("got %d questions in a second of %d, want at most %d", got, d.count(), tt.limit)
				}
				if tt.refuse > 0 {
					d.restsAfter(t, tt.refuse, max(tt.rest, time.Second))
				}
			})
		})
	}
}

// restsAfter checks that, when the last refusal has come, nothing is asked for a
// while. Questions that were under way by then don't count.
func (d *direct) restsAfter(t *testing.T, refused int, rest time.Duration) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	told := d.asked[refused-1].Add(d.takes)
	for _, at := range d.asked {
		if at.After(told) && at.Before(told.Add(rest)) {
			t.Errorf("asked %s after a refusal, want a rest of %s", at.Sub(told), rest)
			return
		}
	}
}

// TestDroppedFor: a service that lied is asked again after a minute, and wakes the
// follower for that.
func TestDroppedFor(t *testing.T) {
	f := newFake(t, five())
	synctest.Test(t, func(t *testing.T) {
		d := &direct{handler: f.handler, takes: 10 * time.Millisecond}
		s, err := New(Config{Params: chainwatch.ParamsOf(frame.Regtest), URL: "http://woc.example", PerSecond: 10, transport: rerooted{d}})
		if err != nil {
			t.Fatal(err)
		}
		f.set(func(x *faults) { x.unlinked = true })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		<-s.Wake()
		if _, err := s.Headers(ctx, []frame.Hash{s.genesis}); err == nil {
			t.Error("a lie: no error")
		}
		f.set(func(x *faults) { x.unlinked = false })
		start := time.Now()
		for asked := d.count(); time.Since(start) < service.DropFor-time.Second; time.Sleep(time.Second) {
			if _, err := s.Headers(ctx, []frame.Hash{s.genesis}); err == nil || d.count() != asked {
				t.Errorf("after %s: got %v and %d questions, want an error and none", time.Since(start), err, d.count()-asked)
				break
			}
		}
		<-s.Wake()
		if took := time.Since(start); took < service.DropFor-time.Second || took > service.DropFor+20*time.Second {
			t.Errorf("it wakes after %s, want about %s", took, service.DropFor)
		}
		if list, err := s.Headers(ctx, []frame.Hash{s.genesis}); err != nil || len(list) != fiveBlocks {
			t.Errorf("afterwards: got %d headers, %v", len(list), err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// rerooted asks a service that stands at the root of its host.
type rerooted struct{ *direct }

func (r rerooted) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Path = "/v1/bsv" + req.URL.Path
	return r.direct.RoundTrip(req)
}

// TestMemory: of a long block no more is asked for than is read.
func TestMemory(t *testing.T) {
	m := newMined()
	var txs [][]byte
	for n := range uint64(400) {
		txs = append(txs, pay(n+1))
	}
	m.mine(m.tip, txs...)
	f := newFake(t, m)
	s := open(t, f)
	r, err := s.Block(t.Context(), m.tip.Hash)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 200); err != nil { // the first transaction is read
		t.Fatal(err)
	}
	if n := f.count("txs"); n > s.cfg.Concurrency {
		t.Errorf("%d questions for transactions, want at most %d before more is read", n, s.cfg.Concurrency)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, ErrClosed)
	}
}
