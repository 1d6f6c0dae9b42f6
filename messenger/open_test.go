package messenger

import (
	"errors"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/signer"
)

func TestOpener(t *testing.T) {
	alice, bob, eve := signer.NewKey(), signer.NewKey(), signer.NewKey()
	encrypted := func(m *improtocol.Message) {
		body, err := improtocol.EncryptECC(m.Body, bob.PublicKey(), nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Body, m.Encryption = body, improtocol.ECC
	}
	kind := func(kind string) func(*improtocol.Message) { return func(m *improtocol.Message) { m.Type = kind } }
	forged := func(m client.Message) client.Message {
		m.Address = eve.Address(frame.Regtest)
		return m
	}
	own := &seal.Keys{ECC: []frame.PrivateKey{bob.Private()}}
	others := &seal.Keys{ECC: []frame.PrivateKey{eve.Private()}}
	for _, c := range []struct {
		name      string
		m         client.Message
		keys      *seal.Keys
		text      string
		media     string
		err       error
		unproved  bool
		keepsBody bool
	}{
		{"a text", written(alice, 1, "hello", ""), nil, "hello", "text/plain", nil, false, true},
		{"an empty text", written(alice, 1, "", ""), nil, "", "text/plain", nil, false, true},
		{"text that isn't UTF-8", written(alice, 1, "caf\xe9", ""), nil, "", Data, nil, false, true},
		{"a page", written(alice, 1, page, "", kind("html")), nil, "", "text/html", nil, false, true},
		{"encrypted, no keys", written(alice, 1, "secret", "", encrypted), nil, "", "", ErrLocked, false, false},
		{"encrypted to us", written(alice, 1, "secret", "", encrypted), own, "secret", "text/plain", nil, false, true},
		{"encrypted, not UTF-8 inside", written(alice, 1, "caf\xe9", "", encrypted), own, "", Data, nil, false, true},
		{"encrypted to others", written(alice, 1, "secret", "", encrypted), others, "", "", ErrNotToUs, false, false},
		{"said to be encrypted", written(alice, 1, "hello", "", func(m *improtocol.Message) { m.Encryption = "ECC" }), own, "", "", ErrNotToUs, false, false},
		{"an unknown encryption", written(alice, 1, "hello", "", func(m *improtocol.Message) { m.Encryption = "ROT13" }), own, "", "", ErrUnknown, false, false},
		{"no encryption type", written(alice, 1, "hello", "", func(m *improtocol.Message) { m.Encryption = "" }), own, "", "", ErrUnknown, false, false},
		{"encrypted under another's address", forged(written(alice, 1, "secret", "", encrypted)), own, "", "", ErrUnsettled, true, false},
		{"a text under another's address", forged(written(alice, 1, "hello", "")), nil, "hello", "text/plain", nil, true, true},
		{"a part", written(alice, 1, "hello", "part=1/2"), nil, "", "", ErrPart, false, false},
		{"a part that is none", written(alice, 1, "hello", "part=1/1"), nil, "hello", "text/plain", nil, false, true},
	} {
		o := Opener{Network: frame.Regtest, Keys: c.keys}
		got := o.Open(c.m)
		if got.Text != c.text || got.MediaType != c.media || !errors.Is(got.Err, c.err) || (got.Body != nil) != c.keepsBody {
			t.Errorf("%s: got text %q, type %q, body %q, error %v; want %q, %q, %v", c.name, got.Text, got.MediaType, got.Body, got.Err, c.text, c.media, c.err)
		}
		if (got.Verified != nil) != c.unproved {
			t.Errorf("%s: got verified %v, want a fault %t", c.name, got.Verified, c.unproved)
		}
		if got.IsText() != (c.media == "text/plain") {
			t.Errorf("%s: is text: %t", c.name, got.IsText())
		}
	}
}
