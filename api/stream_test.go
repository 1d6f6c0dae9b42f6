package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A reader reads the lines of a stream; each must come within 20 s.
type reader struct {
	t     *testing.T
	resp  *http.Response
	lines chan string
	close func()
}

func (s *served) stream(t *testing.T, path string, headers ...string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, resp: resp, lines: make(chan string)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(r.lines)
		in := bufio.NewScanner(resp.Body)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			select {
			case r.lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	r.close = func() {
		cancel()
		_ = resp.Body.Close()
		<-ended
	}
	t.Cleanup(r.close)
	return r
}

func (r *reader) line() (string, bool) {
	r.t.Helper()
	select {
	case line, ok := <-r.lines:
		return line, ok
	case <-time.After(20 * time.Second):
		r.t.Fatal("no line came within 20 s")
	}
	return "", false
}

// event reads one server-sent event, without comments, as name, id and data.
func (r *reader) event() (name, id, data string) {
	r.t.Helper()
	for {
		line, ok := r.line()
		if !ok {
			r.t.Fatal("the stream ended")
		}
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case field == "event":
			name = value
		case field == "id":
			id = value
		case field == "data":
			data = value
		case line == "" && data != "":
			return name, id, data
		}
	}
}

func (r *reader) told() client.Event {
	r.t.Helper()
	name, id, data := r.event()
	var e client.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil || name != "" || id != e.Cursor {
		r.t.Fatalf("event: got %q %q %.200q, %v, want an event with its cursor as id", name, id, data, err)
	}
	return e
}

func said(e client.Event) string {
	switch {
	case e.Message != nil:
		return e.Kind + " " + string(e.Message.Body)
	case e.Record != nil:
		return e.Kind + " " + e.Record.Name
	}
	return e.Kind
}

const acceptSSE = "text/event-stream"

func TestServerSentEvents(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 2, 0))
	w.seen(w.send(1, 2, "first"), w.send(3, 4, "others'"), w.send(2, 1, "second"))
	s := w.serve()
	r := s.stream(t, "/v1/events?from=start&name=bob&type=text", "Accept", acceptSSE)
	equal(t, "headers", fmt.Sprint(r.resp.StatusCode, r.resp.Header.Get("Content-Type"), r.resp.Header.Get("Cache-Control"), r.resp.Header.Values("Vary")),
		fmt.Sprint(200, acceptSSE, "no-store", []string{"Origin", "Accept"}))
	if line, _ := r.line(); line != "retry: 2000" {
		t.Errorf("first line: got %q, want how long to wait", line)
	}
	first := r.told()
	equal(t, "history", said(first)+", "+said(r.told()), "message.seen first, message.seen second")
	name, id, data := r.event()
	equal(t, "end of history", fmt.Sprint(name, " ", data), `caught_up {"cursor":"`+id+`"}`)
	w.seen(w.send(3, 4, "not bob's"))
	w.seen(w.send(4, 2, "third"))
	third := r.told()
	equal(t, "live", said(third), "message.seen third")
	// the name moves, and the stream with it
	w.mine(w.operate(nprotocol.Transfer, "bob", 2, 3))
	w.seen(w.send(1, 2, "to who was bob"), w.send(1, 3, "to who is bob"))
	equal(t, "after a transfer", said(r.told()), "message.seen to who is bob")

	again := s.stream(t, "/v1/events?name=bob&type=text&after="+first.Cursor, "Accept", acceptSSE, "Last-Event-ID", third.Cursor)
	equal(t, "resumed", said(again.told()), "message.seen to who is bob")
	now := s.stream(t, "/v1/events", "Accept", acceptSSE)
	name, _, _ = now.event()
	equal(t, "begins now", name, "caught_up")
	w.seen(w.send(1, 2, "new"))
	equal(t, "then", said(now.told()), "message.seen new")
	go s.stop()
	for _, r := range []*reader{again, now} {
		for name = ""; name != "bye"; {
			name, _, data = r.event()
		}
		var bye client.Bye
		if err := json.Unmarshal([]byte(data), &bye); err != nil {
			t.Fatal(err)
		}
		if name != "bye" || bye.Code != client.CodeShutdown || !bye.Reconnect || bye.Cursor == "" || bye.AfterMS > 50 {
			t.Errorf("at the end: got %s %s, want bye with a cursor", name, data)
		}
		for ok := true; ok; {
			_, ok = r.line()
		}
	}
}

func TestLines(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var want []string
	for i := range 120 {
		want = append(want, fmt.Sprint("m", i))
		w.seen(w.send(1, 2, want[i]))
	}
	s := w.serve()
	bodiesOf := func(path string) (got []string) {
		resp, body := s.get(t, path, "Accept", "application/x-ndjson")
		equal(t, path, resp.Header.Get("Content-Type"), "application/x-ndjson")
		for line := range strings.Lines(body) {
			var m client.Message
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Body))
		}
		return got
	}
	newest := slices.Clone(want)
	slices.Reverse(newest)
	equal(t, "oldest first", bodiesOf("/v1/messages?order=oldest"), want)
	equal(t, "newest first", bodiesOf("/v1/messages?address="+address(2)), newest)
	equal(t, "some", bodiesOf("/v1/messages?order=oldest&limit=7"), want[:7])

	resp, all := s.get(t, "/v1/events", "Accept", "application/x-ndjson")
	equal(t, "events", fmt.Sprint(resp.StatusCode, strings.Count(all, "\n")), "200 121")
	var pages strings.Builder
	for after := ""; ; {
		page, err := s.client.Events(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			pages.Write(append(b, '\n'))
		}
		if after = page.Next; page.Complete {
			break
		}
	}
	equal(t, "lines are what the pages have", all == pages.String(), true)
	_, some := s.get(t, "/v1/events?limit=60", "Accept", "application/x-ndjson")
	equal(t, "lines up to a limit", strings.Count(some, "\n"), 60)

	r := s.stream(t, "/v1/events?follow=true&type=text", "Accept", "application/x-ndjson")
	w.seen(w.send(1, 2, "live"))
	line, _ := r.line()
	if !strings.Contains(line, `"text":"live"`) {
		t.Errorf("followed: got %.200s, want the message", line)
	}
	go s.stop()
	line, _ = r.line()
	equal(t, "bye", strings.HasPrefix(line, `{"bye":{"code":"shutting_down","reconnect":true`), true)
}

