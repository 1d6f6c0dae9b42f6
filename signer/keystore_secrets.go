package signer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol/seal"
)

// A PublicSecret is what the keystore tells of a secret without the passphrase.
type PublicSecret struct {
	// Label names the secret among those of its key: the id (RFC 7638) of the
	// public key of a private key, what its owner chose for what is shared.
	Label   string
	Kind    seal.Kind
	Created time.Time // UTC, whole seconds
}

// A Secret is what opens messages to a key's owner, beside the key itself. It
// can't be made anew from the key: a copy of the key alone doesn't open what was
// encrypted to a secret.
type Secret struct {
	PublicSecret
	Secret seal.Secret
}

// Reasons why the keystore refuses a secret.
var (
	ErrNoSecretLabel = errors.New("there is no secret of this label")
	ErrSecretTaken   = errors.New("the secret is stored already")
	ErrSecretKind    = errors.New("not a secret that can be kept")
)

// A SecretsError says that a key wasn't removed, because its secrets would go
// with it.
type SecretsError struct {
	Label   string // of the key
	Secrets int
}

func (e *SecretsError) Error() string {
	return fmt.Sprintf("key %q has %d secrets that open messages: remove them first, or together with it", e.Label, e.Secrets)
}

const maxSecrets = 1000 // of one key

// AddSecret stores a secret with the key of a label. label names what is shared,
// as CheckLabel allows; a private key takes its own and label must be empty. It
// fails with ErrNoLabel, ErrLabel, ErrLabelTaken, ErrSecretTaken, ErrSecretKind,
// a *LockError, or as Unlock does.
func (s *Keystore) AddSecret(ctx context.Context, passphrase, owner, label string, secret seal.Secret) (PublicSecret, error) {
	added := newSecret(label, secret, time.Now().UTC().Truncate(time.Second))
	if err := added.check(label); err != nil {
		return PublicSecret{}, err
	}
	err := s.change(ctx, passphrase, passphrase, func(entries []Entry) ([]Entry, error) {
		at, err := find(entries, owner)
		if err != nil {
			return nil, err
		}
		for _, other := range entries[at].Secrets {
			if other.Secret.Equal(secret) {
				return nil, fmt.Errorf("%w, as %q", ErrSecretTaken, other.Label)
			}
			if other.Label == added.Label {
				return nil, fmt.Errorf("%w: %q", ErrLabelTaken, label)
			}
		}
		if len(entries[at].Secrets) >= maxSecrets {
			return nil, fmt.Errorf("key %q is full: it has %d secrets", owner, maxSecrets)
		}
		entries[at].setSecrets(append(entries[at].Secrets, added))
		return entries, nil
	})
	if err != nil {
		return PublicSecret{}, err
	}
	return added.PublicSecret, nil
}

// RemoveSecret deletes a secret: what was encrypted to it stays closed for ever.
// It fails with ErrNoLabel, ErrNoSecretLabel, a *LockError, or as Unlock does.
func (s *Keystore) RemoveSecret(ctx context.Context, passphrase, owner, label string) error {
	return s.change(ctx, passphrase, passphrase, func(entries []Entry) ([]Entry, error) {
		at, err := find(entries, owner)
		if err != nil {
			return nil, err
		}
		which := slices.IndexFunc(entries[at].Secrets, func(x Secret) bool { return x.Label == label })
		if which < 0 {
			return nil, fmt.Errorf("%w: %q", ErrNoSecretLabel, label)
		}
		entries[at].setSecrets(slices.Delete(entries[at].Secrets, which, which+1))
		return entries, nil
	})
}

// DecryptionKeys gathers everything in the entries that opens messages.
func DecryptionKeys(entries []Entry) *seal.Keys {
	k := &seal.Keys{}
	for _, e := range entries {
		k.ECC = append(k.ECC, e.Key.Private())
		for _, s := range e.Secrets {
			k.Add(s.Secret)
		}
	}
	return k
}

func (s PublicSecret) equal(other PublicSecret) bool {
	return s.Label == other.Label && s.Kind == other.Kind && s.Created.Equal(other.Created)
}

func newSecret(label string, secret seal.Secret, created time.Time) Secret {
	if public, ok := secret.Published(); ok {
		label = public.ID()
	}
	return Secret{PublicSecret{Label: label, Kind: secret.Kind(), Created: created}, secret}
}

// check refuses a secret of no kind, and a label that isn't its own.
func (s Secret) check(label string) error {
	_, named := s.Secret.Published()
	switch {
	case s.Kind == "":
		return ErrSecretKind
	case named && label != "":
		return fmt.Errorf("%w: a private key is named by its public key", ErrLabel)
	case named:
		return nil
	}
	return CheckLabel(label)
}

// setSecrets keeps what is told of the secrets as it is of the secrets.
func (e *Entry) setSecrets(secrets []Secret) {
	e.Secrets, e.PublicEntry.Secrets = secrets, nil
	for _, s := range secrets {
		e.PublicEntry.Secrets = append(e.PublicEntry.Secrets, s.PublicSecret)
	}
}

// publicSecretJSON is a secret in the readable part of a key file.
type publicSecretJSON struct {
	Label   string `json:"label"`
	Kind    string `json:"kind"`
	Created int64  `json:"created"` // Unix seconds
}

// privateSecretJSON is a secret in the encrypted part.
type privateSecretJSON struct {
	Label   string          `json:"label"`
	Created int64           `json:"created"` // Unix seconds
	JWK     json.RawMessage `json:"jwk"`
}

func writeSecrets(secrets []Secret) (public []publicSecretJSON, private []privateSecretJSON, err error) {
	for _, s := range secrets {
		jwk, err := s.Secret.JWK()
		if err != nil {
			return nil, nil, err
		}
		public = append(public, publicSecretJSON{s.Label, string(s.Kind), s.Created.Unix()})
		private = append(private, privateSecretJSON{s.Label, s.Created.Unix(), jwk})
	}
	return public, private, nil
}

var secretKinds = []seal.Kind{seal.KindHPKE, seal.KindRSA, seal.KindKey, seal.KindPassphrase}

func readPublicSecrets(list []publicSecretJSON) (secrets []PublicSecret, err error) {
	for _, p := range list {
		if CheckLabel(p.Label) != nil && !isKeyID(p.Label) || !slices.Contains(secretKinds, seal.Kind(p.Kind)) {
			return nil, ErrKeystore
		}
		secrets = append(secrets, PublicSecret{p.Label, seal.Kind(p.Kind), time.Unix(p.Created, 0).UTC()})
	}
	return secrets, nil
}

// isKeyID tells whether a text has the form of a key's id, which may begin with
// a dash as no label may.
func isKeyID(text string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(b) == sha256.Size && !strings.ContainsAny(text, "\r\n")
}

// readSecrets takes kind and id from the secrets themselves: that the readable
// part says the same is compared afterwards.
func readSecrets(list []privateSecretJSON) (secrets []Secret, err error) {
	for _, p := range list {
		secret, err := seal.ParseSecret(p.JWK)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, newSecret(p.Label, secret, time.Unix(p.Created, 0).UTC()))
	}
	return secrets, nil
}
