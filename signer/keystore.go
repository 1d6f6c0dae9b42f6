package signer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol/frame"
)

// A Keystore keeps labelled keys in one file that a passphrase encrypts. Labels,
// addresses and public keys can be read without the passphrase. Each change
// replaces the file whole; its methods may be called from many goroutines and
// processes.
type Keystore struct {
	Path string // of the file, which needn't exist yet
	// WorkFactor is the scrypt cost of what is written, 2^WorkFactor. 0 is
	// DefaultWorkFactor.
	WorkFactor int
}

// Scrypt costs. Each step doubles time and memory: 16 takes 64 MiB and a fifth
// of a second, 18 takes 256 MiB.
const (
	DefaultWorkFactor = 16
	MaxWorkFactor     = 18 // a file that asks for more is refused, not obeyed
)

// A PublicEntry is what the keystore tells of a key without the passphrase.
type PublicEntry struct {
	Label     string
	PublicKey []byte // 33 or 65 bytes
	KeyHash   frame.KeyHash
	Created   time.Time // UTC, whole seconds
	Secrets   []PublicSecret
}

// An Entry is a key in the keystore.
type Entry struct {
	PublicEntry
	Key     Key
	Secrets []Secret // what opens messages to this key's owner, oldest first
}

// Reasons why the keystore refuses.
var (
	ErrPassphrase      = errors.New("wrong passphrase")
	ErrEmptyPassphrase = errors.New("the passphrase can't be empty")
	ErrKeystore        = errors.New("not a whole key file")
	ErrTampered        = errors.New("the readable part of the key file doesn't match the keys in it: someone changed it")
	ErrLabel           = errors.New("a label has 1 to 64 bytes of printable text, no space or dash in front, no space behind, and is no address")
	ErrLabelTaken      = errors.New("there is a key of this label already")
	ErrNoLabel         = errors.New("there is no key of this label")
	ErrKeyTaken        = errors.New("the key is stored already")
)

const (
	longestLabel = 64
	maxKeys      = 10_000
	maxKeystore  = 16 << 20 // bytes
)

// CheckLabel fails with ErrLabel when a text can't be a key's label.
func CheckLabel(label string) error {
	switch {
	case label == "", len(label) > longestLabel, !utf8.ValidString(label),
		label[0] == '-', strings.TrimSpace(label) != label, frame.IsAddress(label):
		return ErrLabel
	}
	for _, r := range label {
		if !unicode.IsPrint(r) {
			return ErrLabel
		}
	}
	return nil
}

// List returns what can be read without the passphrase, in the order in which
// the keys were added; nothing when there is no file. Whoever can write the file
// can change this part: [Keystore.Unlock] notices. It fails with a *ModeError or
// ErrKeystore.
func (s *Keystore) List() ([]PublicEntry, error) {
	file, err := s.read()
	if err != nil || file == nil {
		return nil, err
	}
	public, _, err := splitKeystore(file)
	return public, s.wrap(err)
}

// Unlock decrypts the keys, in the order in which they were added; none when
// there is no file. It fails with ErrPassphrase, ErrTampered, ErrKeystore or a
// *ModeError.
func (s *Keystore) Unlock(passphrase string) ([]Entry, error) {
	if passphrase == "" {
		return nil, ErrEmptyPassphrase
	}
	file, err := s.read()
	if err != nil || file == nil {
		return nil, err
	}
	entries, err := openKeystore(file, passphrase)
	return entries, s.wrap(err)
}

// Add stores a key, in a new file if there is none. The passphrase is the
// file's. It fails with ErrLabel, ErrLabelTaken, ErrKeyTaken, a *LockError when
// ctx ends first, or as Unlock does.
func (s *Keystore) Add(ctx context.Context, passphrase, label string, key Key) (PublicEntry, error) {
	if err := CheckLabel(label); err != nil {
		return PublicEntry{}, err
	}
	if !key.Valid() {
		return PublicEntry{}, ErrScalar
	}
	added := newEntry(label, key, time.Now().UTC().Truncate(time.Second))
	err := s.change(ctx, passphrase, passphrase, func(entries []Entry) ([]Entry, error) {
		for _, e := range entries {
			if e.Label == label {
				return nil, fmt.Errorf("%w: %q", ErrLabelTaken, label)
			}
			if e.Key.Equal(key) {
				return nil, fmt.Errorf("%w, as %q", ErrKeyTaken, e.Label)
			}
		}
		if len(entries) >= maxKeys {
			return nil, fmt.Errorf("the key file is full: it holds %d keys", maxKeys)
		}
		return append(entries, added), nil
	})
	return added.PublicEntry, err
}

