package improtocol_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/libsv/go-bk/wif"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// vectors are frames, signatures and ciphertexts made by an implementation that
// shares no code with this one.
type vectors struct {
	Keys map[string]struct {
		WIF       string `json:"wif"`
		PublicKey string `json:"public_key"`
		Address   string `json:"address"`
	}
	Frames []struct {
		Name            string
		Protocol        string
		Script          string
		Source          json.RawMessage
		Type            string
		Enc             string
		MessageHex      string `json:"message_hex"`
		Other           string
		TimeStamp       string   `json:"timestamp"`
		PreimageSHA256  string   `json:"preimage_sha256"`
		KnownPublicKeys []string `json:"known_public_keys"`
		Expect          string
	}
	ECIES []struct {
		Name         string
		To           string
		PrivateKey   string `json:"private_key_wif"`
		CipherBase64 string `json:"cipher_base64"`
		PlainHex     string `json:"plain_hex"`
	}
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "frames.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Keys) == 0 || len(v.Frames) == 0 || len(v.ECIES) == 0 {
		t.Fatalf("%d keys, %d frames, %d ciphertexts: the vectors are not there", len(v.Keys), len(v.Frames), len(v.ECIES))
	}
	return &v
}

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

// verdictOf judges a message by itself, as far as it can be.
func verdictOf(script []byte, known [][]byte) (*improtocol.Message, string) {
	m, err := improtocol.Parse(script)
	switch {
	case errors.Is(err, improtocol.ErrNotIM):
		return nil, "not_ours"
	case err != nil:
		return nil, string(frame.Malformed)
	}
	if _, err := m.Time(); err != nil {
		return m, string(frame.BadTimeStamp)
	}
	address, err := frame.Main.ParseAddress(m.Source)
	if err != nil {
		return m, string(frame.UnknownName)
	}
	_, verdict := frame.Prove(m.Preimage(), m.Signature).Check(m.Preimage(), address, slices.Values(known))
	return m, string(verdict)
}

// TestFrameVectors reads the IM frames of the shared vectors: verdict, fields
// and frame id.
func TestFrameVectors(t *testing.T) {
	read := 0
	for _, v := range readVectors(t).Frames {
		if v.Protocol != string(frame.IM) {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			var known [][]byte
			for _, k := range v.KnownPublicKeys {
				known = append(known, unhex(t, k))
			}
			m, verdict := verdictOf(unhex(t, v.Script), known)
			if verdict != v.Expect {
				t.Fatalf("got %s, want %s", verdict, v.Expect)
			}
			if m == nil {
				return
			}
			read++
			var source string
			if err := json.Unmarshal(v.Source, &source); err != nil {
				t.Fatal(err)
			}
			got := []string{m.Source, m.Type, m.Encryption, hex.EncodeToString(m.Body), m.Other, m.TimeStamp, m.FrameID().String()}
			want := []string{source, v.Type, v.Enc, v.MessageHex, v.Other, v.TimeStamp, v.PreimageSHA256}
			if !slices.Equal(got, want) {
				t.Errorf("got %.200q\nwant %.200q", got, want)
			}
		})
	}
	if read < 20 {
		t.Errorf("only %d frames were read", read)
	}
}

// TestWriterVectors writes the valid pushes of the vectors anew: the script is
// the same, but for the nonce of the signature, which is made the same way too.
func TestWriterVectors(t *testing.T) {
	all := readVectors(t)
	want := all.Frames[0]
	bob := fromWIF(t, all.Keys["bob"].WIF)
	m := &improtocol.Message{Source: all.Keys["bob"].Address, Type: want.Type, Encryption: want.Enc,
		Body: unhex(t, want.MessageHex), Other: want.Other, TimeStamp: want.TimeStamp}
	m.Sign(bob)
	script, err := m.AppendScript(nil, frame.Pushes)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(script); got != want.Script {
		t.Errorf("%s\n got %s\nwant %s", want.Name, got, want.Script)
	}
}

// TestKeyVectors: keys, their public keys and addresses.
func TestKeyVectors(t *testing.T) {
	for name, v := range readVectors(t).Keys {
		k := fromWIF(t, v.WIF)
		if got := hex.EncodeToString(k.PublicKey()); got != v.PublicKey {
			t.Errorf("%s: public key %s, want %s", name, got, v.PublicKey)
		}
		if got := frame.Main.Address(k.KeyHash()); got != v.Address {
			t.Errorf("%s: address %s, want %s", name, got, v.Address)
		}
	}
}

// TestECCVectors: what others encrypt is decrypted; and with their key in place
// of a fresh one the same bytes are written.
func TestECCVectors(t *testing.T) {
	all := readVectors(t)
	for _, v := range all.ECIES {
		t.Run(v.Name, func(t *testing.T) {
			key := fromWIF(t, v.PrivateKey)
			plain, err := improtocol.DecryptECC([]byte(v.CipherBase64), key)
			if err != nil || hex.EncodeToString(plain) != v.PlainHex {
				t.Fatalf("got %x %v, want %s", plain, err, v.PlainHex)
			}
			for _, sender := range all.Keys {
				raw, err := base64.StdEncoding.DecodeString(v.CipherBase64)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(raw[4:37], unhex(t, sender.PublicKey)) {
					continue // a key that nobody knows any more
				}
				scalar := fromWIF(t, sender.WIF).Scalar
				got, err := improtocol.EncryptECC(plain, key.PublicKey(), bytes.NewReader(scalar[:]))
				if err != nil || string(got) != v.CipherBase64 {
					t.Errorf("encrypted by the sender's key:\n got %s %v\nwant %s", got, err, v.CipherBase64)
				}
			}
		})
	}
}

// TestECCVectorSenders: one of the vectors at least is written anew above.
func TestECCVectorSenders(t *testing.T) {
	all := readVectors(t)
	found := 0
	for _, v := range all.ECIES {
		raw, err := base64.StdEncoding.DecodeString(v.CipherBase64)
		if err != nil {
			t.Fatal(err)
		}
		for _, sender := range all.Keys {
			if bytes.Equal(raw[4:37], unhex(t, sender.PublicKey)) {
				found++
			}
		}
	}
	if found == 0 {
		t.Error("no ciphertext is by a sender whose key is known")
	}
}
