package api_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/metaim/metaim/api/client"
)

// deflated compresses a text as the payload of a message (RFC 7692, 7.2.1).
func deflated(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text)) // into memory
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

// TestCompressionConformance has Autobahn's groups 12 and 13 as far as they apply
// to a server that echoes nothing, and what RFC 7692 forbids.
func TestCompressionConformance(t *testing.T) {
	s := newWorld(t).serve()
	const offer = "permessage-deflate; client_max_window_bits"
	packed := func(text string) []byte { return bits(fin|rsv1|opText, deflated(t, text)) }
	const reserved = "close 1002 a reserved bit is set"
	half := deflated(t, ask)
	final := func(text string) string { // one block that says it is the last (RFC 7692, 7.2.3.4)
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, flate.BestSpeed) // a valid level
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return out.String() + "\x00"
	}
	for _, c := range []conformance{
		{"12.1.1 deflated request", packed(ask), []string{"ok a"}},
		{"not deflated, though negotiated", f(opText, ask), []string{"ok a"}},
		{"one after the other, each by itself", cat(packed(ask), packed(ask), f(opText, ask), packed(ask)), slicesOf(4, "ok a")},
		{"12.1.10 128 kB", packed(askOf(frame1)), []string{"ok a"}},
		{"one byte more", packed(askOf(frame1 + 1)), []string{"close 1009 a message may have 131072 bytes"}},
		{"a bomb of 20 MB", packed(strings.Repeat("\x00", 20_000_000)), []string{"close 1009 a message may have 131072 bytes"}},
		{"in fragments", cat(bits(rsv1|opText, half[:5]), f(opPing, "p"), part(opContinuation, half[5:9]), f(opContinuation, half[9:])), []string{"pong 70", "ok a"}},
		{"not even a block", bits(fin|rsv1|opText, ""), []string{"close 1007 the message is deflated wrongly"}},
		{"an empty block", bits(fin|rsv1|opText, "\x00"), []string{"err bad_frame"}},
		{"a stored block", bits(fin|rsv1|opText, "\x00"+string([]byte{byte(len(ask)), 0, ^byte(len(ask)), 0xff})+ask+"\x00"), []string{"ok a"}},
		{"a last block", bits(fin|rsv1|opText, final(ask)), []string{"ok a"}},
		{"deflated wrongly", bits(fin|rsv1|opText, "\xff\xff\xff\xff"), []string{"close 1007 the message is deflated wrongly"}},
		{"cut short", bits(fin|rsv1|opText, half[:len(half)-3]), []string{"close 1007 the message is deflated wrongly"}},
		{"a reach before the beginning", bits(fin|rsv1|opText, "\x4b\x04\x13\x00"), []string{"close 1007 the message is deflated wrongly"}},
		{"not UTF-8", packed("κόσμε\xed\xa0\x80edited"), []string{"close 1007 the text is not UTF-8"}},
		{"deflated binary", bits(fin|rsv1|opBinary, deflated(t, "\xff")), []string{"err bad_frame"}},
		{"the bit on a ping", bits(fin|rsv1|opPing, ""), []string{reserved}},
		{"the bit on a close", bits(fin|rsv1|opClose, ""), []string{reserved}},
		{"the bit on a continuation", cat(bits(rsv1|opText, half[:5]), bits(fin|rsv1|opContinuation, half[5:])), []string{reserved}},
		{"another reserved bit", bits(fin|rsv1|rsv2|opText, half), []string{reserved}},
	} {
		s.conform(t, c, 0, offer)
	}
	for _, test := range []struct {
		name, offer, agreed string
	}{
		{"plain", "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"takeover wanted: refused", offer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"13 a window of ours: declined", "permessage-deflate; server_max_window_bits=9", ""},
		{"13 with a second choice", "permessage-deflate; server_max_window_bits=9, permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"an unknown extension", "x-colour", ""},
	} {
		w := s.open(t, test.offer)
		equal(t, test.name, w.answer.Header.Get("Sec-Websocket-Extensions"), test.agreed)
		_ = w.conn.Close()
	}
}

// TestDeflatedEvents has connections with and without compression, with the same
// and with different ids, from the start and live: all are told the same bytes.
func TestDeflatedEvents(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	noise := rand.NewChaCha8([32]byte{7})
	bodies := []string{"short", strings.Repeat("long ", 2000), strings.Repeat("x", 50<<10)}
	random := make([]byte, 10_000)
	_, _ = noise.Read(random)
	bodies = append(bodies, string(random), strings.Repeat("y", 500<<10), "end")
	publish := func() {
		for _, body := range bodies {
			w.seen(w.send(1, 2, body))
		}
		w.mine() // an event too short to be deflated
	}
	publish()
	const listeners = 8
	told := make([][]string, listeners)
	var wg sync.WaitGroup
	var live sync.WaitGroup
	live.Add(listeners)
	for i := range listeners {
		mode := []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover}[i%4]
		id := []string{"same", fmt.Sprint("own", i)}[i/4]
		wg.Go(func() { told[i] = s.listen(t, mode, id, 2*(len(bodies)+1)+1, live.Done) })
	}
	live.Wait()
	publish()
	wg.Wait()
	for i, got := range told {
		equal(t, fmt.Sprintf("events of listener %d", i), len(got), 2*(len(bodies)+1)+1)
		for n := range got {
			if n < len(told[0]) && got[n] != told[0][n] {
				t.Errorf("listener %d, event %d: got %.200s, want %.200s", i, n, got[n], told[0][n])
			}
		}
	}
}

