package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/bench/measure"
)

// enough is how long anything here may take on a machine that does nothing else,
// many times over.
const enough = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(measure.RoleVariable) == Role {
		if err := Serve(context.Background(), nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A server keeps its connections and answers the first frame of each with ready.
type server struct {
	addr  string
	pongs chan string
	// what it was sent first, by each
	first chan string

	mu    sync.Mutex
	conns []*websocket.Conn
}

// serve starts a server that says early before it is ready, and late at once
// after.
func serve(t *testing.T, early, late string) *server {
	t.Helper()
	s := &server{pongs: make(chan string, 100), first: make(chan string, 100)}
	upgrader := websocket.Upgrader{Subprotocols: []string{"p"}, WriteBufferSize: 256}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			http.NotFound(w, r)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		ws.SetPongHandler(func(data string) error { s.pongs <- data; return nil })
		_, asked, err := ws.ReadMessage()
		if err != nil {
			return
		}
		s.first <- ws.Subprotocol() + " " + string(asked)
		s.mu.Lock()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(early))
		_ = ws.WriteControl(websocket.PingMessage, []byte("early"), time.Time{})
		_ = ws.WriteMessage(websocket.TextMessage, []byte("it is ready"))
		if late != "" {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(late))
		}
		s.conns = append(s.conns, ws)
		s.mu.Unlock()
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
		ws.Close()
	}))
	t.Cleanup(h.Close)
	s.addr = h.Listener.Addr().String()
	return s
}

func (s *server) plan(connections int) Plan {
	return Plan{Addr: s.addr, Path: "/ws", Subprotocol: "p", Connections: connections, Send: []string{"sub"},
		Ready: "ready", Marker: `"t":`}
}

// broadcast writes a message to all, in frames of 256 bytes.
func (s *server) broadcast(t *testing.T, message string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ws := range s.conns {
		w, err := ws.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := w.Write([]byte(message)); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func open(t *testing.T, plan Plan) *Readers {
	t.Helper()
	r, err := Open(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close the readers: %v", err)
		}
	})
	return r
}

func TestReaders(t *testing.T) {
	const connections, messages = 20, 500
	for _, c := range []struct {
		name      string
		size      int // of padding
		sample    int
		lines     bool
		text      string // after the time
		perText   int64
		latencies int
	}{
		{"small messages, each sampled", 10, 0, false, "", 1, connections * messages},
		{"messages in several frames, some sampled", 1_000, 10, false, "", 1, connections * messages / 10},
		{"several lines in a message", 300, 1, true, "\nx\n{\"t\":1}", 3, 2 * connections * messages},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, "too early", "")
			plan := s.plan(connections)
			plan.Sample, plan.Lines = c.sample, c.lines
			r := open(t, plan)
			begun := Now()
			for range messages {
				s.broadcast(t, fmt.Sprintf(`{"p":%q,"t":%d}%s`, strings.Repeat("x", c.size), Now(), c.text))
			}
			got := r.Await(t.Context(), connections*messages*c.perText, enough)
			if got.Deliveries != connections*messages*c.perText || got.Open != connections || got.Closed != 0 {
				t.Errorf("got %d deliveries, %d open, %d closed, want %d, %d and 0", got.Deliveries, got.Open, got.Closed, connections*messages*c.perText, connections)
			}
			if got.First < begun || got.Last < got.First || got.Last > Now() {
				t.Errorf("the first came at %d and the last at %d, in a run from %d to %d", got.First, got.Last, begun, Now())
			}
			if want := min(c.latencies, mostLatencies); len(got.Latency) != want {
				t.Errorf("got %d latencies, want %d", len(got.Latency), want)
			}
			if least := got.Latency[0]; least <= 0 || int64(least) > Now()-begun {
				t.Errorf("the least latency is %v, in a run of %v", least, time.Duration(Now()-begun))
			}
			if least := int64(connections * messages * (c.size + 20)); got.Bytes < least {
				t.Errorf("got %d bytes, want at least %d", got.Bytes, least)
			}
			if again := r.Await(t.Context(), 1, time.Millisecond); again.Deliveries != 0 || again.Open != connections {
				t.Errorf("nothing was sent since: got %d deliveries on %d connections", again.Deliveries, again.Open)
			}
		})
	}
}

// What comes with the answer to the subscription, or right after it, is counted;
// what comes before isn't.
func TestReadersBegin(t *testing.T) {
	s := serve(t, `{"t":1}`, `{"t":2}`)
	r := open(t, s.plan(3))
	if got := r.Await(t.Context(), 3, enough); got.Deliveries != 3 || len(got.Latency) != 3 {
		t.Errorf("got %d deliveries and %d latencies, want 3 and 3", got.Deliveries, len(got.Latency))
	}
	for range 3 {
		if got := <-s.first; got != "p sub" {
			t.Errorf("the server was asked %q, want %q", got, "p sub")
		}
		if got := <-s.pongs; got != "early" {
			t.Errorf("the pong holds %q, want %q", got, "early")
		}
	}
}

