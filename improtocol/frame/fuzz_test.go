package frame_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// vectorScripts returns the scripts of the shared vectors.
func vectorScripts(t testing.TB) (scripts [][]byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "frames.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Frames []struct{ Script string } }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Frames) == 0 {
		t.Fatal("the vectors hold no frames")
	}
	for _, f := range file.Frames {
		scripts = append(scripts, unhex(t, f.Script))
	}
	return scripts
}

// FuzzRead: reading never panics; Ours tells the same as Read; a frame that was
// read obeys the rules of its fields, is written again as pushes, and, unless a
// signature holds a bracket, in brackets, and is then read as the same fields
// with the same preimage.
func FuzzRead(f *testing.F) {
	for _, script := range vectorScripts(f) {
		f.Add(script)
	}
	for _, s := range []string{safe + text(with(message, 5, "][|][")...), safe + pushes(text(handOver...), "|"),
		bare + text(peer...), safe + pushes(with(message, 5, "|")...), safe + pushes(impi) + "\x4e\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		before := bytes.Clone(script)
		read, err := frame.Read(script)
		if !bytes.Equal(script, before) {
			t.Fatal("the script was changed")
		}
		if ours := frame.Ours(script); ours == errors.Is(err, frame.ErrNotOurs) {
			t.Fatalf("Ours is %v, Read says %v", ours, err)
		}
		if err != nil {
			var refused *frame.ParseError
			if !errors.Is(err, frame.ErrNotOurs) && !errors.As(err, &refused) {
				t.Fatalf("error %T", err)
			}
			return
		}
		obeys(t, read)
		bracketInSignature := false
		for _, s := range read.Fields[len(read.Fields)-read.Signatures():] {
			bracketInSignature = bracketInSignature || bytes.ContainsAny(s, "[]")
		}
		writesBack(t, read, frame.Pushes)
		if !bracketInSignature {
			writesBack(t, read, frame.Bracketed)
		}
	})
}

func obeys(t *testing.T, f frame.Frame) {
	t.Helper()
	n := len(f.Fields)
	switch id := string(f.Fields[0]); {
	case id == impi && f.Protocol == frame.IM && n == 8:
	case id == impi && f.Protocol == frame.P && (n == 6 || n == 7):
	case id == npi && f.Protocol == frame.N && n >= 6 && n <= 8:
	default:
		t.Fatalf("%s frame of %d fields under %q", f.Protocol, n, id)
	}
	for i, field := range f.Fields[:n-f.Signatures()] {
		if err := frame.CheckText(string(field)); err != nil && (f.Protocol != frame.IM || i != 4) {
			t.Fatalf("field %d is %q: %v", i+1, field, err)
		}
	}
}

func writesBack(t *testing.T, f frame.Frame, form frame.Form) {
	t.Helper()
	script, err := frame.AppendScript(nil, form, f.Fields...)
	if err != nil {
		t.Fatalf("%s %q can't be written as %s: %v", f.Form, f.Fields, form, err)
	}
	again, err := frame.Read(script)
	if err != nil {
		t.Fatal(err)
	}
	if again.Protocol != f.Protocol || !slices.EqualFunc(again.Fields, f.Fields, bytes.Equal) || !bytes.Equal(again.Preimage(), f.Preimage()) {
		t.Fatalf("%s %q is read back as %s %q", f.Protocol, f.Fields, again.Protocol, again.Fields)
	}
}

