package api_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
)

// A fault is a request that is refused.
type fault struct {
	name, method, path, asked string
	body                      string
	headers                   []string
	status                    int
	code, sentence            string // sentence: a part of it
}

// concrete fills the parameters of a path with values that could be.
func concrete(path string) string {
	zeros := strings.Repeat("0", 64)
	return strings.NewReplacer("{id}", zeros, "{txid}", zeros, "{name}", "nobody", "{address}", address(1)).Replace(path)
}

// faults are what can be done wrong on every route, made from the document.
func (c *contract) faults() []fault {
	var all []fault
	for _, o := range c.operations() {
		method, path := o[0], o[1]
		if method == "HEAD" {
			continue
		}
		at := concrete(path)
		add := func(name, asked string, status int, code, sentence string, headers ...string) {
			all = append(all, fault{name, method, path, asked, "", headers, status, code, sentence})
		}
		add("unknown parameter", at+"?nonsense=1", 400, "bad_query", `there is no parameter "nonsense" here; there are: `)
		add("unknown parameter of a hostile name", at+"?"+strings.Repeat("x", 3000)+"=1", 400, "bad_query", "there is no parameter of such a name here")
		add("query that can't be read", at+"?a=%zz", 400, "bad_query", "the query can't be read")
		add("query with a semicolon", at+"?a=1;b=2", 400, "bad_query", "the query can't be read")
		add("too long", at+"?a="+strings.Repeat("x", 9000), 414, "uri_too_long", "path and query may have 8192 bytes")
		add("large headers", at, 431, "headers_too_large", "the headers may have 32768 bytes", "X-Much", strings.Repeat("x", 40000))
		add("unknown key", at, 401, "bad_key", "the key in Authorization is none of this server's", "Authorization", "Bearer nonsense")
		add("other authorization", at, 401, "bad_key", "the key in Authorization is none of this server's", "Authorization", "Basic eDp5")
		if path != "/v1/ws" && path != "/v1/messages/{id}/content" {
			add("not acceptable", at, 406, "not_acceptable", "this route answers with ", "Accept", "image/x-nothing")
			add("refused by weight", at, 406, "not_acceptable", "this route answers with ", "Accept", "*/*;q=0")
		}
		parameters, _ := c.operation(method, path)["parameters"].([]any)
		for _, one := range parameters {
			p := one.(map[string]any)
			name := p["name"].(string)
			shape := p["schema"].(map[string]any)
			if p["in"] == "path" {
				bad := strings.ReplaceAll(path, "{"+name+"}", "%FF%FE")
				add("path not UTF-8", concrete(bad), 400, "bad_path", "the path is not UTF-8")
				long := strings.ReplaceAll(path, "{"+name+"}", strings.Repeat("x", 1000))
				add("long "+name, concrete(long), 400, "", "the parameter "+name+" may have ")
			}
			if p["in"] != "query" {
				continue
			}
			add("twice "+name, at+"?"+name+"=1&"+name+"=1", 400, "bad_query", "the parameter "+name+" stands more than once")
			add("empty "+name, at+"?"+name+"=", 400, "", "the parameter "+name+" is empty")
			add("not UTF-8 "+name, at+"?"+name+"=%FF", 400, "", "the parameter "+name+" is not UTF-8")
			if _, ok := shape["maxLength"]; ok {
				add("long "+name, at+"?"+name+"="+strings.Repeat("x", 2000), 400, "", "the parameter "+name+" may have ")
			}
			if shape["type"] == "integer" {
				for _, n := range []string{"-1", "99999999999999999999", "x", "1.5", "0x1"} {
					add(name+" "+n, at+"?"+name+"="+n, 400, "", name+" must be ")
				}
			}
			if shape["type"] == "array" {
				add("empty value of "+name, at+"?"+name+"=a,,b", 400, "", "")
				add("many "+name, at+"?"+name+"="+strings.Repeat("a,", 200)+"a", 400, "too_many", "the parameter "+name+" may have ")
			}
			if shape["enum"] != nil || shape["type"] == "boolean" {
				add("unknown "+name, at+"?"+name+"=nonsense", 400, "", name+` "nonsense" is none of `)
			}
		}
	}
	return all
}

