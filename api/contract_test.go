package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A filled world has something of everything that routes tell about.
type filled struct {
	*served
	text, picture, unreadable *index.Transaction
	contract                  *contract
}

var submittable = []byte("a transaction")

func newFilled(t *testing.T, configure ...func(*api.Config)) *filled {
	t.Helper()
	w := newWorld(t)
	f := &filled{text: w.send(1, 2, "hello world"), picture: w.send(2, 1, "\x89PNG\r\n\x1a\n...", func(m *improtocol.Message) { m.Type = "image" })}
	key := w.tx(1, nil, w.message(1, address(1), `{"kty":"RSA"}`, func(m *improtocol.Message) { m.Type = improtocol.KeyRecord }))
	key.Outputs = nil // to nobody
	f.unreadable = w.tx(3, []frame.KeyHash{key2(1)}, &index.Frame{Protocol: frame.IM, Malformed: "the output ends early"})
	for _, tx := range []*index.Transaction{f.text, f.picture, key, f.unreadable} {
		for i := range tx.Outputs {
			tx.Amounts = append(tx.Amounts, index.Amount{Output: uint32(i + 1), Satoshis: 1000})
		}
	}
	w.seen(f.text)
	w.mine(f.text, w.operate(nprotocol.Register, "bob", 1, 0))
	w.mine(key, f.unreadable, w.operate(nprotocol.Register, "carol", 2, 0))
	w.seen(f.picture, w.tx(1, []frame.KeyHash{key2(2)}, w.message(3, address(1), "forged")), w.operate(nprotocol.Transfer, "bob", 1, 2))
	tx := w.send(4, 5, "handed in")
	f.served = w.serve(append([]func(*api.Config){func(c *api.Config) {
		c.Limits.TransactionBytes = 1000
		c.Read = func(b []byte) (*index.Transaction, error) {
			if !bytes.Equal(b, submittable) {
				return nil, errors.New("it ends early")
			}
			return tx, nil
		}
		c.Prove = func(*index.Transaction) {} // it is
		c.Submit = func(_ context.Context, b []byte) (frame.Hash, error) { return frame.HashOf(b), nil }
	}}, configure...)...)
	f.contract = newContract(t, f.document(t))
	return f
}

func key2(n byte) frame.KeyHash { return key(n).KeyHash() }

// A contract is the OpenAPI document, to hold replies against.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
	met      map[string]bool // operation and status
}

func newContract(t *testing.T, doc map[string]any) *contract {
	t.Helper()
	c := &contract{doc: doc, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, met: map[string]bool{}}
	if err := c.compiler.AddResource("https://server.example/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return c
}

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// operations returns the method and path of every operation.
func (c *contract) operations() [][2]string {
	var all [][2]string
	for path, item := range c.doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			all = append(all, [2]string{strings.ToUpper(method), path})
		}
	}
	slices.SortFunc(all, func(a, b [2]string) int { return strings.Compare(a[1]+a[0], b[1]+b[0]) })
	return all
}

func (c *contract) operation(method, path string) map[string]any {
	item, _ := c.doc["paths"].(map[string]any)[path].(map[string]any)
	o, _ := item[strings.ToLower(method)].(map[string]any)
	return o
}

// valid checks a value against the schema at a place of the document.
func (c *contract) valid(t *testing.T, what, pointer string, body []byte) {
	t.Helper()
	s := c.schemas[pointer]
	if s == nil {
		var err error
		if s, err = c.compiler.Compile("https://server.example/openapi.json#" + pointer); err != nil {
			t.Fatalf("%s: %v", pointer, err)
		}
		c.schemas[pointer] = s
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("%s: no JSON: %v in %.200q", what, err, body)
		return
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%s: %v\nin %.600s", what, err, body)
	}
}

