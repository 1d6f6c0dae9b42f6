package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b)
}

func readSecret(t testing.TB, name string) seal.Secret {
	t.Helper()
	s, err := seal.ParseSecret(readFile(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func newHPKE(t testing.TB) seal.Secret {
	t.Helper()
	s, err := seal.NewHPKE()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func passphrase(t testing.TB, text string) seal.Shared {
	t.Helper()
	s, err := seal.NewPassphrase(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A person has keys, and is known by what is public of them.
type person struct {
	keys seal.Keys
	as   seal.Recipient
}

func newPerson(t testing.TB, label string, scalar byte, secrets ...seal.Secret) *person {
	t.Helper()
	p := &person{as: seal.Recipient{Label: label}}
	if scalar > 0 {
		key := frame.PrivateKey{Scalar: [32]byte{31: scalar}}
		p.keys.ECC, p.as.PublicKey = []frame.PrivateKey{key}, key.PublicKey()
	}
	for _, s := range secrets {
		p.keys.Add(s)
		public, ok := s.Published()
		if !ok {
			continue
		}
		read, err := seal.ParsePublished(seal.KeyRecord(public))
		if err != nil {
			t.Fatalf("%s: %v", label, err)
		}
		p.as.Published = append(p.as.Published, read)
	}
	return p
}

// TestRoundTrips: what is encrypted to people is opened by each of them and by
// nobody else, whatever its length.
func TestRoundTrips(t *testing.T) {
	alice := newPerson(t, "alice", 1, newHPKE(t), readSecret(t, "rsa2048.json"))
	bob := newPerson(t, "bob", 2, newHPKE(t), readSecret(t, "rsa3072.json"))
	eve := newPerson(t, "eve", 3, newHPKE(t), seal.NewSharedKey().Secret(), passphrase(t, "a wrong guess").Secret())
	key, phrase := seal.NewSharedKey(), passphrase(t, "correct horse battery")
	for _, p := range []*person{alice, bob} {
		p.keys.Add(key.Secret())
		p.keys.Add(phrase.Secret())
	}
	tests := []struct {
		name, encryption string
		to               []*person
		shared           *seal.Shared
		bodies           int
	}{
		{"ECC to one", improtocol.ECC, []*person{alice}, nil, 1},
		{"ECC to two", improtocol.ECC, []*person{alice, bob}, nil, 2},
		{"HPKE to one", improtocol.HPKE, []*person{bob}, nil, 1},
		{"HPKE to two", improtocol.HPKE, []*person{alice, bob}, nil, 2},
		{"RSA to one", improtocol.RSA, []*person{alice}, nil, 1},
		{"RSA to two", improtocol.RSA, []*person{alice, bob}, nil, 1},
		{"AES with a key", improtocol.AES, []*person{alice, bob}, &key, 1},
		{"AES with a passphrase", improtocol.AES, []*person{alice, bob}, &phrase, 1},
	}
	for _, tt := range tests {
		for _, plain := range [][]byte{[]byte("hello"), {}, bytes.Repeat([]byte{0, 0xff, '['}, 4000)} {
			if tt.shared == &phrase && len(plain) != 5 {
				continue // each costs 210,000 hashes, four times
			}
			t.Run(fmt.Sprintf("%s, %d bytes", tt.name, len(plain)), func(t *testing.T) {
				var to []seal.Recipient
				for _, p := range tt.to {
					to = append(to, p.as)
				}
				bodies, err := seal.Encrypt(tt.encryption, plain, to, tt.shared)
				if err != nil || len(bodies) != tt.bodies {
					t.Fatalf("got %d bodies, %v; want %d", len(bodies), err, tt.bodies)
				}
				for i, p := range tt.to {
					body := bodies[min(i, len(bodies)-1)]
					before := bytes.Clone(body)
					got, err := p.keys.Decrypt(tt.encryption, body)
					if err != nil || got == nil || !bytes.Equal(got, plain) {
						t.Errorf("%s: got %.40q, %v; want %.40q", p.as.Label, got, err, plain)
					}
					if !bytes.Equal(body, before) {
						t.Errorf("%s: the field was changed", p.as.Label)
					}
				}
				for _, body := range bodies {
					if got, err := eve.keys.Decrypt(tt.encryption, body); !errors.Is(err, improtocol.ErrCiphertext) || got != nil {
						t.Errorf("eve: got %.40q, %v; want %v", got, err, improtocol.ErrCiphertext)
					}
				}
			})
		}
	}
}

// TestSealIsFresh: the same text to the same keys is never the same bytes.
func TestSealIsFresh(t *testing.T) {
	bob := newPerson(t, "bob", 2, newHPKE(t), readSecret(t, "rsa2048.json"))
	key := seal.NewSharedKey()
	for _, encryption := range []string{improtocol.ECC, improtocol.HPKE, improtocol.RSA, improtocol.AES} {
		a, errA := seal.Encrypt(encryption, []byte("x"), []seal.Recipient{bob.as}, &key)
		b, errB := seal.Encrypt(encryption, []byte("x"), []seal.Recipient{bob.as}, &key)
		if errA != nil || errB != nil || bytes.Equal(a[0], b[0]) {
			t.Errorf("%s: got %s and %s, %v %v", encryption, a, b, errA, errB)
		}
	}
}

// TestSealIsAuthenticated: whatever byte is changed or cut, no text comes out,
// and the error is always the same.
func TestSealIsAuthenticated(t *testing.T) {
	bob := newPerson(t, "bob", 2, readSecret(t, "hpke-key.json"), readSecret(t, "rsa2048.json"))
	ann := newPerson(t, "ann", 4, readSecret(t, "rsa2048.json"))
	key := seal.NewSharedKey()
	bob.keys.Add(key.Secret())
	for _, tt := range []struct {
		name, encryption string
		to               []seal.Recipient
	}{
		{"HPKE", improtocol.HPKE, []seal.Recipient{bob.as}},
		{"RSA compact", improtocol.RSA, []seal.Recipient{bob.as}},
		{"RSA JSON", improtocol.RSA, []seal.Recipient{bob.as, ann.as}},
		{"AES", improtocol.AES, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bodies, err := seal.Encrypt(tt.encryption, []byte("meet me at the usual place"), tt.to, &key)
			if err != nil {
				t.Fatal(err)
			}
			body := bodies[0]
			step := max(1, len(body)/97)
			if tt.name == "RSA JSON" {
				// One recipient's key may be lost without harm to the other's.
				body = body[:bytes.Index(body, []byte(`"recipients"`))]
				step = 1 << 20
			}
			for i := 0; i < len(body); i += step {
				changed := bytes.Clone(bodies[0])
				if changed[i] == 'A' {
					changed[i] = 'B'
				} else {
					changed[i] = 'A'
				}
				got, err := bob.keys.Decrypt(tt.encryption, changed)
				if err != improtocol.ErrCiphertext || got != nil {
					t.Fatalf("byte %d changed: got %q, %v", i, got, err)
				}
				if got, err := bob.keys.Decrypt(tt.encryption, bodies[0][:i]); err != improtocol.ErrCiphertext || got != nil {
					t.Fatalf("cut to %d bytes: got %q, %v", i, got, err)
				}
			}
		})
	}
}

// TestTypesAreApart: a field is opened as its own type and as no other.
func TestTypesAreApart(t *testing.T) {
	bob := newPerson(t, "bob", 2, newHPKE(t), readSecret(t, "rsa2048.json"))
	key := seal.NewSharedKey()
	bob.keys.Add(key.Secret())
	types := []string{improtocol.ECC, improtocol.HPKE, improtocol.RSA, improtocol.AES, improtocol.ECDHAES}
	for _, written := range types[:4] {
		bodies, err := seal.Encrypt(written, []byte("text"), []seal.Recipient{bob.as}, &key)
		if err != nil {
			t.Fatal(err)
		}
		for _, read := range types {
			got, err := bob.keys.DecryptBetween(read, bodies[0], bob.as.PublicKey)
			if read == written && (err != nil || string(got) != "text") {
				t.Errorf("%s: got %q, %v", written, got, err)
			}
			if read != written && (!errors.Is(err, improtocol.ErrCiphertext) || got != nil) {
				t.Errorf("%s read as %s: got %q, %v", written, read, got, err)
			}
		}
	}
}

func TestSealRefusals(t *testing.T) {
	bob := newPerson(t, "bob", 2, newHPKE(t))
	nobody := seal.Recipient{Label: "carol"}
	broken := seal.Recipient{Label: "dan", PublicKey: make([]byte, 33)}
	tests := []struct {
		name, encryption string
		to               []seal.Recipient
		shared           *seal.Shared
		want             error
		text             string
	}{
		{"plain", improtocol.Plain, []seal.Recipient{bob.as}, nil, seal.ErrEncryption, "plain"},
		{"read only", improtocol.ECDHAES, []seal.Recipient{bob.as}, nil, seal.ErrEncryption, "ECDHAES"},
		{"unknown", "ROT13", []seal.Recipient{bob.as}, nil, seal.ErrEncryption, "ROT13"},
		{"nobody", improtocol.ECC, nil, nil, seal.ErrNoOne, "nobody"},
		{"nothing shared", improtocol.AES, []seal.Recipient{bob.as}, nil, seal.ErrNoShared, "AES"},
		{"the zero Shared", improtocol.AES, nil, &seal.Shared{}, seal.ErrNoShared, "AES"},
		{"no public key", improtocol.ECC, []seal.Recipient{bob.as, nobody}, nil, nil, "no public key is known for carol"},
		{"no HPKE key", improtocol.HPKE, []seal.Recipient{nobody, bob.as, broken}, nil, nil, "no HPKE key is published by carol, dan"},
		{"no RSA key", improtocol.RSA, []seal.Recipient{bob.as}, nil, nil, "no RSA key is published by bob"},
		{"more than RSA takes", improtocol.RSA, slices.Repeat([]seal.Recipient{newPerson(t, "ann", 1, readSecret(t, "rsa2048.json")).as}, 257), nil, seal.ErrTooLarge, "256 recipients"},
		{"not on the curve", improtocol.ECC, []seal.Recipient{broken}, nil, improtocol.ErrPublicKey, "encrypt to dan"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bodies, err := seal.Encrypt(tt.encryption, []byte("x"), tt.to, tt.shared)
			if bodies != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %q, %v; want an error with %q", bodies, err, tt.text)
			}
			var who *seal.NoKeyError
			if tt.want == nil && !errors.As(err, &who) {
				t.Errorf("got %T, want a *NoKeyError", err)
			}
		})
	}
	for _, encryption := range []string{improtocol.Plain, "", "ecc", "ROT13"} {
		if got, err := bob.keys.Decrypt(encryption, []byte("x")); !errors.Is(err, seal.ErrEncryption) || got != nil {
			t.Errorf("decrypt %q: got %q, %v; want %v", encryption, got, err, seal.ErrEncryption)
		}
	}
}

// TestStrongest: the order of the types, among those that all can read.
func TestStrongest(t *testing.T) {
	hpke, small, large := newHPKE(t), readSecret(t, "rsa2048.json"), readSecret(t, "rsa3072.json")
	tests := []struct {
		name string
		to   []*person
		want string // an encryption type, or who has no key
	}{
		{"all of them", []*person{newPerson(t, "a", 1, small, hpke, large)}, improtocol.HPKE},
		{"large RSA before ECC", []*person{newPerson(t, "a", 1, large)}, improtocol.RSA},
		{"ECC before small RSA", []*person{newPerson(t, "a", 1, small)}, improtocol.ECC},
		{"the newest RSA key counts", []*person{newPerson(t, "a", 1, small, large)}, improtocol.ECC},
		{"small RSA before nothing", []*person{newPerson(t, "a", 0, small)}, improtocol.RSA},
		{"what all can read", []*person{newPerson(t, "a", 1, hpke), newPerson(t, "b", 2, large)}, improtocol.ECC},
		{"large RSA for all", []*person{newPerson(t, "a", 1, hpke, large), newPerson(t, "b", 2, large)}, improtocol.RSA},
		{"HPKE for all", []*person{newPerson(t, "a", 1, large, hpke), newPerson(t, "b", 0, hpke)}, improtocol.HPKE},
		{"no key", []*person{newPerson(t, "a", 1, hpke), newPerson(t, "b", 0), newPerson(t, "c", 0)}, "b, c"},
		{"as many as RSA takes", slices.Repeat([]*person{newPerson(t, "a", 1, large)}, 256), improtocol.RSA},
		{"more than RSA takes", slices.Repeat([]*person{newPerson(t, "a", 1, large)}, 257), improtocol.ECC},
		{"nobody", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var to []seal.Recipient
			for _, p := range tt.to {
				to = append(to, p.as)
			}
			got, err := seal.Strongest(to)
			var who *seal.NoKeyError
			switch {
			case tt.want == "" && !errors.Is(err, seal.ErrNoOne):
				t.Errorf("got %q, %v; want %v", got, err, seal.ErrNoOne)
			case tt.want == "":
			case errors.As(err, &who) && strings.Join(who.Labels, ", ") == tt.want && got == "":
			case err != nil || got != tt.want:
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestNewestCounts: of two published keys of a type the newest is encrypted to.
func TestNewestCounts(t *testing.T) {
	old, fresh := newHPKE(t), newHPKE(t)
	to := newPerson(t, "bob", 0, fresh, old).as
	bodies, err := seal.Encrypt(improtocol.HPKE, []byte("x"), []seal.Recipient{to}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newPersonKeys(old).Decrypt(improtocol.HPKE, bodies[0]); err == nil {
		t.Error("the old key opens it")
	}
	if got, err := newPersonKeys(old, fresh).Decrypt(improtocol.HPKE, bodies[0]); err != nil || string(got) != "x" {
		t.Errorf("the newest key: got %q, %v", got, err)
	}
}

func newPersonKeys(secrets ...seal.Secret) *seal.Keys {
	k := &seal.Keys{}
	for _, s := range secrets {
		k.Add(s)
	}
	return k
}

// TestSecretsDontShow: no verb prints a secret.
func TestSecretsDontShow(t *testing.T) {
	bob := newPerson(t, "bob", 2, newHPKE(t), readSecret(t, "rsa2048.json"))
	phrase := passphrase(t, "correct horse battery")
	bob.keys.Add(phrase.Secret())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		got := fmt.Sprintf(verb+verb+verb+verb, phrase, phrase.Secret(), bob.keys, &bob.keys)
		if want := "shared passphrasesecret (passphrase)4 keys4 keys"; got != want {
			t.Errorf("%s: got %q, want %q", verb, got, want)
		}
	}
	if !slices.Contains([]int{len(bob.keys.Shared), len(bob.keys.ECC)}, 1) {
		t.Error("no key at all")
	}
}
