package nprotocol_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
	"pgregory.net/rapid"
)

var (
	alice = frame.PrivateKey{Scalar: [32]byte{31: 7}}
	bob   = frame.PrivateKey{Scalar: [32]byte{31: 8}}
	carol = frame.PrivateKey{Scalar: [32]byte{31: 9}, Uncompressed: true}
)

func address(k frame.PrivateKey) string { return frame.Regtest.Address(k.KeyHash()) }

func script(fields ...string) []byte {
	b := []byte{0, 0x6a}
	for _, f := range fields {
		b = frame.AppendPush(b, []byte(f))
	}
	return b
}

// TestOperations: the fields of every operation, and what is malformed.
func TestOperations(t *testing.T) {
	a, b := address(alice), address(bob)
	main := frame.Main.Address(alice.KeyHash())
	for _, c := range []struct {
		name   string
		fields []string
		want   nprotocol.Record // zero: refused
		field  int              // that is refused
		err    error
	}{
		{name: "register", fields: []string{frame.NPI, "bob", a, "x=1", "5", "sig"},
			want: nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "bob", Address: alice.KeyHash(), Other: "x=1", TimeStamp: "5"}},
		{name: "delete", fields: []string{frame.NPI, "bob", a, "", "delete", "5", "sig"},
			want: nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Delete, Name: "bob", Address: alice.KeyHash(), TimeStamp: "5"}},
		{name: "transfer", fields: []string{frame.NPI, "bob", a, b, "x", "5", "sig", "sig2"},
			want: nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: "bob", Address: alice.KeyHash(), NewAddress: bob.KeyHash(), Other: "x", TimeStamp: "5"}},
		{name: "register a peer", fields: []string{frame.IMPI, a, "127.0.0.1", "port=1", "5", "sig"},
			want: nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: "127.0.0.1", Address: alice.KeyHash(), Other: "port=1", TimeStamp: "5"}},
		{name: "delete a peer", fields: []string{frame.IMPI, a, "127.0.0.1", "", "delete", "5", "sig"},
			want: nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Delete, IP: "127.0.0.1", Address: alice.KeyHash(), TimeStamp: "5"}},
		{name: "other information `delete` of a register is a text", fields: []string{frame.NPI, "bob", a, "delete", "5", "sig"},
			want: nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "bob", Address: alice.KeyHash(), Other: "delete", TimeStamp: "5"}},
		{name: "a wrong time stamp is no matter of form", fields: []string{frame.NPI, "bob", a, "", "yesterday", "sig"},
			want: nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "bob", Address: alice.KeyHash(), TimeStamp: "yesterday"}},

		{name: "seven fields without the word", fields: []string{frame.NPI, "bob", a, "", "remove", "5", "sig"}, field: 5, err: nprotocol.ErrOperation},
		{name: "the word in capitals", fields: []string{frame.NPI, "bob", a, "", "Delete", "5", "sig"}, field: 5, err: nprotocol.ErrOperation},
		{name: "the word with a space", fields: []string{frame.NPI, "bob", a, "", "delete ", "5", "sig"}, field: 5, err: nprotocol.ErrOperation},
		{name: "the word in another place", fields: []string{frame.NPI, "bob", a, "delete", "", "5", "sig"}, field: 5, err: nprotocol.ErrOperation},
		{name: "a peer's seven fields without the word", fields: []string{frame.IMPI, a, "127.0.0.1", "", "", "5", "sig"}, field: 5, err: nprotocol.ErrOperation},
		{name: "a transfer whose other information is the word", fields: []string{frame.NPI, "bob", a, b, "delete", "5", "sig", "sig2"}, field: 5, err: nprotocol.ErrOperation},
		{name: "a transfer to oneself", fields: []string{frame.NPI, "bob", a, a, "", "5", "sig", "sig2"}, field: 4, err: nprotocol.ErrSelf},
		{name: "five fields", fields: []string{frame.NPI, "bob", a, "", "5"}, err: frame.ErrFieldCount},
		{name: "nine fields", fields: []string{frame.NPI, "bob", a, b, "", "5", "s", "s", "s"}, err: frame.ErrFieldCount},
		{name: "an address of another network", fields: []string{frame.NPI, "bob", main, "", "5", "sig"}, field: 3, err: frame.ErrAddressNetwork},
		{name: "a new address of another network", fields: []string{frame.NPI, "bob", a, main, "", "5", "sig", "sig2"}, field: 4, err: frame.ErrAddressNetwork},
		{name: "a peer's address of another network", fields: []string{frame.IMPI, main, "127.0.0.1", "", "5", "sig"}, field: 2, err: frame.ErrAddressNetwork},
		{name: "a mistyped address", fields: []string{frame.NPI, "bob", mistyped(a), "", "5", "sig"}, field: 3, err: frame.ErrChecksum},
		{name: "no address", fields: []string{frame.NPI, "bob", "bob", "", "5", "sig"}, field: 3, err: frame.ErrAddress},
		{name: "the name rule holds for register", fields: []string{frame.NPI, "", a, "", "5", "sig"}, field: 2, err: nprotocol.ErrName},
		{name: "the name rule holds for delete", fields: []string{frame.NPI, "a@b", a, "", "delete", "5", "sig"}, field: 2, err: nprotocol.ErrName},
		{name: "the name rule holds for transfer", fields: []string{frame.NPI, "a/b", a, b, "", "5", "sig", "sig2"}, field: 2, err: nprotocol.ErrName},
		{name: "no IP", fields: []string{frame.IMPI, a, "localhost", "", "5", "sig"}, field: 3, err: nprotocol.ErrIP},
		{name: "the first field refused is named", fields: []string{frame.NPI, "a:b", main, "", "x", "5", "sig"}, field: 2, err: nprotocol.ErrName},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := nprotocol.Parse(script(c.fields...), frame.Regtest)
			if c.err != nil {
				var p *frame.ParseError
				if !errors.Is(err, c.err) || !errors.As(err, &p) || p.Field != c.field || r != nil {
					t.Fatalf("got %+v, %v, want field %d: %v", r, err, c.field, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			signatures := r.Signatures
			r.Signatures = nil
			got, _ := json.Marshal(r)
			want, _ := json.Marshal(&c.want)
			if string(got) != string(want) {
				t.Errorf("got %s\nwant %s", got, want)
			}
			if n := len(r.Signers()); n != len(signatures) || (n == 2) != (r.Operation == nprotocol.Transfer) {
				t.Errorf("%d signatures by %d signers", len(signatures), n)
			}
		})
	}
}

