package api_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
)

// TestOneGoroutineWhileIdle has many subscribed connections do nothing: each is
// one goroutine of the server, which reads.
func TestOneGoroutineWhileIdle(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	s.http.Client().CloseIdleConnections()
	first := s.dial() // what is made once is there
	first.send(sub("s"))
	first.expect("ok")
	first.expect("caught_up")
	before := runtime.NumGoroutine()
	const many = 20
	for range many {
		k := s.dial()
		k.send(from("start", sub("s")))
		k.expect("ok")
		for k.next().Type != "caught_up" {
			continue
		}
	}
	eventually(t, "each connection has one goroutine", func() bool { return runtime.NumGoroutine() <= before+many })
	w.seen(w.send(1, 2, "news"))
	equal(t, "told", first.told("news"), []string{"message.seen news"})
}

// TestOverTLS serves connections that are no plain sockets.
func TestOverTLS(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	secure := httptest.NewTLSServer(s.server.Handler())
	defer secure.Close()
	trust, ok := secure.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport: got %T", secure.Client().Transport)
	}
	d := websocket.Dialer{Subprotocols: []string{client.Subprotocol}, TLSClientConfig: &tls.Config{RootCAs: trust.TLSClientConfig.RootCAs}}
	ws, _, err := d.Dial("wss"+strings.TrimPrefix(secure.URL, "https")+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	k := &socket{t, ws}
	k.expect("welcome")
	k.send(from("start", sub("s", client.Filter{Address: []string{address(2)}})))
	k.expect("ok")
	k.expect("caught_up")
	const last = 30
	for n := 1; n <= last; n++ {
		w.seen(w.send(1, 2, fmt.Sprint(n)))
	}
	var got []int
	for len(got) < last {
		got = append(got, number(t, k.expect("event").Message))
	}
	sequence(t, "over TLS", got, 1, last)
}

// TestGarbageIsShownOut sends nothing but garbage: it is answered for a while,
// then the connection is closed, with a code that asks not to come back. Others
// notice nothing.
func TestGarbageIsShownOut(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve(func(c *api.Config) { c.Timing.Fault = 20 * time.Millisecond })
	good, bad := s.dial(), s.dial()
	good.send(sub("s"))
	good.expect("ok")
	good.expect("caught_up")
	go func() {
		for {
			if bad.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"dance"}`)) != nil {
				return // closed
			}
		}
	}()
	answers := 0
	r := bad.next()
	for ; r.Type == "err"; r = bad.next() {
		answers++
	}
	equal(t, "bye", []any{r.Type, r.Code, r.Reconnect}, []any{"bye", client.CodeTooManyFaults, false})
	if answers < 50 {
		t.Errorf("answers before: got %d, want 50 at least", answers)
	}
	if _, _, err := bad.ws.ReadMessage(); !websocket.IsCloseError(err, client.CloseProtocol) {
		t.Errorf("close: got %v, want code %d", err, client.CloseProtocol)
	}
	_ = bad.ws.Close()
	w.seen(w.send(1, 2, "news"))
	equal(t, "others", good.told("news"), []string{"message.seen news"})
}

// TestManyRequestsAreReadLater asks for more than is allowed at once: all is
// answered.
func TestManyRequestsAreReadLater(t *testing.T) {
	s := newWorld(t).serve(func(c *api.Config) { c.Limits.Requests = 100 })
	k := s.dial()
	const many = 130
	for n := range many {
		k.send(client.Request{Type: "ping", ID: fmt.Sprint(n)})
	}
	for n := range many {
		equal(t, "answer", k.expect("ok").ID, fmt.Sprint(n))
	}
}
