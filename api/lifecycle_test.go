package api_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

func TestHandshake(t *testing.T) {
	s := newWorld(t).serve(func(c *api.Config) { c.AllowedOrigins = []string{"https://good.example"} })
	url := "ws" + strings.TrimPrefix(s.http.URL, "http") + "/v1/ws"
	for _, test := range []struct {
		name, origin, protocol string
		status                 int
	}{
		{"program", "", client.Subprotocol, 101},
		{"no subprotocol", "", "", 101},
		{"own page", s.http.URL, client.Subprotocol, 101},
		{"allowed page", "https://good.example", client.Subprotocol, 101},
		{"foreign page", "https://evil.example", client.Subprotocol, 403},
		{"sandboxed page", "null", client.Subprotocol, 403},
		{"other subprotocol", "", "metaim.v9.json", 400},
	} {
		d, h := websocket.Dialer{}, map[string][]string{}
		if test.protocol != "" {
			d.Subprotocols = []string{test.protocol}
		}
		if test.origin != "" {
			h["Origin"] = []string{test.origin}
		}
		ws, resp, err := d.Dial(url, h)
		if resp == nil {
			t.Fatal(err)
		}
		equal(t, test.name, resp.StatusCode, test.status)
		if err == nil {
			_ = ws.Close()
		}
	}
}

func TestByeJoinsEverything(t *testing.T) {
	w := newWorld(t)
	w.mine()
	before := runtime.NumGoroutine()
	s := w.serve()
	sockets := []*socket{s.dial(), s.dial(), s.dial()}
	for _, k := range sockets {
		k.send(from("start", sub("s")))
		k.expect("ok")
		k.expect("caught_up")
	}
	silent := s.dial() // never reads again: it can't hold the server up
	_ = silent
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	for _, k := range sockets {
		bye := k.expect("bye")
		equal(t, "bye", []any{bye.Code, bye.Reconnect}, []any{client.CodeShutdown, true})
		if bye.AfterMS < 0 || bye.AfterMS > 50 {
			t.Errorf("after_ms: got %d, want 0 to 50", bye.AfterMS)
		}
		_, _, err := k.ws.ReadMessage()
		if !websocket.IsCloseError(err, client.CloseReconnect) {
			t.Errorf("close: got %v, want code %d", err, client.CloseReconnect)
		}
	}
	<-stopped
	for _, k := range append(sockets, silent) {
		_ = k.ws.Close()
	}
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// An otherHistory is an index that can be made anew.
type otherHistory struct {
	api.Index
	anew *atomic.Bool
}

type otherEpoch struct{ index.View }

func (otherEpoch) Epoch() (string, error) { return "made anew", nil }

func (o otherHistory) View(ctx context.Context, read func(index.View) error) error {
	return o.Index.View(ctx, func(v index.View) error {
		if o.anew.Load() {
			v = otherEpoch{v}
		}
		return read(v)
	})
}

func TestAnotherHistoryIsSaid(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var anew atomic.Bool
	s := w.serve(func(c *api.Config) { c.Index = otherHistory{w.store, &anew} })
	k := s.dial()
	k.send(sub("s"))
	k.expect("ok")
	k.expect("caught_up")
	var got error
	ended := make(chan struct{})
	caught := make(chan struct{})
	go func() {
		defer close(ended)
		options := client.SubscribeOptions{MinBackoff: time.Millisecond, CaughtUp: func(string) { close(caught) }}
		for _, err := range s.client.Subscribe(t.Context(), nil, options) {
			got = err
		}
	}()
	<-caught
	anew.Store(true)
	equal(t, "bye", k.expect("bye").Code, client.CodeHistory)
	<-ended
	var p *client.Problem
	if !errors.As(got, &p) || p.Code != client.CodeCursorExpired || p.Cursor == "" {
		t.Errorf("subscribe: got %v, want cursor_expired with where to start", got)
	}
}