func mistyped(address string) string {
	last := "2"
	if strings.HasSuffix(address, last) {
		last = "3"
	}
	return address[:len(address)-1] + last
}

// TestNotRecord: what belongs to others.
func TestNotRecord(t *testing.T) {
	for name, s := range map[string][]byte{
		"an IM frame":                  script(frame.IMPI, "", "", "", "", "", "1", ""),
		"a malformed frame under IMPI": script(frame.IMPI, "", "", "", ""),
		"another protocol's":           script("x"),
		"nothing":                      nil,
	} {
		if r, err := nprotocol.Parse(s, frame.Main); !errors.Is(err, nprotocol.ErrNotRecord) {
			t.Errorf("%s: got %v, %v, want %v", name, r, err, nprotocol.ErrNotRecord)
		}
	}
	if _, err := nprotocol.FromFrame(frame.Frame{Protocol: frame.IM}, frame.Main); !errors.Is(err, nprotocol.ErrNotRecord) {
		t.Errorf("an IM frame read: got %v", err)
	}
}

func TestCheckName(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		ok   bool
	}{
		{"one byte", "b", true},
		{"64 bytes", strings.Repeat("b", 64), true},
		{"64 bytes of longer letters", strings.Repeat("é", 32), true},
		{"a space inside", "bob smith", true},
		{"capitals are another name", "Bob", true},
		{"U+00A0 at an end: the space meant is U+0020", "\u00a0bob\u00a0", true},
		{"U+3000 at an end", "\u3000bob", true},
		{"U+200B, which nobody sees", "bo\u200bb", true},
		{"a letter with a combining mark, not NFC", "e\u0301", true},
		{"U+00A0, behind the control characters", "\u00a0", true},
		{"U+007E, before them", "~", true},
		{"the identifier shortened", frame.IMPI[:33], true},
		{"an address with a letter mistyped", mistyped(address(alice)), true},
		{"punctuation that is allowed", "a.b-c_d+e#f'g\"h\\i", true},
		{"the word delete", "delete", true},
		{"an unassigned character", "\U000e0fff", true},
		{"a character that is none", "\ufffe", true},

		{"empty", "", false},
		{"65 bytes", strings.Repeat("b", 65), false},
		{"65 bytes in 33 letters", strings.Repeat("é", 32) + "b", false},
		{"not UTF-8", "b\xff", false},
		{"an overlong form", "\xc0\xaf", false},
		{"NUL", "a\x00b", false},
		{"a newline", "a\nb", false},
		{"U+001F", "a\x1fb", false},
		{"U+007F", "a\x7fb", false},
		{"U+0080", "a\u0080b", false},
		{"U+009F", "a\u009fb", false},
		{"[", "a[", false}, {"]", "a]", false}, {"|", "a|b", false}, {"@", "a@b", false}, {":", "a:b", false}, {"/", "a/b", false},
		{"a leading space", " bob", false},
		{"a trailing space", "bob ", false},
		{"a space alone", " ", false},
		{"an address of this network", address(alice), false},
		{"an address of mainnet", frame.Main.Address(alice.KeyHash()), false},
		{"an address of no network: version 5", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", false},
		{"a protocol's identifier, which is an address", frame.NPI, false},
	} {
		if err := nprotocol.CheckName(c.text); (err == nil) != c.ok || err != nil && !errors.Is(err, nprotocol.ErrName) {
			t.Errorf("%s: CheckName(%q) = %v, want ok %v", c.name, c.text, err, c.ok)
		}
	}
}

