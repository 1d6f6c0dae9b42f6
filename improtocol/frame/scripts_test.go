package frame_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

const (
	safe = "\x00\x6a" // OP_FALSE OP_RETURN
	bare = "\x6a"     // OP_RETURN
	impi = frame.IMPI
	npi  = frame.NPI
)

// pushes writes each field with the shortest push.
func pushes(fields ...string) string {
	var b []byte
	for _, f := range fields {
		b = frame.AppendPush(b, []byte(f))
	}
	return string(b)
}

// text writes the fields in brackets.
func text(fields ...string) string { return "[" + strings.Join(fields, "][") + "]" }

// pushData writes a push with a chosen length prefix: 1, 2 or 4 bytes behind
// OP_PUSHDATA1, 2 or 4.
func pushData(size int, field string) string {
	n := len(field)
	switch size {
	case 1:
		return string([]byte{0x4c, byte(n)}) + field
	case 2:
		return string([]byte{0x4d, byte(n), byte(n >> 8)}) + field
	}
	return string([]byte{0x4e, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) + field
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendPush(t *testing.T) {
	for _, c := range []struct {
		name   string
		data   []byte
		prefix string // hex
	}{
		{"an empty field is 00", nil, "00"},
		{"one byte 00 is 01 00, not OP_0", []byte{0}, "01"},
		{"one byte 01 is 01 01, never OP_1", []byte{1}, "01"},
		{"one byte 10 is 01 10, never OP_16", []byte{16}, "01"},
		{"one byte 81 is 01 81, never OP_1NEGATE", []byte{0x81}, "01"},
		{"75 bytes are the longest direct push", make([]byte, 75), "4b"},
		{"76 bytes take OP_PUSHDATA1", make([]byte, 76), "4c4c"},
		{"255 bytes take OP_PUSHDATA1", make([]byte, 255), "4cff"},
		{"256 bytes take OP_PUSHDATA2", make([]byte, 256), "4d0001"},
		{"65,535 bytes take OP_PUSHDATA2", make([]byte, 65535), "4dffff"},
		{"65,536 bytes take OP_PUSHDATA4", make([]byte, 65536), "4e00000100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := frame.AppendPush([]byte("before"), c.data)
			want := append(append([]byte("before"), unhex(t, c.prefix)...), c.data...)
			if !bytes.Equal(got, want) {
				t.Errorf("got %.20x, want %.20x", got, want)
			}
		})
	}
}

// TestOurs has what begins as a frame, and what belongs to someone else however
// much it looks like one.
func TestOurs(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		want   bool
	}{
		{"first push is IMPI", safe + pushes(impi), true},
		{"first push is NPI", safe + pushes(npi), true},
		{"bare OP_RETURN", bare + pushes(impi), true},
		{"first push by OP_PUSHDATA1", safe + pushData(1, impi), true},
		{"first push by OP_PUSHDATA2", safe + pushData(2, impi), true},
		{"first push by OP_PUSHDATA4", safe + pushData(4, npi), true},
		{"first push begins with [IMPI]", safe + pushes("["+impi+"]anything"), true},
		{"first push is [NPI] alone", safe + pushes("["+npi+"]"), true},
		{"raw bytes begin with [IMPI]", safe + "[" + impi + "]", true},
		{"raw bytes begin with [NPI], bare OP_RETURN", bare + "[" + npi + "]x", true},
		{"something unreadable follows the identifier", safe + pushes(impi) + "\x4c", true},
		{"an opcode follows the identifier", safe + pushes(impi) + "\x51", true},
		{"first push's length lies", safe + "\x23" + impi, false},
		{"first push's 4-byte length lies", safe + "\x4e\xff\xff\xff\xff" + impi, false},
		{"first push has no length", safe + "\x4d\x22", false},
		{"bracketed push's length lies", safe + "\x4c\xff[" + impi + "]", false},
		{"identifier with one byte more", safe + pushes(impi+"x"), false},
		{"identifier with one byte less", safe + pushes(impi[:33]), false},
		{"identifier in another case", safe + pushes(strings.ToLower(impi)), false},
		{"[IMPI without the bracket that closes", safe + pushes("["+impi+"x"), false},
		{"raw [IMPI cut before its bracket", safe + "[" + impi, false},
		{"an empty push first", safe + "\x00" + pushes(impi), false},
		{"an opcode first", safe + "\x51" + pushes(impi), false},
		{"another protocol, then ours after |", safe + pushes("19HxigV4QyBv3tHpQVcUEQyq1pzZVdoAut", "|", impi), false},
		{"OP_FALSE OP_RETURN alone", safe, false},
		{"OP_RETURN alone", bare, false},
		{"empty script", "", false},
		{"OP_FALSE alone", "\x00", false},
		{"OP_FALSE twice", "\x00\x00\x6a" + pushes(impi), false},
		{"no OP_RETURN", pushes(impi), false},
		{"payment", "\x76\xa9\x14" + strings.Repeat("a", 20) + "\x88\xac", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := frame.Ours([]byte(c.script)); got != c.want {
				t.Errorf("Ours(%x) = %v, want %v", c.script, got, c.want)
			}
			allocs := testing.AllocsPerRun(10, func() { frame.Ours([]byte(c.script)) })
			copied := testing.AllocsPerRun(10, func() { keep = []byte(c.script) })
			if allocs > copied {
				t.Errorf("%v allocations, want none", allocs)
			}
		})
	}
}

