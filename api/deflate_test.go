package api

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

func TestDeflateOffered(t *testing.T) {
	const name = "permessage-deflate"
	for _, test := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"nothing", nil, false},
		{"plain", []string{name}, true},
		{"in other letters", []string{"PerMessage-Deflate"}, true},
		{"as browsers offer it", []string{name + "; client_max_window_bits"}, true},
		{"with takeover refused", []string{name + "; server_no_context_takeover; client_no_context_takeover"}, true},
		{"a window of the client", []string{name + "; client_max_window_bits=10"}, true},
		{"a window in quotes", []string{name + `; client_max_window_bits="15"`}, true},
		{"a window too small", []string{name + "; client_max_window_bits=7"}, false},
		{"a window too large", []string{name + "; client_max_window_bits=16"}, false},
		{"a window of nothing", []string{name + "; client_max_window_bits="}, false},
		{"a window with a zero before", []string{name + "; client_max_window_bits=08"}, false},
		{"a window of ours", []string{name + "; server_max_window_bits=10"}, false},
		{"a window of ours, then without", []string{name + "; server_max_window_bits=10, " + name}, true},
		{"the same in two lines", []string{name + "; server_max_window_bits=10", name}, true},
		{"a parameter twice", []string{name + "; client_no_context_takeover; client_no_context_takeover"}, false},
		{"takeover with a value", []string{name + "; server_no_context_takeover=1"}, false},
		{"an unknown parameter", []string{name + "; colour=red"}, false},
		{"another extension", []string{"permessage-bzip2, x-webkit-deflate-frame"}, false},
		{"another extension first", []string{"permessage-bzip2; a=b, " + name}, true},
		{"an empty parameter", []string{name + ";"}, true},
		{"empty parameters", []string{name + ";;"}, false},
	} {
		h := http.Header{"Sec-Websocket-Extensions": test.lines}
		if got := deflateOffered(h); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// TestPackedFrames deflates texts once and sends them behind several heads: the
// standard library inflates each to head and text.
func TestPackedFrames(t *testing.T) {
	event := `"cursor":"abc","kind":"message.seen","message":{"id":"` + strings.Repeat("0123456789abcdef", 40) + `"}}`
	for _, test := range []struct {
		name, text string
		packed     bool
	}{
		{"an event", event, true},
		{"large", strings.Repeat(event, 1000), true},
		{"at the bound", strings.Repeat("a", deflateAbove), false},
		{"above the bound", strings.Repeat("a", deflateAbove+1), true},
		{"at the upper bound", strings.Repeat("a", deflateUpto), true},
		{"above the upper bound", strings.Repeat("a", deflateUpto+1), false},
		{"nothing", "", false},
	} {
		packed := deflate([]byte(test.text))
		if (packed != nil) != test.packed || len(packed) > len(test.text) {
			t.Errorf("%s: got %d bytes deflated from %d, want it deflated: %v", test.name, len(packed), len(test.text), test.packed)
		}
		if packed == nil {
			continue
		}
		for _, id := range []string{"1", "é", strings.Repeat("\x01", 1024)} {
			begin := head(id, client.PhaseLive)
			frame := appendPacked(nil, begin, packed)
			if frame[0] != finBit|rsv1|websocket.TextMessage {
				t.Errorf("%s: got first byte %x, want a whole deflated text", test.name, frame[0])
			}
			payload := frame[len(frame)-len(packed)-len(begin)-storedBytes:]
			got, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(deflateTail+"\x01\x00\x00\xff\xff"))))
			if want := string(begin) + test.text; err != nil || string(got) != want {
				t.Errorf("%s, id %.10q: got %.200q, %v, want %.200q", test.name, id, got, err, want)
			}
		}
	}
}

