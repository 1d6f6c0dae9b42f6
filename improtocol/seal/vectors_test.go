package seal_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/libsv/go-bk/wif"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fromWIF(t testing.TB, text string) frame.PrivateKey {
	t.Helper()
	w, err := wif.DecodeWIF(text)
	if err != nil {
		t.Fatal(err)
	}
	k := frame.PrivateKey{Uncompressed: !w.CompressPubKey}
	w.PrivKey.D.FillBytes(k.Scalar[:])
	return k
}

// A bie1 is a ciphertext of type ECC by an implementation that shares no code
// with this one.
type bie1 struct {
	Name         string
	PrivateKey   string `json:"private_key_wif"`
	CipherBase64 string `json:"cipher_base64"`
	PlainHex     string `json:"plain_hex"`
}

func readBIE1(t testing.TB) []bie1 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "frames.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ ECIES []bie1 }
	if err := json.Unmarshal(b, &v); err != nil || len(v.ECIES) == 0 {
		t.Fatalf("%d ciphertexts, %v: the vectors are not there", len(v.ECIES), err)
	}
	return v.ECIES
}

// TestSealECCVectors: what others encrypt is opened among other keys, too.
func TestSealECCVectors(t *testing.T) {
	for _, v := range readBIE1(t) {
		keys := seal.Keys{ECC: []frame.PrivateKey{{Scalar: [32]byte{31: 77}}, fromWIF(t, v.PrivateKey)}}
		got, err := keys.Decrypt(improtocol.ECC, []byte(v.CipherBase64))
		if err != nil || hex.EncodeToString(got) != v.PlainHex {
			t.Errorf("%s: got %x, %v; want %s", v.Name, got, err, v.PlainHex)
		}
	}
}

// An hpkeVector is one of RFC 9180 (KEM 0x0020) or of draft-ietf-hpke-pq (KEM
// 0x647a, the hybrid), in base mode. Those of the RFC come as the Go project
// keeps them: exports gathered under one hash.
type hpkeVector struct {
	KEM         uint16 `json:"kem_id"`
	KDF         uint16 `json:"kdf_id"`
	AEAD        uint16 `json:"aead_id"`
	Info        string
	SkRm, PkRm  string
	IkmR        string
	Enc         string
	Encryptions []struct{ Aad, Pt, Ct string }
	Exports     []struct {
		Context string `json:"exporter_context"`
		Length  int    `json:"L"`
		Value   string `json:"exported_value"`
	}
	AccExports string `json:"exports_accumulated"`
}

// TestHPKEVectors: the standard library's HPKE, which type HPKE is made of, opens
// what the specifications' authors sealed.
func TestHPKEVectors(t *testing.T) {
	var vectors []hpkeVector
	if err := json.Unmarshal(readFile(t, "hpke.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	opened, kems := 0, map[uint16]bool{}
	for _, v := range vectors {
		t.Run(fmt.Sprintf("KEM %04x, KDF %04x, AEAD %04x", v.KEM, v.KDF, v.AEAD), func(t *testing.T) {
			r := v.recipient(t)
			for i, e := range v.Encryptions {
				got, err := r.Open(unhex(t, e.Aad), unhex(t, e.Ct))
				if err != nil || hex.EncodeToString(got) != e.Pt {
					t.Fatalf("encryption %d: got %x, %v; want %s", i, got, err, e.Pt)
				}
				opened++
			}
			v.checkExports(t, r)
			kems[v.KEM] = true
		})
	}
	if opened < 20 || len(kems) != 2 {
		t.Errorf("%d ciphertexts of %d KEMs: the vectors are not there", opened, len(kems))
	}
}

func (v hpkeVector) recipient(t *testing.T) *hpke.Recipient {
	t.Helper()
	kem, errKEM := hpke.NewKEM(v.KEM)
	kdf, errKDF := hpke.NewKDF(v.KDF)
	aead, errAEAD := hpke.NewAEAD(v.AEAD)
	if err := errors.Join(errKEM, errKDF, errAEAD); err != nil {
		t.Fatal(err)
	}
	key, err := kem.NewPrivateKey(unhex(t, v.SkRm))
	if err != nil {
		t.Fatal(err)
	}
	derived, err := kem.DeriveKeyPair(unhex(t, v.IkmR))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []hpke.PrivateKey{key, derived} {
		if got := hex.EncodeToString(k.PublicKey().Bytes()); got != v.PkRm {
			t.Fatalf("public key: got %s, want %s", got, v.PkRm)
		}
	}
	r, err := hpke.NewRecipient(unhex(t, v.Enc), key, kdf, aead, unhex(t, v.Info))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (v hpkeVector) checkExports(t *testing.T, r *hpke.Recipient) {
	t.Helper()
	for _, e := range v.Exports {
		if got, err := r.Export(string(unhex(t, e.Context)), e.Length); err != nil || hex.EncodeToString(got) != e.Value {
			t.Errorf("export: got %x, %v; want %s", got, err, e.Value)
		}
	}
	if v.AccExports == "" {
		return
	}
	contexts, sum := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	for length := range 1000 {
		n := make([]byte, 1)
		contexts.Read(n)
		context := make([]byte, n[0])
		contexts.Read(context)
		value, err := r.Export(string(context), length)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(value)
	}
	got := make([]byte, 16)
	if _, err := io.ReadFull(sum, got); err != nil || hex.EncodeToString(got) != v.AccExports {
		t.Errorf("exports: got %x, %v; want %s", got, err, v.AccExports)
	}
}

// TestHPKEFormat: a message kept from earlier is opened, and what the message
// field holds is what the specification says, put together from the standard
// library alone.
func TestHPKEFormat(t *testing.T) {
	kept, want := readFile(t, "hpke-message.txt"), "meet me at the usual place"
	secret := readSecret(t, "hpke-key.json")
	if got, err := newPersonKeys(secret).Decrypt(improtocol.HPKE, kept); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	var jwk struct{ Kty, Alg, Pub, Priv string }
	if err := json.Unmarshal(readFile(t, "hpke-key.json"), &jwk); err != nil || jwk.Kty != "AKP" || jwk.Alg != "MLKEM768-X25519" {
		t.Fatalf("got %+v, %v", jwk, err)
	}
	seed, _ := base64.RawURLEncoding.DecodeString(jwk.Priv)
	public, _ := base64.RawURLEncoding.DecodeString(jwk.Pub)
	key, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil || !bytes.Equal(key.PublicKey().Bytes(), public) || len(public) != 1216 {
		t.Fatalf("public key of %d bytes, %v", len(public), err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(kept))
	if err != nil || len(raw) != 1120+len(want)+16 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	info := []byte("[17KUVffFHVpxueePCBzp5gJWAJsz9nx5cr][HPKE]")
	r, err := hpke.NewRecipient(raw[:1120], key, hpke.HKDFSHA256(), hpke.AES256GCM(), info)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Open(public, raw[1120:]); err != nil || string(got) != want {
		t.Errorf("by hand: got %q, %v; want %q", got, err, want)
	}
	wrapped := append(append(bytes.Clone(kept[:64]), "\r\n"...), kept[64:]...)
	if got, err := newPersonKeys(secret).Decrypt(improtocol.HPKE, wrapped); err != nil || string(got) != want {
		t.Errorf("line breaks: got %q, %v; want %q", got, err, want)
	}
}
