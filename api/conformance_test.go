package api_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
)

// A wire is a WebSocket client that is no library's: it sends whatever bytes a
// case needs, and reads frames as RFC 6455 has them from a server.
type wire struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	answer *http.Response // to the handshake
}

const rightHandshake = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// wire sends a handshake with more headers, and reads the answer.
func (s *served) wire(t *testing.T, request string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn, in: bufio.NewReader(conn)}
	w.write([]byte(request + "\r\n"))
	if w.answer, err = http.ReadResponse(w.in, nil); err != nil {
		t.Fatal(err)
	}
	return w
}

// open makes a connection with the extensions offered.
func (s *served) open(t *testing.T, extensions ...string) *wire {
	t.Helper()
	request := "GET /v1/ws HTTP/1.1\r\n" + rightHandshake + "Sec-WebSocket-Protocol: " + client.Subprotocol + "\r\n"
	for _, e := range extensions {
		request += "Sec-WebSocket-Extensions: " + e + "\r\n"
	}
	w := s.wire(t, request)
	if w.answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: got %s", w.answer.Status)
	}
	if op, _, payload := w.next(); op != opText || !strings.Contains(string(payload), `"type":"welcome"`) {
		t.Fatalf("first frame: got opcode %d %.100s, want welcome", op, payload)
	}
	return w
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

const (
	opContinuation, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10
	fin, rsv1, rsv2, rsv3                                     = 0x80, 0x40, 0x20, 0x10
)

// next reads a frame of the server: whole, unmasked and no longer written than
// need be. Its opcode comes with the reserved bits.
func (w *wire) next() (opcode, reserved int, payload []byte) {
	w.t.Helper()
	op, payload, err := w.read()
	if err != nil {
		w.t.Fatal(err)
	}
	return op & 0x0f, op & 0x70, payload
}