func TestCheckIP(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		ok   bool
	}{
		{"IPv4", "127.0.0.1", true},
		{"IPv4 with a port", "127.0.0.1:8433", true},
		{"port 1", "127.0.0.1:1", true},
		{"port 65535", "127.0.0.1:65535", true},
		{"IPv6", "2001:db8::1", true},
		{"IPv6 unspecified", "::", true},
		{"IPv6 whole", "2001:0db8:0:0:0:0:0:1", true},
		{"IPv6 in capitals is another text of the same address", "2001:DB8::1", true},
		{"IPv4 in IPv6", "::ffff:127.0.0.1", true},
		{"IPv4 at the end of IPv6", "64:ff9b::192.0.2.33", true},

		{"empty", "", false},
		{"a name", "localhost", false},
		{"a name with a port", "a.example:80", false},
		{"port 0", "127.0.0.1:0", false},
		{"port 65536", "127.0.0.1:65536", false},
		{"a port with a leading zero", "127.0.0.1:080", false},
		{"a port with a sign", "127.0.0.1:+80", false},
		{"an empty port", "127.0.0.1:", false},
		{"two ports", "127.0.0.1:1:2", false},
		{"a port of letters", "127.0.0.1:http", false},
		{"an IPv6 zone", "fe80::1%eth0", false},
		{"an empty IPv6 zone", "fe80::1%", false},
		{"a zone behind IPv4 in IPv6", "::ffff:1.2.3.4%eth0", false},
		{"IPv6 in brackets", "[2001:db8::1]", false},
		{"IPv6 in brackets with a port", "[2001:db8::1]:80", false},
		{"an octet with a leading zero", "127.0.0.01", false},
		{"an octet of 256", "127.0.0.256", false},
		{"three octets", "127.0.1", false},
		{"five octets", "127.0.0.1.1", false},
		{"hexadecimal", "0x7f.0.0.1", false},
		{"one number", "2130706433", false},
		{"a network", "127.0.0.0/8", false},
		{"a leading space", " 127.0.0.1", false},
		{"a trailing newline", "127.0.0.1\n", false},
		{":: twice", "1::2::3", false},
		{"digits of another script", "١٢٧.0.0.1", false},
	} {
		if err := nprotocol.CheckIP(c.text); (err == nil) != c.ok || err != nil && !errors.Is(err, nprotocol.ErrIP) {
			t.Errorf("%s: CheckIP(%q) = %v, want ok %v", c.name, c.text, err, c.ok)
		}
	}
}