// Every route refuses what it can't take: with the status, the code and the
// sentence that the document has, and without a word from inside.
func TestBadInputOnEveryRoute(t *testing.T) {
	f := newFilled(t)
	before := runtime.NumGoroutine()
	mainnet := frame.Main.Address(key(1).KeyHash())
	zeros := strings.Repeat("0", 64)
	event, message := encodeCursor("e1:another"), encodeCursor("m1:another")
	info, err := f.client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	faults := f.contract.faults()
	get := func(name, path, asked string, status int, code, sentence string, headers ...string) {
		faults = append(faults, fault{name, "GET", path, asked, "", headers, status, code, sentence})
	}
	post := func(name, body string, status int, code, sentence string, headers ...string) {
		if len(headers)%2 == 0 && !slices.Contains(headers, "Content-Type") {
			headers = append(headers, "Content-Type", "application/octet-stream")
		}
		faults = append(faults, fault{name, "POST", "/v1/transactions", "/v1/transactions", body, headers, status, code, sentence})
	}
	for _, path := range []string{"/v1/messages", "/v1/conversations", "/v1/events"} {
		get("wrong network", path, path+"?address="+mainnet, 400, "bad_address", "network")
		get("no address", path, path+"?address=x", 400, "bad_address", `"x"`)
		get("bad name", path, path+"?name=a%2Fb", 400, "bad_name", `"a/b"`)
	}
	get("wrong network", "/v1/addresses/{address}", "/v1/addresses/"+mainnet, 400, "bad_address", "network")
	get("wrong network", "/v1/addresses/{address}/coins", "/v1/addresses/"+mainnet+"/coins", 400, "bad_address", "network")
	get("unknown name", "/v1/messages", "/v1/messages?name=nobody", 404, "not_found", `name "nobody" is not registered`)
	get("unknown name", "/v1/conversations", "/v1/conversations?name=nobody", 404, "not_found", `name "nobody" is not registered`)
	get("nobody's", "/v1/conversations", "/v1/conversations", 400, "bad_query", "give either address or name")
	get("both", "/v1/conversations", "/v1/conversations?name=bob&address="+address(1), 400, "bad_query", "give either address or name")
	get("peer alone", "/v1/events", "/v1/events?peer=bob", 400, "bad_filter", "peer needs address or name")
	get("after and from", "/v1/events", "/v1/events?from=now&after="+info.Cursor, 400, "bad_query", "after and from can't stand together")
	get("follow as JSON", "/v1/events", "/v1/events?follow=true", 400, "bad_query", "follow is for NDJSON")
	get("limit of a stream", "/v1/events", "/v1/events?limit=5", 400, "bad_query", "limit is for pages", "Accept", "text/event-stream")
	get("before as lines", "/v1/messages", "/v1/messages?before="+encodeCursor("m1:x"), 400, "bad_query", "before is for pages", "Accept", "application/x-ndjson")
	get("nothing to search for", "/v1/messages", "/v1/messages?q=%21%21", 400, "bad_search", "there is no word in q")
	get("too much to search for", "/v1/messages", "/v1/messages?q=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q", 400, "bad_search", "q may have 16 words")
	for path, asked := range map[string]string{
		"/v1/messages": "/v1/messages?", "/v1/conversations": "/v1/conversations?address=" + address(1) + "&",
		"/v1/addresses/{address}/coins": "/v1/addresses/" + address(1) + "/coins?", "/v1/events": "/v1/events?",
	} {
		of := map[string]string{"/v1/messages": "m", "/v1/conversations": "c", "/v1/addresses/{address}/coins": "o", "/v1/events": "e"}[path]
		get("no cursor", path, asked+"after=%21%21", 400, "bad_cursor", "the cursor isn't one that this server gave")
		get("cursor of another list", path, asked+"after="+encodeCursor("x1:another"), 400, "bad_cursor", "the cursor is of another list")
		get("negative cursor", path, asked+"after="+encodeCursor(of+"-1:x"), 400, "bad_cursor", "the cursor isn't one that this server gave")
		get("cursor of another epoch", path, asked+"after="+encodeCursor(of+"1:another"), 410, "cursor_expired", "the index was made anew")
	}
	get("cursor of another epoch, stream", "/v1/events", "/v1/events?after="+event, 410, "cursor_expired", "made anew", "Accept", "text/event-stream")
	get("Last-Event-ID of another epoch", "/v1/events", "/v1/events", 410, "cursor_expired", "made anew", "Accept", "text/event-stream", "Last-Event-ID", event)
	get("cursor of another epoch, lines", "/v1/messages", "/v1/messages?after="+message, 410, "cursor_expired", "made anew", "Accept", "application/x-ndjson")
	ahead := strings.Replace(cursorText(t, info.Cursor), "e", "e9", 1)
	get("cursor ahead of the index", "/v1/events", "/v1/events?after="+encodeCursor(ahead), 503, "unavailable", "ahead of this index")
	for _, path := range []string{"/v1/messages/{id}", "/v1/messages/{id}/content"} {
		asked := func(id string) string { return strings.Replace(path, "{id}", id, 1) }
		get("unknown id", path, asked(zeros), 404, "not_found", "no message "+zeros+" is in the index")
		get("no id", path, asked("xyz"), 400, "bad_id", `"xyz" is neither a frame id nor txid:vout`)
		get("no output", path, asked(zeros+":x"), 400, "bad_id", `"x" is no number of an output`)
	}
	get("content of what can't be read", "/v1/messages/{id}/content", "/v1/messages/"+f.unreadable.ID.String()+":0/content", 404, "not_found", "this message can't be read")
	content := "/v1/messages/" + f.text.Frames[0].ID.String() + "/content"
	for _, r := range []string{"bytes=99-", "bytes=x-y", "bytes=5-2", "bytes=-0", "bytes=0-1,zzz", "bytes=" + strings.Repeat("0-1,", 8) + "0-1"} {
		get("range "+r, "/v1/messages/{id}/content", content, 416, "bad_range", "the content has 11 bytes", "Range", r)
	}
	get("unknown id", "/v1/transactions/{txid}", "/v1/transactions/"+zeros, 404, "not_found", "the index holds no transaction")
	get("no id", "/v1/transactions/{txid}", "/v1/transactions/1", 400, "bad_id", `"1" is no transaction id`)
	get("unknown name", "/v1/names/{name}", "/v1/names/nobody", 404, "not_found", `name "nobody" is not registered`)
	get("unknown name", "/v1/names/{name}/history", "/v1/names/nobody/history", 404, "not_found", "no operation on the name")
	get("control character", "/v1/names/{name}", "/v1/names/%1B%5B31m", 400, "bad_name", `"\x1b[31m"`)
	get("other subprotocol", "/v1/ws", "/v1/ws", 400, "bad_subprotocol", "the subprotocol here is", "Sec-WebSocket-Protocol", "x")
	get("no handshake", "/v1/ws", "/v1/ws", 400, "bad_handshake", "websocket")
	get("foreign page", "/v1/ws", "/v1/ws", 403, "origin_refused", "pages of this origin", "Origin", "https://evil.example")
	post("body too large", strings.Repeat("x", 1001), 413, "too_large", "a transaction may have 1000 bytes")
	post("wrong media type", "x", 415, "media_type", `not "image/png"`, "Content-Type", "image/png")
	post("media type that can't be read", "x", 415, "media_type", `not "\x01\x02"`[:4], "Content-Type", ";;")
	post("no body", "", 400, "bad_body", "the body is empty")
	post("no hexadecimal", "xyz", 400, "bad_body", "the transaction is not in hexadecimal", "Content-Type", "text/plain")
	post("no JSON", "{", 400, "bad_body", `the body is not JSON {"raw": "hexadecimal"}`, "Content-Type", "application/json")
	post("JSON of another shape", `{"tx":1}`, 400, "bad_body", `the body is not JSON`, "Content-Type", "application/json")
	post("no transaction", "x", 400, "bad_transaction", "it ends early")
	post("long key", "x", 400, "bad_idempotency_key", "Idempotency-Key must have 1 to 255 printable", "Idempotency-Key", strings.Repeat("k", 256))
	post("key not ASCII", "x", 400, "bad_idempotency_key", "Idempotency-Key must have 1 to 255 printable", "Idempotency-Key", "schlüssel")
	post("foreign page", "x", 403, "origin_refused", "pages of this origin", "Origin", "https://evil.example")
	for _, one := range faults {
		what := one.method + " " + one.asked[:min(len(one.asked), 120)] + ", " + one.name
		resp, body := f.try(t, what, one.method, one.path, one.asked, one.body, one.headers...)
		checkFault(t, what, one, resp, body)
	}
	f.http.CloseClientConnections()
	f.http.Client().CloseIdleConnections()
	eventually(t, "nothing of the requests stays", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func cursorText(t *testing.T, text string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// inside are words that no answer may have: they tell how the server is made.
var inside = []string{"sqlite", "SQL", ".go:", "panic", "goroutine", "runtime error", "127.0.0.1", "/tmp", "strconv", "context deadline", "json:", "invalid character", "tcp"}

func checkFault(t *testing.T, what string, want fault, resp *http.Response, body string) {
	t.Helper()
	var p client.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%s: no problem: %d %.300q", what, resp.StatusCode, body)
		return
	}
	if resp.StatusCode != want.status || want.code != "" && p.Code != want.code || !strings.Contains(p.Detail, want.sentence) {
		t.Errorf("%s: got %d %s %q, want %d %s %q", what, resp.StatusCode, p.Code, p.Detail, want.status, want.code, want.sentence)
	}
	for _, word := range inside {
		if strings.Contains(p.Detail+p.Title+p.Type, word) {
			t.Errorf("%s: the answer says %q: %s", what, word, body)
		}
	}
	if len(body) > 1200 {
		t.Errorf("%s: the problem has %d bytes", what, len(body))
	}
	equal(t, what+": cache", resp.Header.Get("Cache-Control"), "no-store")
	retry := resp.Header.Get("Retry-After") != ""
	equal(t, what+": Retry-After", retry, resp.StatusCode == 429 || resp.StatusCode == 503)
}

// Methods that a route doesn't take, and paths that are none.
func TestWrongMethodsAndPaths(t *testing.T) {
	f := newFilled(t)
	allowed := map[string]string{}
	for _, o := range f.contract.operations() {
		allowed[o[1]] = strings.Trim(allowed[o[1]]+", "+o[0], ", ")
	}
	allowed["/v1/ws"] = "GET, HEAD"
	for path, allow := range allowed {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			resp, body := f.ask(t, method, concrete(path), "")
			checkProblem(t, method+" "+path, resp, body, "method_not_allowed")
			equal(t, method+" "+path, fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Allow")), "405 "+allow)
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/nothing", "/v1/messages/", "/v1//messages", "/v1/./messages", "/v1/x/../messages", "/v1/info/", "/%2e%2e/etc/passwd", "/v1/messages/a/b/c", "/V1/info"} {
		resp, body := f.ask(t, "GET", path, "")
		equal(t, path, resp.StatusCode, 404)
		checkProblem(t, path, resp, body, "not_found")
	}
	resp, _ := f.ask(t, "OPTIONS", "/v1/info", "", "Origin", f.http.URL, "Access-Control-Request-Method", "GET")
	equal(t, "preflight", fmt.Sprint(resp.StatusCode, resp.Header.Get("Access-Control-Allow-Origin")), "204"+f.http.URL)
	for _, origin := range []string{"", f.http.URL, "https://evil.example"} {
		resp, _ := f.ask(t, "GET", "/v1/info", "", "Origin", origin)
		if !slices.Contains(resp.Header.Values("Vary"), "Origin") {
			t.Errorf("origin %q: Vary is %q, want Origin in it", origin, resp.Header.Values("Vary"))
		}
	}
}

// Whoever sends a body slowly, or stops, is told so and let go.
func TestSlowClients(t *testing.T) {
	f := newFilled(t, func(c *api.Config) { c.Timing.Request = 200 * time.Millisecond })
	for _, test := range []struct {
		name, sent string
		close      bool
		status     int
		code       string
	}{
		{"stops within the body", "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n00", false, 408, "slow_body"},
		{"ends within the body", "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n00", true, 400, "bad_body"},
		{"chunk that is none", "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, 400, "bad_body"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", f.http.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // done with
			if _, err := io.WriteString(conn, test.sent); err != nil {
				t.Fatal(err)
			}
			if test.close {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close() //nolint:errcheck // read to its end
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			f.contract.check(t, test.name, "POST", "/v1/transactions", resp, body)
			checkFault(t, test.name, fault{status: test.status, code: test.code}, resp, string(body))
		})
	}
}

// What goes wrong inside is said without its words.
func TestFaultsInsideStayInside(t *testing.T) {
	w := newWorld(t)
	s := w.serve(func(c *api.Config) { c.Logger = nil })
	c := newContract(t, s.document(t))
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []string{"/v1/info", "/v1/messages", "/v1/events", "/v1/names/bob", "/v1/conversations?address=" + url.QueryEscape(address(1))} {
		path, _, _ := strings.Cut(strings.Replace(asked, "bob", "{name}", 1), "?")
		resp, body := s.get(t, asked)
		c.check(t, asked, "GET", path, resp, []byte(body))
		checkFault(t, asked, fault{status: resp.StatusCode, sentence: "something failed in this server"}, resp, body)
		equal(t, asked, resp.StatusCode, 500)
	}
}
