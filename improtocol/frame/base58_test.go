package frame

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/libsv/go-bk/base58"
)

// The Base58 of 25 bytes says the same as the general one: both ways, for any
// bytes and for texts that are nearly right.
func TestBase58(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	alter := func(s string) string {
		b := []byte(s)
		switch r.IntN(5) {
		case 0:
			b[r.IntN(len(b))] = byte(r.IntN(256))
		case 1:
			b = append(b, "1zA"[r.IntN(3)])
		case 2:
			b = b[1:]
		case 3:
			b = append([]byte{'1'}, b...)
		default:
			b[r.IntN(len(b))] = base58Digits[r.IntN(58)]
		}
		return string(b)
	}
	for range 200_000 {
		var b [checkedBytes]byte
		for i := r.IntN(checkedBytes + 1); i < checkedBytes; i++ {
			b[i] = byte(r.IntN(256))
			if r.IntN(8) == 0 {
				b[i] = 0xff
			}
		}
		want := base58.Encode(b[:])
		if got := encodeBase58(&b); got != want {
			t.Fatalf("%x: got %s, want %s", b, got, want)
		}
		if got, ok := decodeBase58(want); !ok || got != b {
			t.Fatalf("%s: got %x, %v, want %x", want, got, ok, b)
		}
		text := alter(want)
		general := base58.Decode(text)
		wantOK := len(general) == checkedBytes && base58.Encode(general) == text
		got, ok := decodeBase58(text)
		if ok != wantOK || ok && string(got[:]) != string(general) {
			t.Fatalf("%q: got %x, %v, want %x, %v", text, got, ok, general, wantOK)
		}
	}
	for _, text := range []string{"", strings.Repeat("1", 24), strings.Repeat("1", 26), strings.Repeat("z", 35), strings.Repeat("z", 36), strings.Repeat("é", 16)} {
		if got, ok := decodeBase58(text); ok {
			t.Errorf("%q: got %x, want a refusal", text, got)
		}
	}
}
