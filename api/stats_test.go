package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

// TestStats counts what subscribers, streams and strangers make a server do.
func TestStats(t *testing.T) {
	w := newWorld(t)
	w.mine(w.send(1, 2, "in a block"))
	s := w.serve(func(c *api.Config) {
		c.LimitLoopback = true
		c.Limits.Quota = client.Quota{Units: 10_000, Seconds: 3600}
		c.Limits.PrefixConnections = 3
		c.Limits.QueueBytes = 300 << 10
	})
	before := s.server.Stats()
	if before.Height != 0 || before.TipTime.Unix() <= 0 || before.Read.IsZero() {
		t.Errorf("at first: got %+v, want height 0 with a time, and a log that was read", before)
	}
	live, history := s.dial(), s.dial()
	live.send(sub("a", client.Filter{Name: []string{"alice"}}, client.Filter{Address: []string{address(2)}}))
	live.expect("ok")
	live.expect("caught_up")
	history.send(from("start", sub("b")))
	history.expect("ok")
	for history.next().Type != "caught_up" {
	}
	eventually(t, "the subscription that read history is live", func() bool { return s.server.Stats().Behind == 0 })
	smallBuffer(t, history)
	w.seen(w.send(1, 2, "seen"))
	live.expect("event")
	history.expect("event")
	got := s.server.Stats()
	equal(t, "held", []int{got.Connections, got.Subscriptions, got.Streams, got.Names, got.Visitors}, []int{2, 2, 0, 1, 1})
	equal(t, "delivered", []uint64{got.Live, got.History, got.Streamed, got.Resumes, got.SlowCloses}, []uint64{2, 1, 0, 0, 0})

	// One that stops reading falls behind, and reads from the store.
	const last = 40
	for n := range last {
		w.seen(w.send(1, 2, fmt.Sprint(n)+strings.Repeat("x", 100<<10)))
		live.expect("event")
	}
	if got = s.server.Stats(); got.Resumes == 0 {
		t.Errorf("somebody stopped reading: got %+v, want a resume", got)
	}
	for range last {
		history.expect("event")
	}

	// A stream, and a connection too many.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http.URL+"/v1/events?from=now", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := s.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	eventually(t, "there is a stream", func() bool { return s.server.Stats().Streams == 1 })
	w.seen(w.send(1, 2, "to the stream"))
	eventually(t, "the stream was told", func() bool { return s.server.Stats().Streamed == 1 })
	crowded, err := s.http.Client().Get(s.http.URL + "/v1/ws")
	if err != nil {
		t.Fatal(err)
	}
	_ = crowded.Body.Close()
	equal(t, "a connection too many", []any{crowded.StatusCode, s.server.Stats().Crowded}, []any{429, uint64(1)})
	cancel()
	eventually(t, "the stream is gone", func() bool { return s.server.Stats().Streams == 0 })
}

// TestLimitedIsCounted: each refusal for a quota counts once.
func TestLimitedIsCounted(t *testing.T) {
	w := newWorld(t)
	s := w.serve(func(c *api.Config) {
		c.LimitLoopback = true
		c.Limits.Quota = client.Quota{Units: 5, Seconds: 3600}
	})
	refused := uint64(0)
	for range 9 {
		resp, err := s.http.Client().Get(s.http.URL + "/v1/info")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if got := s.server.Stats().Limited; got != refused || refused < 4 {
		t.Errorf("got %d, want %d, which is 4 or more", got, refused)
	}
}

// TestAnswered: every request is told of once, by its route and with its status,
// whatever became of it.
func TestAnswered(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var mu sync.Mutex
	told := map[string]int{}
	s := w.serve(func(c *api.Config) {
		c.Answered = func(r api.Request) {
			mu.Lock()
			defer mu.Unlock()
			told[fmt.Sprintf("%s %s %d %v", r.Method, r.Route, r.Status, r.Stream)]++
			if r.Took < 0 {
				t.Errorf("%v took %s", r, r.Took)
			}
		}
	})
	mu.Lock()
	clear(told) // of serve itself
	mu.Unlock()
	ask := func(method, path, accept string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.http.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		resp, err := s.http.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	ask("GET", "/v1/info", "*/*")
	ask("HEAD", "/v1/info", "*/*")
	ask("GET", "/v1/names/nobody", "*/*")
	ask("GET", "/v1/names/%ff", "*/*")
	ask("GET", "/v1/names/x?nonsense=1", "*/*")
	ask("BREW", "/v1/info", "*/*")
	ask("GET", "/etc/passwd", "*/*")
	ask("GET", "/v1/events", "application/x-ndjson")
	k := s.dial()
	k.send(sub("s"))
	k.expect("ok")
	want := map[string]int{
		"GET /v1/info 200 false": 1, "HEAD /v1/info 200 false": 1, "GET /v1/names/{name} 404 false": 1, "GET /v1/names/{name} 400 false": 2,
		"other none 405 false": 1, "GET none 404 false": 1, "GET /v1/events 200 true": 1, "GET /v1/ws 101 false": 1,
	}
	eventually(t, "all are told of", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, c := range told {
			n += c
		}
		return n >= 9
	})
	mu.Lock()
	defer mu.Unlock()
	equal(t, "requests", fmt.Sprint(told), fmt.Sprint(want))
}

// A stuck index answers nothing while it is.
type stuck struct {
	api.Index
	is atomic.Bool
}

func (i *stuck) View(ctx context.Context, read func(index.View) error) error {
	if !i.is.Load() {
		return i.Index.View(ctx, read)
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestStuckStoreIsNoticed: a server whose store answers nothing isn't ready, even
// where another process writes; and it is again afterwards.
func TestStuckStoreIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.mine()
	store := &stuck{Index: w.store}
	s := w.serve(func(c *api.Config) {
		c.Index = store
		c.Timing.Request = 100 * time.Millisecond
	})
	store.is.Store(true)
	eventually(t, "it isn't ready", func() bool { return s.server.Ready() != nil })
	if err := s.server.Ready(); err == nil || !strings.Contains(err.Error(), "the log of events couldn't be read for") {
		t.Errorf("got %v, want it to say that the log can't be read", err)
	}
	store.is.Store(false)
	s.ready()
}

// TestWarnings: what is odd is said, and makes no server unfit.
func TestWarnings(t *testing.T) {
	fault := errors.New("the chain isn't followed")
	var ill atomic.Bool
	s := newWorld(t).serve(func(c *api.Config) {
		c.Warn = func() []string { return []string{"this clock is wrong"} }
		c.Ready = func() error {
			if ill.Load() {
				return fault
			}
			return nil
		}
	})
	for _, c := range []struct {
		ill    bool
		status int
		says   string
	}{{false, 200, `"warnings":["this clock is wrong"]`}, {true, 503, `"detail":"not ready: the chain isn't followed"`}} {
		ill.Store(c.ill)
		resp, err := s.http.Client().Get(s.http.URL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, _ := resp.Body.Read(b)
		_ = resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(b[:n]), c.says) {
			t.Errorf("ill %v: got %d %s, want %d %s", c.ill, resp.StatusCode, b[:n], c.status, c.says)
		}
	}
}
