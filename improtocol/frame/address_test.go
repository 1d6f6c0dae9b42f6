package frame_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/libsv/go-bk/base58"
	"github.com/metaim/metaim/improtocol/frame"
)

// check58 writes Base58Check of any bytes.
func check58(b []byte) string {
	first := sha256.Sum256(b)
	sum := sha256.Sum256(first[:])
	return base58.Encode(append(append([]byte{}, b...), sum[:4]...))
}

func TestParseAddress(t *testing.T) {
	hash := frame.KeyHash([]byte("twenty bytes of hash"))
	at := func(version byte) string { return check58(append([]byte{version}, hash[:]...)) }
	main, test := at(0x00), at(0x6f)
	for _, c := range []struct {
		name    string
		network frame.Network
		text    string
		err     error
	}{
		{"mainnet has version 0x00", frame.Main, main, nil},
		{"testnet has version 0x6f", frame.Test, test, nil},
		{"regtest has version 0x6f", frame.Regtest, test, nil},
		{"an address of mainnet on regtest", frame.Regtest, main, frame.ErrAddressNetwork},
		{"an address of regtest on mainnet", frame.Main, test, frame.ErrAddressNetwork},
		{"a version of no network", frame.Main, at(0x05), frame.ErrAddressNetwork},
		{"one letter mistyped", frame.Main, main[:33] + swap(main[33:]), frame.ErrChecksum},
		{"a letter that base58 doesn't have", frame.Main, main[:10] + "0" + main[11:], frame.ErrAddress},
		{"a leading space", frame.Main, " " + main, frame.ErrAddress},
		{"a trailing newline", frame.Main, main + "\n", frame.ErrAddress},
		{"a 1 too many in front", frame.Main, "1" + main, frame.ErrAddress},
		{"20 bytes", frame.Main, check58(hash[:]), frame.ErrAddress},
		{"22 bytes", frame.Main, check58(append([]byte{0, 0}, hash[:]...)), frame.ErrAddress},
		{"a private key in WIF", frame.Main, "L1GMTAfQX8tfJxcEbvj381Zx7LnHmT6u9o9AsGW2euC8RpYbFoZ3", frame.ErrAddress},
		{"empty", frame.Main, "", frame.ErrAddress},
		{"a megabyte of ones", frame.Main, strings.Repeat("1", 1<<20), frame.ErrAddress},
		{"letters past ASCII", frame.Main, main[:20] + "é" + main[22:], frame.ErrAddress},
		{"a NUL in the middle", frame.Main, main[:20] + "\x00" + main[21:], frame.ErrAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.network.ParseAddress(c.text)
			if !errors.Is(err, c.err) {
				t.Fatalf("ParseAddress(%.60q): got error %v, want %v", c.text, err, c.err)
			}
			if err == nil && got != hash {
				t.Errorf("got %x, want %x", got, hash)
			}
			any := err == nil || errors.Is(err, frame.ErrAddressNetwork)
			if got := frame.IsAddress(c.text); got != any {
				t.Errorf("IsAddress(%.60q) = %v, want %v", c.text, got, any)
			}
		})
	}
}

// swap changes one letter of base58 for another.
func swap(letter string) string {
	if letter == "2" {
		return "3"
	}
	return "2"
}

func TestAddressExtremes(t *testing.T) {
	full := frame.KeyHash([]byte(strings.Repeat("\xff", 20)))
	for _, h := range []frame.KeyHash{{}, {19: 1}, full} {
		for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
			text := n.Address(h)
			if got, err := n.ParseAddress(text); err != nil || got != h {
				t.Errorf("%s on %s: got %x %v, want %x", text, n, got, err, h)
			}
		}
	}
	if got := frame.Main.Address(frame.KeyHash{}); got != "1111111111111111111114oLvT2" {
		t.Errorf("the address of 20 zero bytes is %s", got)
	}
	for version := range 256 {
		if text := check58(append([]byte{byte(version)}, full[:]...)); !frame.IsAddress(text) {
			t.Errorf("%s, of version %#x, isn't taken for an address", text, version)
		}
	}
}

func TestHashKey(t *testing.T) {
	key := unhex(t, "0304f7701696b52c508600eee64677497eda3661abc6eef0b76c5ef7c1997ce749")
	if got, want := frame.Main.Address(frame.HashKey(key)), "149y9oUnMQ5yBMwxordhgcVWwTARFoPTuw"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseNetwork(t *testing.T) {
	for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
		if got, err := frame.ParseNetwork(string(n)); err != nil || got != n {
			t.Errorf("%s: got %s %v", n, got, err)
		}
	}
	for _, s := range []string{"", "Main", "mainnet", "regtest "} {
		if got, err := frame.ParseNetwork(s); err == nil {
			t.Errorf("%q: got %s, want an error", s, got)
		}
	}
}
