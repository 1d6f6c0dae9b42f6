package frame_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

func raws(fields []string) [][]byte {
	out := make([][]byte, len(fields))
	for i, f := range fields {
		out[i] = []byte(f)
	}
	return out
}

// TestAppendScript: the encoder writes OP_FALSE OP_RETURN and the shortest
// pushes, and refuses what a reader would not read back the same.
func TestAppendScript(t *testing.T) {
	for _, c := range []struct {
		name   string
		form   frame.Form
		fields []string
		want   string
		err    error
	}{
		{"pushes", frame.Pushes, message, safe + pushes(message...), nil},
		{"bracketed", frame.Bracketed, message, safe + pushes(text(message...)), nil},
		{"a message with brackets", frame.Bracketed, with(message, 5, "a][b"), safe + pushes(text(with(message, 5, "a][b")...)), nil},
		{"a message that is |", frame.Pushes, with(message, 5, "|"), safe + pushes(with(message, 5, "|")...), nil},
		{"raw is never written", frame.Raw, message, "", errAny},
		{"no identifier", frame.Pushes, with(message, 1, "x"), "", frame.ErrNotOurs},
		{"five fields", frame.Pushes, message[:5], "", frame.ErrFieldCount},
		{"nine fields", frame.Pushes, append(append([]string{}, message...), "x"), "", frame.ErrFieldCount},
		{"nine fields in brackets would be read as eight", frame.Bracketed, append(append([]string{}, message...), "x"), "", frame.ErrFieldCount},
		{"| would end the frame", frame.Pushes, with(message, 8, "|"), "", frame.ErrFieldCount},
		{"| in a field in brackets", frame.Bracketed, with(message, 2, "|"), "", frame.ErrChainField},
		{"][ in the source, as pushes", frame.Pushes, with(message, 2, "a][b"), "", frame.ErrFieldBytes},
		{"][ in the source would move into the message, in brackets", frame.Bracketed, with(message, 2, "a][b"), "", frame.ErrFieldBytes},
		{"][ in other information would move into the message, in brackets", frame.Bracketed, with(message, 6, "a][b"), "", frame.ErrFieldBytes},
		{"][ in a peer's field, in brackets, would be a delete", frame.Bracketed, with(peer, 4, "a][delete"), "", frame.ErrFieldCount},
		{"a raw signature with a bracket, in brackets", frame.Bracketed, with(message, 8, "\xff]"), "", frame.ErrFieldBytes},
		{"a field that is not UTF-8", frame.Pushes, with(message, 3, "\xff"), "", frame.ErrUTF8},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := frame.AppendScript([]byte("before"), c.form, raws(c.fields)...)
			if c.err != nil {
				if err == nil || c.err != errAny && !errors.Is(err, c.err) {
					t.Errorf("got %q and error %v, want error %v", got, err, c.err)
				}
				return
			}
			if want := "before" + c.want; err != nil || string(got) != want {
				t.Errorf("got %q %v, want %q", got, err, want)
			}
		})
	}
}

var errAny = errors.New("any")

func TestCheckText(t *testing.T) {
	for text, want := range map[string]error{
		"": nil, "bob": nil, "a|b": nil, "||": nil, "|": frame.ErrChainField,
		"[": frame.ErrFieldBytes, "a]": frame.ErrFieldBytes, "\xff": frame.ErrUTF8,
	} {
		if got := frame.CheckText(text); got != want {
			t.Errorf("CheckText(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestParseTimeStamp(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want uint64
		ok   bool
	}{
		{"0 is a time stamp", "0", 0, true},
		{"milliseconds", "1764000000001", 1764000000001, true},
		{"2^64-1", "18446744073709551615", 1<<64 - 1, true},
		{"2^64", "18446744073709551616", 0, false},
		{"twenty nines", "99999999999999999999", 0, false},
		{"empty", "", 0, false},
		{"a leading zero", "01", 0, false},
		{"two zeros", "00", 0, false},
		{"a plus sign", "+1", 0, false},
		{"a minus sign", "-1", 0, false},
		{"minus zero", "-0", 0, false},
		{"an underscore", "1_000", 0, false},
		{"a leading space", " 1", 0, false},
		{"a trailing newline", "1\n", 0, false},
		{"hexadecimal", "0x10", 0, false},
		{"an exponent", "1e9", 0, false},
		{"a fraction", "1.0", 0, false},
		{"digits of another script", "١", 0, false},
		{"a word", "yesterday", 0, false},
	} {
		got, err := frame.ParseTimeStamp(c.text)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, frame.ErrTimeStamp) {
			t.Errorf("%s: got %d %v, want %d, ok %v", c.name, got, err, c.want, c.ok)
		}
	}
}

func TestIDOf(t *testing.T) {
	preimage := frame.AppendPreimage(nil, []byte("a"), nil, []byte("c"))
	if want := []byte("[a][][c]"); !bytes.Equal(preimage, want) {
		t.Errorf("preimage %q, want %q", preimage, want)
	}
	if got, want := frame.IDOf(preimage), frame.ID(sha256.Sum256([]byte("[a][][c]"))); got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	if got := frame.IDOf(nil).String(); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("an id is written first byte first, got %s", got)
	}
}

func TestHash(t *testing.T) {
	const want = "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456" // of nothing, as SHA-256 twice
	h := frame.HashOf(nil)
	reversed := "56944c5d3f98413ef45cf54545538103cc9f298e0575820ad3591376e2e0f65d"
	if got := h.String(); got != reversed {
		t.Errorf("got %s, want %s: a hash is written last byte first", got, reversed)
	}
	if h[0] != 0x5d || h[31] != 0x56 {
		t.Errorf("got bytes %x, want %s", h[:], want)
	}
	back, err := frame.ParseHash(reversed)
	if err != nil || back != h {
		t.Errorf("got %s %v, want %s", back, err, h)
	}
	for _, text := range []string{"", reversed[:63], reversed[:62], reversed + "00", "g" + reversed[1:]} {
		if _, err := frame.ParseHash(text); !errors.Is(err, frame.ErrHash) {
			t.Errorf("ParseHash(%q): got %v, want %v", text, err, frame.ErrHash)
		}
	}
}
