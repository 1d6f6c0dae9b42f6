package signer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/metaim/metaim/improtocol/frame"
)

var k0 = time.Unix(1_700_000_000, 0).UTC()

const testWorkFactor = 2

func newKeystore(t *testing.T) *Keystore {
	t.Helper()
	return &Keystore{Path: filepath.Join(t.TempDir(), "keys", "keys.age"), WorkFactor: testWorkFactor}
}

func addKey(t *testing.T, s *Keystore, label string, k Key) {
	t.Helper()
	if _, err := s.Add(t.Context(), "open", label, k); err != nil {
		t.Fatalf("add %q: %v", label, err)
	}
}

func TestKeystoreKeepsKeys(t *testing.T) {
	s := newKeystore(t)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("without a file: got %v, %v; want nothing", list, err)
	}
	if entries, err := s.Unlock("open"); err != nil || len(entries) != 0 {
		t.Fatalf("without a file: got %v, %v; want nothing", entries, err)
	}
	alice, bob := testKey(t, 1, false), testKey(t, 2, true)
	addKey(t, s, "alice", alice)
	addKey(t, s, "bob", bob)
	entries, err := s.Unlock("open")
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %d keys, %v; want 2", len(entries), err)
	}
	if !entries[0].Key.Equal(alice) || !entries[1].Key.Equal(bob) || !entries[1].Key.Uncompressed() {
		t.Errorf("got %v, want %v and %v", entries, alice, bob)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v; want 2 entries", list, err)
	}
	for i, k := range []Key{alice, bob} {
		if list[i].KeyHash != k.KeyHash() || !bytes.Equal(list[i].PublicKey, k.PublicKey()) || !list[i].equal(entries[i].PublicEntry) {
			t.Errorf("entry %d: got %v, want the public part of %v", i, list[i], k)
		}
	}
	if err := s.Remove(t.Context(), "open", "alice"); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.List(); len(list) != 1 || list[0].Label != "bob" {
		t.Errorf("after removing alice: got %v", list)
	}
	info, err := os.Stat(s.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v; want 0600", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(s.Path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: got mode %v, %v; want 0700", info.Mode(), err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.Path), ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeystoreHoldsNoSecretInTheOpen(t *testing.T) {
	s := newKeystore(t)
	k := testKey(t, 9, false)
	addKey(t, s, "alice", k)
	file, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(k.WIF(frame.Main))) || bytes.Contains(file, []byte(strings.Repeat("0", 60))) {
		t.Errorf("the file shows the secret:\n%s", file)
	}
	if !bytes.Contains(file, []byte(armor.Header)) {
		t.Errorf("the file has no age part:\n%s", file)
	}
}

func TestKeystoreRefusals(t *testing.T) {
	alice, bob := testKey(t, 1, false), testKey(t, 2, false)
	add := func(passphrase, label string, k Key) func(*Keystore) error {
		return func(s *Keystore) error {
			_, err := s.Add(context.Background(), passphrase, label, k)
			return err
		}
	}
	tests := []struct {
		name string
		do   func(*Keystore) error
		want error
	}{
		{"label taken", add("open", "alice", bob), ErrLabelTaken},
		{"key taken", add("open", "bob", alice), ErrKeyTaken},
		{"wrong passphrase", add("shut", "bob", bob), ErrPassphrase},
		{"empty passphrase", add("", "bob", bob), ErrEmptyPassphrase},
		{"no key", add("open", "bob", Key{}), ErrScalar},
		{"empty label", add("open", "", bob), ErrLabel},
		{"label with a line break", add("open", "a\nb", bob), ErrLabel},
		{"label that hides", add("open", "a\u202eb", bob), ErrLabel},
		{"label that is not UTF-8", add("open", "\xff", bob), ErrLabel},
		{"label with a space behind", add("open", "bob ", bob), ErrLabel},
		{"label like an option", add("open", "-f", bob), ErrLabel},
		{"label that is an address", add("open", bob.Address(frame.Main), bob), ErrLabel},
		{"label too long", add("open", strings.Repeat("a", 65), bob), ErrLabel},
		{"remove what isn't there", func(s *Keystore) error { return s.Remove(context.Background(), "open", "bob") }, ErrNoLabel},
		{"unlock with the wrong passphrase", func(s *Keystore) error { _, err := s.Unlock("shut"); return err }, ErrPassphrase},
		{"unlock with no passphrase", func(s *Keystore) error { _, err := s.Unlock(""); return err }, ErrEmptyPassphrase},
	}
	s := newKeystore(t)
	addKey(t, s, "alice", alice)
	before, _ := os.ReadFile(s.Path)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(s); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if after, _ := os.ReadFile(s.Path); !bytes.Equal(before, after) {
				t.Errorf("the file changed")
			}
		})
	}
	if _, err := s.Unlock("shut"); err == nil || err.Error() != "wrong passphrase" {
		t.Errorf("got %v, want exactly: wrong passphrase", err)
	}
}

