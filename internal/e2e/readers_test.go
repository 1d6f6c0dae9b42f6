package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/testnode"
)

// A shelf holds messages by their id, as a reader was told them last, in JSON as
// it came.
type shelf struct {
	told  map[string]string
	waits string // the id of one that isn't confirmed
}

func newShelf() *shelf { return &shelf{told: map[string]string{}} }

// put takes a message in, if it is one of those that are compared. How deep it is
// in the chain grows while one reads: that one field is left out.
func (s *shelf) put(t testing.TB, of map[string]bool, raw json.RawMessage) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatalf("%v: %.200s", err, raw)
	}
	var id string
	if err := json.Unmarshal(fields["id"], &id); err != nil {
		t.Fatalf("%v: %.200s", err, raw)
	}
	if !of[id] {
		return
	}
	depth := fmt.Sprintf(`"confirmations":%s,`, fields["confirmations"])
	if n := bytes.Count(raw, []byte(depth)); n != 1 {
		t.Fatalf("%d times %s in %.300s", n, depth, raw)
	}
	s.told[id] = strings.Replace(string(raw), depth, "", 1)
}

// whole tells whether all are there, and confirmed. A reader asks after every
// event: what it waited for last time is looked at first.
func (s *shelf) whole(of map[string]bool) bool {
	confirmed := func(id string) bool { return strings.Contains(s.told[id], `"state":"confirmed"`) }
	if s.waits != "" && !confirmed(s.waits) {
		return false
	}
	for id := range of {
		if !confirmed(id) {
			s.waits = id
			return false
		}
	}
	return true
}

// TestEveryReader: 1,000 messages are the same bytes by HTTP pages of any size,
// as NDJSON, over WebSocket, as SSE and in the command line, while others are
// written.
func TestEveryReader(t *testing.T) {
	t.Parallel()
	const messages = 1000
	node := testnode.Start(t)
	s := serve(t, following(node)...)
	w := newWallet(t, t.TempDir(), "bob")
	alice, bob := newAuthor(t), authorOf(t, w.keys["bob"])
	alice.fund(node)
	submit(t, alice.register("alice").raw, node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	texts := []string{"message", "<b>&amp; \"quoted\" \\ back", "\x00\x01\x1b[31m", "not UTF-8 \xff\xfe", "\u202egnirts 😀 e\u0301", strings.Repeat("long ", 300), "][plain][", ""}
	of := map[string]bool{}
	for i := range messages {
		source := []string{"", "alice"}[i%2]
		m := alice.message(source, fmt.Sprintf("%s %d", texts[i%len(texts)], i), bob.hash())
		submit(t, m.raw, node)
		of[m.id.String()] = true
		if i%300 == 299 {
			testnode.Mine(t, node, 1)
		}
	}
	testnode.Mine(t, node, 1)
	s.awaitMined(node)
	s.awaitTip(node)

	// From here on others are written, and blocks come.
	stopMining := mineAlong(t, node, 500*time.Millisecond)
	defer stopMining()
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if _, err := node.RPC().SendRawTransaction(t.Context(), alice.message("", fmt.Sprintf("later %d", n), bob.hash()).raw); err != nil {
				t.Errorf("send: %v", err)
				break
			}
			time.Sleep(50 * time.Millisecond) // a pace, nothing is waited for
		}
		written <- n
	}()

	r := &everyReader{t: t, s: s, of: of, bob: bob.address()}
	want := r.pages(1000, "oldest")
	if !want.whole(of) {
		t.Fatalf("pages of 1,000 hold %d of %d messages", len(want.told), messages)
	}
	readers := []struct {
		name string
		read func() *shelf
	}{
		{"pages of 1,000, newest first", func() *shelf { return r.pages(1000, "newest") }},
		{"pages of 333", func() *shelf { return r.pages(333, "newest") }},
		{"pages of 50, oldest first", func() *shelf { return r.pages(50, "oldest") }},
		{"pages of 7", func() *shelf { return r.pages(7, "newest") }},
		{"NDJSON of messages", func() *shelf { return r.stream("/v1/messages", "application/x-ndjson", false) }},
		{"pages of events", r.eventPages},
		{"NDJSON of events", func() *shelf { return r.stream("/v1/events", "application/x-ndjson", false) }},
		{"SSE", func() *shelf { return r.stream("/v1/events", "text/event-stream", true) }},
		{"WebSocket", r.socket},
		{"metaim inbox", func() *shelf { return r.command(w, "inbox", "--json", "--limit", "1000000") }},
		{"metaim watch", func() *shelf { return r.watch(w) }},
	}
	for _, reader := range readers {
		began := time.Now()
		got := reader.read()
		t.Logf("%s: %s", reader.name, time.Since(began).Round(time.Millisecond))
		differ := 0
		for id := range of {
			if got.told[id] != want.told[id] {
				if differ++; differ < 3 {
					t.Errorf("%s: message %s\ngot  %s\nwant %s", reader.name, id, got.told[id], want.told[id])
				}
			}
		}
		if differ > 0 {
			t.Errorf("%s: %d of %d messages differ", reader.name, differ, messages)
		}
	}
	stop()
	if n := <-written; n == 0 {
		t.Error("nothing was written meanwhile")
	} else {
		t.Logf("%d messages by %d readers, %d written meanwhile", messages, len(readers)+1, n)
	}
}

