package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

var testLimits = limits{block: 1e9, tx: 100e6}

func TestReadHeader(t *testing.T) {
	m := regtest.Magic
	var none [4]byte
	tests := []struct {
		name    string
		in      []byte
		command string
		size    uint64
		err     error
		magic   bool // *magicError
	}{
		{name: "plain", in: rawHeader(m, "inv", 37, none, nil), command: "inv", size: 37},
		{name: "command of twelve letters", in: rawHeader(m, "abcdefghijkl", 0, none, nil), command: "abcdefghijkl"},
		{name: "extended block", in: rawExtended(m, "block", 5e8, nil), command: "block", size: 5e8},
		{name: "other network", in: rawHeader(0xe8f3e1e3, "inv", 1, none, nil), magic: true},
		{name: "not Bitcoin", in: []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), magic: true},
		{name: "no command", in: rawHeader(m, "", 0, none, nil), err: ErrMalformed},
		{name: "letters after the zeros", in: rawHeader(m, "inv\x00x", 0, none, nil), err: ErrMalformed},
		{name: "command not printable", in: rawHeader(m, "in\xff", 0, none, nil), err: ErrMalformed},
		{name: "version of 1 MB", in: rawHeader(m, "version", 1e6, none, nil), err: ErrTooLarge},
		{name: "headers for more than 2,000", in: rawHeader(m, "headers", 9+2001*81, none, nil), err: ErrTooLarge},
		{name: "inv over 32 MiB", in: rawHeader(m, "inv", 32<<20+1, none, nil), err: ErrTooLarge},
		{name: "transaction over the limit", in: rawHeader(m, "tx", 100e6+1, none, nil), err: ErrTooLarge},
		{name: "unknown of 4 GB", in: rawHeader(m, "what", 0xffffffff, none, nil), err: ErrTooLarge},
		{name: "extended block over the limit", in: rawExtended(m, "block", 1<<63, nil), err: ErrTooLarge},
		{name: "extended inv", in: rawExtended(m, "inv", 1<<40, nil), err: ErrTooLarge},
		{name: "extended in extended", in: rawExtended(m, "extmsg", 1, nil), err: ErrMalformed},
		{name: "extended with a plain length", in: rawHeader(m, "extmsg", 20, none, make([]byte, 20)), err: ErrMalformed},
		{name: "extended cut short", in: rawHeader(m, "extmsg", 0xffffffff, none, []byte("block")), err: io.ErrUnexpectedEOF},
		{name: "cut short", in: rawHeader(m, "inv", 37, none, nil)[:23], err: io.ErrUnexpectedEOF},
		{name: "nothing", err: io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readHeader(bytes.NewReader(tt.in), m, testLimits)
			var magic *magicError
			if isMagic := errors.As(err, &magic); isMagic != tt.magic || (!isMagic && !errors.Is(err, tt.err)) {
				t.Fatalf("got error %v, want %v (wrong magic: %t)", err, tt.err, tt.magic)
			}
			if err == nil && (got.command != tt.command || got.size != tt.size) {
				t.Errorf("got %q of %d bytes, want %q of %d", got.command, got.size, tt.command, tt.size)
			}
		})
	}
}

func TestReadPayload(t *testing.T) {
	for _, size := range []int{0, 1, firstChunk, firstChunk + 1, 300000} {
		want := bytes.Repeat([]byte("metaim"), size/6+1)[:size]
		r := bytes.NewReader(append(rawMessage(regtest.Magic, "tx", want), "next"...))
		m, err := readHeader(r, regtest.Magic, testLimits)
		if err != nil {
			t.Fatal(err)
		}
		got, sum, err := readPayload(r, m)
		if err != nil || !bytes.Equal(got, want) || sum != frame.HashOf(want) || r.Len() != 4 {
			t.Errorf("%d bytes: got %d bytes, %d left, error %v", size, len(got), r.Len(), err)
		}
	}
	broken := message{command: "tx", size: 3}
	if _, _, err := readPayload(strings.NewReader("abc"), broken); !errors.Is(err, ErrChecksum) {
		t.Errorf("wrong checksum: got %v, want %v", err, ErrChecksum)
	}
}

// TestClaimsCostNothing sends few bytes after a header that claims many.
func TestClaimsCostNothing(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := readPayload(strings.NewReader("ten bytes."), message{command: "tx", size: 1e9})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got error %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("a claim of 1 GB allocated %d bytes, want less than 1 MiB", got)
	}
}