// With a filter that little matches, pages may be empty and the log is read on.
func TestSparseFilter(t *testing.T) {
	w := newWorld(t)
	w.mine()
	for i := range 60 {
		w.seen(w.send(1, 2, fmt.Sprint("m", i)))
	}
	w.mine(w.send(3, 4, "wanted"))
	s := w.serve()
	var got []string
	for e, err := range s.client.AllEvents(t.Context(), &client.Filter{MinHeight: 1, State: []string{"confirmed"}}, "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, said(e))
	}
	equal(t, "events", got, []string{"message.confirmed wanted"})
	got = nil
	for e, err := range s.client.AllEvents(t.Context(), &client.Filter{Blocks: true, MinHeight: 1}, "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, said(e))
	}
	equal(t, "blocks", got, []string{"block.connected"})
}

// A stream whose history is replaced says so, with where the present one starts;
// one whose reader goes away leaves nothing.
func TestStreamsEnd(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var anew atomic.Bool
	s := w.serve(func(c *api.Config) { c.Index = otherHistory{w.store, &anew} })
	before := runtime.NumGoroutine()
	var streams []*reader
	for range 5 {
		r := s.stream(t, "/v1/events?address="+address(1)+"&name=nobody", "Accept", acceptSSE)
		r.event()
		streams = append(streams, r)
	}
	for _, r := range streams {
		r.close()
	}
	s.http.Client().CloseIdleConnections()
	eventually(t, "nothing of the streams stays", func() bool { return runtime.NumGoroutine() <= before })

	caught := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		var got error
		options := client.SubscribeOptions{MinBackoff: time.Millisecond, CaughtUp: func(string) { close(caught) }}
		for _, err := range s.client.Follow(t.Context(), nil, options) {
			got = err
		}
		ended <- got
	}()
	<-caught
	anew.Store(true)
	var p *client.Problem
	if err := <-ended; !errors.As(err, &p) || p.Code != client.CodeCursorExpired || p.Cursor == "" {
		t.Errorf("follow: got %v, want cursor_expired with where to start", err)
	}
}

// Who follows is told everything once, in order, though the server is left and
// comes back under him.
func TestFollowResumes(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var cut atomic.Int64
	s := w.serve()
	proxy := newCutting(t, s, &cut)
	c, err := client.New(proxy)
	if err != nil {
		t.Fatal(err)
	}
	const n = 60
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("message.seen m", i))
	}
	go func() {
		for i := range n {
			if _, err := w.writer.Seen(context.Background(), []*index.Transaction{w.send(1, 2, fmt.Sprint("m", i))}); err != nil {
				t.Error(err)
			}
		}
	}()
	var got []string
	options := client.SubscribeOptions{From: "start", MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}
	for e, err := range c.Follow(t.Context(), &client.Filter{Address: []string{address(2)}}, options) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, said(e)); len(got) == n {
			break
		}
	}
	equal(t, "told", got, want)
	if cut.Load() < 2 {
		t.Errorf("the connection was cut %d times, want some", cut.Load())
	}
}

// newCutting passes requests on and cuts every answer after some bytes.
func newCutting(t *testing.T, s *served, cut *atomic.Int64) string {
	t.Helper()
	return serveHandler(t, func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, s.http.URL+r.URL.String(), nil)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header
		resp, err := s.http.Client().Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close() //nolint:errcheck // only read
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		left := int64(8000)
		for b := make([]byte, 512); left > 0; {
			n, err := resp.Body.Read(b)
			left -= int64(n)
			_, _ = w.Write(b[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				break
			}
		}
		cut.Add(1)
		panic(http.ErrAbortHandler)
	})
}

// One who doesn't read is cut off after the time that a write may take, and keeps
// nobody from the end.
func TestStreamThatIsNotRead(t *testing.T) {
	w := newWorld(t)
	w.mine()
	large := strings.Repeat("x", 200_000)
	for range 40 {
		w.seen(w.send(1, 2, large))
	}
	s := w.serve(func(c *api.Config) { c.Timing.Write = 100 * time.Millisecond })
	before := runtime.NumGoroutine()
	for _, path := range []string{"/v1/events?from=start", "/v1/messages?limit=1000"} {
		conn := s.rawRequest(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream, application/json;q=0.5\r\n\r\n")
		defer conn.Close()                                             //nolint:errcheck // done with
		if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil { // it has begun
			t.Fatal(err)
		}
	}
	eventually(t, "they are cut off", func() bool { return runtime.NumGoroutine() <= before+1 })
}

func serveHandler(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// rawRequest sends a request as it stands and leaves what comes back unread.
func (s *served) rawRequest(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}
