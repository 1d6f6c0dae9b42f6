package frame_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// Fields of frames that can be read; what they say doesn't matter here.
var (
	message  = []string{impi, "bob", "text", "plain", "hello", "", "1", "sig"}
	record   = []string{npi, "bob", "address", "", "1", "sig"}
	erasure  = []string{npi, "bob", "address", "", "delete", "1", "sig"}
	handOver = []string{npi, "bob", "address", "address", "", "1", "sig", "sig"}
	peer     = []string{impi, "address", "127.0.0.1", "", "1", "sig"}
	peerGone = []string{impi, "address", "127.0.0.1", "", "delete", "1", "sig"}
)

// with returns the fields with one replaced, counted from 1.
func with(fields []string, i int, value string) []string {
	fields = slices.Clone(fields)
	fields[i-1] = value
	return fields
}

type readCase struct {
	name     string
	script   string
	protocol frame.Protocol
	form     frame.Form
	fields   []string // nil: refused
	err      error
	field    int // that was refused
}

func good(name, script string, p frame.Protocol, form frame.Form, fields []string) readCase {
	return readCase{name: name, script: script, protocol: p, form: form, fields: fields}
}

func bad(name, script string, p frame.Protocol, err error, field int) readCase {
	return readCase{name: name, script: script, protocol: p, err: err, field: field}
}

func run(t *testing.T, cases []readCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := frame.Read([]byte(c.script))
			if c.fields == nil {
				refused(t, c, err)
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			got := make([]string, len(f.Fields))
			for i, field := range f.Fields {
				got[i] = string(field)
			}
			if f.Protocol != c.protocol || f.Form != c.form || !slices.Equal(got, c.fields) {
				t.Errorf("got %s %s %q\nwant %s %s %q", f.Protocol, f.Form, got, c.protocol, c.form, c.fields)
			}
		})
	}
}

func refused(t *testing.T, c readCase, err error) {
	t.Helper()
	var p *frame.ParseError
	switch {
	case !errors.Is(err, c.err):
		t.Errorf("got error %v, want %v", err, c.err)
	case errors.Is(c.err, frame.ErrNotOurs):
	case !errors.As(err, &p):
		t.Errorf("got error %T, want a *ParseError", err)
	case p.Protocol != c.protocol || p.Field != c.field:
		t.Errorf("refused as %s, field %d, want %s, field %d", p.Protocol, p.Field, c.protocol, c.field)
	}
}

