package messenger

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"go.mau.fi/util/confusable"
	"golang.org/x/text/unicode/norm"
)

// A Contact is who somebody was found to be when they were pinned.
type Contact struct {
	Label     string    `json:"label"`
	Name      string    `json:"name,omitempty"`       // empty: known by address only
	Address   string    `json:"address"`              // who the name was
	PublicKey string    `json:"public_key,omitempty"` // hexadecimal; empty: none was proved
	Pinned    time.Time `json:"pinned"`
	Note      string    `json:"note,omitempty"`
}

// Contacts are a file of pinned people, of mode 0600. Each change replaces it
// whole. Its methods may be called from many goroutines.
type Contacts struct {
	path string

	mu   sync.Mutex
	list []Contact // by label
}

type contactsFile struct {
	Format   string    `json:"format"`
	Version  int       `json:"version"`
	Contacts []Contact `json:"contacts"`
}

const (
	contactsFormat  = "metaim contacts"
	contactsVersion = 1
	maxContacts     = 10_000
	maxContactsFile = 16 << 20 // bytes
	longestNote     = 1000     // bytes
)

// Reasons why contacts are refused.
var (
	ErrContacts  = errors.New("not a whole file of contacts")
	ErrNoContact = errors.New("there is no such contact")
)

// OpenContacts reads a file of contacts; there needn't be one yet. It fails with
// ErrContacts or a *signer.ModeError.
func OpenContacts(path string) (*Contacts, error) {
	c := &Contacts{path: path}
	list, err := c.read()
	c.list = list
	return c, err
}

func (c *Contacts) read() ([]Contact, error) {
	content, err := signer.ReadPrivate(c.path, maxContactsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("contacts: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	var f contactsFile
	switch err := d.Decode(&f); {
	case err != nil || f.Format != contactsFormat:
		return nil, fmt.Errorf("contacts %s: %w", c.path, ErrContacts)
	case f.Version != contactsVersion:
		return nil, fmt.Errorf("contacts %s: version %d is not one that this program reads", c.path, f.Version)
	}
	for _, contact := range f.Contacts {
		if err := contact.check(); err != nil {
			return nil, fmt.Errorf("contacts %s: %w: %w", c.path, ErrContacts, err)
		}
	}
	return f.Contacts, nil
}

func (c Contact) check() error {
	if err := signer.CheckLabel(c.Label); err != nil {
		return err
	}
	if !frame.IsAddress(c.Address) {
		return fmt.Errorf("contact %q has no address", c.Label)
	}
	if _, ok := frame.ParsePublicKey(c.PublicKey); c.PublicKey != "" && !ok {
		return fmt.Errorf("the public key of contact %q is none", c.Label)
	}
	if len(c.Note) > longestNote || !utf8.ValidString(c.Note) {
		return fmt.Errorf("a note is UTF-8 of %d bytes at most", longestNote)
	}
	return nil
}

// List returns all contacts by their labels.
func (c *Contacts) List() []Contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// Get returns the contact with a label.
func (c *Contacts) Get(label string) (Contact, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, contact := range c.list {
		if contact.Label == label {
			return contact, true
		}
	}
	return Contact{}, false
}

// Put adds a contact, or changes the one of the same label.
func (c *Contacts) Put(contact Contact) error {
	contact.Pinned = contact.Pinned.UTC().Truncate(time.Second)
	if err := contact.check(); err != nil {
		return err
	}
	return c.change(func(list []Contact) ([]Contact, error) {
		list = slices.DeleteFunc(list, func(old Contact) bool { return old.Label == contact.Label })
		if len(list) >= maxContacts {
			return nil, fmt.Errorf("there are %d contacts already", maxContacts)
		}
		return append(list, contact), nil
	})
}

// Remove forgets a contact. It fails with ErrNoContact.
func (c *Contacts) Remove(label string) error {
	return c.change(func(list []Contact) ([]Contact, error) {
		n := len(list)
		list = slices.DeleteFunc(list, func(old Contact) bool { return old.Label == label })
		if len(list) == n {
			return nil, fmt.Errorf("%w: %q", ErrNoContact, label)
		}
		return list, nil
	})
}

// change reads, changes and replaces the file under its lock: another process may
// have changed it since.
func (c *Contacts) change(edit func([]Contact) ([]Contact, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPeriod)
	defer cancel()
	unlock, err := signer.LockFile(ctx, c.path)
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // it ends with the process at the latest
	list, err := c.read()
	if err != nil {
		return err
	}
	if list, err = edit(list); err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b Contact) int { return strings.Compare(a.Label, b.Label) })
	content, err := json.MarshalIndent(contactsFile{contactsFormat, contactsVersion, list}, "", "  ")
	if err != nil {
		return err
	}
	if err := signer.ReplaceFile(c.path, append(content, '\n')); err != nil {
		return err
	}
	c.list = list
	return nil
}

// Check compares what the server says of a party with what was pinned, and with
// the look of the contacts' names and labels. What it warns of is in sentences
// that can be printed; none is good news.
func (c *Contacts) Check(p Party) (warnings []string) {
	for _, contact := range c.List() {
		if w := contact.compare(p, contact.network().Address(p.Address)); w != "" {
			warnings = append(warnings, w)
		}
	}
	return warnings
}

// network returns the network of the contact's address; all test networks write
// addresses alike.
func (c Contact) network() frame.Network {
	if _, err := frame.Main.ParseAddress(c.Address); err == nil {
		return frame.Main
	}
	return frame.Test
}

// compare returns what a party has to do with a contact that should be known.
func (c Contact) compare(p Party, address string) string {
	label := safetext.Line(c.Label)
	switch {
	case p.Name != "" && p.Name == c.Name && address != c.Address:
		return fmt.Sprintf("name %q is %s now: it was %s when contact %q was pinned on %s", p.Name, address, c.Address, label, c.Pinned.Format("2006-01-02"))
	case address == c.Address && c.PublicKey != "" && len(p.PublicKey) > 0 && hex.EncodeToString(p.PublicKey) != c.PublicKey:
		return fmt.Sprintf("%s has another public key than contact %q had when it was pinned", address, label)
	case address == c.Address || p.Name == "":
		return ""
	}
	for _, known := range []string{c.Name, c.Label} {
		if known != "" && LookAlike(p.Name, known) {
			return fmt.Sprintf("name %s looks like contact %q (%s), and is somebody else: %s", safetext.Line(fmt.Sprintf("%+q", p.Name)), label, c.Address, address)
		}
	}
	return ""
}

// LookAlike tells whether two texts could be taken for each other: their
// skeletons of Unicode TR 39 are the same, whatever their case.
func LookAlike(a, b string) bool {
	return a == b || confusable.Skeleton(a) == confusable.Skeleton(b) || fold(a) == fold(b)
}

// fold makes one text of all that look alike. Skeletons know no letters of other
// widths and styles: these are made usual ones first (NFKC).
func fold(s string) string {
	s = strings.ToLower(norm.NFKC.String(s))
	return strings.ToLower(confusable.Skeleton(strings.ToLower(confusable.Skeleton(s))))
}
