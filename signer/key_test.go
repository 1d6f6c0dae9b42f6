package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/libsv/go-bk/base58"
	"github.com/libsv/go-bk/bip32"
	"github.com/libsv/go-bk/bip39"

	"github.com/metaim/metaim/improtocol/frame"
)

// testKey makes the key of a small number.
func testKey(t testing.TB, n byte, uncompressed bool) Key {
	t.Helper()
	k, err := NewKeyFromScalar([32]byte{30: 1, 31: n}, uncompressed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func check58(version byte, payload ...byte) string {
	b := append([]byte{version}, payload...)
	first := sha256.Sum256(b)
	sum := sha256.Sum256(first[:])
	return base58.Encode(append(b, sum[:4]...))
}

const curveOrder = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// aboutWords is the best known BIP 39 test vector.
const aboutWords = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"

// The addresses at DefaultPath were computed by an independent program, from the
// published seeds.
func TestParseSecret(t *testing.T) {
	one := [32]byte{31: 1}
	order := unhex(t, curveOrder)
	master := "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
	child := "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7"
	tests := []struct {
		name    string
		text    string
		network frame.Network
		address string
		kind    SecretKind
		err     error
	}{
		{"compressed WIF", "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn", frame.Main, "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", SecretWIF, nil},
		{"uncompressed WIF", "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf", frame.Main, "1EHNa6Q4Jz2uvNExL497mE43ikXhwF6kZm", SecretWIF, nil},
		{"spaces around", "\n 5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf\t", frame.Main, "1EHNa6Q4Jz2uvNExL497mE43ikXhwF6kZm", SecretWIF, nil},
		{"test network WIF", "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA", frame.Regtest, "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r", SecretWIF, nil},
		{"WIF of mainnet on regtest", "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn", frame.Regtest, "", SecretWIF, ErrSecretNetwork},
		{"WIF of a test network on mainnet", "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA", frame.Main, "", SecretWIF, ErrSecretNetwork},
		{"WIF with one letter changed", "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWm", frame.Main, "", SecretWIF, ErrWIF},
		{"WIF with a letter that base58 lacks", "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHno0n", frame.Main, "", SecretWIF, ErrWIF},
		{"WIF of a version that is none", check58(0x81, append(one[:], 1)...), frame.Main, "", SecretWIF, ErrWIF},
		{"WIF of the zero key", check58(0x80, append(make([]byte, 32), 1)...), frame.Main, "", SecretWIF, ErrScalar},
		{"WIF of the order of the curve", check58(0x80, append(bytes.Clone(order), 1)...), frame.Main, "", SecretWIF, ErrScalar},
		{"WIF of the largest number", check58(0x80, append(bytes.Repeat([]byte{0xff}, 32), 1)...), frame.Main, "", SecretWIF, ErrScalar},
		{"words", aboutWords, frame.Main, "1K6LZdwpKT5XkEZo2T2kW197aMXYbYMc4f", SecretWords, nil},
		{"words in capitals, on lines", strings.ToUpper(strings.ReplaceAll(aboutWords, " ", " \r\n")), frame.Main, "1K6LZdwpKT5XkEZo2T2kW197aMXYbYMc4f", SecretWords, nil},
		{"words with a wrong checksum", strings.Replace(aboutWords, "about", "abandon", 1), frame.Main, "", SecretWords, ErrWordChecksum},
		{"words out of order", "about abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon", frame.Main, "", SecretWords, ErrWordChecksum},
		{"a word after zoo", strings.Replace(aboutWords, "about", "zzz", 1), frame.Main, "", SecretWords, ErrWord},
		{"eleven words", strings.TrimSuffix(aboutWords, " about"), frame.Main, "", SecretWords, ErrWordCount},
		{"twenty-seven words", strings.Repeat("abandon ", 27), frame.Main, "", SecretWords, ErrWordCount},
		{"master key", master, frame.Main, "1Pizh7nzXvsiwtygaFgHK61nb3JpTsyno7", SecretExtended, nil},
		{"child key without a path", child, frame.Main, "", SecretExtended, ErrPathNeeded},
		{"master key on a test network", master, frame.Test, "", SecretExtended, ErrSecretNetwork},
		{"master key with one letter changed", master[:100] + "1" + master[101:], frame.Main, "", SecretExtended, ErrExtended},
		{"master key cut short", master[:50], frame.Main, "", SecretExtended, ErrExtended},
		{"private version over a public key", "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFGTQQD3dC4H2D5GBj7vWvSQaaBv5cxi9gafk7NF3pnBju6dwKvH", frame.Main, "", SecretExtended, ErrExtended},
		{"extended public key", "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8", frame.Main, "", SecretExtended, ErrExtendedPublic},
		{"address", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", frame.Main, "", "", ErrSecretAddress},
		{"hexadecimal", strings.Repeat("01", 32), frame.Main, "", "", ErrSecretHex},
		{"nothing", " \n", frame.Main, "", "", ErrNoSecret},
		{"anything else", "hunter2", frame.Main, "", "", ErrSecret},
		{"far too long", strings.Repeat("K", 1<<20), frame.Main, "", "", ErrSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, kind, err := ParseSecret(tt.text, tt.network)
			if !errors.Is(err, tt.err) || kind != tt.kind {
				t.Fatalf("got kind %q, error %v; want %q, %v", kind, err, tt.kind, tt.err)
			}
			if err != nil {
				checkSafe(t, err.Error(), tt.text)
				return
			}
			if got := k.Address(tt.network); tt.address != "" && got != tt.address {
				t.Errorf("got address %s, want %s", got, tt.address)
			}
			if back, err := ParseWIF(k.WIF(tt.network), tt.network); err != nil || !back.Equal(k) {
				t.Errorf("its WIF reads as %v, %v; want %v", back, err, k)
			}
		})
	}
}

// checkSafe fails when a message holds a piece of a secret: any eight letters of
// it in a row, or a word of it.
func checkSafe(t *testing.T, message, secret string) {
	t.Helper()
	for i := 0; i+8 <= len(secret) && i < 200; i++ {
		if piece := secret[i : i+8]; strings.TrimSpace(piece) != "" && strings.Contains(message, piece) {
			t.Errorf("the message %q holds %q of the secret", message, piece)
		}
	}
	for _, w := range strings.Fields(secret) {
		if strings.Contains(message, w) {
			t.Errorf("the message %q holds the word %q", message, w)
		}
	}
}

func TestBIP39Vectors(t *testing.T) {
	tests := []struct{ name, words, passphrase, want string }{
		{"all abandon", aboutWords, "TREZOR", "xprv9s21ZrQH143K3h3fDYiay8mocZ3afhfULfb5GX8kCBdno77K4HiA15Tg23wpbeF1pLfs1c5SPmYHrEpTuuRhxMwvKDwqdKiGJS9XFKzUsAF"},
		{"legal winner", "legal winner thank year wave sausage worth useful legal winner thank yellow", "TREZOR", "xprv9s21ZrQH143K2gA81bYFHqU68xz1cX2APaSq5tt6MFSLeXnCKV1RVUJt9FWNTbrrryem4ZckN8k4Ls1H6nwdvDTvnV7zEXs2HgPezuVccsq"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := KeyFromWords(tt.words, tt.passphrase, "m", frame.Main)
			if err != nil {
				t.Fatal(err)
			}
			want, err := KeyFromExtended(tt.want, "m", frame.Main)
			if err != nil || !got.Equal(want) {
				t.Errorf("got %v, want %v (%v)", got, want, err)
			}
		})
	}
}

func TestPassphraseIsNormalised(t *testing.T) {
	composed, err1 := KeyFromWords(aboutWords, "caf\u00e9", DefaultPath, frame.Main)
	apart, err2 := KeyFromWords(aboutWords, "cafe\u0301", DefaultPath, frame.Main)
	if err1 != nil || err2 != nil || !composed.Equal(apart) {
		t.Errorf("got %v and %v (%v, %v), want the same key", composed, apart, err1, err2)
	}
	if plain, _ := KeyFromWords(aboutWords, "", DefaultPath, frame.Main); plain.Equal(apart) {
		t.Errorf("the passphrase changes nothing")
	}
}

func TestNewWords(t *testing.T) {
	for _, n := range []int{12, 15, 18, 21, 24} {
		a, err := NewWords(n)
		if err != nil || len(strings.Fields(a)) != n {
			t.Fatalf("got %d words, %v; want %d", len(strings.Fields(a)), err, n)
		}
		b, _ := NewWords(n)
		if a == b {
			t.Errorf("the same %d words twice", n)
		}
		if _, kind, err := ParseSecret(a, frame.Regtest); err != nil || kind != SecretWords {
			t.Errorf("%d words are read back as %q, %v", n, kind, err)
		}
	}
	for _, n := range []int{-3, 0, 9, 11, 13, 25, 27} {
		if _, err := NewWords(n); !errors.Is(err, ErrWordCount) {
			t.Errorf("%d words: got %v, want %v", n, err, ErrWordCount)
		}
	}
}

func TestWordListIsTheStandardOne(t *testing.T) {
	sum := sha256.Sum256([]byte(strings.Join(bip39.English, "\n") + "\n"))
	const want = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got a list with SHA-256 %s, want %s", got, want)
	}
}