func TestForms(t *testing.T) {
	injected := with(message, 5, "a][b")
	run(t, []readCase{
		good("pushes", safe+pushes(message...), frame.IM, frame.Pushes, message),
		good("bracketed", safe+pushes(text(message...)), frame.IM, frame.Bracketed, message),
		good("raw", safe+text(message...), frame.IM, frame.Raw, message),
		good("pushes after a bare OP_RETURN", bare+pushes(message...), frame.IM, frame.Pushes, message),
		good("bracketed after a bare OP_RETURN", bare+pushes(text(message...)), frame.IM, frame.Bracketed, message),
		good("raw after a bare OP_RETURN", bare+text(message...), frame.IM, frame.Raw, message),
		good("any length prefix is read", safe+pushData(1, impi)+pushData(2, "bob")+pushData(4, "text")+
			pushData(1, "plain")+pushData(2, "hello")+pushData(4, "")+pushData(1, "1")+pushData(1, "sig"),
			frame.IM, frame.Pushes, message),
		good("a bracketed push with a long prefix", safe+pushData(4, text(message...)), frame.IM, frame.Bracketed, message),
		good("brackets in a message, as pushes", safe+pushes(injected...), frame.IM, frame.Pushes, injected),
		good("brackets in a message are joined again, bracketed", safe+pushes(text(injected...)), frame.IM, frame.Bracketed, injected),
		good("brackets in a message are joined again, raw", safe+text(injected...), frame.IM, frame.Raw, injected),
		good("a message of brackets only", safe+text(with(message, 5, "][][][")...), frame.IM, frame.Raw, with(message, 5, "][][][")),
		good("a message that ends with [", safe+text(with(message, 5, "a[")...), frame.IM, frame.Raw, with(message, 5, "a[")),
		good("a message that begins with ]", safe+text(with(message, 5, "]a")...), frame.IM, frame.Raw, with(message, 5, "]a")),
		bad("raw with a byte after the last bracket", safe+text(message...)+"x", frame.IM, frame.ErrBrackets, 0),
		bad("raw followed by the push |", safe+text(message...)+"\x01|", frame.IM, frame.ErrBrackets, 0),
		bad("raw followed by a newline", safe+text(message...)+"\n", frame.IM, frame.ErrBrackets, 0),
		bad("bracketed text that doesn't end with a bracket", safe+pushes(text(message...)+" "), frame.IM, frame.ErrBrackets, 0),
		bad("a space between brackets", safe+text(append([]string{impi + "] [bob"}, message[2:]...)...), frame.P, frame.ErrFieldBytes, 1),
		bad("a push that is cut", safe+pushes(message[:7]...)+"\x09sig", frame.IM, frame.ErrPush, 0),
		bad("a push longer than any script", safe+pushes(message[:4]...)+"\x4e\xff\xff\xff\xff", frame.IM, frame.ErrPush, 0),
		bad("a push cut in its length", safe+pushes(message[:4]...)+"\x4e\x01\x00", frame.IM, frame.ErrPush, 0),
		bad("OP_1 in place of a push", safe+pushes(message[:6]...)+"\x51"+pushes("sig"), frame.IM, frame.ErrPush, 0),
		bad("OP_1NEGATE in place of a push", safe+pushes(record[:4]...)+"\x4f"+pushes("sig"), frame.N, frame.ErrPush, 0),
		bad("a cut push counts as im under IMPI, whatever stood before it", safe+pushes(peer...)+"\x05x", frame.IM, frame.ErrPush, 0),
		bad("an opcode after a whole frame", safe+pushes(message...)+"\xac", frame.IM, frame.ErrPush, 0),
		bad("not ours", safe+pushes("x"), "", frame.ErrNotOurs, 0),
	})
}

func TestChaining(t *testing.T) {
	pipe := with(message, 5, "|")
	run(t, []readCase{
		good("| and another protocol follow", safe+pushes(append(slices.Clone(message), "|", "19Hx", "data")...), frame.IM, frame.Pushes, message),
		good("| ends the frame and nothing follows", safe+pushes(append(slices.Clone(message), "|")...), frame.IM, frame.Pushes, message),
		good("what follows | isn't read, broken or not", safe+pushes(append(slices.Clone(message), "|")...)+"\x4e\xff", frame.IM, frame.Pushes, message),
		good("| as the fifth push of an IMPI frame is a message", safe+pushes(pipe...), frame.IM, frame.Pushes, pipe),
		good("| as a message, and | that chains", safe+pushes(append(slices.Clone(pipe), "|", "x")...), frame.IM, frame.Pushes, pipe),
		good("| as a message in brackets", safe+pushes(text(pipe...)), frame.IM, frame.Bracketed, pipe),
		good("a record chains", safe+pushes(append(slices.Clone(record), "|", "x")...), frame.N, frame.Pushes, record),
		good("a delete chains", safe+pushes(append(slices.Clone(erasure), "|", "x")...), frame.N, frame.Pushes, erasure),
		good("a peer chains", safe+pushes(append(slices.Clone(peer), "|", "x")...), frame.P, frame.Pushes, peer),
		good("bracketed text chains", safe+pushes(text(message...), "|", "x"), frame.IM, frame.Bracketed, message),
		good("bracketed text chains by a long push", safe+pushes(text(message...))+pushData(4, "|")+"\x4e", frame.IM, frame.Bracketed, message),
		bad("something else follows the frame", safe+pushes(append(slices.Clone(message), "x")...), frame.IM, frame.ErrFieldCount, 0),
		bad("|| follows the frame", safe+pushes(append(slices.Clone(message), "||")...), frame.IM, frame.ErrFieldCount, 0),
		bad("something else follows bracketed text", safe+pushes(text(message...), "x"), frame.IM, frame.ErrTrailing, 0),
		bad("an empty push follows bracketed text", safe+pushes(text(message...), ""), frame.IM, frame.ErrTrailing, 0),
		bad("a cut push follows bracketed text", safe+pushes(text(message...))+"\x02|", frame.IM, frame.ErrTrailing, 0),
		bad("an opcode follows bracketed text", safe+pushes(text(message...))+"\x7c", frame.IM, frame.ErrTrailing, 0),
		bad("something else follows a bracketed peer", safe+pushes(text(peer...), "x"), frame.P, frame.ErrTrailing, 0),
		bad("| ends the frame too early", safe+pushes(append(slices.Clone(message[:5]), "|", "x", "y")...), frame.IM, frame.ErrFieldCount, 0),
		good("| after six fields under IMPI leaves a peer", safe+pushes(append(slices.Clone(message[:6]), "|", "x")...), frame.P, frame.Pushes, message[:6]),
		bad("| as the fifth push under NPI ends the frame", safe+pushes(with(record, 5, "|")...), frame.N, frame.ErrFieldCount, 0),
		bad("| as the fifth of an IMPI frame of six fields is no message", safe+pushes(with(peer, 5, "|")...), frame.P, frame.ErrChainField, 5),
		bad("a signature that is |, in brackets", safe+text(with(message, 8, "|")...), frame.IM, frame.ErrChainField, 8),
		bad("a signature that is |, as a push, is missing", safe+pushes(with(record, 6, "|")...), frame.N, frame.ErrFieldCount, 0),
		bad("a field that is |, in brackets", safe+text(with(message, 2, "|")...), frame.IM, frame.ErrChainField, 2),
	})
}