func TestReadersAnswerAndLose(t *testing.T) {
	s := serve(t, "", "")
	r := open(t, s.plan(2))
	s.mu.Lock()
	one, two := s.conns[0], s.conns[1]
	s.mu.Unlock()
	for range 2 {
		<-s.pongs // from before they were ready
	}
	if err := one.WriteControl(websocket.PingMessage, []byte("are you there"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := <-s.pongs; got != "are you there" {
		t.Errorf("the pong holds %q", got)
	}
	if err := one.WriteControl(websocket.CloseMessage, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := two.NetConn().Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	for {
		got := r.Await(ctx, 0, 0)
		if got.Open == 0 && got.Closed == 2 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("got %d open and %d closed, want 0 and 2", got.Open, got.Closed)
		}
		time.Sleep(time.Millisecond)
	}
}

// Who waits for more than comes gives up when nothing has come for a while, and
// is told what came; so is who is called off.
func TestAwaitGivesUp(t *testing.T) {
	s := serve(t, "", "")
	r := open(t, s.plan(1))
	const messages = 5
	for range messages {
		s.broadcast(t, "x")
	}
	if got := r.Await(t.Context(), messages+1, time.Second); got.Deliveries != messages {
		t.Errorf("got %d deliveries, want %d", got.Deliveries, messages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := r.Await(ctx, 1, enough); got.Deliveries != 0 || got.Open != 1 {
		t.Errorf("called off: got %d deliveries on %d connections, want 0 on 1", got.Deliveries, got.Open)
	}
	s.broadcast(t, "x")
	if got := r.Await(t.Context(), 1, enough); got.Deliveries != 1 {
		t.Errorf("afterwards: got %d deliveries, want 1", got.Deliveries)
	}
}

func TestStalledReadNothing(t *testing.T) {
	s := serve(t, "", "")
	plan := s.plan(1)
	plan.Stalled = true
	r := open(t, plan)
	s.mu.Lock()
	ws := s.conns[0]
	s.mu.Unlock()
	_ = ws.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	message := make([]byte, 64<<10)
	var err error
	for written := 0; err == nil && written < 64<<20; written += len(message) {
		err = ws.WriteMessage(websocket.BinaryMessage, message)
	}
	if err == nil {
		t.Error("64 MiB could be written to a connection that isn't read")
	}
	if got := r.Await(t.Context(), 0, 0); got.Deliveries != 0 || got.Open != 1 {
		t.Errorf("got %d deliveries, %d open, want 0 and 1", got.Deliveries, got.Open)
	}
}

func TestOpenRefused(t *testing.T) {
	s := serve(t, "", "")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Plan)
		want   string
	}{
		{"no connections", func(p *Plan) { p.Connections = 0 }, "0 connections can't be opened"},
		{"nobody listens", func(p *Plan) { p.Addr = gone.Addr().String() }, "refused"},
		{"another path", func(p *Plan) { p.Path = "/" }, "404 Not Found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := s.plan(3)
			c.change(&plan)
			r, err := Open(t.Context(), plan)
			if err == nil {
				_ = r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestProcess(t *testing.T) {
	s := serve(t, "", `{"t":1}`)
	p, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if _, err := p.Await(1, time.Second); err == nil {
		t.Error("a process without connections counts deliveries")
	}
	bad := s.plan(1)
	bad.Path = "/"
	if err := p.Connect(bad); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want that there is no WebSocket", err)
	}
	for _, connections := range []int{5, 7} {
		if err := p.Connect(s.plan(connections)); err != nil {
			t.Fatal(err)
		}
		got, err := p.Await(int64(connections), enough)
		if err != nil || got.Deliveries != int64(connections) || got.Open != connections || len(got.Latency) != connections {
			t.Errorf("got %d deliveries on %d connections, %d latencies and %v, want %d of each", got.Deliveries, got.Open, len(got.Latency), err, connections)
		}
		if now := Now(); got.Last > now || now-got.Last > int64(enough) {
			t.Errorf("its clock says %d, ours %d", got.Last, now)
		}
	}
}

func TestPace(t *testing.T) {
	const messages = 20
	for _, c := range []struct {
		name string
		rate int
	}{{"as fast as it goes", 0}, {"at a pace", 1_000}} {
		t.Run(c.name, func(t *testing.T) {
			var sent []int64
			took, err := Pace(t.Context(), messages, c.rate, func(i int, at int64) error {
				if i != len(sent) || Now() < at {
					t.Errorf("message %d was published as number %d, %v before it was due", i, len(sent), time.Duration(at-Now()))
				}
				sent = append(sent, at)
				return nil
			})
			if err != nil || len(sent) != messages {
				t.Fatalf("got %d messages and %v, want %d", len(sent), err, messages)
			}
			if c.rate == 0 {
				return
			}
			for i, at := range sent {
				if want := int64(i) * int64(time.Millisecond); at-sent[0] != want {
					t.Errorf("message %d was due %d ns after the first, want %d", i, at-sent[0], want)
				}
			}
			if least := (messages - 1) * time.Millisecond; took < least {
				t.Errorf("it took %v, want at least %v", took, least)
			}
		})
	}
}

func TestThin(t *testing.T) {
	samples := make([]time.Duration, 10*mostLatencies)
	for i := range samples {
		samples[i] = time.Duration(len(samples) - i)
	}
	got := thin(samples)
	if len(got) != mostLatencies || got[0] != 1 || got[len(got)-1] != time.Duration(len(samples)) {
		t.Fatalf("got %d from %d to %d, want %d from 1 to %d", len(got), got[0], got[len(got)-1], mostLatencies, len(samples))
	}
	if half := got[len(got)/2]; half < 49_990 || half > 50_010 {
		t.Errorf("the median is %d, want about 50000", half)
	}
}