func TestKeystoreDamage(t *testing.T) {
	s := newKeystore(t)
	addKey(t, s, "alice", testKey(t, 1, false))
	addKey(t, s, "bob", testKey(t, 2, false))
	whole, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	other := testKey(t, 3, false)
	lines := bytes.SplitAfterN(whole, []byte("\n"), 3)
	tests := []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, ErrKeystore},
		{"no key file", []byte("hello\nworld\n"), ErrKeystore},
		{"a plain age file", lines[2], ErrKeystore},
		{"cut after the first line", lines[0], ErrKeystore},
		{"cut after the second line", append(bytes.Clone(lines[0]), lines[1]...), ErrKeystore},
		{"cut in the age part", whole[:len(whole)-60], ErrKeystore},
		{"cut before its last line", whole[:len(whole)-5], ErrKeystore},
		{"text behind it", append(bytes.Clone(whole), "more"...), ErrKeystore},
		{"label changed", bytes.Replace(whole, []byte(`"alice"`), []byte(`"carol"`), 1), ErrTampered},
		{"public key changed", bytes.Replace(whole, []byte(hexOf(testKey(t, 1, false).PublicKey())), []byte(hexOf(other.PublicKey())), 1), ErrTampered},
		{"public key that is none", bytes.Replace(whole, []byte(`"public_key":"02`), []byte(`"public_key":"05`), 1), ErrKeystore},
		{"entry removed", bytes.Join([][]byte{lines[0], []byte("[]\n"), lines[2]}, nil), ErrTampered},
		{"second line no JSON", bytes.Join([][]byte{lines[0], []byte("{\n"), lines[2]}, nil), ErrKeystore},
		{"asks for a day of work", bytes.Join([][]byte{lines[0], lines[1], hostileAge(t, 30)}, nil), ErrKeystore},
		{"asks for more work than allowed", bytes.Join([][]byte{lines[0], lines[1], hostileAge(t, MaxWorkFactor+1)}, nil), ErrKeystore},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(s.Path, tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := s.Unlock("open"); !errors.Is(err, tt.want) {
				t.Errorf("unlock: got %v, want %v", err, tt.want)
			}
			if _, err := s.Add(t.Context(), "open", "carol", other); !errors.Is(err, tt.want) {
				t.Errorf("add: got %v, want %v", err, tt.want)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if after, _ := os.ReadFile(s.Path); !bytes.Equal(after, tt.file) {
				t.Errorf("the file changed")
			}
		})
	}
}

// hostileAge makes an age file whose header asks for a given work factor. Its
// key is wrapped at a low one: who obeyed the header would find out too late.
func hostileAge(t *testing.T, workFactor int) []byte {
	t.Helper()
	var plain bytes.Buffer
	r, err := age.NewScryptRecipient("open")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(testWorkFactor)
	w, err := age.Encrypt(&plain, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	head, rest, _ := bytes.Cut(plain.Bytes(), []byte(" 2\n"))
	var file bytes.Buffer
	a := armor.NewWriter(&file)
	a.Write(bytes.Join([][]byte{head, rest}, []byte(" "+itoa(workFactor)+"\n")))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestKeystoreModeIsChecked(t *testing.T) {
	s := newKeystore(t)
	addKey(t, s, "alice", testKey(t, 1, false))
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644, 0o666} {
		if err := os.Chmod(s.Path, mode); err != nil {
			t.Fatal(err)
		}
		var wide *ModeError
		if _, err := s.Unlock("open"); !errors.As(err, &wide) || !strings.Contains(err.Error(), "chmod 600 ") {
			t.Errorf("mode %o: unlock: got %v, want a *ModeError that says what to run", mode, err)
		}
		if _, err := s.List(); !errors.As(err, &wide) {
			t.Errorf("mode %o: list: got %v, want a *ModeError", mode, err)
		}
	}
}

func TestChangePassphrase(t *testing.T) {
	s := newKeystore(t)
	addKey(t, s, "alice", testKey(t, 1, false))
	if err := s.ChangePassphrase(t.Context(), "open", "sesame"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unlock("open"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("old: got %v, want %v", err, ErrPassphrase)
	}
	if entries, err := s.Unlock("sesame"); err != nil || len(entries) != 1 {
		t.Errorf("new: got %v, %v; want one key", entries, err)
	}
}

func TestKeystoreConcurrentAdds(t *testing.T) {
	s := newKeystore(t)
	var wg sync.WaitGroup
	for i := range byte(12) {
		wg.Go(func() {
			if _, err := s.Add(t.Context(), "open", "key"+itoa(int(i)), testKey(t, i+1, false)); err != nil {
				t.Errorf("add %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if entries, err := s.Unlock("open"); err != nil || len(entries) != 12 {
		t.Errorf("got %d keys, %v; want 12", len(entries), err)
	}
}