func TestParsePath(t *testing.T) {
	const h = bip32.HardenedKeyStart
	tests := []struct {
		path string
		want []uint32
		ok   bool
	}{
		{DefaultPath, []uint32{h + 44, h + 236, h, 0, 0}, true},
		{"m", nil, true},
		{"m/0h/1H/2'", []uint32{h, h + 1, h + 2}, true},
		{"m/2147483647'", []uint32{h + 1<<31 - 1}, true},
		{"m/2147483648", nil, false},
		{"", nil, false}, {"m/", nil, false}, {"m//0", nil, false}, {"0/1", nil, false}, {"mm/0", nil, false},
		{"m/0''", nil, false}, {"m/+1", nil, false}, {"m/-1", nil, false}, {"m/'", nil, false}, {"m/1_0", nil, false},
		{"m" + strings.Repeat("/0", 256), nil, false}, {"m" + strings.Repeat("/0", 1<<20), nil, false},
	}
	for _, tt := range tests {
		got, err := ParsePath(tt.path)
		if (err == nil) != tt.ok || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%.40q: got %v, %v; want %v", tt.path, got, err, tt.want)
		}
	}
}

func TestImportWithPath(t *testing.T) {
	master := "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
	child := "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7"
	fromMaster, _, err1 := Import{Network: frame.Main, Path: "m/0'/1"}.Parse(master)
	fromChild, _, err2 := Import{Network: frame.Main, Path: "m/1"}.Parse(child)
	if err1 != nil || err2 != nil || !fromMaster.Equal(fromChild) {
		t.Errorf("got %v and %v (%v, %v), want the same key", fromMaster, fromChild, err1, err2)
	}
	if _, _, err := (Import{Network: frame.Main, Path: "nonsense"}).Parse(master); !errors.Is(err, ErrPath) {
		t.Errorf("got %v, want %v", err, ErrPath)
	}
}

