package api_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

// sequence checks that bodies are numbers that rise one by one.
func sequence(t *testing.T, who string, got []int, first, last int) {
	t.Helper()
	if len(got) == 0 || got[0] != first || got[len(got)-1] != last {
		t.Errorf("%s: got %d events %v, want %d to %d", who, len(got), ends(got), first, last)
		return
	}
	for i := 1; i < len(got); i++ {
		if got[i] != got[i-1]+1 {
			t.Errorf("%s: event %d follows %d", who, got[i], got[i-1])
			return
		}
	}
}

func ends(list []int) []int {
	if len(list) == 0 {
		return nil
	}
	return []int{list[0], list[len(list)-1]}
}

func number(t *testing.T, m *client.Message) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(string(m.Body), &n); err != nil {
		t.Errorf("body %.20q: %v", m.Body, err)
	}
	return n
}

// TestSeam has subscribers join at random times while a writer commits: each
// must be told every event after its beginning, once and in order, whether from
// history, through the gate or live.
func TestSeam(t *testing.T) {
	for _, test := range []struct {
		name  string
		queue int
	}{
		{"usual queue", 0},
		{"queue of two events", 3000},
		{"queue smaller than an event", 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.mine()
			s := w.serve(func(c *api.Config) { c.Limits.QueueBytes = test.queue })
			const last = 100
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			for i := range 9 {
				wg.Go(func() {
					time.Sleep(rand.N(300 * time.Millisecond)) // joins at any time
					s.follow(ctx, t, i, last)
				})
			}
			for n := 1; n <= last; {
				var txs []*index.Transaction
				for range 1 + rand.IntN(5) {
					if n <= last {
						txs = append(txs, w.send(1, 2, fmt.Sprint(n)))
						n++
					}
				}
				w.seen(txs...)
			}
			wg.Wait()
		})
	}
}

// follow subscribes from the start, from a cursor, or for a limited part of the
// history, and checks what comes. It reads the frames themselves: the Go client
// would hide what comes twice.
func (s *served) follow(ctx context.Context, t *testing.T, i, last int) {
	r := sub("s", []client.Filter{{Address: []string{address(2)}}, {Type: []string{"text"}}}[i%2])
	first := 1
	switch i % 3 {
	case 0:
		r.From = "start"
	case 1:
		page, err := s.client.Events(ctx, "", 1+i)
		if err != nil {
			t.Errorf("subscriber %d: %v", i, err)
			return
		}
		r.Cursor = page.Next
		first = len(page.Items) // the first event is a block's
	case 2:
		r.From, r.Limit = "start", 1+i
	}
	k := s.dial()
	k.send(r)
	k.expect("ok")
	var got []int
	phase := client.PhaseHistory
	for len(got) == 0 || got[len(got)-1] < last {
		f := k.next()
		switch {
		case f.Type == "caught_up":
			phase = client.PhaseLive
		case f.Type == "closed":
			last = r.Limit
		case f.Type != "event" || f.Phase != phase:
			t.Errorf("subscriber %d: got %+v in phase %s", i, f, phase)
			return
		default:
			got = append(got, number(t, f.Message))
		}
	}
	sequence(t, fmt.Sprintf("subscriber %d", i), got, first, last)
}

// TestNowHasNoGap subscribes "now" while the writer commits: what comes is a run
// without a gap up to the last event.
func TestNowHasNoGap(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	const last = 100
	var wg sync.WaitGroup
	for range 8 {
		k := s.dial()
		wg.Go(func() {
			time.Sleep(rand.N(100 * time.Millisecond)) // joins at any time before the last events
			k.send(sub("s"))
			k.expect("ok")
			k.expect("caught_up")
			var got []int
			for len(got) == 0 || got[len(got)-1] < last {
				got = append(got, number(t, k.expect("event").Message))
			}
			sequence(t, "subscriber", got, got[0], last)
		})
	}
	for n := 1; n < last; n++ {
		w.seen(w.send(1, 2, fmt.Sprint(n)))
	}
	time.Sleep(150 * time.Millisecond) // all have joined, so all hear the last one
	w.seen(w.send(1, 2, fmt.Sprint(last)))
	wg.Wait()
}

// smallBuffer keeps the system from reading much for who doesn't read.
func smallBuffer(t *testing.T, k *socket) {
	t.Helper()
	tcp, ok := k.ws.NetConn().(*net.TCPConn)
	if !ok {
		t.Fatalf("connection: got %T, want TCP", k.ws.NetConn())
	}
	if err := tcp.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
}

