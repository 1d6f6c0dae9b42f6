package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/seal"
)

// TestKeyRecords: what is published is read as the same key, by others too, and
// holds nothing private.
func TestKeyRecords(t *testing.T) {
	for _, tt := range []struct {
		secret     seal.Secret
		encryption string
		bits       int
	}{
		{readSecret(t, "hpke-key.json"), improtocol.HPKE, 0},
		{readSecret(t, "rsa2048.json"), improtocol.RSA, 2048},
		{readSecret(t, "rsa3072.json"), improtocol.RSA, 3072},
	} {
		public, ok := tt.secret.Published()
		body := seal.KeyRecord(public)
		got, err := seal.ParsePublished(body)
		if !ok || err != nil || got.Encryption() != tt.encryption || got.Bits() != tt.bits || got.ID() != public.ID() || len(got.ID()) != 43 {
			t.Errorf("%s: got %s of %d bits, id %q, %v", body, got.Encryption(), got.Bits(), got.ID(), err)
		}
		if !bytes.Equal(seal.KeyRecord(got), body) {
			t.Errorf("written again: %s", seal.KeyRecord(got))
		}
		var members map[string]string
		if err := json.Unmarshal(body, &members); err != nil || members["use"] != "enc" || members["d"]+members["p"]+members["priv"] != "" {
			t.Errorf("got %q, %v", members, err)
		}
	}
	if got := seal.KeyRecord(seal.Published{}); got != nil {
		t.Errorf("no key: got %s", got)
	}
	p, _ := readSecret(t, "rsa2048.json").Published()
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(seal.KeyRecord(p)); err != nil || !k.IsPublic() {
		t.Errorf("go-jose reads %v, %v", k, err)
	}
	sum, err := k.Thumbprint(5) // SHA-256
	if err != nil || b64(sum) != p.ID() {
		t.Errorf("thumbprint: got %s, want go-jose's %s, %v", p.ID(), b64(sum), err)
	}
}

