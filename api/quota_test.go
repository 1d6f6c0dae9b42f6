package api_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer/broadcast"
)

func TestQuota(t *testing.T) {
	s := newWorld(t).serve(func(c *api.Config) {
		c.LimitLoopback = true
		c.Limits.Quota = client.Quota{Units: 5, Seconds: 3600}
		c.Keys = []api.Key{{Name: "friend", Hash: sha256.Sum256([]byte("secret")), Quota: client.Quota{Units: 100, Seconds: 60}}}
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	contract := newContract(t, s.document(t)) // costs the loopback address one unit
	from := func(hops string) []string { return []string{"X-Forwarded-For", hops} }
	for _, test := range []struct {
		name, path string
		headers    []string
		status     int
		policy     string
		limit      string
	}{
		{"costs one", "/v1/info", from("192.0.2.1"), 200, `"default";q=5;w=3600`, `"default";r=4;t=720`},
		{"costs two", "/v1/messages?limit=1", from("192.0.2.1"), 200, `"default";q=5;w=3600`, `"default";r=2;t=2160`},
		{"what is refused costs one", "/v1/messages?nonsense=1", from("192.0.2.1"), 400, `"default";q=5;w=3600`, `"default";r=1;t=2880`},
		{"more than is left", "/v1/messages?limit=1", from("192.0.2.1"), 429, `"default";q=5;w=3600`, `"default";r=1;t=2880`},
		{"what is left", "/v1/nothing", from("192.0.2.1"), 404, `"default";q=5;w=3600`, `"default";r=0;t=3600`},
		{"used up", "/v1/info", from("192.0.2.1"), 429, `"default";q=5;w=3600`, `"default";r=0;t=3600`},
		{"free", "/healthz", from("192.0.2.1"), 200, "", ""},
		{"another address", "/v1/info", from("192.0.2.2"), 200, `"default";q=5;w=3600`, `"default";r=4;t=720`},
		{"a hop that the client made up", "/v1/info", from("9.9.9.9, 192.0.2.2"), 200, `"default";q=5;w=3600`, `"default";r=3;t=1440`},
		{"a proxy behind a proxy", "/v1/info", from("192.0.2.2, 127.0.0.2"), 200, `"default";q=5;w=3600`, `"default";r=2;t=2160`},
		{"IPv4 in IPv6", "/v1/info", from("::ffff:192.0.2.2"), 200, `"default";q=5;w=3600`, `"default";r=1;t=2880`},
		{"IPv6", "/v1/info", from("2001:db8::1"), 200, `"default";q=5;w=3600`, `"default";r=4;t=720`},
		{"the same /64", "/v1/info", from("2001:db8::ffff:2"), 200, `"default";q=5;w=3600`, `"default";r=3;t=1440`},
		{"another /64", "/v1/info", from("2001:db8:0:1::1"), 200, `"default";q=5;w=3600`, `"default";r=4;t=720`},
		{"no address", "/v1/info", from("nonsense"), 200, `"default";q=5;w=3600`, `"default";r=3;t=1440`},
		{"a key", "/v1/info", append(from("192.0.2.1"), "Authorization", "Bearer secret"), 200, `"key";q=100;w=60`, `"key";r=99;t=1`},
		{"a key that costs", "/v1/messages?limit=1000", append(from("192.0.2.3"), "Authorization", "bearer secret"), 200, `"key";q=100;w=60`, ""},
	} {
		resp, body := s.get(t, test.path, test.headers...)
		if path, _, _ := strings.Cut(test.path, "?"); resp.StatusCode != 404 {
			contract.check(t, test.name, "GET", path, resp, []byte(body))
		}
		got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("RateLimit-Policy"))
		equal(t, test.name, got, fmt.Sprint(test.status, " ", test.policy))
		if limit := resp.Header.Get("RateLimit"); test.limit != "" && limit != test.limit {
			t.Errorf("%s: RateLimit: got %s, want %s", test.name, limit, test.limit)
		}
		if test.status == 429 && !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(resp.Header.Get("Retry-After")) {
			t.Errorf("%s: Retry-After: got %q, want seconds", test.name, resp.Header.Get("Retry-After"))
		}
	}
	keyed := *s.client
	keyed.Key = "secret"
	if _, err := keyed.Info(t.Context()); err != nil {
		t.Errorf("client with a key: got %v, want no error", err)
	}
}

func TestLoopbackIsExempt(t *testing.T) {
	s := newWorld(t).serve(func(c *api.Config) { c.Limits.Quota = client.Quota{Units: 1, Seconds: 3600} })
	for range 5 {
		resp, _ := s.get(t, "/v1/info", "X-Forwarded-For", "192.0.2.1") // nobody is trusted to say so
		equal(t, "status", fmt.Sprint(resp.StatusCode, resp.Header.Get("RateLimit")), "200")
	}
}

// Sockets and streams have places, together and for each address, and give them
// back.
func TestConnectionLimits(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve(func(c *api.Config) {
		c.LimitLoopback = true
		c.Limits.Connections, c.Limits.PrefixConnections = 4, 2
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	dial := func(from string) (*websocket.Conn, int) {
		ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.http.URL, "http")+"/v1/ws", http.Header{"X-Forwarded-For": {from}})
		if resp == nil {
			t.Fatal(err)
		}
		return ws, resp.StatusCode
	}
	listen := func(from string) *reader {
		return s.stream(t, "/v1/events", "Accept", acceptSSE, "X-Forwarded-For", from)
	}
	a, status := dial("192.0.2.1")
	equal(t, "first", status, 101)
	equal(t, "second", listen("192.0.2.1").resp.StatusCode, 200)
	_, status = dial("192.0.2.1")
	equal(t, "third socket of an address", status, 429)
	equal(t, "third stream of an address", listen("192.0.2.1").resp.StatusCode, 429)
	b := listen("192.0.2.2")
	equal(t, "of another address", b.resp.StatusCode, 200)
	equal(t, "fourth in all", listen("192.0.2.3").resp.StatusCode, 200)
	equal(t, "fifth in all", listen("192.0.2.4").resp.StatusCode, 503)
	_ = a.Close()
	b.close()
	eventually(t, "a place is free again", func() bool {
		ws, status := dial("192.0.2.1")
		if ws != nil {
			_ = ws.Close()
		}
		return status == 101
	})
}

func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	var submitted atomic.Int64
	var fails atomic.Pointer[error]
	s := w.serve(func(c *api.Config) {
		c.Submit = func(_ context.Context, b []byte) (frame.Hash, error) {
			submitted.Add(1)
			if err := fails.Load(); err != nil {
				return frame.Hash{}, *err
			}
			return frame.HashOf(b), nil
		}
	})
	unavailable, refused := errors.New("down"), error(&broadcast.Refused{Reason: "fee too low"})
	for _, test := range []struct {
		name, key, body string
		fails           *error
		status          int
		code            string
		replayed        bool
		submitted       int64
	}{
		{"without a key", "", "aa", nil, 202, "", false, 1},
		{"again without a key", "", "aa", nil, 202, "", false, 2},
		{"with a key", "one", "aa", nil, 202, "", false, 3},
		{"again", "one", "aa", nil, 202, "", true, 3},
		{"though nobody could be asked now", "one", "aa", &unavailable, 202, "", true, 3},
		{"in capitals", "one", "AA", nil, 202, "", true, 3},
		{"another body", "one", "bb", nil, 422, "idempotency_conflict", false, 3},
		{"another key", "two", "aa", nil, 202, "", false, 4},
		{"refused", "three", "cc", &refused, 422, "node_refused", false, 5},
		{"refused again", "three", "cc", nil, 422, "node_refused", true, 5},
		{"unavailable", "four", "dd", &unavailable, 503, "unavailable", false, 6},
		{"available again", "four", "dd", nil, 202, "", false, 7},
	} {
		fails.Store(test.fails)
		headers := []string{"Content-Type", "text/plain"}
		if test.key != "" {
			headers = append(headers, "Idempotency-Key", test.key)
		}
		resp, body := s.ask(t, "POST", "/v1/transactions", test.body, headers...)
		equal(t, test.name, fmt.Sprint(resp.StatusCode, resp.Header.Get("Idempotency-Replayed") == "true", submitted.Load()),
			fmt.Sprint(test.status, test.replayed, test.submitted))
		if test.code != "" {
			checkProblem(t, test.name, resp, body, test.code)
		}
	}
	fails.Store(nil)
	for range 2 {
		if _, err := s.client.SubmitOnce(t.Context(), []byte("xyz"), "five"); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "by the client", submitted.Load(), int64(8))
}

// While a request with a key is being answered, the same key is told to wait.
func TestIdempotencyKeyInUse(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := newWorld(t).serve(func(c *api.Config) {
		c.Submit = func(_ context.Context, b []byte) (frame.Hash, error) {
			close(begun)
			<-finish
			return frame.HashOf(b), nil
		}
	})
	headers := []string{"Content-Type", "text/plain", "Idempotency-Key", "k"}
	first := make(chan int)
	go func() {
		resp, err := http.DefaultClient.Do(request(t, s, "aa", headers))
		if err != nil {
			first <- 0
			return
		}
		_ = resp.Body.Close()
		first <- resp.StatusCode
	}()
	<-begun
	resp, body := s.ask(t, "POST", "/v1/transactions", "aa", headers...)
	checkProblem(t, "meanwhile", resp, body, "idempotency_busy")
	equal(t, "Retry-After", resp.Header.Get("Retry-After"), "1")
	close(finish)
	equal(t, "the first", <-first, 202)
}

func request(t *testing.T, s *served, body string, headers []string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.http.URL+"/v1/transactions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}
