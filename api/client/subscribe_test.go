package client_test

import (
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

// sockets is a server that gives every connection, by its number, to a function.
func sockets(t *testing.T, compress bool, serveOne func(n int, ws *websocket.Conn, header http.Header)) *client.Client {
	t.Helper()
	connections := make(chan int, 1)
	connections <- 0
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{client.Subprotocol}, EnableCompression: compress}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		defer ws.Close() //nolint:errcheck // the test is over
		n := <-connections
		connections <- n + 1
		serveOne(n, ws, r.Header)
	})
}

// quickly is how a test reconnects.
var quickly = client.SubscribeOptions{MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, Silence: 10 * time.Second}

// TestSubscribeResumes loses its connection in every way that asks it back: each
// request goes on where the one before ended, with every field of its filters.
func TestSubscribeResumes(t *testing.T) {
	filter := client.Filter{
		Address: []string{"a"}, Name: []string{"n"}, Peer: []string{"p"}, Type: []string{"t"}, Encryption: []string{"e"}, State: []string{"seen"},
		Since: 1, Until: 2, MinHeight: 3, MaxHeight: 4,
	}
	blocks := client.Filter{Blocks: true}
	lives := []struct {
		frames []string
		asks   string // for what, less what is always the same
	}{
		{[]string{`{"type":"event","cursor":"1","kind":"k1"}`}, `"from":"start"`},
		{[]string{`{"type":"event","cursor":"2","kind":"k2"}`, `{"type":"bye","code":"shutting_down","reconnect":true,"after_ms":1}`}, `"cursor":"1"`},
		{[]string{`{"type":"err","code":"unavailable","retryable":true,"retry_after_ms":1}`}, `"cursor":"2"`},
		{[]string{`{"type":"event","cursor":"2","kind":"k2"}`, `{"type":"caught_up","cursor":"5","complete":true}`, `{"type":"closed","code":"slow_consumer","cursor":"5"}`}, `"cursor":"2"`},
		{[]string{`{"type":"event","cursor":"6","kind":"k6"}`, `{"type":"closed","code":"cursor_expired","cursor":"0","detail":"made anew"}`}, `"cursor":"5"`},
	}
	c := sockets(t, false, func(n int, ws *websocket.Conn, _ http.Header) {
		var got json.RawMessage
		if err := ws.ReadJSON(&got); err != nil || n >= len(lives) {
			t.Errorf("connection %d: %v", n, err)
			return
		}
		want := `{"type":"sub","id":"1","filter":[{"address":["a"],"name":["n"],"peer":["p"],"type":["t"],"encryption":["e"],"state":["seen"],` +
			`"since":1,"until":2,"min_height":3,"max_height":4},{"blocks":true}],` + lives[n].asks + `}`
		if string(got) != want {
			t.Errorf("connection %d: got %s, want %s", n, got, want)
		}
		for _, frame := range lives[n].frames {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(frame))
		}
	})
	options := quickly
	options.From = "start"
	caught := ""
	options.CaughtUp = func(cursor string) { caught = cursor }
	var kinds []string
	var last error
	for e, err := range c.Subscribe(t.Context(), []client.Filter{filter, blocks}, options) {
		if last = err; err == nil {
			kinds = append(kinds, e.Kind)
		}
	}
	if got := strings.Join(kinds, " "); got != "k1 k2 k6" || caught != "5" {
		t.Errorf("got events %s and caught up at %q, want k1 k2 k6 and 5", got, caught)
	}
	var p *client.Problem
	if !errors.As(last, &p) || p.Code != client.CodeCursorExpired || p.Cursor != "0" {
		t.Errorf("end: got %v, want cursor_expired and where to start", last)
	}
}

// TestSubscribeCompressed asks for compression only when told to, and inflates no
// frame beyond what it would accept as sent.
func TestSubscribeCompressed(t *testing.T) {
	for _, test := range []struct {
		name     string
		compress bool
		body     int // bytes of a text that deflates well
		want     string
	}{
		{"not asked for", false, 100, "k"},
		{"asked for", true, 100, "k"},
		{"a frame that grows too large", true, 1_000_000, client.ErrTooLarge.Error()},
	} {
		c := sockets(t, true, func(_ int, ws *websocket.Conn, header http.Header) {
			if got := strings.Contains(header.Get("Sec-Websocket-Extensions"), "permessage-deflate"); got != test.compress {
				t.Errorf("%s: got compression offered: %v, want %v", test.name, got, test.compress)
			}
			_ = ws.SetCompressionLevel(flate.BestCompression) // a valid level
			_, _, _ = ws.ReadMessage()
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"event","cursor":"1","kind":"k","reason":"`+strings.Repeat("x", test.body)+`"}`))
			_, _, _ = ws.ReadMessage()
		})
		options := quickly
		options.Compress = test.compress
		ctx, cancel := context.WithCancel(t.Context())
		got := "nothing"
		for e, err := range c.Subscribe(ctx, nil, options) {
			if got = e.Kind; err != nil {
				got = err.Error()
			}
			cancel()
		}
		cancel()
		if got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
