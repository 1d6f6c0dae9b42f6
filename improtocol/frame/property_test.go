package frame_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"pgregory.net/rapid"
)

// fieldText draws what a field other than message and signature may hold.
func fieldText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"", "a", "||", "0", "delete"}), rapid.String()).
		Filter(func(s string) bool { return frame.CheckText(s) == nil })
}

// body draws a message: any bytes, brackets and marks among them more often than
// chance would have it.
func body() *rapid.Generator[string] {
	piece := rapid.OneOf(rapid.SampledFrom([]string{"][", "[", "]", "|", "\x00", "][][", frame.IMPI}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) }))
	return rapid.Map(rapid.SliceOfN(piece, 0, 6), func(p []string) string { return strings.Join(p, "") })
}

// signature draws bytes that every form can carry.
func signature() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 80), func(b []byte) string { return string(b) }).
		Filter(func(s string) bool { return s != "|" && !strings.ContainsAny(s, "[]") })
}

type drawn struct {
	protocol frame.Protocol
	fields   []string
}

func drawFrame(t *rapid.T) drawn {
	kind := rapid.SampledFrom([]struct {
		p          frame.Protocol
		id         string
		n          int
		signatures int
	}{
		{frame.IM, impi, 8, 1}, {frame.P, impi, 6, 1}, {frame.P, impi, 7, 1},
		{frame.N, npi, 6, 1}, {frame.N, npi, 7, 1}, {frame.N, npi, 8, 2},
	}).Draw(t, "kind")
	d := drawn{kind.p, []string{kind.id}}
	for i := 1; i < kind.n; i++ {
		switch {
		case kind.p == frame.IM && i == 4:
			d.fields = append(d.fields, body().Draw(t, "message"))
		case i >= kind.n-kind.signatures:
			d.fields = append(d.fields, signature().Draw(t, "signature"))
		default:
			d.fields = append(d.fields, fieldText().Draw(t, "field"))
		}
	}
	return d
}

// TestWhatIsWrittenIsRead: a frame of any fields that a form can carry is read
// back with the same fields, in both forms that are written and in the one that
// isn't, and its preimage is the same in all of them.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawFrame(t)
		scripts := map[frame.Form][]byte{frame.Raw: []byte(safe + text(d.fields...))}
		for _, form := range []frame.Form{frame.Pushes, frame.Bracketed} {
			script, err := frame.AppendScript(nil, form, raws(d.fields)...)
			if err != nil {
				t.Fatalf("%s: %v", form, err)
			}
			scripts[form] = script
		}
		for form, script := range scripts {
			f, err := frame.Read(script)
			if err != nil {
				t.Fatalf("%s: %v", form, err)
			}
			if f.Protocol != d.protocol || f.Form != form {
				t.Fatalf("read as %s %s, want %s %s", f.Protocol, f.Form, d.protocol, form)
			}
			sameFields(t, f, d.fields)
			signed := d.fields[:len(d.fields)-f.Signatures()]
			if got, want := string(f.Preimage()), text(signed...); got != want {
				t.Fatalf("%s: preimage %q, want %q", form, got, want)
			}
		}
	})
}

func sameFields(t *rapid.T, f frame.Frame, want []string) {
	t.Helper()
	if len(f.Fields) != len(want) {
		t.Fatalf("%d fields, want %d", len(f.Fields), len(want))
	}
	for i, field := range f.Fields {
		if string(field) != want[i] {
			t.Fatalf("%s: field %d is %q, want %q", f.Form, i+1, field, want[i])
		}
	}
}

// TestPreimageIsUnambiguous: two IM frames with one preimage have the same seven
// fields, so no byte can move from one field to another.
func TestPreimageIsUnambiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawFrame(t)
		preimage := text(d.fields[:len(d.fields)-1]...)
		if d.protocol != frame.IM {
			return
		}
		// Any reading of the preimage as seven fields that the rules allow is
		// found from both ends, whatever the message holds.
		f, err := frame.Read([]byte(safe + preimage + "[]"))
		if err != nil {
			t.Fatal(err)
		}
		for i, field := range f.Fields[:7] {
			if string(field) != d.fields[i] {
				t.Fatalf("field %d of %q is %q, want %q", i+1, preimage, field, d.fields[i])
			}
		}
	})
}

// TestPushesAreRead: a push written with any length prefix is the same field.
func TestPushesAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := with(message, 5, body().Draw(t, "message"))
		script := []byte(safe)
		for _, field := range message {
			switch size := rapid.SampledFrom([]int{0, 1, 2, 4}).Draw(t, "size"); {
			case size == 0 || size == 1 && len(field) > 255:
				script = frame.AppendPush(script, []byte(field))
			default:
				script = append(script, pushData(size, field)...)
			}
		}
		f, err := frame.Read(script)
		if err != nil {
			t.Fatal(err)
		}
		sameFields(t, f, message)
	})
}

// TestAddressesRoundTrip: what is written as an address is read as the same
// hash, on its network only.
func TestAddressesRoundTrip(t *testing.T) {
	networks := rapid.SampledFrom([]frame.Network{frame.Main, frame.Test, frame.Regtest})
	rapid.Check(t, func(t *rapid.T) {
		h := frame.KeyHash(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "hash"))
		from, to := networks.Draw(t, "from"), networks.Draw(t, "to")
		text := from.Address(h)
		got, err := to.ParseAddress(text)
		same := (from == frame.Main) == (to == frame.Main)
		if same && (err != nil || got != h) || !same && err != frame.ErrAddressNetwork {
			t.Fatalf("%x as %s: read on %s as %x, %v", h, text, to, got, err)
		}
	})
}

// TestSignaturesHold: what a key signs proves the key, compressed or not.
func TestSignaturesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := frame.PrivateKey{Scalar: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "scalar")),
			Uncompressed: rapid.Bool().Draw(t, "uncompressed")}
		k.Scalar[0], k.Scalar[31] = k.Scalar[0]&0x7f, k.Scalar[31]|1 // in 1..n-1
		signed := []byte(body().Draw(t, "signed"))
		key, verdict := frame.Prove(signed, k.Sign(signed)).Check(signed, k.KeyHash(), keys())
		if verdict != frame.Valid || !bytes.Equal(key, k.PublicKey()) {
			t.Fatalf("got %s by %x, want %x", verdict, key, k.PublicKey())
		}
	})
}
