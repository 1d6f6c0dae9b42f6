package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/seal"
)

func newHPKE(t *testing.T) seal.Secret {
	t.Helper()
	s, err := seal.NewHPKE()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addSecret(t *testing.T, s *Keystore, owner, label string, secret seal.Secret) PublicSecret {
	t.Helper()
	added, err := s.AddSecret(t.Context(), "open", owner, label, secret)
	if err != nil {
		t.Fatalf("add to %q: %v", owner, err)
	}
	return added
}

// TestKeystoreKeepsSecrets: secrets stand with their key, open messages, are
// listed without the passphrase, survive other changes and can be removed.
func TestKeystoreKeepsSecrets(t *testing.T) {
	s := newKeystore(t)
	addKey(t, s, "alice", testKey(t, 1, false))
	addKey(t, s, "bob", testKey(t, 2, true))
	rsa, err := seal.NewRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	shared := seal.NewSharedKey()
	phrase, err := seal.NewPassphrase("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	all := []seal.Secret{newHPKE(t), rsa, shared.Secret(), phrase.Secret()}
	for i, secret := range all {
		label := []string{"", "", "friends", "family"}[i]
		addSecret(t, s, "bob", label, secret)
	}
	addKey(t, s, "carol", testKey(t, 3, false))
	if err := s.ChangePassphrase(t.Context(), "open", "sesame"); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Unlock("sesame")
	if err != nil || len(entries) != 3 || len(entries[0].Secrets)+len(entries[2].Secrets) != 0 || len(entries[1].Secrets) != len(all) {
		t.Fatalf("got %v, %v; want the secrets with bob", entries, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("got %v, %v", list, err)
	}
	public, _ := all[0].Published()
	for i, want := range all {
		got := entries[1].Secrets[i]
		if !got.Secret.Equal(want) || got.Kind != want.Kind() || !got.equal(list[1].Secrets[i]) || got.Created.IsZero() {
			t.Errorf("secret %d: got %+v, listed as %+v; want %v", i, got, list[1].Secrets[i], want)
		}
	}
	if got := list[1].Secrets; got[0].Label != public.ID() || got[2].Label != "friends" || got[3].Kind != seal.KindPassphrase {
		t.Errorf("listed: %+v", got)
	}
	bodies, err := seal.Encrypt(improtocol.HPKE, []byte("hello"), []seal.Recipient{{Published: []seal.Published{public}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := DecryptionKeys(entries)
	if got, err := keys.Decrypt(improtocol.HPKE, bodies[0]); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if len(keys.ECC) != 3 || len(keys.RSA) != 1 || len(keys.HPKE) != 1 || len(keys.Shared) != 2 {
		t.Errorf("got %d, %d, %d and %d keys", len(keys.ECC), len(keys.RSA), len(keys.HPKE), len(keys.Shared))
	}
	if err := s.RemoveSecret(t.Context(), "sesame", "bob", "friends"); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.List(); len(list[1].Secrets) != 3 {
		t.Errorf("after removing one: %+v", list[1].Secrets)
	}
	file, _ := os.ReadFile(s.Path)
	head := bytes.SplitAfterN(file, []byte("\n"), 3)[1]
	for _, secret := range []string{shared.Text(), phrase.Text(), "jwk", "priv"} {
		if bytes.Contains(head, []byte(secret)) {
			t.Errorf("the readable part holds %q", secret)
		}
	}
	if info, err := os.Stat(s.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v; want 0600", info.Mode(), err)
	}
	if got := fmt.Sprintf("%v %+v", entries[1].Secrets, entries[1].Secrets); strings.Contains(got, phrase.Text()) || strings.Contains(got, shared.Text()) {
		t.Errorf("printed: %s", got)
	}
}

// TestKeystoreOfEarlier: a file that an earlier program wrote is read, and one
// with no secrets is written so that the earlier program reads it.
func TestKeystoreOfEarlier(t *testing.T) {
	old, err := os.ReadFile(filepath.Join("testdata", "keys-without-secrets.age"))
	if err != nil {
		t.Fatal(err)
	}
	s := newKeystore(t)
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Unlock("open")
	if err != nil || len(entries) != 2 || !entries[0].Key.Equal(testKey(t, 1, false)) || !entries[1].Key.Equal(testKey(t, 2, true)) {
		t.Fatalf("got %v, %v", entries, err)
	}
	added := addSecret(t, s, "bob", "", newHPKE(t))
	if entries, err := s.Unlock("open"); err != nil || len(entries) != 2 || len(entries[1].Secrets) != 1 {
		t.Errorf("with a secret: got %v, %v", entries, err)
	}
	if err := s.RemoveSecret(t.Context(), "open", "bob", added.Label); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	want, got := bytes.SplitAfterN(old, []byte("\n"), 3), bytes.SplitAfterN(file, []byte("\n"), 3)
	if !bytes.Equal(got[0], want[0]) || !bytes.Equal(got[1], want[1]) {
		t.Errorf("got\n%s%swant\n%s%s", got[0], got[1], want[0], want[1])
	}
	body, err := decrypt(got[2], "open")
	if err != nil || bytes.Contains(body, []byte("secrets")) {
		t.Errorf("the encrypted part names secrets, %v", err)
	}
}

func TestKeystoreSecretRefusals(t *testing.T) {
	s := newKeystore(t)
	addKey(t, s, "alice", testKey(t, 1, false))
	stored, shared := newHPKE(t), seal.NewSharedKey().Secret()
	addSecret(t, s, "alice", "", stored)
	addSecret(t, s, "alice", "friends", shared)
	ctx := context.Background()
	add := func(passphrase, owner, label string, secret seal.Secret) func() error {
		return func() error { _, err := s.AddSecret(ctx, passphrase, owner, label, secret); return err }
	}
	tests := []struct {
		name string
		do   func() error
		want error
	}{
		{"no such key", add("open", "bob", "", newHPKE(t)), ErrNoLabel},
		{"stored already", add("open", "alice", "", stored), ErrSecretTaken},
		{"shared already", add("open", "alice", "others", shared), ErrSecretTaken},
		{"label taken", add("open", "alice", "friends", seal.NewSharedKey().Secret()), ErrLabelTaken},
		{"no label", add("open", "alice", "", seal.NewSharedKey().Secret()), ErrLabel},
		{"label that hides", add("open", "alice", "a\u202eb", seal.NewSharedKey().Secret()), ErrLabel},
		{"a label for a private key", add("open", "alice", "mine", newHPKE(t)), ErrLabel},
		{"no secret", add("open", "alice", "x", seal.Secret{}), ErrSecretKind},
		{"wrong passphrase", add("shut", "alice", "", newHPKE(t)), ErrPassphrase},
		{"empty passphrase", add("", "alice", "", newHPKE(t)), ErrEmptyPassphrase},
		{"remove of no such key", func() error { return s.RemoveSecret(ctx, "open", "bob", "friends") }, ErrNoLabel},
		{"remove what isn't there", func() error { return s.RemoveSecret(ctx, "open", "alice", "family") }, ErrNoSecretLabel},
		{"remove all of no such key", func() error { return s.RemoveAll(ctx, "open", "bob") }, ErrNoLabel},
	}
	before, _ := os.ReadFile(s.Path)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	var has *SecretsError
	if err := s.Remove(ctx, "open", "alice"); !errors.As(err, &has) || has.Secrets != 2 || !strings.Contains(err.Error(), `"alice" has 2 secrets`) {
		t.Errorf("remove a key with secrets: got %v", err)
	}
	if after, _ := os.ReadFile(s.Path); !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
	if err := s.RemoveAll(ctx, "open", "alice"); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v; want nothing", list, err)
	}
}

// TestKeystoreSecretsTampered: what is told of secrets can't be changed unseen.
func TestKeystoreSecretsTampered(t *testing.T) {
	s := newKeystore(t)
	addKey(t, s, "alice", testKey(t, 1, false))
	hpke := addSecret(t, s, "alice", "", newHPKE(t))
	addSecret(t, s, "alice", "friends", seal.NewSharedKey().Secret())
	other, _ := newHPKE(t).Published()
	whole, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfterN(whole, []byte("\n"), 3)
	at := bytes.Index(lines[1], []byte(`,"secrets"`))
	replace := func(old, new string) []byte {
		if !bytes.Contains(lines[1], []byte(old)) {
			t.Fatalf("%s isn't in %s", old, lines[1])
		}
		return bytes.Join([][]byte{lines[0], bytes.Replace(lines[1], []byte(old), []byte(new), 1), lines[2]}, nil)
	}
	for _, tt := range []struct {
		name string
		file []byte
		want error
	}{
		{"label changed", replace(`"friends"`, `"enemies"`), ErrTampered},
		{"id changed", replace(hpke.Label, other.ID()), ErrTampered},
		{"kind changed", replace(`"kind":"HPKE"`, `"kind":"RSA"`), ErrTampered},
		{"time changed", replace(fmt.Sprint(hpke.Created.Unix()), "1600000000"), ErrTampered},
		{"all left out", replace(string(lines[1][at:]), "}]\n"), ErrTampered},
		{"kind unknown", replace(`"kind":"HPKE"`, `"kind":"ROT13"`), ErrKeystore},
		{"label that hides", replace(`"friends"`, `"a\u202eb"`), ErrKeystore},
		{"unknown member", replace(`"kind":"HPKE"`, `"kind":"HPKE","x":1`), ErrKeystore},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(s.Path, tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Unlock("open"); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if _, err := s.AddSecret(t.Context(), "open", "alice", "", newHPKE(t)); !errors.Is(err, tt.want) {
				t.Errorf("add: got %v, want %v", err, tt.want)
			}
			if after, _ := os.ReadFile(s.Path); !bytes.Equal(after, tt.file) {
				t.Error("the file changed")
			}
		})
	}
	if err := os.WriteFile(s.Path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	var wide *ModeError
	if _, err := s.AddSecret(t.Context(), "open", "alice", "", newHPKE(t)); !errors.As(err, &wide) {
		t.Errorf("a file that others read: got %v, want a *ModeError", err)
	}
}