// TestSubjects: what a record's time stamp is counted for.
func TestSubjects(t *testing.T) {
	a, b := alice.KeyHash(), bob.KeyHash()
	name := func(op nprotocol.Operation, from, to frame.KeyHash) nprotocol.Subject {
		return (&nprotocol.Record{Protocol: frame.N, Operation: op, Name: "n", Address: from, NewAddress: to}).Subject()
	}
	want := nprotocol.Subject{Protocol: frame.N, Address: a, Text: "n"}
	for what, got := range map[string]nprotocol.Subject{
		"register": name(nprotocol.Register, a, frame.KeyHash{}), "delete": name(nprotocol.Delete, a, frame.KeyHash{}),
		"transfer: the current address only": name(nprotocol.Transfer, a, b),
	} {
		if got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	peer := (&nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Delete, IP: "n", Address: a}).Subject()
	if peer == want || peer != (nprotocol.Subject{Protocol: frame.P, Address: a, Text: "n"}) {
		t.Errorf("a peer's: got %v", peer)
	}
}

func TestSign(t *testing.T) {
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: "n", Address: alice.KeyHash(), NewAddress: carol.KeyHash(), TimeStamp: "1"}
	for name, keys := range map[string][]frame.PrivateKey{
		"one key for two signatures": {alice}, "no keys": nil, "keys in the wrong order": {carol, alice}, "another's key": {alice, bob},
	} {
		if err := r.Sign(frame.Regtest, keys...); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if err := r.Sign(frame.Regtest, alice, carol); err != nil {
		t.Fatal(err)
	}
	preimage := r.Preimage(frame.Regtest)
	for i, signer := range r.Signers() {
		if _, got := frame.Prove(preimage, r.Signatures[i]).Check(preimage, signer, slices.Values([][]byte(nil))); got != frame.Valid {
			t.Errorf("signature %d over the one preimage is %s", i+1, got)
		}
	}
}

// TestAppendScriptRefuses: what a reader would refuse or take differently isn't
// written.
func TestAppendScriptRefuses(t *testing.T) {
	base := nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "n", Address: alice.KeyHash(), TimeStamp: "1", Signatures: [][]byte{[]byte("s")}}
	for name, change := range map[string]func(*nprotocol.Record){
		"a bad time stamp":               func(r *nprotocol.Record) { r.TimeStamp = "01" },
		"a bad name":                     func(r *nprotocol.Record) { r.Name = "a:b" },
		"][ in the name":                 func(r *nprotocol.Record) { r.Name = "a][b" },
		"other information that divides": func(r *nprotocol.Record) { r.Other = "a][delete" },
		"no signature":                   func(r *nprotocol.Record) { r.Signatures = nil },
		"a signature too many":           func(r *nprotocol.Record) { r.Signatures = append(r.Signatures, []byte("s")) },
		"a transfer to oneself": func(r *nprotocol.Record) {
			r.Operation, r.NewAddress, r.Signatures = nprotocol.Transfer, r.Address, [][]byte{[]byte("s"), []byte("s")}
		},
		"a transfer like a delete": func(r *nprotocol.Record) {
			r.Operation, r.Other, r.Signatures = nprotocol.Transfer, "delete", [][]byte{[]byte("s"), []byte("s")}
		},
	} {
		for _, form := range []frame.Form{frame.Pushes, frame.Bracketed, frame.Raw} {
			r := base
			change(&r)
			if got, err := r.AppendScript(nil, frame.Regtest, form); err == nil {
				t.Errorf("%s: %s written: %q", name, form, got)
			}
		}
	}
}

