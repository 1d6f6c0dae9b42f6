package seal_test

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/seal"
)

var b64 = base64.RawURLEncoding.EncodeToString

// A forged is a JWE put together by hand, so that every part can be wrong while
// the rest is right: it is encrypted rightly under what it says.
type forged struct {
	header string // protected, JSON
	key    []byte // as it stands in the JWE
	cek    []byte
	plain  []byte
}

func (f forged) seal(t testing.TB) (iv, text, tag string) {
	t.Helper()
	block, err := aes.NewCipher(f.cek)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 12)
	rand.Read(nonce)
	sealed := aead.Seal(nil, nonce, f.plain, []byte(b64([]byte(f.header))))
	return b64(nonce), b64(sealed[:len(sealed)-16]), b64(sealed[len(sealed)-16:])
}

func (f forged) compact(t testing.TB) string {
	iv, text, tag := f.seal(t)
	return strings.Join([]string{b64([]byte(f.header)), b64(f.key), iv, text, tag}, ".")
}

func oaep(t testing.TB, to *rsa.PublicKey, cek []byte) []byte {
	t.Helper()
	key, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, to, cek, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestHostileCompact: a JWE that is encrypted rightly and says something that
// isn't of the type is refused; the same one without it is opened.
func TestHostileCompact(t *testing.T) {
	var squeezed bytes.Buffer
	w, _ := flate.NewWriter(&squeezed, 9)
	w.Write(make([]byte, 1<<20))
	w.Close()
	key := seal.NewSharedKey()
	raw, err := base64.RawURLEncoding.DecodeString(key.Text())
	if err != nil {
		t.Fatal(err)
	}
	keys := newPersonKeys(key.Secret(), readSecret(t, "rsa2048.json"))
	private := keys.RSA[0]
	cek := make([]byte, 32)
	rand.Read(cek)
	wrapped := oaep(t, &private.PublicKey, cek)
	const dir, rsaAlg = `"alg":"dir","enc":"A256GCM"`, `"alg":"RSA-OAEP-256","enc":"A256GCM"`
	tests := []struct {
		name, encryption string
		f                forged
		opens            bool
	}{
		{"dir", improtocol.AES, forged{`{` + dir + `}`, nil, raw, []byte("x")}, true},
		{"dir, an unknown parameter", improtocol.AES, forged{`{` + dir + `,"cty":"JWT","nonsense":[1]}`, nil, raw, []byte("x")}, true},
		{"dir, spaces in the header", improtocol.AES, forged{` { ` + dir + ` } `, nil, raw, []byte("x")}, true},
		{"dir, compressed", improtocol.AES, forged{`{` + dir + `,"zip":"DEF"}`, nil, raw, squeezed.Bytes()}, false},
		{"dir, critical", improtocol.AES, forged{`{` + dir + `,"crit":["exp"],"exp":1}`, nil, raw, []byte("x")}, false},
		{"dir, a key of its own", improtocol.AES, forged{`{` + dir + `,"jwk":{"kty":"oct","k":"AA"}}`, nil, raw, []byte("x")}, false},
		{"dir, with a wrapped key", improtocol.AES, forged{`{` + dir + `}`, []byte{1}, raw, []byte("x")}, false},
		{"dir, with a cost", improtocol.AES, forged{`{` + dir + `,"p2c":1000,"p2s":"AAAAAAAAAAAAAAAA"}`, nil, raw, []byte("x")}, false},
		{"dir, another content encryption named", improtocol.AES, forged{`{"alg":"dir","enc":"A128GCM"}`, nil, raw, []byte("x")}, false},
		{"dir, algorithm twice", improtocol.AES, forged{`{"alg":"RSA-OAEP-256",` + dir + `}`, nil, raw, []byte("x")}, false},
		{"dir, algorithm in another case", improtocol.AES, forged{`{"ALG":"dir","enc":"A256GCM"}`, nil, raw, []byte("x")}, false},
		{"dir, algorithm no text", improtocol.AES, forged{`{"alg":["dir"],"enc":"A256GCM"}`, nil, raw, []byte("x")}, false},
		{"dir, header too large", improtocol.AES, forged{`{` + dir + `,"a":"` + strings.Repeat("a", 5000) + `"}`, nil, raw, []byte("x")}, false},
		{"dir, header too deep", improtocol.AES, forged{`{` + dir + `,"a":[[[[[[1]]]]]]}`, nil, raw, []byte("x")}, false},
		{"dir, header no object", improtocol.AES, forged{`null`, nil, raw, []byte("x")}, false},
		{"dir, more behind the header", improtocol.AES, forged{`{` + dir + `}{}`, nil, raw, []byte("x")}, false},
		{"dir as RSA", improtocol.RSA, forged{`{` + dir + `}`, nil, raw, []byte("x")}, false},
		{"RSA", improtocol.RSA, forged{`{` + rsaAlg + `}`, wrapped, cek, []byte("x")}, true},
		{"RSA, compressed", improtocol.RSA, forged{`{` + rsaAlg + `,"zip":"DEF"}`, wrapped, cek, squeezed.Bytes()}, false},
		{"RSA, a short content key", improtocol.RSA, forged{`{` + rsaAlg + `}`, oaep(t, &private.PublicKey, cek[:16]), cek[:16], []byte("x")}, false},
		{"RSA, OAEP with SHA-1 named", improtocol.RSA, forged{`{"alg":"RSA-OAEP","enc":"A256GCM"}`, wrapped, cek, []byte("x")}, false},
		{"RSA, PKCS 1.5 named", improtocol.RSA, forged{`{"alg":"RSA1_5","enc":"A256GCM"}`, wrapped, cek, []byte("x")}, false},
		{"RSA, key of zeros", improtocol.RSA, forged{`{` + rsaAlg + `}`, make([]byte, 256), cek, []byte("x")}, false},
		{"RSA, key longer than any", improtocol.RSA, forged{`{` + rsaAlg + `}`, make([]byte, 2000), cek, []byte("x")}, false},
		{"RSA as AES", improtocol.AES, forged{`{` + rsaAlg + `}`, wrapped, cek, []byte("x")}, false},
		{"public key as shared key", improtocol.AES, forged{`{"alg":"A256KW","enc":"A256GCM"}`, wrapped[:40], cek, []byte("x")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkOpens(t, keys, tt.encryption, []byte(tt.f.compact(t)), tt.opens)
		})
	}
	good := forged{`{` + dir + `}`, nil, raw, []byte("x")}.compact(t)
	part := strings.Split(good, ".")
	join := func(i int, text string) string {
		p := append([]string{}, part...)
		p[i] = text
		return strings.Join(p, ".")
	}
	for name, body := range map[string]string{
		"empty": "", "dots": "....", "six parts": good + ".", "four parts": strings.Join(part[:4], "."),
		"a line break in the header": join(0, part[0][:4]+"\n"+part[0][4:]), "a line break in the text": join(3, part[3]+"\n"),
		"padding": join(3, part[3]+"="), "long nonce": join(2, part[2]+"AAAA"), "no nonce": join(2, ""),
		"short tag": join(4, part[4][:20]), "no tag": join(4, ""), "bits behind the tag": join(4, part[4][:21]+"B"),
		"the other alphabet": join(3, "+/+/"), "space in front": " " + good, "JSON": `{"protected":"` + part[0] + `"}`,
	} {
		t.Run(name, func(t *testing.T) { checkOpens(t, keys, improtocol.AES, []byte(body), false) })
	}
}

func checkOpens(t *testing.T, keys *seal.Keys, encryption string, body []byte, opens bool) {
	t.Helper()
	got, err := keys.Decrypt(encryption, body)
	if opens && (err != nil || string(got) != "x") {
		t.Errorf("got %.40q, %v; want x", got, err)
	}
	if !opens && (err != improtocol.ErrCiphertext || got != nil) {
		t.Errorf("got %.40q, %v; want exactly %v", got, err, improtocol.ErrCiphertext)
	}
}

// TestHostileJSON: the same for the JSON serialization, which only RSA has.
func TestHostileJSON(t *testing.T) {
	keys := newPersonKeys(readSecret(t, "rsa2048.json"))
	cek := make([]byte, 32)
	rand.Read(cek)
	wrapped := b64(oaep(t, &keys.RSA[0].PublicKey, cek))
	build := func(protected, members string) string {
		iv, text, tag := forged{header: protected, cek: cek, plain: []byte("x")}.seal(t)
		return fmt.Sprintf(`{"protected":%q,"iv":%q,"ciphertext":%q,"tag":%q,%s}`, b64([]byte(protected)), iv, text, tag, members)
	}
	const enc, alg = `{"enc":"A256GCM"}`, `{"alg":"RSA-OAEP-256"}`
	mine := `{"header":` + alg + `,"encrypted_key":"` + wrapped + `"}`
	other := `{"header":` + alg + `,"encrypted_key":"` + b64(make([]byte, 256)) + `"}`
	list := func(r ...string) string { return `"recipients":[` + strings.Join(r, ",") + `]` }
	many := make([]string, 257)
	for i := range many {
		many[i] = other
	}
	many[0] = mine
	tests := []struct {
		name, body string
		opens      bool
	}{
		{"general", build(enc, list(other, mine)), true},
		{"general, spaces around", "\n " + build(enc, list(mine)) + "\n", true},
		{"general, algorithm shared", build(enc, `"unprotected":`+alg+`,`+list(`{"encrypted_key":"`+wrapped+`"}`)), true},
		{"flattened", build(enc, `"header":`+alg+`,"encrypted_key":"`+wrapped+`"`), true},
		{"as many as are allowed", build(enc, list(many[:256]...)), true},
		{"go-jose repeats a key", build(enc, `"encrypted_key":"AAAA",`+list(mine)), true},
		{"an unknown member", build(enc, `"more":[1],`+list(mine)), true},
		{"one too many", build(enc, list(many...)), false},
		{"general and flattened", build(enc, `"header":`+alg+`,`+list(mine)), false},
		{"neither", build(enc, `"recipients":[]`), false},
		{"no protected header", strings.Replace(build(enc, list(mine)), b64([]byte(enc)), "", 1), false},
		{"content encryption not protected", build(`{"kid":"a"}`, `"unprotected":`+enc+`,`+list(mine)), false},
		{"compressed, not protected", build(enc, `"unprotected":{"zip":"DEF"},`+list(mine)), false},
		{"compressed", build(`{"enc":"A256GCM","zip":"DEF"}`, list(mine)), false},
		{"critical for one", build(enc, list(`{"header":{"alg":"RSA-OAEP-256","crit":["a"]},"encrypted_key":"`+wrapped+`"}`)), false},
		{"other data authenticated", build(enc, `"aad":"AAAA",`+list(mine)), false},
		{"algorithm twice", build(`{"enc":"A256GCM","alg":"RSA-OAEP-256"}`, list(mine)), false},
		{"one of another algorithm", build(enc, list(mine, `{"header":{"alg":"dir"},"encrypted_key":""}`)), false},
		{"one without an algorithm", build(enc, list(mine, `{"encrypted_key":"AAAA"}`)), false},
		{"a member twice", build(enc, list(other)+`,`+list(mine)), false},
		{"names in another case", strings.Replace(build(enc, list(mine)), `"iv"`, `"IV"`, 1), false},
		{"nested deep", build(enc, list(mine)+`,"more":`+strings.Repeat("[", 9)+strings.Repeat("]", 9)), false},
		{"cut", build(enc, list(mine))[:300], false},
		{"a list", "[" + build(enc, list(mine)) + "]", false},
		{"text behind", build(enc, list(mine)) + "x", false},
		{"header no object", build(enc, `"header":null,"encrypted_key":"`+wrapped+`"`), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkOpens(t, keys, improtocol.RSA, []byte(tt.body), tt.opens) })
	}
	t.Run("no JSON for AES", func(t *testing.T) {
		checkOpens(t, newPersonKeys(seal.NewSharedKey().Secret()), improtocol.AES, []byte(tests[0].body), false)
	})
}