func TestFieldCount(t *testing.T) {
	run(t, []readCase{
		good("IMPI, 8 fields: IM", safe+pushes(message...), frame.IM, frame.Pushes, message),
		good("IMPI, 6 fields: P", safe+pushes(peer...), frame.P, frame.Pushes, peer),
		good("IMPI, 7 fields: P", safe+pushes(peerGone...), frame.P, frame.Pushes, peerGone),
		good("NPI, 6 fields", safe+pushes(record...), frame.N, frame.Pushes, record),
		good("NPI, 7 fields", safe+pushes(erasure...), frame.N, frame.Pushes, erasure),
		good("NPI, 8 fields", safe+pushes(handOver...), frame.N, frame.Pushes, handOver),
		good("NPI in brackets", safe+pushes(text(handOver...)), frame.N, frame.Bracketed, handOver),
		good("a peer in raw brackets", safe+text(peer...), frame.P, frame.Raw, peer),
		bad("IMPI, 1 field", safe+pushes(impi), frame.IM, frame.ErrFieldCount, 0),
		bad("IMPI, 5 fields", safe+pushes(peer[:5]...), frame.IM, frame.ErrFieldCount, 0),
		bad("IMPI, 9 fields as pushes", safe+pushes(append(slices.Clone(message), "x")...), frame.IM, frame.ErrFieldCount, 0),
		bad("NPI, 5 fields", safe+pushes(record[:5]...), frame.N, frame.ErrFieldCount, 0),
		bad("NPI, 9 fields as pushes", safe+pushes(append(slices.Clone(handOver), "x")...), frame.N, frame.ErrFieldCount, 0),
		bad("NPI, 9 fields in brackets", safe+text(append(slices.Clone(handOver), "x")...), frame.N, frame.ErrFieldCount, 0),
		bad("[IMPI] alone", safe+"["+impi+"]", frame.IM, frame.ErrFieldCount, 0),
		bad("[NPI] alone in a push", safe+pushes("["+npi+"]"), frame.N, frame.ErrFieldCount, 0),
		bad("IMPI and a million pushes", safe+pushes(impi)+strings.Repeat("\x00", 1e6), frame.IM, frame.ErrFieldCount, 0),
	})
}

