package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
)

// fuzzDecrypt: opening never panics, changes nothing, fails with ErrCiphertext
// and no text; and what it opens, another's keys don't.
func fuzzDecrypt(f *testing.F, encryption string, shared *seal.Shared, more ...string) {
	bob := newPerson(f, "bob", 2, readSecret(f, "hpke-key.json"), readSecret(f, "rsa2048.json"))
	ann := newPerson(f, "ann", 4, newHPKE(f), readSecret(f, "rsa3072.json"))
	if shared != nil {
		bob.keys.Add(shared.Secret())
	}
	for _, to := range [][]seal.Recipient{{bob.as}, {ann.as, bob.as}} {
		bodies, err := seal.Encrypt(encryption, []byte("seed"), to, shared)
		if err != nil && encryption != improtocol.ECDHAES {
			f.Fatal(err)
		}
		for _, body := range bodies {
			f.Add(body)
		}
	}
	for _, s := range more {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		plain, err := bob.keys.DecryptBetween(encryption, body, ann.as.PublicKey)
		if !bytes.Equal(body, before) {
			t.Fatal("the field was changed")
		}
		if err != nil {
			if err != improtocol.ErrCiphertext || plain != nil {
				t.Fatalf("got %q with error %v", plain, err)
			}
			return
		}
		if plain == nil {
			t.Fatal("opened, and no text")
		}
		if encryption == improtocol.RSA || encryption == improtocol.ECDHAES {
			return // to several, or with nothing to tell by
		}
		if got, err := (&seal.Keys{ECC: []frame.PrivateKey{{Scalar: [32]byte{31: 99}}}}).Decrypt(encryption, body); err == nil {
			t.Fatalf("another key opens it: %q", got)
		}
	})
}

// FuzzDecryptHPKE: see fuzzDecrypt.
func FuzzDecryptHPKE(f *testing.F) {
	fuzzDecrypt(f, improtocol.HPKE, nil, "", "AAAA", string(readFile(f, "hpke-message.txt")))
}

// FuzzDecryptRSA: see fuzzDecrypt.
func FuzzDecryptRSA(f *testing.F) {
	fuzzDecrypt(f, improtocol.RSA, nil, "", "{", "e30....", `{"protected":"eyJlbmMiOiJBMjU2R0NNIn0","recipients":[{"header":{"alg":"RSA-OAEP-256"}}]}`)
}

// FuzzDecryptAES: see fuzzDecrypt. Passphrases are left out: each try costs a
// thousand hashes.
func FuzzDecryptAES(f *testing.F) {
	key := seal.NewSharedKey()
	fuzzDecrypt(f, improtocol.AES, &key, "", "....", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0....")
}

// FuzzDecryptECDHAES: see fuzzDecrypt.
func FuzzDecryptECDHAES(f *testing.F) {
	bob, ann := frame.PrivateKey{Scalar: [32]byte{31: 2}}, frame.PrivateKey{Scalar: [32]byte{31: 4}}
	fuzzDecrypt(f, improtocol.ECDHAES, nil, "", "00000000000000000000000000000000", string(encryptECDHAES(f, []byte("seed"), ann, bob)))
}

// FuzzParsePublished: reading never panics; a key that is read is written and
// read again as the same key, and can be encrypted to.
func FuzzParsePublished(f *testing.F) {
	for _, name := range []string{"hpke-key.json", "rsa2048.json"} {
		f.Add(readFile(f, name))
		p, _ := readSecret(f, name).Published()
		f.Add(seal.KeyRecord(p))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := seal.ParsePublished(body)
		if err != nil {
			if !errors.Is(err, seal.ErrJWK) && !errors.Is(err, seal.ErrPrivateJWK) || p.Encryption() != "" {
				t.Fatalf("got %q with error %v", p.Encryption(), err)
			}
			return
		}
		again, err := seal.ParsePublished(seal.KeyRecord(p))
		if err != nil || again.ID() != p.ID() {
			t.Fatalf("read again: %v, id %s, want %s", err, again.ID(), p.ID())
		}
		if _, err := seal.Encrypt(p.Encryption(), []byte("x"), []seal.Recipient{{Published: []seal.Published{p}}}, nil); err != nil {
			t.Fatalf("encrypt to it: %v", err)
		}
	})
}

// FuzzParseSecret: reading never panics; a secret that is read is written and
// read again as the same one.
func FuzzParseSecret(f *testing.F) {
	for _, name := range []string{"hpke-key.json", "rsa2048.json"} {
		f.Add(readFile(f, name))
	}
	f.Add([]byte(`{"kty":"oct","alg":"PBES2-HS512+A256KW","k":"Y29ycmVjdCBob3JzZQ"}`))
	f.Fuzz(func(t *testing.T, jwk []byte) {
		s, err := seal.ParseSecret(jwk)
		if err != nil {
			return
		}
		b, err := s.JWK()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := seal.ParseSecret(b); err != nil || !again.Equal(s) {
			t.Fatalf("read again: %v, %v", again, err)
		}
	})
}