// listen reads so many events by a client of another library, less the id.
func (s *served) listen(t *testing.T, mode websocket.CompressionMode, id string, events int, caughtUp func()) (told []string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	caught := sync.OnceFunc(caughtUp)
	defer caught()
	ws, _, err := websocket.Dial(ctx, strings.Replace(s.http.URL, "http", "ws", 1)+"/v1/ws", //nolint:bodyclose // the library closes it
		&websocket.DialOptions{Subprotocols: []string{client.Subprotocol}, CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer ws.CloseNow() //nolint:errcheck // of a test
	ws.SetReadLimit(64 << 20)
	request, err := json.Marshal(from("start", sub(id, client.Filter{}, client.Filter{Blocks: true})))
	if err == nil {
		err = ws.Write(ctx, websocket.MessageText, request)
	}
	for err == nil && len(told) < events {
		var data []byte
		if _, data, err = ws.Read(ctx); err != nil {
			break
		}
		switch text := string(data); {
		case strings.HasPrefix(text, `{"type":"event"`):
			told = append(told, strings.Replace(text, `"sub":"`+id+`"`, `"sub":""`, 1))
		case strings.HasPrefix(text, `{"type":"caught_up"`):
			caught()
		}
	}
	if err == nil {
		err = ws.Close(websocket.StatusNormalClosure, "enough")
	}
	if err != nil {
		t.Errorf("listener %q: %v after %d events", id, err, len(told))
	}
	return told
}

// TestBytesOnTheWire compares what an event takes with and without compression.
func TestBytesOnTheWire(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	plain, packed := s.open(t), s.open(t, "permessage-deflate")
	for _, k := range []*wire{plain, packed} {
		k.write(f(opText, `{"type":"sub","id":"s"}`))
		equal(t, "answers", []string{k.shown(), k.shown()}, []string{"ok s", "caught_up"})
	}
	w.seen(w.send(1, 2, strings.Repeat("the same again and ", 50)))
	_, reserved, long := plain.next()
	equal(t, "plain: reserved bits", reserved, 0)
	_, reserved, short := packed.next()
	equal(t, "packed: reserved bits", reserved, rsv1)
	inflated, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(short), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil || string(inflated) != string(long) {
		t.Errorf("inflated: got %.200s, %v, want %.200s", inflated, err, long)
	}
	if 3*len(short) > len(long) {
		t.Errorf("deflated: got %d bytes of %d, want a third at most", len(short), len(long))
	}
}