func TestFieldBytes(t *testing.T) {
	raw := with(message, 8, string(make([]byte, 65)))
	inSignature := with(message, 8, "\xff]\x00[")
	run(t, []readCase{
		good("a message holds any bytes", safe+pushes(with(message, 5, "\x00\xff[]|")...), frame.IM, frame.Pushes, with(message, 5, "\x00\xff[]|")),
		good("a message holds any bytes, in brackets", safe+text(with(message, 5, "\x00\xff[]|")...), frame.IM, frame.Raw, with(message, 5, "\x00\xff[]|")),
		good("a signature of raw bytes, as a push", safe+pushes(raw...), frame.IM, frame.Pushes, raw),
		good("a signature of raw bytes, in brackets", safe+text(raw...), frame.IM, frame.Raw, raw),
		good("brackets and no UTF-8 in a signature, as a push", safe+pushes(inSignature...), frame.IM, frame.Pushes, inSignature),
		good("both signatures of a transfer may be raw", safe+pushes(with(with(handOver, 7, "\xff["), 8, "\xfe]")...), frame.N, frame.Pushes,
			with(with(handOver, 7, "\xff["), 8, "\xfe]")),
		good("every field may be empty", safe+pushes(impi, "", "", "", "", "", "", ""), frame.IM, frame.Pushes, []string{impi, "", "", "", "", "", "", ""}),
		good("control characters are UTF-8", safe+pushes(with(message, 2, "a\x00\n")...), frame.IM, frame.Pushes, with(message, 2, "a\x00\n")),
		good("| inside a longer field", safe+pushes(with(message, 6, "a|b")...), frame.IM, frame.Pushes, with(message, 6, "a|b")),
		bad("a bracket in a signature, in brackets", safe+text(with(message, 8, "a]b")...), frame.IM, frame.ErrFieldBytes, 8),
		bad("[ in the source", safe+pushes(with(message, 2, "b[b")...), frame.IM, frame.ErrFieldBytes, 2),
		bad("] in the message type", safe+pushes(with(message, 3, "]")...), frame.IM, frame.ErrFieldBytes, 3),
		bad("a bracket in the encryption type", safe+pushes(with(message, 4, "[")...), frame.IM, frame.ErrFieldBytes, 4),
		bad("a bracket in other information", safe+pushes(with(message, 6, "x][y")...), frame.IM, frame.ErrFieldBytes, 6),
		bad("a bracket in the time stamp", safe+pushes(with(message, 7, "1]")...), frame.IM, frame.ErrFieldBytes, 7),
		bad("the source is not UTF-8", safe+pushes(with(message, 2, "\xff\xfe")...), frame.IM, frame.ErrUTF8, 2),
		bad("the source is not UTF-8, in brackets", safe+text(with(message, 2, "\xff\xfe")...), frame.IM, frame.ErrUTF8, 2),
		bad("an encoded surrogate is not UTF-8", safe+pushes(with(message, 2, "\xed\xa0\x80")...), frame.IM, frame.ErrUTF8, 2),
		bad("an overlong form is not UTF-8", safe+pushes(with(message, 6, "\xc0\x80")...), frame.IM, frame.ErrUTF8, 6),
		bad("a bracket in field 5 of a record is in no message", safe+pushes(with(record, 5, "1[")...), frame.N, frame.ErrFieldBytes, 5),
		bad("field 5 of a delete is no message", safe+pushes(with(erasure, 5, "\xff")...), frame.N, frame.ErrUTF8, 5),
		bad("field 5 of a peer is no message", safe+pushes(with(peer, 5, "]")...), frame.P, frame.ErrFieldBytes, 5),
		good("][ in a record's field, in brackets, makes one field more", safe+text(with(record, 4, "a][b")...), frame.N, frame.Raw,
			[]string{npi, "bob", "address", "a", "b", "1", "sig"}),
	})
}

// TestOnePreimage: the forms of one frame have the preimage in common, which
// ends before the signatures.
func TestOnePreimage(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		want   string
	}{
		{"message", message, text(message[:7]...)},
		{"register", record, text(record[:5]...)},
		{"delete", erasure, text(erasure[:6]...)},
		{"transfer: both signatures are left out", handOver, text(handOver[:6]...)},
		{"peer", peer, text(peer[:5]...)},
		{"deleted peer", peerGone, text(peerGone[:6]...)},
	} {
		for _, script := range []string{safe + pushes(c.fields...), safe + pushes(text(c.fields...)), safe + text(c.fields...), bare + text(c.fields...)} {
			f, err := frame.Read([]byte(script))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := string(f.Preimage()); got != c.want {
				t.Errorf("%s, %s: got %q, want %q", c.name, f.Form, got, c.want)
			}
		}
	}
}
