package messenger

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

func TestContacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home", "contacts.json")
	open := func() *Contacts {
		t.Helper()
		c, err := OpenContacts(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, key := open(), signer.NewKey()
	bob := Contact{Label: "bob", Name: "robert", Address: key.Address(frame.Regtest), PublicKey: hex.EncodeToString(key.PublicKey()),
		Pinned: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Note: "from the choir"}
	ann := Contact{Label: "ann", Address: signer.NewKey().Address(frame.Regtest)}
	other := open() // another process
	if err := errors.Join(c.Put(bob), other.Put(ann)); err != nil {
		t.Fatal(err)
	}
	bob.Pinned = bob.Pinned.Truncate(time.Second)
	for name, c := range map[string]*Contacts{"the second writer": other, "opened again": open()} {
		if got := c.List(); !reflect.DeepEqual(got, []Contact{ann, bob}) {
			t.Errorf("%s has %+v, want both", name, got)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v (%v), want 0600", info.Mode(), err)
	}
	for _, bad := range []Contact{
		{Label: "", Address: bob.Address}, {Label: "-x", Address: bob.Address}, {Label: "a\x1bb", Address: bob.Address}, {Label: "x"}, {Label: "x", Address: "nowhere"},
		{Label: "x", Address: bob.Address, PublicKey: "02"}, {Label: "x", Address: bob.Address, Note: strings.Repeat("x", 1001)},
	} {
		if err := c.Put(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	bob.Note = "moved"
	if err := c.Put(bob); err != nil {
		t.Fatal(err)
	}
	if got, ok := open().Get("bob"); !ok || got != bob {
		t.Errorf("got %+v, want %+v", got, bob)
	}
	if err := errors.Join(c.Remove("bob"), c.Remove("ann")); err != nil || len(open().List()) != 0 {
		t.Errorf("removed: %v, %d are left", err, len(open().List()))
	}
	if err := c.Remove("bob"); !errors.Is(err, ErrNoContact) {
		t.Errorf("removed twice: got %v, want %v", err, ErrNoContact)
	}
	for name, content := range map[string]string{
		"another file": "hello", "another format": `{"format":"x","version":1}`, "an unknown field": `{"format":"metaim contacts","version":1,"contacts":[],"x":1}`,
		"a contact that is none": `{"format":"metaim contacts","version":1,"contacts":[{"label":"x","address":"y"}]}`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenContacts(path); !errors.Is(err, ErrContacts) {
			t.Errorf("%s: got %v, want %v", name, err, ErrContacts)
		}
	}
}

func TestLookAlike(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		want       bool
	}{
		{"the same", "bob", "bob", true},
		{"another", "bob", "rob", false},
		{"in capitals", "bob", "BOB", true},
		{"a zero", "bob", "b0b", true},
		{"a one for an l", "alice", "a1ice", true},
		{"a capital I for an l", "alice", "aIice", true},
		{"cyrillic", "alice", "аliсе", true},
		{"greek", "bob", "bοb", true},
		{"rn for m", "mom", "rnom", true},
		{"of another width", "bob", "ｂｏｂ", true},
		{"mathematical letters", "paypal", "𝔭𝒶𝓎𝕡𝕒𝓁", true},
		{"with a character that isn't seen", "bob", "bo\u200bb", true},
		{"with an accent", "bob", "bób", false},
		{"longer", "bob", "bobby", false},
	} {
		if got := LookAlike(c.a, c.b); got != c.want || LookAlike(c.b, c.a) != c.want {
			t.Errorf("%s: %q and %q: got %t, want %t", c.name, c.a, c.b, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	bob, eve := signer.NewKey(), signer.NewKey()
	contacts, err := OpenContacts(filepath.Join(t.TempDir(), "contacts.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := contacts.Put(Contact{Label: "bobby", Name: "bob", Address: bob.Address(frame.Main), PublicKey: hex.EncodeToString(bob.PublicKey())}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		p    Party
		want string // in the only warning; empty: none
	}{
		{"as pinned", Party{Name: "bob", Address: bob.KeyHash(), PublicKey: bob.PublicKey()}, ""},
		{"the address alone", Party{Address: bob.KeyHash()}, ""},
		{"another name of theirs", Party{Name: "robert", Address: bob.KeyHash()}, ""},
		{"a stranger", Party{Name: "eve", Address: eve.KeyHash()}, ""},
		{"a stranger's address", Party{Address: eve.KeyHash()}, ""},
		{"the name is somebody else's", Party{Name: "bob", Address: eve.KeyHash()}, `name "bob" is ` + eve.Address(frame.Main) + ` now: it was ` + bob.Address(frame.Main)},
		{"another public key", Party{Name: "bob", Address: bob.KeyHash(), PublicKey: eve.PublicKey()}, "has another public key"},
		{"a look-alike of the name", Party{Name: "b0b", Address: eve.KeyHash()}, `name "b0b" looks like contact "bobby"`},
		{"a look-alike of the label", Party{Name: "Bobby", Address: eve.KeyHash()}, `name "Bobby" looks like contact "bobby"`},
		{"a look-alike is written so that it is seen", Party{Name: "bоb", Address: eve.KeyHash()}, `name "b\u043eb" looks like`},
	} {
		got := contacts.Check(c.p)
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