var keep []byte

func TestPayToPublicKeyHash(t *testing.T) {
	hash := strings.Repeat("h", 20)
	for _, c := range []struct {
		name   string
		script string
		want   bool
	}{
		{"the usual script", "\x76\xa9\x14" + hash + "\x88\xac", true},
		{"one byte more", "\x76\xa9\x14" + hash + "\x88\xac\x00", false},
		{"one byte less", "\x76\xa9\x14" + hash + "\x88", false},
		{"hash of 19 bytes and one byte more", "\x76\xa9\x13" + hash + "\x88\xac", false},
		{"hash pushed by OP_PUSHDATA1", "\x76\xa9\x4c\x14" + hash + "\x88\xac", false},
		{"OP_EQUAL for OP_EQUALVERIFY", "\x76\xa9\x14" + hash + "\x87\xac", false},
		{"OP_CHECKSIGVERIFY for OP_CHECKSIG", "\x76\xa9\x14" + hash + "\x88\xad", false},
		{"OP_HASH256 for OP_HASH160", "\x76\xaa\x14" + hash + "\x88\xac", false},
		{"pay to script hash", "\xa9\x14" + hash + "\x87", false},
		{"empty", "", false},
	} {
		got, ok := frame.PayToPublicKeyHash([]byte(c.script))
		if ok != c.want || ok && string(got[:]) != hash {
			t.Errorf("%s: got %x %v, want %v", c.name, got, ok, c.want)
		}
	}
}

func TestSpendPublicKey(t *testing.T) {
	key33, key65 := "\x02"+strings.Repeat("k", 32), "\x04"+strings.Repeat("k", 64)
	sig := strings.Repeat("s", 71)
	for _, c := range []struct {
		name   string
		script string
		want   string // the key; empty: none
	}{
		{"signature and compressed key", pushes(sig, key33), key33},
		{"key from 03", pushes(sig, "\x03"+key33[1:]), "\x03" + key33[1:]},
		{"signature and uncompressed key", pushes(sig, key65), key65},
		{"the first push may be anything, empty too", pushes("", key33), key33},
		{"any length prefix", pushData(4, sig) + pushData(2, key33), key33},
		{"the key needn't be on the curve", pushes(sig, "\x02"+strings.Repeat("\xff", 32)), "\x02" + strings.Repeat("\xff", 32)},
		{"one push", pushes(key33), ""},
		{"three pushes", pushes("", sig, key33), ""},
		{"something after the key", pushes(sig, key33) + "\x51", ""},
		{"an opcode first", "\x51" + pushes(key33), ""},
		{"33 bytes from 04", pushes(sig, "\x04"+key33[1:]), ""},
		{"65 bytes from 02", pushes(sig, "\x02"+key65[1:]), ""},
		{"65 bytes from 06, the hybrid form", pushes(sig, "\x06"+key65[1:]), ""},
		{"32 bytes", pushes(sig, key33[:32]), ""},
		{"the key's push is cut", pushes(sig) + "\x21" + key33[:32], ""},
		{"empty", "", ""},
	} {
		got, ok := frame.SpendPublicKey([]byte(c.script))
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %x %v, want %x", c.name, got, ok, c.want)
		}
	}
}