// FuzzParseSignature: a field is taken if and only if a second reader, made of
// encoding/asn1 and big numbers, takes it; and proving and checking it never
// panics, whatever it recovers.
func FuzzParseSignature(f *testing.F) {
	for _, script := range vectorScripts(f) {
		if read, err := frame.Read(script); err == nil {
			f.Add(read.Fields[len(read.Fields)-1])
		}
	}
	compact := compactOf(f, alice)
	for _, field := range [][]byte{compact, hexed(derOf(bob)), b64(derOf(bob)), b64(highS(bob)), bytes.ToUpper(hexed(highS(alice))),
		append([]byte{35}, compact[1:]...), nil, []byte("3006020101020101"), bytes.Repeat([]byte{31}, 65)} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		s, err := frame.ParseSignature(field)
		recoverable, der := readSlowly(field)
		if (err == nil) != (recoverable || der) || s.Recoverable() != recoverable || s.Readable() != (err == nil) {
			t.Fatalf("%q: got %v, compact %v; want compact %v, DER %v", field, err, s.Recoverable(), recoverable, der)
		}
		proof := frame.Prove(preimage, field)
		if proof.Key != nil {
			if _, got := proof.Check(preimage, frame.HashKey(proof.Key), keys()); got != frame.Valid {
				t.Fatalf("%q: the key recovered doesn't hold: %s", field, got)
			}
		}
		if _, got := proof.Check(preimage, frame.KeyHash{}, keys(alice.PublicKey())); got == frame.Valid {
			t.Fatalf("%q: valid for an address without key", field)
		}
		proof.Check(preimage, alice.KeyHash(), keys(alice.PublicKey()))
	})
}

// readSlowly says what a field is: a compact signature, DER or neither.
func readSlowly(field []byte) (compact, der bool) {
	header := func(b []byte) bool { return len(b) == 65 && b[0] >= 27 && b[0] <= 34 }
	if len(field) == 65 {
		return header(field), false
	}
	if b, err := hex.DecodeString(string(field)); err == nil && slowDER(b) {
		return false, true
	}
	b, err := base64.StdEncoding.DecodeString(string(field))
	if err != nil || base64.StdEncoding.EncodeToString(b) != string(field) {
		return false, false
	}
	if len(b) == 65 {
		return header(b), false
	}
	return false, slowDER(b)
}

func slowDER(b []byte) bool {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(b, &sig); err != nil || len(rest) > 0 {
		return false
	}
	n := new(big.Int).SetBytes(order)
	for _, x := range []*big.Int{sig.R, sig.S} {
		if x.Sign() <= 0 || x.Cmp(n) >= 0 {
			return false
		}
	}
	again, err := asn1.Marshal(sig)
	return err == nil && bytes.Equal(again, b)
}

// FuzzParseAddress: reading never panics; an address that is read is written as
// the same text, on its network and no other.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"149y9oUnMQ5yBMwxordhgcVWwTARFoPTuw", "n221sDrZEczq1veQcfHFavcy1oNgtXHH6c", impi, npi,
		"1111111111111111111114oLvT2", "", "0OIl", "149y9oUnMQ5yBMwxordhgcVWwTARFoPTuz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found := 0
		for _, n := range []frame.Network{frame.Main, frame.Test} {
			h, err := n.ParseAddress(s)
			if err != nil {
				continue
			}
			found++
			if again := n.Address(h); again != s {
				t.Fatalf("%q is read on %s and written as %q", s, n, again)
			}
		}
		if found > 1 || found == 1 && !frame.IsAddress(s) {
			t.Fatalf("%q is an address of %d networks; IsAddress is %v", s, found, frame.IsAddress(s))
		}
	})
}

// FuzzSpendPublicKey: reading never panics; a key that is found has the form of
// one, ends the script, and what stands before it is one push and a prefix.
func FuzzSpendPublicKey(f *testing.F) {
	sig := string(derOf(alice)) + "\x41"
	for _, s := range []string{pushes(sig, string(alice.PublicKey())), pushes(sig, string(fat.PublicKey())),
		pushData(4, sig) + pushData(2, string(bob.PublicKey())), "", "\x00\x21", "\x4e\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		key, ok := frame.SpendPublicKey(script)
		if !ok {
			return
		}
		form := len(key) == 33 && (key[0] == 2 || key[0] == 3) || len(key) == 65 && key[0] == 4
		if !form || !bytes.HasSuffix(script, key) {
			t.Fatalf("key %x of script %x", key, script)
		}
		first := script[:len(script)-len(key)]
		again, ok := frame.SpendPublicKey(frame.AppendPush(frame.AppendPush(nil, first), key))
		if !ok || !bytes.Equal(again, key) {
			t.Fatalf("key %x isn't found behind another push", key)
		}
	})
}