// TestHostilePassphrase: what a passphrase costs to try is bounded, and only the
// two ways to stretch it are taken.
func TestHostilePassphrase(t *testing.T) {
	phrase := passphrase(t, "correct horse battery")
	keys := newPersonKeys(phrase.Secret())
	write := func(alg jose.KeyAlgorithm, cost int, salt []byte) []byte {
		e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: alg, Key: []byte(phrase.Text()), PBES2Count: cost, PBES2Salt: salt}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := e.Encrypt([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := sealed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text)
	}
	// A header that asks for more is put in front of a cheap body: whoever obeys
	// it would be at it for hours.
	asks := func(p2c string) []byte {
		_, rest, _ := bytes.Cut(write(jose.PBES2_HS512_A256KW, 1000, nil), []byte("."))
		head := b64([]byte(`{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2s":"AAAAAAAAAAAAAAAA","p2c":` + p2c + `}`))
		return append([]byte(head+"."), rest...)
	}
	for _, tt := range []struct {
		name  string
		body  []byte
		opens bool
	}{
		{"SHA-256", write(jose.PBES2_HS256_A128KW, 1000, nil), true},
		{"SHA-512", write(jose.PBES2_HS512_A256KW, 2048, nil), true},
		{"SHA-384 isn't of the type", write(jose.PBES2_HS384_A192KW, 2048, nil), false},
		{"too cheap", write(jose.PBES2_HS512_A256KW, 999, nil), false},
		{"too dear", asks("600001"), false},
		{"short salt", write(jose.PBES2_HS512_A256KW, 1000, make([]byte, 7)), false},
		{"long salt", write(jose.PBES2_HS512_A256KW, 1000, make([]byte, 65)), false},
		{"two thousand million", asks("2000000000"), false},
		{"more than a number", asks("1e9"), false},
		{"more than an integer", asks("99999999999999999999999"), false},
		{"negative", asks("-1"), false},
		{"a text", asks(`"1000"`), false},
	} {
		t.Run(tt.name, func(t *testing.T) { checkOpens(t, keys, improtocol.AES, tt.body, tt.opens) })
	}
}