// FuzzEar has a client send any bytes, with compression negotiated or not. What
// is heard is within the limit, text is UTF-8, a control frame is short; an end
// is a violation with a code or the end of the bytes.
func FuzzEar(f *testing.F) {
	f.Add([]byte("\x81\x82\x00\x00\x00\x00{}"), false)
	f.Add([]byte("\x01\x81\x01\x02\x03\x04{\x89\x80\x00\x00\x00\x00\x80\x81\x00\x00\x00\x00}"), false)
	f.Add([]byte("\xc1\x87\x00\x00\x00\x00\xf2\x48\xcd\xc9\xc9\x07\x00"), true) // RFC 7692, 7.2.3.1
	f.Add([]byte("\x88\x82\x00\x00\x00\x00\x03\xe8"), true)
	f.Add([]byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), true)
	f.Fuzz(func(t *testing.T, sent []byte, packs bool) {
		const most = 1000
		e := newEar(bytes.NewReader(sent), most, packs, claim{ledger: newLedger(1<<30, 1<<30)})
		for {
			h, err := e.frame()
			var v *violation
			if errors.As(err, &v) && closeCode(v.code) && len(v.reason) <= mostReason {
				return
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("got %v, want a violation or the end", err)
				}
				return
			}
			if h.opcode >= websocket.CloseMessage && len(h.data) > mostControl {
				t.Fatalf("control frame: got %d bytes, want %d at most", len(h.data), mostControl)
			}
			data, err := e.unpack(h)
			if err != nil && !errors.As(err, &v) {
				t.Fatalf("unpack: got %v, want a violation", err)
			}
			if err == nil && (len(data) > most || h.opcode == websocket.TextMessage && !utf8.Valid(data)) {
				t.Fatalf("got %d bytes %.100q, want %d at most, and UTF-8", len(data), data, most)
			}
		}
	})
}

func TestUnmask(t *testing.T) {
	for n := range 40 {
		b, want := bytes.Repeat([]byte{0x5a}, n), make([]byte, n)
		mask := [4]byte{1, 2, 3, 0xff}
		for i := range want {
			want[i] = 0x5a ^ mask[i%4]
		}
		unmask(mask, b)
		if !bytes.Equal(b, want) {
			t.Errorf("%d bytes: got %x, want %x", n, b, want)
		}
	}
}

// BenchmarkDeflate compresses events whose messages are English text or, as
// encrypted ones are, noise.
func BenchmarkDeflate(b *testing.B) {
	words := strings.Fields("the a message chain of block name who sends what is read when it was seen and by whom in this index")
	noise := rand.NewChaCha8([32]byte{1})
	for _, test := range []struct {
		name  string
		bytes int
		words bool
	}{{"text of 300 bytes", 300, true}, {"noise of 300 bytes", 300, false}, {"text of 20 kB", 20_000, true}, {"noise of 20 kB", 20_000, false}} {
		body := make([]byte, test.bytes)
		_, _ = noise.Read(body)
		m := client.Message{ID: hexOf(body[:32]), ContentID: hexOf(body[10:42]), TxID: hexOf(body[40:72]), Source: "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
			Address: "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", PublicKey: hexOf(body[80:113]), Type: "text", Encryption: "plain", TimeStamp: "1700000000000",
			Signature: bytes.Clone(body[120:190]), State: "seen", Verdict: "valid", Height: -1, Recipients: []string{"1dice8EMZmqKvrGE4Qc9bUFf9PX3xaYDp"}}
		if test.words {
			var text strings.Builder
			for i := 0; text.Len() < test.bytes; i++ {
				text.WriteString(words[int(body[i%len(body)])%len(words)] + " ")
			}
			body = []byte(text.String()[:test.bytes])
			said := string(body)
			m.Text = &said
		}
		m.Body = body
		tail, err := tailOf(client.Event{Cursor: "ZTEyMzQ1Njc6YWJjZGVmZ2hpamts", Kind: "message.seen", Verdict: "valid", Message: &m})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(test.name, func(b *testing.B) {
			b.SetBytes(int64(len(tail)))
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = len(deflate(tail))
			}
			b.ReportMetric(float64(size)/float64(len(tail)), "of-size")
			b.ReportMetric(float64(len(tail)), "bytes")
		})
	}
}
