package signer

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/metaim/metaim/improtocol/frame"
)

// A key file is text: keystoreMagic, one line of JSON with what anyone may know,
// and an armoured age file (https://age-encryption.org/v1, scrypt recipient)
// that holds the keys as JSON. One file, so that the two parts can't part when a
// machine stops between two writes; and without its first two lines it is a
// plain age file, which other programs open.
const keystoreMagic = "metaim keystore 1\n"

// publicJSON is a key in the readable part.
type publicJSON struct {
	Label     string `json:"label"`
	PublicKey string `json:"public_key"` // hex
	Created   int64  `json:"created"`    // Unix seconds
	// Left out when there are none: the file is then what it was before keys had
	// secrets, and programs of that time read it.
	Secrets []publicSecretJSON `json:"secrets,omitempty"`
}

// privateJSON is a key in the encrypted part.
type privateJSON struct {
	Label      string `json:"label"`
	Scalar     string `json:"scalar"` // hex, 32 bytes
	Compressed bool   `json:"compressed"`
	Created    int64  `json:"created"` // Unix seconds

	Secrets []privateSecretJSON `json:"secrets,omitempty"`
}

// sealKeystore writes a key file.
func sealKeystore(entries []Entry, passphrase string, workFactor int) ([]byte, error) {
	public := make([]publicJSON, len(entries))
	private := make([]privateJSON, len(entries))
	for i, e := range entries {
		scalar := e.Key.scalar()
		shown, kept, err := writeSecrets(e.Secrets)
		if err != nil {
			return nil, err
		}
		public[i] = publicJSON{e.Label, hex.EncodeToString(e.PublicKey), e.Created.Unix(), shown}
		private[i] = privateJSON{e.Label, hex.EncodeToString(scalar[:]), !e.Key.Uncompressed(), e.Created.Unix(), kept}
	}
	head, err := json.Marshal(public)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(private)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	var file bytes.Buffer
	file.WriteString(keystoreMagic)
	file.Write(head)
	file.WriteByte('\n')
	if err := encrypt(&file, body, passphrase, workFactor); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

func encrypt(file io.Writer, body []byte, passphrase string, workFactor int) error {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return err
	}
	recipient.SetWorkFactor(workFactor)
	text := armor.NewWriter(file)
	w, err := age.Encrypt(text, recipient)
	if err != nil {
		return err
	}
	_, err = w.Write(body)
	return errors.Join(err, w.Close(), text.Close())
}

// splitKeystore reads the readable part of a key file and returns the encrypted
// part as it is. It fails with ErrKeystore.
func splitKeystore(file []byte) (public []PublicEntry, sealed []byte, err error) {
	rest, ok := bytes.CutPrefix(file, []byte(keystoreMagic))
	if !ok {
		return nil, nil, fmt.Errorf("%w: its first line is not %q", ErrKeystore, keystoreMagic[:len(keystoreMagic)-1])
	}
	head, sealed, ok := bytes.Cut(rest, []byte("\n"))
	if !ok || len(sealed) == 0 {
		return nil, nil, fmt.Errorf("%w: it is cut short", ErrKeystore)
	}
	var list []publicJSON
	if err := decodeStrict(head, &list); err != nil {
		return nil, nil, fmt.Errorf("%w: its second line can't be read", ErrKeystore)
	}
	for _, p := range list {
		key, err := hex.DecodeString(p.PublicKey)
		if err != nil || CheckLabel(p.Label) != nil {
			return nil, nil, fmt.Errorf("%w: its second line can't be read", ErrKeystore)
		}
		if _, err := parsePublicKey(key); err != nil {
			return nil, nil, fmt.Errorf("%w: %q has a public key that is none", ErrKeystore, p.Label)
		}
		secrets, err := readPublicSecrets(p.Secrets)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %q has a secret that can't be read", ErrKeystore, p.Label)
		}
		public = append(public, PublicEntry{p.Label, key, frame.HashKey(key), time.Unix(p.Created, 0).UTC(), secrets})
	}
	return public, sealed, nil
}

// openKeystore decrypts a key file and compares its two parts.
func openKeystore(file []byte, passphrase string) ([]Entry, error) {
	public, sealed, err := splitKeystore(file)
	if err != nil {
		return nil, err
	}
	body, err := decrypt(sealed, passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	var list []privateJSON
	if err := decodeStrict(body, &list); err != nil {
		return nil, fmt.Errorf("%w: what it holds can't be read", ErrKeystore)
	}
	if len(list) != len(public) {
		return nil, ErrTampered
	}
	entries := make([]Entry, len(list))
	for i, p := range list {
		key, err := p.key()
		if err != nil {
			return nil, fmt.Errorf("%w: key %d can't be read", ErrKeystore, i+1)
		}
		entries[i] = newEntry(p.Label, key, time.Unix(p.Created, 0).UTC())
		secrets, err := readSecrets(p.Secrets)
		if err != nil {
			return nil, fmt.Errorf("%w: a secret of key %d can't be read", ErrKeystore, i+1)
		}
		entries[i].setSecrets(secrets)
		if !entries[i].equal(public[i]) {
			return nil, ErrTampered
		}
	}
	return entries, nil
}

func (p privateJSON) key() (Key, error) {
	b, err := hex.DecodeString(p.Scalar)
	if err != nil || len(b) != scalarBytes {
		return Key{}, ErrScalar
	}
	return NewKeyFromScalar([scalarBytes]byte(b), !p.Compressed)
}

func decrypt(sealed []byte, passphrase string) ([]byte, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	identity.SetMaxWorkFactor(MaxWorkFactor)
	text := bufio.NewReader(bytes.NewReader(sealed))
	r, err := age.Decrypt(armor.NewReader(text), identity)
	if wrong := (*age.NoIdentityMatchError)(nil); errors.As(err, &wrong) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeystore, err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeystore, err)
	}
	return body, nil
}

// decodeStrict reads one JSON value and nothing beside it.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows the value")
	}
	return nil
}