// TestHostileSizes: no field makes a reader take more than a small multiple of
// its length.
func TestHostileSizes(t *testing.T) {
	keys := newPersonKeys(seal.NewSharedKey().Secret(), readSecret(t, "rsa2048.json"), newHPKE(t))
	keys.ECC = newPerson(t, "a", 1).keys.ECC
	const n = 1 << 20
	for name, body := range map[string][]byte{
		"brackets":       bytes.Repeat([]byte("["), n),
		"braces":         bytes.Repeat([]byte(`{"a":`), n/5),
		"dots":           bytes.Repeat([]byte("."), n),
		"commas":         append([]byte("{"), bytes.Repeat([]byte(","), n)...),
		"recipients":     []byte(`{"recipients":[` + strings.Repeat("{},", n/3) + `{}]}`),
		"quotes":         append([]byte("{"), bytes.Repeat([]byte(`"`), n)...),
		"base64":         bytes.Repeat([]byte("QUJD"), n/4),
		"hexadecimal":    bytes.Repeat([]byte("00"), n/2),
		"a long header":  append(bytes.Repeat([]byte("e"), n), "...."...),
		"a long message": append([]byte("e30...."), bytes.Repeat([]byte("e"), n)...),
	} {
		for _, encryption := range []string{improtocol.ECC, improtocol.AES, improtocol.RSA, improtocol.HPKE, improtocol.ECDHAES} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := keys.DecryptBetween(encryption, body, newPerson(t, "b", 2).as.PublicKey)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, improtocol.ErrCiphertext) && encryption != improtocol.ECDHAES {
				t.Errorf("%s as %s: got %.20q, %v", name, encryption, got, err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 6*n {
				t.Errorf("%s as %s: %d bytes were allocated for %d", name, encryption, took, len(body))
			}
		}
	}
}