// check holds a reply against what the document says of its operation.
func (c *contract) check(t *testing.T, what, method, path string, resp *http.Response, body []byte) {
	t.Helper()
	o := c.operation(method, path)
	if o == nil {
		t.Errorf("%s: the document has no %s %s", what, method, path)
		return
	}
	status := fmt.Sprint(resp.StatusCode)
	c.met[method+" "+path+" "+status] = true
	rep, ok := o["responses"].(map[string]any)[status].(map[string]any)
	if !ok {
		t.Errorf("%s: the document doesn't list the status %s: %.300s", what, status, body)
		return
	}
	if len(body) == 0 {
		return // HEAD, 304
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		t.Errorf("%s: media type: %v", what, err)
	}
	content, _ := rep["content"].(map[string]any)
	pointer := "/paths/" + escape(path) + "/" + strings.ToLower(method) + "/responses/" + status + "/content/"
	full := resp.Header.Get("Content-Type")
	switch {
	case content[kind] != nil && strings.HasSuffix(kind, "json") && kind != "application/x-ndjson":
		c.valid(t, what, pointer+escape(kind)+"/schema", body)
	case kind == "application/x-ndjson" && content[kind] != nil:
		for line := range bytes.Lines(body) {
			if len(bytes.TrimSpace(line)) > 0 {
				c.valid(t, what, pointer+escape(kind)+"/schema/x-line", line)
			}
		}
	case content[kind] == nil && content[full] == nil && content["*/*"] == nil:
		t.Errorf("%s: the document doesn't list the media type %s", what, kind)
	}
	if kind != "application/problem+json" {
		return
	}
	var p client.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	codes, _ := rep["x-codes"].([]any)
	if !slices.Contains(codes, any(p.Code)) {
		t.Errorf("%s: the document doesn't list the code %s of %s: %s", what, p.Code, status, p.Detail)
	}
	if p.Detail == "" || p.Status != resp.StatusCode || p.RequestID == "" || p.Retryable != (p.Status == 408 || p.Status == 409 || p.Status == 429 || p.Status >= 500 && p.Status != 501) {
		t.Errorf("%s: incomplete problem %s", what, body)
	}
}

// try sends a request of an operation and holds the reply against the document.
func (f *filled) try(t *testing.T, what, method, path, asked, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.http.URL+asked, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := f.http.Client().Do(req)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	f.contract.check(t, what, method, path, resp, got)
	return resp, string(got)
}

// An example is a request that its operation answers well.
type example struct {
	method, path, asked string
	body                string
	headers             []string
	status              int
}

