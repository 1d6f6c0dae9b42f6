package api_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
)

// proxied makes a server believe who its visitors say they are: so one test has
// many addresses.
func proxied(c *api.Config) {
	c.LimitLoopback = true
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

func takesAll(c *api.Config) {
	c.Submit = func(_ context.Context, raw []byte) (frame.Hash, error) { return frame.HashOf(raw), nil }
}

// A neighbour is a visitor who does nothing wrong while another is at a limit: he
// listens, asks and hands in, and must notice nothing.
type neighbour struct {
	s    *served
	from []string
	ws   *websocket.Conn
}

func newNeighbour(t *testing.T, s *served) *neighbour {
	t.Helper()
	n := &neighbour{s: s, from: []string{"X-Forwarded-For", "198.51.100.7"}}
	n.ws = s.dialFrom(t, "198.51.100.7", nil)
	say(t, n.ws, `{"type":"sub","id":"n","filter":[{"blocks":true}]}`)
	hearType(t, n.ws, "caught_up")
	return n
}

// check tells whether he is served as ever: a block reaches him, a question and a
// transaction are answered.
func (n *neighbour) check(t *testing.T, when string) {
	t.Helper()
	n.s.mine()
	hearType(t, n.ws, "event")
	resp, _ := n.s.get(t, "/v1/info", n.from...)
	equal(t, when+": the neighbour's question", resp.StatusCode, 200)
	resp, _ = n.s.ask(t, "POST", "/v1/transactions", "aa", append([]string{"Content-Type", "text/plain"}, n.from...)...)
	equal(t, when+": the neighbour's transaction", resp.StatusCode, 202)
}

func (s *served) dialFrom(t *testing.T, from string, header http.Header) *websocket.Conn {
	t.Helper()
	h := http.Header{"X-Forwarded-For": {from}}
	for name, values := range header {
		h[name] = values
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.http.URL, "http")+"/v1/ws", h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	hearType(t, ws, "welcome")
	return ws
}

func say(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// hearType reads until a message of a type comes; err comes instead only when it
// is waited for.
func hearType(t *testing.T, ws *websocket.Conn, kind string) client.Reply {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %s: %v", kind, err)
		}
		var r client.Reply
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		if r.Type == kind {
			return r
		}
		if r.Type == "err" {
			t.Fatalf("waiting for %s: got %s", kind, data)
		}
	}
}

// cutOff waits until the other side closes a connection, and returns what it said
// before.
func cutOff(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	said, err := io.ReadAll(c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("after 20 s the connection is open still; it said %q", said)
	}
	return string(said)
}