// TestGoJoseReadsIt: another reader opens what is written here.
func TestGoJoseReadsIt(t *testing.T) {
	key := seal.NewSharedKey()
	raw, _ := base64.RawURLEncoding.DecodeString(key.Text())
	small, large := readSecret(t, "rsa2048.json"), readSecret(t, "rsa3072.json")
	to := []seal.Recipient{newPerson(t, "a", 0, small).as, newPerson(t, "b", 0, large).as}
	private := newPersonKeys(small, large).RSA
	for _, tt := range []struct {
		name, encryption string
		to               []seal.Recipient
		key              any
		members          []string // of JSON
	}{
		{"dir", improtocol.AES, nil, raw, nil},
		{"RSA", improtocol.RSA, to[:1], private[0], nil},
		{"RSA to several", improtocol.RSA, to, private[1], []string{"protected", "recipients", "iv", "ciphertext", "tag"}},
	} {
		bodies, err := seal.Encrypt(tt.encryption, []byte("x"), tt.to, &key)
		if err != nil {
			t.Fatal(err)
		}
		j, err := jose.ParseEncrypted(string(bodies[0]), []jose.KeyAlgorithm{jose.DIRECT, jose.RSA_OAEP_256}, []jose.ContentEncryption{jose.A256GCM})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if _, _, got, err := j.DecryptMulti(tt.key); err != nil || string(got) != "x" {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
		if tt.members == nil {
			continue
		}
		var members map[string]any
		if err := json.Unmarshal(bodies[0], &members); err != nil || len(members) != len(tt.members) {
			t.Errorf("%s: got %s, %v; want the members %q", tt.name, bodies[0], err, tt.members)
		}
	}
}

// TestGoJoseFaults: what go-jose does with texts that are refused here, and why
// it isn't what reads them.
func TestGoJoseFaults(t *testing.T) {
	keys := newPersonKeys(readSecret(t, "rsa2048.json"))
	private := keys.RSA[0]
	cek := make([]byte, 32)
	rand.Read(cek)
	var squeezed bytes.Buffer
	w, _ := flate.NewWriter(&squeezed, 9)
	w.Write(make([]byte, 200_000))
	w.Close()
	const head = `{"alg":"RSA-OAEP-256","enc":"A256GCM"`
	algs, encs := []jose.KeyAlgorithm{jose.RSA_OAEP_256}, []jose.ContentEncryption{jose.A256GCM}
	open := func(body string) (plain []byte, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		j, err := jose.ParseEncrypted(body, algs, encs)
		if err != nil {
			t.Fatalf("%.200s: %v", body, err)
		}
		_, _, plain, err = j.DecryptMulti(private)
		return plain, err
	}
	key := oaep(t, &private.PublicKey, cek)
	bare := forged{cek: cek, plain: []byte("x")}
	iv, text, tag := bare.seal(t)
	for _, tt := range []struct {
		name, body string
		fault      func([]byte, error) bool
		opens      bool // here
	}{
		{"no protected header", fmt.Sprintf(`{"unprotected":%s},"encrypted_key":%q,"iv":%q,"ciphertext":%q,"tag":%q}`, head, b64(key), iv, text, tag),
			func(_ []byte, err error) bool { return err != nil && strings.HasPrefix(err.Error(), "panic: ") }, false},
		{"compressed", forged{head + `,"zip":"DEF"}`, key, cek, squeezed.Bytes()}.compact(t),
			func(plain []byte, _ error) bool { return len(plain) == 200_000 }, false},
		{"a short content key", forged{head + `}`, oaep(t, &private.PublicKey, cek[:16]), cek[:16], []byte("x")}.compact(t),
			func(plain []byte, _ error) bool { return string(plain) == "x" }, false},
		{"an empty message", forged{head + `}`, key, cek, nil}.compact(t),
			func(_ []byte, err error) bool { return errors.Is(err, jose.ErrCryptoFailure) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if plain, err := open(tt.body); !tt.fault(plain, err) {
				t.Errorf("go-jose does it right now: %.40q, %v", plain, err)
			}
			if got, err := keys.Decrypt(improtocol.RSA, []byte(tt.body)); (err == nil) != tt.opens {
				t.Errorf("here: got %.40q, %v; want opened %t", got, err, tt.opens)
			}
		})
	}
}
