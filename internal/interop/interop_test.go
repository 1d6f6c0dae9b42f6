package interop

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
)

var (
	alice = frame.PrivateKey{Scalar: [32]byte{3: 9, 31: 1}}
	bob   = frame.PrivateKey{Scalar: [32]byte{5: 7, 31: 2}}
)

// plains are texts of the lengths at which padding and base64 turn over.
func plains() [][]byte {
	all := [][]byte{{}, []byte("hello, alice"), []byte("gr\u00fc\u00dfe \u2603\x00[]|")}
	for _, n := range []int{15, 16, 17, 1000, 20_000} {
		all = append(all, []byte(strings.Repeat("x", n-1)+"!"))
	}
	return all
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func text64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// TestSDKECC: type ECC both ways with @bsv/sdk.
func TestSDKECC(t *testing.T) {
	p := newPeer(t)
	keys := &seal.Keys{ECC: []frame.PrivateKey{alice}}
	for _, plain := range plains() {
		theirs := p.must(t, question{Do: "eccEncrypt", To: hexOf(alice.PublicKey()), Plain: plain})
		if got, err := keys.Decrypt(improtocol.ECC, []byte(theirs)); err != nil || string(got) != string(plain) {
			t.Errorf("%d bytes of theirs: got %.40q, %v", len(plain), got, err)
		}
		ours, err := seal.Encrypt(improtocol.ECC, plain, []seal.Recipient{{PublicKey: alice.PublicKey()}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.must(t, question{Do: "eccDecrypt", Key: hexOf(alice.Scalar[:]), Body: string(ours[0])}); got != text64(plain) {
			t.Errorf("%d bytes of ours: they read %.40q", len(plain), got)
		}
		if got, err := p.do(t, question{Do: "eccDecrypt", Key: hexOf(bob.Scalar[:]), Body: string(ours[0])}); err == nil {
			t.Errorf("another key: they read %.40q", got)
		}
	}
}

// TestSDKSignatures: Bitcoin Signed Messages both ways with @bsv/sdk.
func TestSDKSignatures(t *testing.T) {
	p := newPeer(t)
	public := hexOf(alice.PublicKey())
	for _, plain := range plains() {
		theirs := p.must(t, question{Do: "sign", Key: hexOf(alice.Scalar[:]), Plain: plain})
		if _, got := frame.Prove(plain, []byte(theirs)).Check(plain, alice.KeyHash(), slices.Values([][]byte(nil))); got != frame.Valid {
			t.Errorf("%d bytes signed by them: got %s", len(plain), got)
		}
		ours := question{Do: "verify", To: public, Plain: plain, Body: string(alice.Sign(plain))}
		if got := p.must(t, ours); got != "true" {
			t.Errorf("%d bytes signed by us: they say %s", len(plain), got)
		}
		ours.Plain = append(slices.Clone(plain), '.')
		if got := p.must(t, ours); got != "false" {
			t.Errorf("%d bytes changed: they say %s", len(plain), got)
		}
	}
}

// TestAuthorsECDHAES: what the framework author's steps give, taken in Node's
// crypto, is read.
func TestAuthorsECDHAES(t *testing.T) {
	p := newPeer(t)
	uncompressed := frame.PrivateKey{Scalar: bob.Scalar, Uncompressed: true}
	for _, plain := range plains() {
		body := p.must(t, question{Do: "ecdhaesEncrypt", Key: hexOf(alice.Scalar[:]), To: text64(uncompressed.PublicKey()), Plain: plain})
		for side, open := range map[string][2]frame.PrivateKey{"recipient": {bob, alice}, "sender": {alice, bob}} {
			keys := &seal.Keys{ECC: []frame.PrivateKey{open[0]}}
			got, err := keys.DecryptBetween(improtocol.ECDHAES, []byte(body), open[1].PublicKey())
			if err != nil || string(got) != string(plain) {
				t.Errorf("%d bytes, %s: got %.40q, %v", len(plain), side, got, err)
			}
		}
	}
}

// An owner is one of RSA keys: as we hold them, and as they do.
type owner struct {
	keys   *seal.Keys
	public seal.Published
	record json.RawMessage // the key record's body
	secret json.RawMessage // JWK
}

func newOwner(t *testing.T, bits int) owner {
	t.Helper()
	s, err := seal.NewRSA(bits)
	if err != nil {
		t.Fatal(err)
	}
	o := owner{keys: &seal.Keys{}}
	o.keys.Add(s)
	o.public, _ = s.Published()
	o.record = seal.KeyRecord(o.public)
	if o.secret, err = s.JWK(); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestJose: types RSA, to one and to several, and AES, with a key and with
// passphrases, both ways with jose; and it reads our key records.
func TestJose(t *testing.T) {
	p := newPeer(t)
	owners := []owner{newOwner(t, 2048), newOwner(t, 2048), newOwner(t, 3072)}
	for _, o := range owners {
		if got := p.must(t, question{Do: "thumbprint", JWKs: []json.RawMessage{o.record}}); got != o.public.ID() {
			t.Errorf("thumbprint: they say %s, we %s", got, o.public.ID())
		}
	}
	for _, to := range [][]owner{owners[:1], owners[1:], owners} {
		t.Run(fmt.Sprintf("RSA to %d", len(to)), func(t *testing.T) { joseRSA(t, p, to) })
	}
	key := seal.NewSharedKey()
	raw, err := base64.RawURLEncoding.DecodeString(key.Text())
	if err != nil {
		t.Fatal(err)
	}
	phrase, err := seal.NewPassphrase("gr\u00fc\u00dfe correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("AES with a key", func(t *testing.T) { joseAES(t, p, key, question{Key: text64(raw), Alg: "dir"}, true) })
	q := question{Key: text64([]byte(phrase.Text())), Alg: "PBES2-HS512+A256KW", Cost: 2048}
	t.Run("AES with a passphrase", func(t *testing.T) { joseAES(t, p, phrase, q, true) })
	q.Alg = "PBES2-HS256+A128KW"
	t.Run("AES with a passphrase, SHA-256", func(t *testing.T) { joseAES(t, p, phrase, q, false) })
}

func joseRSA(t *testing.T, p *peer, to []owner) {
	var recipients []seal.Recipient
	q := question{Do: "rsaEncrypt"}
	for _, o := range to {
		read, err := seal.ParsePublished(o.record)
		if err != nil {
			t.Fatal(err)
		}
		recipients = append(recipients, seal.Recipient{Published: []seal.Published{read}})
		q.JWKs = append(q.JWKs, o.record)
	}
	for _, plain := range plains() {
		q.Plain = plain
		theirs := p.must(t, q)
		ours, err := seal.Encrypt(improtocol.RSA, plain, recipients, nil)
		if err != nil || len(ours) != 1 {
			t.Fatalf("%d bodies, %v", len(ours), err)
		}
		for i, o := range to {
			if got, err := o.keys.Decrypt(improtocol.RSA, []byte(theirs)); err != nil || string(got) != string(plain) {
				t.Errorf("%d bytes of theirs, recipient %d: got %.40q, %v", len(plain), i, got, err)
			}
			open := question{Do: "rsaDecrypt", JWKs: []json.RawMessage{o.secret}, Body: string(ours[0])}
			if got := p.must(t, open); got != text64(plain) {
				t.Errorf("%d bytes of ours, recipient %d: they read %.40q", len(plain), i, got)
			}
		}
	}
}

// joseAES tries what is shared. written tells whether we write its algorithm.
func joseAES(t *testing.T, p *peer, shared seal.Shared, q question, written bool) {
	keys := &seal.Keys{Shared: []seal.Shared{shared}}
	for _, plain := range plains() {
		q.Do, q.Plain, q.Body = "aesEncrypt", plain, ""
		theirs := p.must(t, q)
		if got, err := keys.Decrypt(improtocol.AES, []byte(theirs)); err != nil || string(got) != string(plain) {
			t.Errorf("%d bytes of theirs: got %.40q, %v", len(plain), got, err)
		}
		if !written || shared.IsPassphrase() && len(plain) != 12 {
			continue // each costs 210,000 hashes on either side
		}
		ours, err := seal.Encrypt(improtocol.AES, plain, nil, &shared)
		if err != nil {
			t.Fatal(err)
		}
		q.Do, q.Body = "aesDecrypt", string(ours[0])
		if got := p.must(t, q); got != text64(plain) {
			t.Errorf("%d bytes of ours: they read %.40q", len(plain), got)
		}
	}
}