func (s *served) socket(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.http.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestHeldBytesOfBodies: bodies that don't end are held up to a bound for each
// address; who is beyond it is refused, and what was held is given back.
func TestHeldBytesOfBodies(t *testing.T) {
	s := newWorld(t).serve(proxied, takesAll, func(c *api.Config) {
		c.Limits.HeldBytes, c.Limits.PrefixHeldBytes = 1<<20, 300_000
	})
	n := newNeighbour(t, s)
	var open []net.Conn
	for range 2 {
		c := s.socket(t)
		fmt.Fprintf(c, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 90000\r\n\r\n%s", strings.Repeat("a", 45_000))
		open = append(open, c)
	}
	// A third one that comes before these may take their room.
	eventually(t, "both bodies are held", func() bool { return s.server.HeldBytes() >= 2*3*45_000 })
	full := func(from string) int {
		resp, body := s.ask(t, "POST", "/v1/transactions", strings.Repeat("aa", 20_000), "Content-Type", "text/plain", "X-Forwarded-For", from)
		if resp.StatusCode == 429 {
			checkProblem(t, "beyond the bound", resp, body, "held_bytes")
		}
		return resp.StatusCode
	}
	equal(t, "a third body", full("192.0.2.1"), 429)
	equal(t, "of another address", full("192.0.2.2"), 202)
	n.check(t, "while bodies hang")
	for _, c := range open {
		_ = c.Close()
	}
	eventually(t, "there is room again", func() bool { return full("192.0.2.1") == 202 })
}

// TestHeldBytesInAll: many addresses together are bounded too.
func TestHeldBytesInAll(t *testing.T) {
	s := newWorld(t).serve(proxied, takesAll, func(c *api.Config) {
		c.Limits.HeldBytes, c.Limits.PrefixHeldBytes = 200_000, 150_000
	})
	c := s.socket(t)
	fmt.Fprintf(c, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 90000\r\n\r\n%s", strings.Repeat("a", 40_000))
	eventually(t, "a body of another address is refused", func() bool {
		resp, body := s.ask(t, "POST", "/v1/transactions", strings.Repeat("aa", 20_000), "Content-Type", "text/plain", "X-Forwarded-For", "192.0.2.2")
		if resp.StatusCode == 503 {
			checkProblem(t, "beyond the bound", resp, body, "unavailable")
		}
		return resp.StatusCode == 503
	})
	resp, _ := s.ask(t, "POST", "/v1/transactions", "aa", "Content-Type", "text/plain", "X-Forwarded-For", "192.0.2.3")
	equal(t, "a small one of a third", resp.StatusCode, 202)
}

// TestHeldBytesOfSubscriptions: what subscriptions ask for is bounded for all
// connections of an address together, and given back.
func TestHeldBytesOfSubscriptions(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve(proxied, takesAll, func(c *api.Config) { c.Limits.PrefixHeldBytes = 12_000 })
	n := newNeighbour(t, s)
	names := func(from, to int) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf("%q", fmt.Sprintf("n%d", i)))
		}
		return strings.Join(all, ",")
	}
	a, b := s.dialFrom(t, "192.0.2.1", nil), s.dialFrom(t, "192.0.2.1", nil)
	say(t, a, `{"type":"sub","id":"one","filter":[{"name":[`+names(0, 70)+`]}]}`)
	hearType(t, a, "caught_up")
	refused := func(request string) client.Reply {
		t.Helper()
		say(t, b, request)
		_, data, err := b.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var r client.Reply
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := refused(`{"type":"sub","id":"two","filter":[{"name":[` + names(0, 70) + `]}]}`)
	equal(t, "of another connection", fmt.Sprint(r.Type, r.Code, r.Retryable), "errheld_bytestrue")
	n.check(t, "while an address follows all it may")
	say(t, a, `{"type":"unsub","id":"x","sub":"one"}`)
	hearType(t, a, "ok")
	say(t, b, `{"type":"sub","id":"two","filter":[{"name":[`+names(0, 70)+`]}]}`)
	hearType(t, b, "caught_up")
	r = refused(`{"type":"mod","id":"m","sub":"two","add":[{"name":[` + names(100, 150) + `]}]}`)
	equal(t, "by mod", fmt.Sprint(r.Type, r.Code), "errheld_bytes")
	_ = b.Close()
	eventually(t, "a closed connection gives back what it had", func() bool {
		say(t, a, `{"type":"sub","id":"three","filter":[{"name":[`+names(0, 70)+`]}]}`)
		_, data, err := a.ReadMessage()
		return err == nil && bytes.Contains(data, []byte(`"ok"`))
	})
}

// TestHeldBytesOfMessages: messages that don't end are bounded as bodies are; the
// connection that goes beyond is closed, and its neighbour isn't.
func TestHeldBytesOfMessages(t *testing.T) {
	s := newWorld(t).serve(proxied, takesAll, func(c *api.Config) { c.Limits.PrefixHeldBytes = 100_000 })
	n := newNeighbour(t, s)
	a, b := s.dialFrom(t, "192.0.2.1", nil), s.dialFrom(t, "192.0.2.1", nil)
	begin := func(ws *websocket.Conn) {
		// The first 60,000 bytes of a message of 120,000, masked with zeros.
		head := append([]byte{0x81, 0xff}, binary.BigEndian.AppendUint64(nil, 120_000)...)
		if _, err := ws.NetConn().Write(append(append(head, 0, 0, 0, 0), bytes.Repeat([]byte{'a'}, 60_000)...)); err != nil {
			t.Fatal(err)
		}
	}
	begin(a)
	begin(b)
	closed := make(chan int, 2)
	for _, ws := range []*websocket.Conn{a, b} {
		go func() {
			_, _, err := ws.ReadMessage()
			code := 0
			if c, ok := err.(*websocket.CloseError); ok {
				code = c.Code
			}
			closed <- code
		}()
	}
	equal(t, "one of the two", <-closed, websocket.CloseTryAgainLater)
	n.check(t, "while a message hangs")
}

// TestBomb: a small message that inflates to much closes its connection, and no
// more than a message may have is ever inflated.
func TestBomb(t *testing.T) {
	s := newWorld(t).serve(proxied, takesAll)
	n := newNeighbour(t, s)
	var bomb bytes.Buffer
	z, _ := flate.NewWriter(&bomb, flate.BestCompression)
	for range 32 {
		_, _ = z.Write(make([]byte, 1<<20))
	}
	_ = z.Flush()
	payload := bytes.TrimSuffix(bomb.Bytes(), []byte("\x00\x00\xff\xff"))
	if len(payload) > 60_000 {
		t.Fatalf("the bomb has %d bytes: too many to be a message", len(payload))
	}
	for range 20 {
		dialer := websocket.Dialer{EnableCompression: true}
		ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(s.http.URL, "http")+"/v1/ws", http.Header{"X-Forwarded-For": {"192.0.2.1"}})
		if err != nil {
			t.Fatal(err)
		}
		head := append([]byte{0xc1, 0xfe}, binary.BigEndian.AppendUint16(nil, uint16(len(payload)))...)
		if _, err := ws.NetConn().Write(append(append(head, 0, 0, 0, 0), payload...)); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
		if !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
			t.Fatalf("got %v, want close 1009", err)
		}
		_ = ws.Close()
	}
	n.check(t, "after bombs")
}