// Remove deletes a key. It fails with ErrNoLabel, with a *SecretsError when the
// key has secrets, which would go with it unsaid, with a *LockError, or as Unlock
// does.
func (s *Keystore) Remove(ctx context.Context, passphrase, label string) error {
	return s.remove(ctx, passphrase, label, false)
}

// RemoveAll is Remove that deletes the key's secrets, too.
func (s *Keystore) RemoveAll(ctx context.Context, passphrase, label string) error {
	return s.remove(ctx, passphrase, label, true)
}

func (s *Keystore) remove(ctx context.Context, passphrase, label string, all bool) error {
	return s.change(ctx, passphrase, passphrase, func(entries []Entry) ([]Entry, error) {
		at, err := find(entries, label)
		if err != nil {
			return nil, err
		}
		if n := len(entries[at].Secrets); n > 0 && !all {
			return nil, &SecretsError{Label: label, Secrets: n}
		}
		return slices.Delete(entries, at, at+1), nil
	})
}

// find returns where the key of a label is. It fails with ErrNoLabel.
func find(entries []Entry, label string) (int, error) {
	at := slices.IndexFunc(entries, func(e Entry) bool { return e.Label == label })
	if at < 0 {
		return 0, fmt.Errorf("%w: %q", ErrNoLabel, label)
	}
	return at, nil
}

// ChangePassphrase encrypts the file anew.
func (s *Keystore) ChangePassphrase(ctx context.Context, old, passphrase string) error {
	return s.change(ctx, old, passphrase, func(entries []Entry) ([]Entry, error) { return entries, nil })
}

// change reads, changes and replaces the file under its lock.
func (s *Keystore) change(ctx context.Context, old, passphrase string, edit func([]Entry) ([]Entry, error)) error {
	if old == "" || passphrase == "" {
		return ErrEmptyPassphrase
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), privateDir); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, s.Path)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := s.Unlock(old)
	if err != nil {
		return err
	}
	if entries, err = edit(entries); err != nil {
		return err
	}
	file, err := sealKeystore(entries, passphrase, s.workFactor())
	if err != nil {
		return s.wrap(err)
	}
	return s.wrap(replaceFile(s.Path, writing(file)))
}

func (s *Keystore) workFactor() int {
	if s.WorkFactor == 0 {
		return DefaultWorkFactor
	}
	return min(max(s.WorkFactor, 1), MaxWorkFactor)
}

// read returns the file, nil when there is none.
func (s *Keystore) read() ([]byte, error) {
	file, err := readPrivate(s.Path, maxKeystore)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && file == nil {
		file = []byte{}
	}
	return file, err
}

func (s *Keystore) wrap(err error) error {
	if err == nil || errors.Is(err, ErrPassphrase) {
		return err
	}
	return fmt.Errorf("key file %s: %w", s.Path, err)
}

func newEntry(label string, key Key, created time.Time) Entry {
	return Entry{PublicEntry: PublicEntry{Label: label, PublicKey: key.PublicKey(), KeyHash: key.KeyHash(), Created: created}, Key: key}
}

func (p PublicEntry) equal(other PublicEntry) bool {
	return p.Label == other.Label && bytes.Equal(p.PublicKey, other.PublicKey) && p.Created.Equal(other.Created) &&
		slices.EqualFunc(p.Secrets, other.Secrets, PublicSecret.equal)
}

// String names the entry for people: its label and public key.
func (p PublicEntry) String() string { return p.Label + " " + hex.EncodeToString(p.PublicKey) }