func (f *filled) examples() []example {
	id := f.text.Frames[0].ID.String()
	place := f.text.ID.String() + ":0"
	lines := []string{"Accept", "application/x-ndjson"}
	get := func(path, asked string, headers ...string) example {
		return example{method: "GET", path: path, asked: asked, headers: headers, status: 200}
	}
	return []example{
		get("/v1/info", "/v1/info"), get("/healthz", "/healthz"), get("/readyz", "/readyz"),
		get("/openapi.json", "/openapi.json"), get("/docs", "/docs"), get("/docs", "/docs", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
		get("/v1/messages", "/v1/messages"), get("/v1/messages", "/v1/messages?state=refused"),
		get("/v1/messages", "/v1/messages?address="+address(1)+"&peer="+address(2)+"&order=oldest&limit=1&type=text"),
		get("/v1/messages", "/v1/messages?name=carol&peer=bob&state=confirmed"),
		get("/v1/messages", "/v1/messages?q=hello+WOR*"), get("/v1/messages", "/v1/messages", lines...),
		get("/v1/messages", "/v1/messages?limit=1&order=oldest", lines...),
		get("/v1/messages/{id}", "/v1/messages/"+id), get("/v1/messages/{id}", "/v1/messages/"+place),
		get("/v1/messages/{id}", "/v1/messages/"+f.unreadable.ID.String()+":0"),
		get("/v1/messages/{id}/content", "/v1/messages/"+id+"/content"),
		{"GET", "/v1/messages/{id}/content", "/v1/messages/" + id + "/content", "", []string{"Range", "bytes=2-4"}, 206},
		{"GET", "/v1/messages/{id}/content", "/v1/messages/" + id + "/content", "", []string{"If-Match", `"x"`}, 412},
		get("/v1/conversations", "/v1/conversations?address="+address(1)), get("/v1/conversations", "/v1/conversations?name=carol&limit=1"),
		get("/v1/names/{name}", "/v1/names/bob"), get("/v1/names/{name}/history", "/v1/names/bob/history"),
		get("/v1/addresses/{address}", "/v1/addresses/"+address(1)), get("/v1/addresses/{address}", "/v1/addresses/"+address(99)),
		get("/v1/addresses/{address}/coins", "/v1/addresses/"+address(2)+"/coins?limit=1"),
		{"POST", "/v1/transactions", "/v1/transactions", string(submittable), []string{"Content-Type", "application/octet-stream", "Idempotency-Key", "k"}, 202},
		get("/v1/transactions/{txid}", "/v1/transactions/"+f.text.ID.String()), get("/v1/transactions/{txid}", "/v1/transactions/"+f.unreadable.ID.String()),
		get("/v1/events", "/v1/events"), get("/v1/events", "/v1/events?limit=2&name=bob,carol&state=seen,confirmed&blocks=true"),
		get("/v1/events", "/v1/events?address="+address(1)+","+address(2)+"&peer=carol&type=text&encryption=plain&since=1&until=9999999999&min_height=0&max_height=5"),
		get("/v1/events", "/v1/events?from=now"), get("/v1/events", "/v1/events?limit=3", lines...), get("/v1/events", "/v1/events", lines...),
		{"GET", "/v1/ws", "/v1/ws", "", nil, 400},
		get("/v1/headers", "/v1/headers?count=1"),
	}
}

// Every operation of the document is asked for what it has, and every reply is as
// the document says: status, media type and shape.
func TestContract(t *testing.T) {
	f := newFilled(t)
	for _, e := range f.examples() {
		resp, body := f.try(t, e.method+" "+e.asked, e.method, e.path, e.asked, e.body, e.headers...)
		if resp.StatusCode != e.status {
			t.Errorf("%s %s: got %d %s, want %d", e.method, e.asked, resp.StatusCode, body, e.status)
			continue
		}
		if e.method != "GET" || e.status != 200 {
			continue
		}
		if f.contract.operation("HEAD", e.path) == nil {
			t.Errorf("HEAD %s isn't in the document", e.path)
		}
		head, empty := f.try(t, "HEAD "+e.asked, "HEAD", e.path, e.asked, "", e.headers...)
		equal(t, "HEAD "+e.asked, fmt.Sprint(head.StatusCode, len(empty), head.Header.Get("ETag"), head.Header.Get("Content-Type")),
			fmt.Sprint(200, 0, resp.Header.Get("ETag"), resp.Header.Get("Content-Type")))
		tag := resp.Header.Get("ETag")
		if tag == "" && resp.Header.Get("Cache-Control") == "no-store" {
			continue // a stream
		}
		if len(tag) < 10 || tag[0] != '"' {
			t.Errorf("%s: got the tag %s, want a strong one", e.asked, tag)
		}
		same, empty := f.try(t, "If-None-Match "+e.asked, "GET", e.path, e.asked, "", append(slices.Clone(e.headers), "If-None-Match", `W/"x", `+tag)...)
		equal(t, "If-None-Match "+e.asked, fmt.Sprint(same.StatusCode, len(empty), same.Header.Get("ETag")), fmt.Sprint(304, 0, tag))
	}
	for _, o := range f.contract.operations() {
		met := slices.ContainsFunc([]string{"200", "202", "400"}, func(status string) bool { return f.contract.met[o[0]+" "+o[1]+" "+status] })
		if !met && o[1] != "/v1/messages/{id}/proof" { // which has a test of its own, with blocks that prove
			t.Errorf("%s %s was never asked", o[0], o[1])
		}
	}
}