// TestSlowRequests: who sends or reads a request byte by byte, or not at all,
// loses the connection; those beside him are served.
func TestSlowRequests(t *testing.T) {
	s := newWorld(t).serve(proxied, takesAll, func(c *api.Config) {
		c.Timing.Request, c.Timing.Write = 2*time.Second, 2*time.Second
	})
	n := newNeighbour(t, s)
	tests := []struct{ name, request, says string }{
		{"a body that doesn't come", "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\naa", "408 "},
		{"a body in pieces that don't end", "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\naa\r\n", "408 "},
		{"a body where none belongs", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", "200 "},
		{"a body of no route", "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", "404 "},
		{"a body of a page of elsewhere", "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nContent-Length: 100\r\n\r\n", "403 "},
	}
	var open []net.Conn
	for _, test := range tests {
		c := s.socket(t)
		fmt.Fprint(c, test.request)
		open = append(open, c)
	}
	for i, test := range tests {
		if said := cutOff(t, open[i]); !strings.HasPrefix(said, "HTTP/1.1 "+test.says) {
			t.Errorf("%s: got %.60q, want %s", test.name, said, test.says)
		}
	}
	// Answers that nobody reads: requests are sent until the server takes no more.
	c := s.socket(t)
	gone := make(chan error, 1)
	go func() {
		for {
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(c, strings.Repeat("GET /v1/nothing HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", 100)); err != nil {
				gone <- err
				return
			}
		}
	}()
	n.check(t, "while answers aren't read")
	err := <-gone
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("answers that nobody reads: after 20 s the connection is open still")
	}
	n.check(t, "after slow requests")
}

// TestWriteKeys: a server with tokens takes transactions from who shows one, by
// either way, and from nobody else.
func TestWriteKeys(t *testing.T) {
	s := newWorld(t).serve(takesAll, func(c *api.Config) {
		c.WriteKeys = true
		c.Keys = []api.Key{
			{Name: "writer", Hash: sha256.Sum256([]byte("good")), Writes: true},
			{Name: "reader", Hash: sha256.Sum256([]byte("reads"))},
		}
	})
	contract := newContract(t, s.document(t))
	for _, test := range []struct {
		name, key string
		status    int
		code, pub string
	}{
		{"none", "", 401, "key_required", "key_required"},
		{"one that is good for reading", "reads", 401, "key_required", "key_required"},
		{"one that isn't the server's", "bad", 401, "bad_key", ""},
		{"the hash of a good one", fmt.Sprintf("%x", sha256.Sum256([]byte("good"))), 401, "bad_key", ""},
		{"a good one", "good", 202, "", "ok"},
	} {
		headers := []string{"Content-Type", "text/plain"}
		dialed := http.Header{}
		if test.key != "" {
			headers = append(headers, "Authorization", "Bearer "+test.key)
			dialed.Set("Authorization", "Bearer "+test.key)
		}
		resp, body := s.ask(t, "POST", "/v1/transactions", "aa", headers...)
		contract.check(t, test.name, "POST", "/v1/transactions", resp, []byte(body))
		equal(t, test.name, resp.StatusCode, test.status)
		if test.code != "" {
			checkProblem(t, test.name, resp, body, test.code)
			equal(t, test.name+": WWW-Authenticate", resp.Header.Get("WWW-Authenticate"), "Bearer")
		}
		resp, _ = s.get(t, "/v1/info", headers[2:]...)
		equal(t, test.name+": reading", resp.StatusCode == 200, test.code != "bad_key")
		if test.pub == "" {
			continue
		}
		ws := s.dialFrom(t, "", dialed)
		say(t, ws, `{"type":"pub","id":"p","tx":"aa"}`)
		_, data, err := ws.ReadMessage()
		if err != nil || !strings.Contains(string(data), `"`+test.pub+`"`) {
			t.Errorf("%s: pub: got %s, %v, want %s", test.name, data, err, test.pub)
		}
	}
	info, err := s.client.Info(t.Context())
	if err != nil || !info.SubmitsNeedKey {
		t.Errorf("info: got %+v, %v, want submits_need_key", info, err)
	}
	written := *s.client
	written.Key = "good"
	if _, err := written.Submit(t.Context(), []byte{1}); err != nil {
		t.Errorf("client with the key: got %v, want no error", err)
	}
}

