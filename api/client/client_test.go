package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	for _, url := range []string{"", "localhost:80", "ftp://x", "http://", "http://x?y", "http://x#y", "http://[::1"} {
		if _, err := client.New(url); err == nil {
			t.Errorf("%q: got no error", url)
		}
	}
}

func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL + "/under/")
	if err != nil {
		t.Fatal(err)
	}
	c.MaxReply = 1000
	return c
}

func TestHostileAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		kind   string
		body   string
		want   string
	}{
		{"too large", 200, "application/json", strings.Repeat(" ", 1001), client.ErrTooLarge.Error()},
		{"not json", 200, "application/json", "<html>", "read /under/v1/names/a%2F..%2Fb: invalid character '<' looking for beginning of value"},
		{"of a proxy", 502, "text/html", "<html>", "server answered 502 http"},
		{"problem that is none", 404, "application/problem+json", "nonsense", "server answered 404 http"},
		{"problem", 404, "application/problem+json", `{"code":"not_found","detail":"no such name","status":200}`, "no such name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.EscapedPath() != "/under/v1/names/a%2F..%2Fb" {
					t.Errorf("path: got %s, want the name as one part of it", r.URL.EscapedPath())
				}
				w.Header().Set("Content-Type", test.kind)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := c.Name(t.Context(), "a/../b")
			if err == nil || strings.ReplaceAll(err.Error(), "/a/../b", "/a%2F..%2Fb") != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			var p *client.Problem
			if errors.As(err, &p) && p.Status != test.status {
				t.Errorf("status: got %d, want that of the answer, %d", p.Status, test.status)
			}
		})
	}
}

func TestPagesThatDontEnd(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"items":[{"id":"1"}],"next":"same","complete":false}`)
	})
	n := 0
	var last error
	for _, err := range c.AllMessages(t.Context(), client.MessageQuery{}) {
		n++
		last = err
	}
	if n != 3 || last == nil {
		t.Errorf("got %d items and %v, want 2 items and an error", n, last)
	}
}

func TestHostileSockets(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames []string
		binary bool
		want   string
	}{
		{"frame too large", []string{strings.Repeat(" ", 1001)}, false, client.ErrTooLarge.Error()},
		{"not json", []string{"nonsense"}, false, "the server sends a frame that can't be read: invalid character 'o' in literal null (expecting 'u')"},
		{"binary", []string{"{}"}, true, "the server sends frames that aren't text"},
		{"event without cursor", []string{`{"type":"event"}`}, false, "the server sends an event without a cursor"},
		{"refusal", []string{`{"type":"err","code":"bad_address","detail":"no address"}`}, false, "no address"},
		{"bye for good", []string{`{"type":"bye","code":"moved"}`}, false, "the server says bye: moved"},
		{"the same event twice", []string{`{"type":"event","cursor":"1","kind":"k"}`, `{"type":"event","cursor":"1","kind":"k"}`, `{"type":"bye","code":"x"}`},
			false, "event, the server says bye: x"},
		{"unknown frames", []string{`{"type":"news"}`, `{"type":"bye","code":"x"}`}, false, "the server says bye: x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				up := websocket.Upgrader{Subprotocols: []string{client.Subprotocol}}
				ws, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close() //nolint:errcheck // the test is over
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
				kind := websocket.TextMessage
				if test.binary {
					kind = websocket.BinaryMessage
				}
				for _, f := range test.frames {
					_ = ws.WriteMessage(kind, []byte(f))
				}
				_, _, _ = ws.ReadMessage()
			})
			var got []string
			for e, err := range c.Subscribe(t.Context(), nil, client.SubscribeOptions{Silence: 10 * time.Second}) {
				if err != nil {
					got = append(got, err.Error())
					continue
				}
				if e.Kind != "k" {
					t.Errorf("kind: got %q, want k", e.Kind)
				}
				got = append(got, "event")
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %s, want %s", strings.Join(got, ", "), test.want)
			}
		})
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"code":"origin_refused","detail":"not you"}`)
	})
	for _, err := range c.Subscribe(t.Context(), nil, client.SubscribeOptions{}) {
		if err == nil || err.Error() != "not you" {
			t.Errorf("refused handshake: got %v, want not you", err)
		}
	}
}

// TestSubmitOverAClosingConnection: a server that goes closes connections on which
// a transaction is just being sent; it is sent again on another.
func TestSubmitOverAClosingConnection(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		if key, ok := r.Header["X-Idempotency-Key"]; ok {
			t.Errorf("the server was sent the key %q", key)
		}
		if asked.Add(1) == 2 {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"txid":"ab","frames":[]}`)
	}))
	defer server.Close()
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if _, err := c.Submit(t.Context(), []byte("raw")); err != nil {
			t.Errorf("transaction %d: %v", n+1, err)
		}
	}
	if got := asked.Load(); got != 3 {
		t.Errorf("the server was asked %d times, want 3: the second was asked again", got)
	}
}