// TestSlowConsumer has one subscriber stop reading: the other is told everything
// meanwhile; the slow one is closed with 4008 and a cursor, and lost nothing.
func TestSlowConsumer(t *testing.T) {
	const slowAfter = time.Second
	w := newWorld(t)
	w.mine()
	s := w.serve(func(c *api.Config) {
		c.Timing.Slow = slowAfter
		c.Timing.Write = time.Minute
	})
	const last = 60
	filler := " " + strings.Repeat("x", 100<<10)
	slow, quick := s.dial(), s.dial()
	smallBuffer(t, slow)
	for _, k := range []*socket{slow, quick} {
		k.send(sub("s", client.Filter{Address: []string{address(2)}}))
		k.expect("ok")
		k.expect("caught_up")
	}
	for n := 1; n <= last; n++ {
		w.seen(w.send(1, 2, fmt.Sprint(n)+filler))
		equal(t, "who reads is told", number(t, quick.expect("event").Message), n)
	}
	time.Sleep(slowAfter + slowAfter/2) // what is tested: it pauses for longer than it may

	var got []int
	r := slow.next()
	for ; r.Type == "event"; r = slow.next() {
		got = append(got, number(t, r.Message))
	}
	equal(t, "slow one is told", []string{r.Type, r.Code, r.Sub}, []string{"closed", client.CodeSlowConsumer, "s"})
	slow.expect("bye")
	_, _, err := slow.ws.ReadMessage()
	if !websocket.IsCloseError(err, client.CloseSlow) || !strings.Contains(err.Error(), r.Cursor) {
		t.Errorf("close: got %v, want %d with cursor %s", err, client.CloseSlow, r.Cursor)
	}
	options := client.SubscribeOptions{Cursor: r.Cursor}
	for e, err := range s.client.Subscribe(t.Context(), []client.Filter{{Address: []string{address(2)}}}, options) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, number(t, e.Message)); got[len(got)-1] == last {
			break
		}
	}
	sequence(t, "slow one, resumed", got, 1, last)
}

// TestPausedConsumer stops reading and goes on in time: the queue was dropped,
// but history is read again.
func TestPausedConsumer(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve(func(c *api.Config) { c.Limits.QueueBytes = 300 << 10 })
	k := s.dial()
	smallBuffer(t, k)
	k.send(sub("s"))
	k.expect("ok")
	k.expect("caught_up")
	const last = 40
	for n := 1; n <= last; n++ {
		w.seen(w.send(1, 2, fmt.Sprint(n)+" "+strings.Repeat("x", 100<<10)))
	}
	var got []int
	for len(got) < last {
		got = append(got, number(t, k.expect("event").Message))
	}
	sequence(t, "paused", got, 1, last)
	w.seen(w.send(1, 2, fmt.Sprint(last+1)))
	equal(t, "live again", number(t, k.expect("event").Message), last+1)
}

// TestServerRestart kills a server under a subscriber, writes on, and starts it
// again at the same address and on the same store.
func TestServerRestart(t *testing.T) {
	w := newWorld(t)
	w.mine()
	first := w.serve()
	address2 := first.http.Listener.Addr().String()
	lost := make(chan error, 1)
	caught := make(chan string, 1)
	events := make(chan int, 100)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer close(events)
		options := client.SubscribeOptions{
			MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
			CaughtUp: func(c string) { caught <- c }, Lost: func(err error, _ time.Duration) {
				select {
				case lost <- err:
				default: // only the first is looked at
				}
			},
		}
		for e, err := range first.client.Subscribe(ctx, nil, options) {
			if err != nil {
				t.Errorf("subscribe: %v", err)
				return
			}
			events <- number(t, e.Message)
		}
	}()
	<-caught
	w.seen(w.send(1, 2, "1"))
	equal(t, "before", <-events, 1)
	first.stop()
	if err := <-lost; err == nil {
		t.Error("lost: got no error, want why")
	}
	for n := 2; n <= 60; n++ {
		w.seen(w.send(1, 2, fmt.Sprint(n)))
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	again := api.New(api.Config{Index: w.store, Rules: w.rules, Wake: w.wake, Timing: api.Timing{Poll: 20 * time.Millisecond}})
	var listener net.Listener
	eventually(t, "the address is free again", func() bool {
		var err error
		listener, err = net.Listen("tcp", address2)
		return err == nil
	})
	second := httptest.NewUnstartedServer(again.Handler())
	_ = second.Listener.Close()
	second.Listener = listener
	second.Start()
	defer second.Close()
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- again.Run(running) }()
	got := []int{1}
	for n := range events {
		if got = append(got, n); n == 60 {
			w.seen(w.send(1, 2, "61"))
		}
		if n == 61 {
			break
		}
	}
	sequence(t, "over the restart", got, 1, 61)
	cancel()
	if _, open := <-events; open {
		t.Error("an event came after the last")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// TestLostWakeUp says nothing to the server: it looks by itself.
func TestLostWakeUp(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve(func(c *api.Config) { c.Wake = nil })
	k := s.dial()
	k.send(sub("s"))
	k.expect("ok")
	k.expect("caught_up")
	w.seen(w.send(1, 2, "news"))
	equal(t, "news", k.told("news"), []string{"message.seen news"})
}

// TestDeadPeer opens a connection that answers no ping.
func TestDeadPeer(t *testing.T) {
	s := newWorld(t).serve(func(c *api.Config) { c.Timing.Ping, c.Timing.Dead = 50*time.Millisecond, 2*time.Second })
	dead, alive := s.dial(), s.dial()
	dead.ws.SetPingHandler(func(string) error { return nil })
	pings := 0
	answer := alive.ws.PingHandler()
	alive.ws.SetPingHandler(func(data string) error {
		if pings++; pings == 5 {
			return errors.New("seen enough")
		}
		return answer(data)
	})
	_ = alive.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, _, err := alive.ws.ReadMessage(); pings != 5 {
		t.Errorf("who answers: closed after %d pings: %v", pings, err)
	}
	_ = dead.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	var timeout net.Error
	if _, _, err := dead.ws.ReadMessage(); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("who doesn't: got %v, want the connection closed", err)
	}
}