func TestKeySignsAsFrameKey(t *testing.T) {
	for _, uncompressed := range []bool{false, true} {
		k := testKey(t, 7, uncompressed)
		if got, want := k.Private().PublicKey(), k.PublicKey(); !bytes.Equal(got, want) {
			t.Errorf("uncompressed %v: got public key %x, want %x", uncompressed, got, want)
		}
		if got, want := k.Private().KeyHash(), k.KeyHash(); got != want {
			t.Errorf("uncompressed %v: got key hash %x, want %x", uncompressed, got, want)
		}
	}
}

func TestNewKeysDiffer(t *testing.T) {
	if a, b := NewKey(), NewKey(); a.Equal(b) || !a.Valid() || a.Uncompressed() {
		t.Errorf("got %v and %v, want two compressed keys", a, b)
	}
}

func TestKeysDontPrintTheirSecret(t *testing.T) {
	k := testKey(t, 200, false)
	scalar := k.scalar()
	entry := newEntry("alice", k, k0)
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%U"} {
		fmt.Fprintf(&printed, verb+" "+verb+" "+verb+"\n", k, entry, struct{ inner Key }{k})
	}
	for _, secret := range []string{k.WIF(frame.Main), k.WIF(frame.Test), hex.EncodeToString(scalar[:]), fmt.Sprint(scalar)} {
		if strings.Contains(printed.String(), secret) {
			t.Errorf("the secret is in %s", printed.String())
		}
	}
	if b, err := json.Marshal(entry); err == nil {
		t.Errorf("a key was written as JSON: %s", b)
	}
	if got := fmt.Sprint(Key{}); got != "no key" {
		t.Errorf("the zero key prints %q", got)
	}
}

// FuzzParseSecret: no text makes the reader panic; what it reads is a key whose
// WIF gives the same key; and an error tells nothing of the text.
func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{aboutWords, "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn", "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
		"cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA", strings.Repeat("zzz ", 12), check58(0x80, make([]byte, 32)...),
		"xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"} {
		f.Add(s, "m/0'/1")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		for _, im := range []Import{{Network: frame.Main}, {Network: frame.Regtest, Path: path}} {
			k, _, err := im.Parse(text)
			if err != nil {
				if text := strings.TrimSpace(text); len(text) > 30 && strings.Contains(err.Error(), text) {
					t.Errorf("the error holds the text: %v", err)
				}
				continue
			}
			if back, err := ParseWIF(k.WIF(im.Network), im.Network); err != nil || !back.Equal(k) {
				t.Errorf("got %v, %v back; want %v", back, err, k)
			}
		}
	})
}