// TestRecordsRoundTrip: any signed record is read back from both forms.
func TestRecordsRoundTrip(t *testing.T) {
	text := rapid.String().Filter(func(s string) bool { return frame.CheckText(s) == nil && s != "delete" })
	names := rapid.StringN(1, 20, 64).Filter(func(s string) bool { return nprotocol.CheckName(s) == nil })
	rapid.Check(t, func(t *rapid.T) {
		network := rapid.SampledFrom([]frame.Network{frame.Main, frame.Test, frame.Regtest}).Draw(t, "network")
		r := &nprotocol.Record{Protocol: frame.N, Address: alice.KeyHash(), Other: text.Draw(t, "other"), TimeStamp: "1764000000001"}
		signers := []frame.PrivateKey{alice}
		r.Operation = rapid.SampledFrom([]nprotocol.Operation{nprotocol.Register, nprotocol.Delete, nprotocol.Transfer}).Draw(t, "operation")
		switch {
		case r.Operation == nprotocol.Transfer:
			r.Name, r.NewAddress, signers = names.Draw(t, "name"), carol.KeyHash(), []frame.PrivateKey{alice, carol}
		case rapid.Bool().Draw(t, "peer"):
			r.Protocol, r.IP = frame.P, rapid.SampledFrom([]string{"127.0.0.1:80", "::1"}).Draw(t, "ip")
		default:
			r.Name = names.Draw(t, "name")
		}
		if err := r.Sign(network, signers...); err != nil {
			t.Fatal(err)
		}
		for _, form := range []frame.Form{frame.Pushes, frame.Bracketed} {
			written, err := r.AppendScript(nil, network, form)
			if err != nil {
				t.Fatal(err)
			}
			got, err := nprotocol.Parse(written, network)
			if err != nil {
				t.Fatal(err)
			}
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(r)
			if string(g) != string(w) || string(got.Preimage(network)) != string(r.Preimage(network)) {
				t.Fatalf("%s: got %s\nwant %s", form, g, w)
			}
		}
	})
}

// vectors are the N and P frames of the shared vectors, made by an
// implementation that shares no code with this one.
type vector struct {
	Name, Protocol, Script, Expect string
	Fields                         []string
	PreimageSHA256                 string `json:"preimage_sha256"`
}

func readVectors(t testing.TB) (list []vector) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "improtocol", "testdata", "frames.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Frames []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Frames {
		if v.Protocol != string(frame.IM) {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		t.Fatal("the vectors hold no frames of the N and P protocols")
	}
	return list
}

func TestRecordVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			r, err := nprotocol.Parse(unhex(t, v.Script), frame.Main)
			if err != nil {
				var refused *frame.ParseError
				if !errors.As(err, &refused) || string(refused.Protocol) != v.Protocol || v.Expect != string(frame.Malformed) {
					t.Fatalf("got %v, want %s", err, v.Expect)
				}
				return
			}
			preimage := r.Preimage(frame.Main)
			if got := frame.IDOf(preimage).String(); got != v.PreimageSHA256 {
				t.Errorf("frame id %s, want %s", got, v.PreimageSHA256)
			}
			if got, want := string(preimage), "["+strings.Join(v.Fields, "][")+"]"; got != want {
				t.Errorf("preimage %s, want %s", got, want)
			}
			verdict := frame.Valid
			for i, signer := range r.Signers() {
				if _, got := frame.Prove(preimage, r.Signatures[i]).Check(preimage, signer, slices.Values([][]byte(nil))); verdict == frame.Valid {
					verdict = got
				}
			}
			if string(verdict) != v.Expect {
				t.Errorf("got %s, want %s", verdict, v.Expect)
			}
		})
	}
}