func (w *wire) read() (first int, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(w.in, head); err != nil {
		return 0, nil, err
	}
	size, least, more := uint64(head[1]), uint64(0), 0
	switch head[1] {
	case 126:
		more, least = 2, 126
	case 127:
		more, least = 8, 1<<16
	}
	if more > 0 {
		long := make([]byte, 8)
		if _, err := io.ReadFull(w.in, long[8-more:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(long)
	}
	if head[0]&fin == 0 || head[1]&0x80 != 0 || size < least || size > 1<<30 {
		return 0, nil, fmt.Errorf("frame: got header %x and size %d, want a whole, unmasked one", head, size)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(w.in, payload)
	return int(head[0]) &^ fin, payload, err
}

// shown reads a frame as a case states it.
func (w *wire) shown() string {
	w.t.Helper()
	op, reserved, payload := w.next()
	if reserved != 0 {
		return fmt.Sprintf("reserved bits %x", reserved)
	}
	switch op {
	case opPong:
		return fmt.Sprintf("pong %.20x", payload)
	case opClose:
		if len(payload) < 2 {
			return fmt.Sprintf("close without a code %x", payload)
		}
		return fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), payload[2:])
	case opText:
		var r client.Reply
		if err := json.Unmarshal(payload, &r); err != nil {
			return err.Error()
		}
		return strings.TrimSpace(r.Type + " " + r.ID + r.Code)
	}
	return fmt.Sprintf("opcode %d", op)
}

// ended checks that nothing follows but the end.
func (w *wire) ended(name string) {
	w.t.Helper()
	if rest, err := io.ReadAll(w.in); err != nil || len(rest) > 0 {
		w.t.Errorf("%s: after the close got %x, %v, want the end", name, rest, err)
	}
	_ = w.conn.Close()
}

// bits is a frame with the first byte as given, masked.
func bits(first byte, payload string) []byte {
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	out = append(out, mask[:]...)
	for i := range len(payload) {
		out = append(out, payload[i]^mask[i%4])
	}
	return out
}

func f(opcode byte, payload string) []byte    { return bits(fin|opcode, payload) }
func part(opcode byte, payload string) []byte { return bits(opcode, payload) }

func closing(code int, reason string) []byte {
	return f(opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

func cat(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func repeat(n int, frame []byte) []byte { return bytes.Repeat(frame, n) }

// fragments cuts a text into so many bytes each.
func fragments(text string, each int) []byte {
	var out []byte
	op := byte(opText)
	for ; len(text) > each; text = text[each:] {
		out = append(out, part(op, text[:each])...)
		op = opContinuation
	}
	return append(out, f(op, text)...)
}

const (
	ask     = `{"type":"ping","id":"a"}`
	askLeft = `{"type":"ping",`
	askRest = `"id":"a"}`
	frame1  = 128 << 10 // the limit of a message
)

// askOf is a request of so many bytes.
func askOf(size int) string { return ask + strings.Repeat(" ", size-len(ask)) }

// A conformance case sends bytes and expects frames. Where the last is no close,
// the connection must still answer a ping.
type conformance struct {
	name string
	send []byte
	want []string
}

func garbled(name, text string) conformance {
	return conformance{name, f(opText, text), []string{"close 1007 the text is not UTF-8"}}
}

// TestConformance has the cases of Autobahn's suite that apply to a server that
// answers requests and echoes nothing, by its numbers.
func TestConformance(t *testing.T) {
	s := newWorld(t).serve()
	ok, pong := "ok a", "pong "
	opcode := func(n int) string { return fmt.Sprintf("close 1002 there is no opcode %d", n) }
	const reserved = "close 1002 a reserved bit is set"
	const tooLarge = "close 1009 a message may have 131072 bytes"
	cases := []conformance{
		{"1.1.1 empty text", f(opText, ""), []string{"err bad_frame"}},
		{"1.2.1 empty binary", f(opBinary, ""), []string{"err bad_frame"}},
		{"2.1 empty ping", f(opPing, ""), []string{pong}},
		{"2.2 ping with text", f(opPing, "Hello"), []string{pong + "48656c6c6f"}},
		{"2.3 ping with bytes", f(opPing, "\x00\xff\xfe\xfd"), []string{pong + "00fffefd"}},
		{"2.4 ping of 125 bytes", f(opPing, strings.Repeat("\xfe", 125)), []string{pong + strings.Repeat("fe", 20)}},
		{"2.5 ping of 126 bytes", f(opPing, strings.Repeat("\xfe", 126)), []string{"close 1002 a control frame has more than 125 bytes"}},
		{"2.7 unsolicited pong", f(opPong, ""), nil},
		{"2.8 unsolicited pong with text", f(opPong, "unasked"), nil},
		{"2.9 unsolicited pong, then ping", cat(f(opPong, "unasked"), f(opPing, "1")), []string{pong + "31"}},
		{"2.10 ten pings", cat(f(opPing, "0"), f(opPing, "1"), f(opPing, "2"), f(opPing, "3"), f(opPing, "4"), f(opPing, "5"), f(opPing, "6"), f(opPing, "7"), f(opPing, "8"), f(opPing, "9")),
			[]string{pong + "30", pong + "31", pong + "32", pong + "33", pong + "34", pong + "35", pong + "36", pong + "37", pong + "38", pong + "39"}},
		{"3.1 first reserved bit, nothing negotiated", bits(fin|rsv1|opText, ask), []string{reserved}},
		{"3.2 second reserved bit, after a request", cat(f(opText, ask), bits(fin|rsv2|opText, ask), f(opPing, "")), []string{ok, reserved}},
		{"3.3 two reserved bits", bits(fin|rsv1|rsv2|opText, ask), []string{reserved}},
		{"3.4 third reserved bit", bits(fin|rsv3|opText, ask), []string{reserved}},
		{"3.5 on binary", bits(fin|rsv1|rsv3|opBinary, ask), []string{reserved}},
		{"3.6 on a ping", bits(fin|rsv2|rsv3|opPing, ""), []string{reserved}},
		{"3.7 on a close", bits(fin|rsv1|rsv2|rsv3|opClose, ""), []string{reserved}},
		{"5.1 ping in two fragments", cat(part(opPing, "a"), f(opContinuation, "b")), []string{"close 1002 a control frame is fragmented"}},
		{"5.2 pong in two fragments", cat(part(opPong, "a"), f(opContinuation, "b")), []string{"close 1002 a control frame is fragmented"}},
		{"5.3 request in two fragments", cat(part(opText, askLeft), f(opContinuation, askRest)), []string{ok}},
		{"5.6 ping between fragments", cat(part(opText, askLeft), f(opPing, "p"), f(opContinuation, askRest)), []string{pong + "70", ok}},
		{"5.9 continuation without a start", f(opContinuation, ask), []string{"close 1002 a message goes on that never began"}},
		{"5.12 unfinished continuation without a start", cat(part(opContinuation, ask), f(opText, ask)), []string{"close 1002 a message goes on that never began"}},
		{"5.15 continuation after the end", cat(part(opText, askLeft), f(opContinuation, askRest), part(opContinuation, "c"), f(opText, ask)),
			[]string{ok, "close 1002 a message goes on that never began"}},
		{"5.18 text within a message", cat(part(opText, askLeft), f(opText, askRest)), []string{"close 1002 a message begins within another"}},
		{"5.19 fragments and pings", cat(part(opText, askLeft), part(opContinuation, `"id"`), f(opPing, "1"), part(opContinuation, ``), part(opContinuation, `:"a`), f(opPing, "2"), f(opContinuation, `"}`)),
			[]string{pong + "31", pong + "32", ok}},
		{"6.1 empty fragments", cat(part(opText, ""), part(opContinuation, ""), f(opContinuation, "")), []string{"err bad_frame"}},
		{"6.2.1 UTF-8", f(opText, `{"type":"ping","id":"κόσμε"}`), []string{"ok κόσμε"}},
		{"6.2.3 UTF-8 cut within characters", fragments(`{"type":"ping","id":"κόσμε"}`, 1), []string{"ok κόσμε"}},
		garbled("6.3.1 a surrogate amid text", "κόσμε\xed\xa0\x80edited"),
		{"6.3.2 the same, cut", fragments("κόσμε\xed\xa0\x80edited", 1), []string{"close 1007 the text is not UTF-8"}},
		{"6.5 first of each length", f(opText, "\x00\u0080\u0800\U00010000"), []string{"err bad_frame"}},
		garbled("6.6.1 a character cut off", "\xce"),
		garbled("6.8 a fifth length", "\xf8\x88\x80\x80\x80"),
		{"6.9 last of each length", f(opText, "\x7f\u07ff\uffff\U0010ffff"), []string{"err bad_frame"}},
		garbled("6.10 beyond Unicode", "\xf4\x90\x80\x80"),
		garbled("6.12 a continuation alone", "\x80"),
		garbled("6.14 a first byte alone", "\xc0 "),
		garbled("6.16 impossible bytes", "\xfe\xfe\xff\xff"),
		garbled("6.17 written longer than need be", "\xc0\xaf"),
		garbled("6.19 the same, for zero", "\xe0\x80\x80"),
		garbled("6.20 a single surrogate", "\xed\xbf\xbf"),
		garbled("6.21 surrogates in a pair", "\xed\xa0\x80\xed\xb0\x80"),
		{"6.22 noncharacters", f(opText, "\ufffe\uffff\U0001fffe"), []string{"err bad_frame"}},
		{"7.1.1 request, then close", cat(f(opText, ask), closing(1000, "")), []string{ok, "close 1000 "}},
		{"7.1.2 two closes", cat(closing(1000, ""), closing(1000, "")), []string{"close 1000 "}},
		{"7.1.3 ping after the close", cat(closing(1000, ""), f(opPing, "late")), []string{"close 1000 "}},
		{"7.1.4 request after the close", cat(closing(1000, ""), f(opText, ask)), []string{"close 1000 "}},
		{"7.1.5 close within a message", cat(part(opText, askLeft), closing(1000, ""), f(opContinuation, askRest)), []string{"close 1000 "}},
		{"7.1.6 much, then close", cat(repeat(20, f(opText, askOf(20<<10))), closing(1000, "")), append(slicesOf(20, ok), "close 1000 ")},
		{"7.3.1 close of nothing", f(opClose, ""), []string{"close without a code "}},
		{"7.3.2 close of one byte", f(opClose, "a"), []string{"close 1002 a close has one byte, which is no code"}},
		{"7.3.3 close with a code", closing(1000, ""), []string{"close 1000 "}},
		{"7.3.4 close with a reason", closing(1000, "Hello"), []string{"close 1000 "}},
		{"7.3.5 reason of 123 bytes", closing(1000, strings.Repeat("*", 123)), []string{"close 1000 "}},
		{"7.3.6 reason of 124 bytes", closing(1000, strings.Repeat("*", 124)), []string{"close 1002 a control frame has more than 125 bytes"}},
		{"7.5.1 reason that isn't UTF-8", closing(1000, "κόσμε\xed\xa0\x80edited"), []string{"close 1007 the text is not UTF-8"}},
		{"9.1 message of the limit", f(opText, askOf(frame1)), []string{ok}},
		{"9.2 one byte more", f(opText, askOf(frame1+1)), []string{tooLarge}},
		{"9.3 too much in fragments", fragments(askOf(frame1+1), 4<<10), []string{tooLarge}},
		{"9.3 the limit in fragments", fragments(askOf(frame1), 4<<10), []string{ok}},
		{"9.9 a promise of 2^62 bytes", append([]byte{fin | opBinary, 0xff}, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), []string{tooLarge}},
		{"9.9 a length of 2^63", append([]byte{fin | opBinary, 0xff}, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), []string{"close 1002 a length has its highest bit set"}},
		{"10.1 fragments of 1,300 bytes", fragments(askOf(65536), 1300), []string{ok}},
		{"not masked", []byte{fin | opText, 2, '{', '}'}, []string{"close 1002 the frame is not masked"}},
		{"ping not masked", []byte{fin | opPing, 0}, []string{"close 1002 the frame is not masked"}},
		{"16 bits for a length of 125", cat([]byte{fin | opText, 0x80 | 126, 0, 125}, make([]byte, 4)), []string{"close 1002 a length is written with more bytes than it needs"}},
		{"64 bits for a length of 65,535", cat([]byte{fin | opText, 0x80 | 127, 0, 0, 0, 0, 0, 0, 255, 255}, make([]byte, 4)), []string{"close 1002 a length is written with more bytes than it needs"}},
		{"masked by zeros", cat([]byte{fin | opText, 0x80 | byte(len(ask))}, make([]byte, 4), []byte(ask)), []string{ok}},
	}
	for i, size := range []int{125, 126, 127, 128, 65535, 65536} {
		cases = append(cases,
			conformance{fmt.Sprintf("1.1.%d text of %d bytes", i+2, size), f(opText, strings.Repeat("*", size)), []string{"err bad_frame"}},
			conformance{fmt.Sprintf("1.2.%d binary of %d bytes", i+2, size), f(opBinary, strings.Repeat("\xfe", size)), []string{"err bad_frame"}},
			conformance{fmt.Sprintf("1.1.%d request of %d bytes", i+2, size), f(opText, askOf(size)), []string{ok}})
	}
	for _, n := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases = append(cases, conformance{fmt.Sprintf("4 opcode %d", n), cat(f(n, ""), f(opPing, "")), []string{opcode(int(n))}},
			conformance{fmt.Sprintf("4 opcode %d after a request", n), cat(f(opText, ask), f(n, "data")), []string{ok, opcode(int(n))}})
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, conformance{fmt.Sprintf("7.7 code %d", code), closing(code, ""), []string{fmt.Sprintf("close %d ", code)}})
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, conformance{fmt.Sprintf("7.9 code %d", code), closing(code, ""), []string{fmt.Sprintf("close 1002 there is no close code %d", code)}})
	}
	for _, c := range cases {
		s.conform(t, c, 0)
		if len(c.send) < 400 {
			s.conform(t, conformance{c.name + ", byte by byte", c.send, c.want}, 1)
		}
	}
}

func slicesOf(n int, text string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = text
	}
	return out
}