// An everyReader reads the messages of bob in every way that there is.
type everyReader struct {
	t   testing.TB
	s   *server
	of  map[string]bool
	bob string
}

// get asks the server and gives the answer's body to read.
func (r *everyReader) get(path string, query url.Values, accept string, read func(io.Reader)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.s.url+path+"?"+query.Encode(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), accept) {
		r.t.Fatalf("%s: status %d, %s, want %s", path, resp.StatusCode, resp.Header.Get("Content-Type"), accept)
	}
	read(resp.Body)
}

// allPages calls take with the items of all pages of a list.
func (r *everyReader) allPages(path string, query url.Values, take func(json.RawMessage)) {
	r.t.Helper()
	for complete := false; !complete; {
		r.get(path, query, "application/json", func(body io.Reader) {
			var page struct {
				Items    []json.RawMessage
				Next     string
				Complete bool
			}
			if err := json.NewDecoder(body).Decode(&page); err != nil {
				r.t.Fatal(err)
			}
			for _, item := range page.Items {
				take(item)
			}
			complete = page.Complete
			query.Set("after", page.Next)
		})
	}
}

func (r *everyReader) pages(size int, order string) *shelf {
	got := newShelf()
	query := url.Values{"address": {r.bob}, "limit": {fmt.Sprint(size)}, "order": {order}}
	r.allPages("/v1/messages", query, func(item json.RawMessage) { got.put(r.t, r.of, item) })
	return got
}

// event takes the message of an event in.
func (r *everyReader) event(got *shelf, raw []byte) {
	r.t.Helper()
	var e struct{ Message json.RawMessage }
	if err := json.Unmarshal(raw, &e); err != nil {
		r.t.Fatalf("%v: %.200s", err, raw)
	}
	if e.Message != nil {
		got.put(r.t, r.of, e.Message)
	}
}

func (r *everyReader) eventPages() *shelf {
	got := newShelf()
	r.allPages("/v1/events", url.Values{"address": {r.bob}, "limit": {"300"}}, func(item json.RawMessage) { r.event(got, item) })
	return got
}

// stream reads lines until they end or, when live, until all messages were told.
func (r *everyReader) stream(path, accept string, live bool) *shelf {
	got := newShelf()
	query := url.Values{"address": {r.bob}}
	if live {
		query.Set("from", "start")
	}
	r.get(path, query, accept, func(body io.Reader) {
		for line := range linesFrom(body) {
			data, ok := bytes.CutPrefix(line, []byte("data:"))
			switch {
			case live && ok:
				r.event(got, data)
			case live || len(line) == 0:
			case path == "/v1/events":
				r.event(got, line)
			default:
				got.put(r.t, r.of, line)
			}
			if live && got.whole(r.of) {
				return
			}
		}
	})
	return got
}

// linesFrom yields lines of any length without their end.
func linesFrom(body io.Reader) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		b := bufio.NewReader(body)
		for {
			line, err := b.ReadBytes('\n')
			if err != nil || !yield(bytes.TrimRight(line, "\n")) {
				return
			}
		}
	}
}

func (r *everyReader) socket() *shelf {
	got := newShelf()
	dialer := websocket.Dialer{Subprotocols: []string{client.Subprotocol}}
	ws, _, err := dialer.DialContext(r.t.Context(), "ws"+strings.TrimPrefix(r.s.url, "http")+"/v1/ws", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer ws.Close()
	ask := client.Request{Type: "sub", ID: "all", Filter: []client.Filter{{Address: []string{r.bob}}}, From: "start"}
	if err := ws.WriteJSON(ask); err != nil {
		r.t.Fatal(err)
	}
	if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	for !got.whole(r.of) {
		_, data, err := ws.ReadMessage()
		if err != nil {
			r.t.Fatal(err)
		}
		r.event(got, data)
	}
	return got
}

// plain returns a command of the program without the race detector, under which
// thousands of lines take minutes.
func (r *everyReader) plain(w *wallet, args ...string) *exec.Cmd {
	cmd := w.command(r.s.url, args...)
	cmd.Path = plainProgram(r.t)
	return cmd
}

// command reads what a command prints.
func (r *everyReader) command(w *wallet, args ...string) *shelf {
	got := newShelf()
	cmd := r.plain(w, args...)
	cmd.Args = slices.Insert(cmd.Args, 2, r.bob)
	for line := range strings.Lines(run(r.t, cmd)) {
		var m client.Message
		got.put(r.t, r.of, r.unescaped([]byte(line), &m))
	}
	return got
}

// unescaped writes what a command printed as the server does: commands write what
// a terminal would obey as escapes of JSON, which mean the same bytes.
func (r *everyReader) unescaped(line []byte, as any) []byte {
	r.t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(as); err != nil {
		r.t.Fatalf("%v: %.300s", err, line)
	}
	raw, err := json.Marshal(as)
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func (r *everyReader) watch(w *wallet) *shelf {
	got := newShelf()
	cmd := r.plain(w, "watch", r.bob, "--since", "start", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it would go on
		_ = cmd.Wait()
	}()
	for line := range linesFrom(out) {
		var e client.Event
		if r.event(got, r.unescaped(line, &e)); got.whole(r.of) {
			break
		}
	}
	return got
}