func TestParsePayloads(t *testing.T) {
	hash, header := frame.HashOf([]byte("x")), testHeader(7)
	version := rawVersion(5, agentSV, 9)
	longAgent := bytes.Clone(version[:80])
	longAgent = append(longAgent, 0xfe, 0xff, 0xff, 0xff, 0x03, 'x')
	withTxs := rawHeaders(header)
	withTxs[81] = 1
	many := append([]byte{0xfd, 0xd1, 0x07}, make([]byte, 2001*81)...)
	list := func(b []byte) (int, error) { l, err := parseItems(b); return len(l), err }
	headers := func(b []byte) (int, error) { l, err := parseHeaders(b); return len(l), err }
	hello := func(b []byte) (int, error) {
		v, err := parseVersion(b)
		if err != nil {
			return 0, err
		}
		return int(v.LastBlock), nil
	}
	tests := []struct {
		name  string
		parse func([]byte) (int, error)
		in    []byte
		want  int
		err   error
	}{
		{name: "inv", parse: list, in: rawItems(1, hash, hash), want: 2},
		{name: "empty inv", parse: list, in: rawItems(1)},
		{name: "inv of nothing", parse: list, err: ErrMalformed},
		{name: "inv that claims 50,000", parse: list, in: []byte{0xfd, 0x50, 0xc3, 1, 0, 0, 0}, err: ErrMalformed},
		{name: "inv that claims 2^64-1", parse: list, in: bytes.Repeat([]byte{255}, 9+36), err: ErrMalformed},
		{name: "inv with a rest", parse: list, in: append(rawItems(1, hash), 0), err: ErrMalformed},
		{name: "headers", parse: headers, in: rawHeaders(header, header, header), want: 3},
		{name: "no headers", parse: headers, in: rawHeaders()},
		{name: "header with transactions", parse: headers, in: withTxs, err: ErrMalformed},
		{name: "headers cut short", parse: headers, in: rawHeaders(header)[:81], err: ErrMalformed},
		{name: "2,001 headers", parse: headers, in: many, err: ErrMalformed},
		{name: "version", parse: hello, in: version, want: 9},
		{name: "version cut short", parse: hello, in: version[:79], err: ErrMalformed},
		{name: "version that claims a user agent of 64 MB", parse: hello, in: longAgent, err: ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.parse(tt.in)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %d, %v, want %d, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// FuzzMessages reads a stream of messages as a session does. It must not panic,
// and memory must be bounded by what arrives, whatever is claimed.
func FuzzMessages(f *testing.F) {
	hash := frame.HashOf([]byte("x"))
	f.Add(rawMessage(regtest.Magic, "inv", rawItems(1, hash)))
	f.Add(rawMessage(regtest.Magic, "version", rawVersion(1, agentBSV, 7)))
	f.Add(rawMessage(regtest.Magic, "headers", rawHeaders(chainwatch.Header{})))
	f.Add(rawExtended(regtest.Magic, "tx", 50e6, []byte("abc")))
	f.Add(append(rawMessage(regtest.Magic, "ping", make([]byte, 8)), rawMessage(regtest.Magic, "reject", []byte("no"))...))
	f.Fuzz(func(t *testing.T, in []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for r := bytes.NewReader(in); ; {
			m, err := readHeader(r, regtest.Magic, testLimits)
			if err != nil {
				break
			}
			payload, _, err := readPayload(r, m)
			if err != nil {
				break
			}
			if uint64(len(payload)) != m.size {
				t.Fatalf("got %d bytes, want %d", len(payload), m.size)
			}
			parseAll(t, payload)
		}
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(4<<20+64*len(in)); got > most {
			t.Errorf("%d bytes of input allocated %d, want at most %d", len(in), got, most)
		}
	})
}

func parseAll(t *testing.T, b []byte) {
	if list, err := parseItems(b); err == nil && len(list) > len(b)/36 {
		t.Fatalf("%d entries in %d bytes", len(list), len(b))
	}
	if list, err := parseHeaders(b); err == nil && len(list) > len(b)/81 {
		t.Fatalf("%d headers in %d bytes", len(list), len(b))
	}
	if v, err := parseVersion(b); err == nil && len(v.UserAgent) > len(b) {
		t.Fatalf("user agent of %d bytes in %d", len(v.UserAgent), len(b))
	}
	if nonce, err := parseNonce(b); err == nil && nonce != binary.LittleEndian.Uint64(b) {
		t.Fatalf("nonce %d", nonce)
	}
	for _, c := range rejectReason(b) {
		if c < ' ' || c > '~' {
			t.Fatalf("unprintable %q", c)
		}
	}
}