// TestPubIsCharged: handing in costs the same over a WebSocket, from the same
// quota.
func TestPubIsCharged(t *testing.T) {
	s := newWorld(t).serve(proxied, takesAll, func(c *api.Config) { c.Limits.Quota = client.Quota{Units: 20, Seconds: 3600} })
	ws := s.dialFrom(t, "192.0.2.1", nil) // 5 units
	var got []string
	for range 4 {
		say(t, ws, `{"type":"pub","id":"p","tx":"aa"}`)
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var r client.Reply
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(r.Type, r.Code, r.RetryAfterMS > 0))
	}
	equal(t, "pub", strings.Join(got, " "), "okfalse okfalse okfalse errquotatrue")
	resp, body := s.ask(t, "POST", "/v1/transactions", "aa", "Content-Type", "text/plain", "X-Forwarded-For", "192.0.2.1")
	checkProblem(t, "by POST after that", resp, body, "quota")
	resp, _ = s.ask(t, "POST", "/v1/transactions", "aa", "Content-Type", "text/plain", "X-Forwarded-For", "192.0.2.2")
	equal(t, "of another", resp.StatusCode, 202)
}

// TestCrossSite: a page of elsewhere can't hand in anything, whatever form it
// sends, nor open a WebSocket; pages of ours and programs can.
func TestCrossSite(t *testing.T) {
	var taken sync.Map
	s := newWorld(t).serve(func(c *api.Config) {
		c.AllowedOrigins = []string{"https://friend.example"}
		c.Submit = func(_ context.Context, raw []byte) (frame.Hash, error) {
			taken.Store(string(raw), true)
			return frame.HashOf(raw), nil
		}
	})
	for i, test := range []struct {
		name, origin, kind string
		status             int
	}{
		{"a form as plain text", "https://evil.example", "text/plain", 403},
		{"a form as plain text in UTF-8", "https://evil.example", "text/plain;charset=UTF-8", 403},
		{"a form", "https://evil.example", "application/x-www-form-urlencoded", 403},
		{"a form with files", "https://evil.example", "multipart/form-data; boundary=x", 403},
		{"bytes", "https://evil.example", "application/octet-stream", 403},
		{"a page in a frame without origin", "null", "text/plain", 403},
		{"another scheme", "ftp://friend.example", "text/plain", 403},
		{"a name that begins alike", "https://friend.example.evil.example", "text/plain", 403},
		{"another port", "https://friend.example:8443", "text/plain", 403},
		{"a friend", "https://friend.example", "text/plain", 202},
		{"our own page", s.http.URL, "text/plain", 202},
		{"a program", "", "text/plain", 202},
	} {
		body := fmt.Sprintf("%02x", i+1)
		headers := []string{"Content-Type", test.kind}
		if test.origin != "" {
			headers = append(headers, "Origin", test.origin)
		}
		resp, _ := s.ask(t, "POST", "/v1/transactions", body, headers...)
		equal(t, test.name, resp.StatusCode, test.status)
		equal(t, test.name+": may the page read the answer", resp.Header.Get("Access-Control-Allow-Origin") != "", test.status == 202 && test.origin != "")
		_, was := taken.Load(string([]byte{byte(i + 1)}))
		equal(t, test.name+": handed in", was, test.status == 202)
		h := http.Header{}
		if test.origin != "" {
			h.Set("Origin", test.origin)
		}
		ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.http.URL, "http")+"/v1/ws", h)
		if resp == nil {
			t.Fatal(err)
		}
		if ws != nil {
			_ = ws.Close()
		}
		equal(t, test.name+": WebSocket", resp.StatusCode, map[bool]int{true: 101, false: 403}[test.status == 202])
	}
}

// TestStreamsOverHTTP2: a stream stays open through a silence that is longer than
// a write may take.
func TestStreamsOverHTTP2(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve(func(c *api.Config) {
		c.Timing.Write, c.Timing.Ping = 100*time.Millisecond, 400*time.Millisecond
		c.Timing.Poll = 20 * time.Millisecond
	})
	secure := httptest.NewUnstartedServer(s.server.Handler())
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", secure.URL+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", acceptSSE)
	resp, err := secure.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	equal(t, "protocol", resp.Proto, "HTTP/2.0")
	lines := bufio.NewScanner(resp.Body)
	beats := 0
	for lines.Scan() && beats < 2 {
		if lines.Text() == ":" {
			beats++
		}
	}
	equal(t, "beats between which nothing is written", beats, 2)
	w.mine()
	for lines.Scan() && !strings.Contains(lines.Text(), "block.connected") {
	}
	if !strings.Contains(lines.Text(), "block.connected") {
		t.Errorf("after the silence: got no block, %v", lines.Err())
	}
}