// conform plays a case, with each write of so many bytes; 0: all at once.
func (s *served) conform(t *testing.T, c conformance, each int, extensions ...string) {
	t.Helper()
	w := s.open(t, extensions...)
	defer w.conn.Close() //nolint:errcheck // of a test
	if each == 0 {
		each = len(c.send)
	}
	for left := c.send; len(left) > 0; {
		n := min(each, len(left))
		if _, err := w.conn.Write(left[:n]); err != nil {
			break // it may be closed by now, which the frames tell
		}
		left = left[n:]
	}
	for i, want := range c.want {
		if got := w.shown(); got != want {
			t.Errorf("%s: frame %d: got %q, want %q", c.name, i, got, want)
			return
		}
	}
	if n := len(c.want); n > 0 && strings.HasPrefix(c.want[n-1], "close") {
		w.ended(c.name)
		return
	}
	w.write(f(opPing, "still"))
	if got := w.shown(); got != "pong 7374696c6c" {
		t.Errorf("%s: afterwards got %q, want the pong of a live connection", c.name, got)
	}
}

func TestBadHandshakes(t *testing.T) {
	s := newWorld(t).serve()
	const get = "GET /v1/ws HTTP/1.1\r\n"
	without := func(header string) string {
		var kept []string
		for line := range strings.SplitAfterSeq(rightHandshake, "\r\n") {
			if !strings.HasPrefix(line, header) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	for _, test := range []struct {
		name, request string
		status        int
		code          string
	}{
		{"as it should be", get + rightHandshake, 101, ""},
		{"tokens in other cases and lists", get + strings.NewReplacer("Upgrade\r", "keep-alive, uPgrade\r", ": websocket", ": WebSocket").Replace(rightHandshake), 101, ""},
		{"no upgrade", get + without("Upgrade"), 400, "bad_handshake"},
		{"no connection", get + without("Connection"), 400, "bad_handshake"},
		{"no key", get + without("Sec-WebSocket-Key"), 400, "bad_handshake"},
		{"key of 15 bytes", get + without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n", 400, "bad_handshake"},
		{"key that is no base64", get + without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!!!\r\n", 400, "bad_handshake"},
		{"no version", get + without("Sec-WebSocket-Version"), 426, "bad_handshake"},
		{"version 8", get + without("Sec-WebSocket-Version") + "Sec-WebSocket-Version: 8\r\n", 426, "bad_handshake"},
		{"POST", "POST /v1/ws HTTP/1.1\r\n" + rightHandshake, 405, "method_not_allowed"},
		{"HTTP/1.0", "GET /v1/ws HTTP/1.0\r\n" + rightHandshake, 400, "bad_handshake"},
		{"another subprotocol", get + rightHandshake + "Sec-WebSocket-Protocol: chat\r\n", 400, "bad_subprotocol"},
		{"ours among others", get + rightHandshake + "Sec-WebSocket-Protocol: chat, " + client.Subprotocol + "\r\n", 101, ""},
		{"a foreign page", get + rightHandshake + "Origin: https://evil.example\r\n", 403, "origin_refused"},
		{"an origin that is none", get + rightHandshake + "Origin: :::\r\n", 403, "origin_refused"},
		{"our own page", get + rightHandshake + "Origin: https://h\r\n", 101, ""},
	} {
		w := s.wire(t, test.request)
		var p client.Problem
		if w.answer.StatusCode != http.StatusSwitchingProtocols {
			if err := json.NewDecoder(w.answer.Body).Decode(&p); err != nil {
				t.Errorf("%s: the answer is no problem: %v", test.name, err)
			}
		}
		equal(t, test.name, []any{w.answer.StatusCode, p.Code}, []any{test.status, test.code})
		switch w.answer.StatusCode {
		case http.StatusSwitchingProtocols:
			equal(t, test.name+": accept", w.answer.Header.Get("Sec-Websocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
		case http.StatusUpgradeRequired:
			equal(t, test.name+": version", w.answer.Header.Get("Sec-Websocket-Version"), "13")
		}
		_ = w.conn.Close()
	}
}