func TestParsePublishedRefusals(t *testing.T) {
	small, _ := readSecret(t, "rsa2048.json").Published()
	quantum, _ := readSecret(t, "hpke-key.json").Published()
	r, h := string(seal.KeyRecord(small)), string(seal.KeyRecord(quantum))
	with := func(jwk, members string) string { return strings.TrimSuffix(jwk, "}") + "," + members + "}" }
	modulus := func(bytes int, last byte) string {
		n := make([]byte, bytes)
		n[0], n[bytes-1] = 0x80, last
		return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(n))
	}
	tests := []struct {
		name, body string
		want       error // nil: it is read
	}{
		{"RSA", r, nil},
		{"HPKE", h, nil},
		{"unknown members", with(r, `"kid":"a","more":{"a":[1]}`), nil},
		{"operations", with(r, `"key_ops":["encrypt","wrapKey"]`), nil},
		{"a private RSA key", string(readFile(t, "rsa2048.json")), seal.ErrPrivateJWK},
		{"a private HPKE key", string(readFile(t, "hpke-key.json")), seal.ErrPrivateJWK},
		{"a shared key", `{"kty":"oct","k":"AAAA"}`, seal.ErrPrivateJWK},
		{"private in part", with(r, `"dp":""`), seal.ErrPrivateJWK},
		{"private, and null", with(h, `"priv":null`), seal.ErrPrivateJWK},
		{"empty", "", seal.ErrJWK},
		{"no JSON", "ssh-rsa AAAA", seal.ErrJWK},
		{"null", "null", seal.ErrJWK},
		{"a list of keys", `{"keys":[` + r + `]}`, seal.ErrJWK},
		{"text behind", r + "x", seal.ErrJWK},
		{"a member twice", with(r, `"kty":"RSA"`), seal.ErrJWK},
		{"too large", with(r, `"a":"`+strings.Repeat("a", 16<<10)+`"`), seal.ErrJWK},
		{"deep", with(r, `"a":[[[[[[]]]]]]`), seal.ErrJWK},
		{"an elliptic curve", `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, seal.ErrJWK},
		{"for signatures", strings.Replace(r, `"use":"enc"`, `"use":"sig"`, 1), seal.ErrJWK},
		{"for verifying", with(r, `"key_ops":["verify"]`), seal.ErrJWK},
		{"operations no list", with(r, `"key_ops":"encrypt"`), seal.ErrJWK},
		{"of another algorithm", strings.Replace(r, "RSA-OAEP-256", "RSA1_5", 1), seal.ErrJWK},
		{"RSA of 2,040 bits", modulus(255, 1), seal.ErrJWK},
		{"RSA of 2,048 bits", modulus(256, 1), nil},
		{"RSA of 8,192 bits", modulus(1024, 1), nil},
		{"RSA of 8,200 bits", modulus(1025, 1), seal.ErrJWK},
		{"RSA, even", modulus(256, 2), seal.ErrJWK},
		{"RSA, a zero in front", strings.Replace(modulus(257, 1), `"gA`, `"AA`, 1), seal.ErrJWK},
		{"RSA, exponent 1", strings.Replace(r, `"AQAB"`, `"AQ"`, 1), seal.ErrJWK},
		{"RSA, exponent even", strings.Replace(r, `"AQAB"`, `"AQAA"`, 1), seal.ErrJWK},
		{"RSA, exponent large", strings.Replace(r, `"AQAB"`, `"_____w"`, 1), seal.ErrJWK},
		{"RSA, exponent of five bytes", strings.Replace(r, `"AQAB"`, `"AQAAAAE"`, 1), seal.ErrJWK},
		{"RSA, no modulus", `{"kty":"RSA","e":"AQAB"}`, seal.ErrJWK},
		{"HPKE of another KEM", strings.Replace(h, "MLKEM768-X25519", "MLKEM1024-P384", 1), seal.ErrJWK},
		{"HPKE, short", strings.Replace(h, `"pub":"`, `"pub":"AAAA`, 1), seal.ErrJWK},
		{"HPKE, no key of ML-KEM", fmt.Sprintf(`{"kty":"AKP","alg":"MLKEM768-X25519","pub":%q}`, b64(bytes.Repeat([]byte{0xff}, 1216))), seal.ErrJWK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := seal.ParsePublished([]byte(tt.body))
			if !errors.Is(err, tt.want) || tt.want != nil && got.Encryption() != "" || tt.want == nil && got.Encryption() == "" {
				t.Errorf("got %q, %v; want %v", got.Encryption(), err, tt.want)
			}
		})
	}
	if !strings.Contains(seal.ErrPrivateJWK.Error(), "never be published") {
		t.Errorf("the warning is %q", seal.ErrPrivateJWK)
	}
}

// TestSecretsAreKept: a secret is written, read and is the same one.
func TestSecretsAreKept(t *testing.T) {
	fresh, err := seal.NewRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	all := []seal.Secret{newHPKE(t), fresh, readSecret(t, "rsa3072.json"), seal.NewSharedKey().Secret(), passphrase(t, " gr\u00fc\u00dfe \u2603 ").Secret()}
	for i, s := range all {
		jwk, err := s.JWK()
		if err != nil {
			t.Fatal(err)
		}
		got, err := seal.ParseSecret(jwk)
		if err != nil || !got.Equal(s) || got.Kind() != s.Kind() || got.Encryption() != s.Encryption() {
			t.Errorf("%v: got %v, %v", s, got, err)
		}
		for j, other := range all {
			if s.Equal(other) != (i == j) {
				t.Errorf("%v equals %v: %t", s, other, s.Equal(other))
			}
		}
		if _, err := json.Marshal(s); err == nil {
			t.Errorf("%v: an encoder writes it", s)
		}
	}
	if _, err := (seal.Secret{}).JWK(); !errors.Is(err, seal.ErrSecret) {
		t.Errorf("no secret: got %v", err)
	}
	key := seal.NewSharedKey()
	for _, text := range []string{key.Text(), fmt.Sprintf("%x", mustDecode(t, key.Text()))} {
		if got, err := seal.ParseSharedKey(text); err != nil || !got.Secret().Equal(key.Secret()) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func mustDecode(t *testing.T, text string) []byte {
	t.Helper()
	var b []byte
	if err := json.Unmarshal([]byte(`"`+strings.NewReplacer("-", "+", "_", "/").Replace(text)+`="`), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSecretRefusals(t *testing.T) {
	h, r := string(readFile(t, "hpke-key.json")), string(readFile(t, "rsa2048.json"))
	public, _ := newHPKE(t).Published()
	p, _ := readSecret(t, "rsa2048.json").Published()
	_, rest, _ := strings.Cut(string(seal.KeyRecord(public)), `"pub":"`)
	pub, _, _ := strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(h, `"pub":"`)
	mine, _, _ := strings.Cut(rest, `"`)
	for name, jwk := range map[string]string{
		"empty": "", "null": "null", "another kind": `{"kty":"EC"}`, "a public key": string(seal.KeyRecord(p)),
		"another's public key": strings.Replace(h, mine, pub, 1), "a short seed": strings.Replace(h, `"priv":"`, `"priv":"AAAA`, 1),
		"RSA of another algorithm": strings.Replace(r, "RSA-OAEP-256", "RSA-OAEP", 1), "RSA that doesn't fit": strings.Replace(r, `"d":"`, `"d":"A`, 1),
		"a short key": `{"kty":"oct","alg":"dir","k":"AAAA"}`, "a short passphrase": `{"kty":"oct","alg":"PBES2-HS512+A256KW","k":"AAAA"}`,
		"shared for what": `{"kty":"oct","alg":"A256KW","k":"AAAA"}`,
	} {
		if got, err := seal.ParseSecret([]byte(jwk)); err != seal.ErrSecret || got.Kind() != "" {
			t.Errorf("%s: got %v, %v; want exactly %v", name, got, err, seal.ErrSecret)
		}
	}
	for _, bits := range []int{0, 1024, 2047, 2049, 8200, 1 << 20} {
		if _, err := seal.NewRSA(bits); !errors.Is(err, seal.ErrRSASize) {
			t.Errorf("%d bits: got %v", bits, err)
		}
	}
	for _, text := range []string{"", "short", strings.Repeat("a", 1025), "not UTF-8 \xff", "two\nlines", "a zero\x00 inside"} {
		if _, err := seal.NewPassphrase(text); !errors.Is(err, seal.ErrPassphrase) {
			t.Errorf("passphrase %.20q: got %v", text, err)
		}
	}
	for _, text := range []string{"", "correct horse battery", strings.Repeat("g", 64), strings.Repeat("!", 43), strings.Repeat("0", 63)} {
		if _, err := seal.ParseSharedKey(text); !errors.Is(err, seal.ErrSharedKey) {
			t.Errorf("key %.20q: got %v", text, err)
		}
	}
}
