package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

// publishFlags are the flags of `key publish`.
type publishFlags struct {
	kind                string
	bits                int
	fresh, wait, asJSON bool
}

func newKeyPublish(p *program) *cobra.Command {
	var f publishFlags
	c := &cobra.Command{
		Use:   "publish LABEL",
		Short: "Publish a key that others can encrypt to",
		Long: `Publishes a public key of type HPKE, which holds against quantum computers too,
or RSA, in a message to oneself that the key of LABEL signs and pays. The private
key is made when there is none, and kept in the key file: a copy of the words or
of the key of LABEL doesn't contain it, so back the key file up.

--json prints id (of the message) and txid, which are missing when this key is
published already, encryption and key (the id of the public key).`,
		Example: "  metaim key publish alice\n  metaim key publish alice --type RSA --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := seal.Kind(strings.ToUpper(f.kind))
			if kind != seal.KindHPKE && kind != seal.KindRSA {
				return usagef("--type is %s or %s", seal.KindHPKE, seal.KindRSA)
			}
			if cmd.Flags().Changed("bits") && kind != seal.KindRSA {
				return usagef("--bits goes with --type %s", seal.KindRSA)
			}
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			return u.publish(cmd.Context(), args[0], kind, f)
		},
	}
	c.Flags().StringVar(&f.kind, "type", string(seal.KindHPKE), "HPKE or RSA")
	c.Flags().IntVar(&f.bits, "bits", 3072, "size of a new RSA key, 2048 to 8192")
	c.Flags().BoolVar(&f.fresh, "new", false, "make a new key even if there is one; the old one still opens what was sent to it")
	c.Flags().BoolVar(&f.wait, "wait", false, "wait until it is in a block")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object")
	serverSetting.add(c)
	return c
}

// publish makes the private key if there is none, stores it, and publishes its
// public key.
func (u *person) publish(ctx context.Context, label string, kind seal.Kind, f publishFlags) error {
	if _, err := u.ring.find(label); err != nil {
		return err
	}
	passphrase, err := u.program.passphrase("Passphrase: ")
	if err != nil {
		return err
	}
	entries, err := u.ring.store.Unlock(passphrase)
	if err != nil {
		return err
	}
	own, err := entryOf(entries, label)
	if err != nil {
		return err
	}
	secret, there := newestSecret(own, kind)
	if !there || f.fresh {
		if secret, err = u.ring.makeSecret(ctx, passphrase, label, kind, f.bits); err != nil {
			return err
		}
	}
	key, ok := secret.Published()
	if !ok {
		return signer.ErrSecretKind
	}
	a, err := u.account(ctx, own.Key, entries)
	if err != nil {
		return err
	}
	return errors.Join(a.publish(ctx, key, f), a.Wallet.Close())
}

// makeSecret makes a private key and stores it: before anyone can encrypt to it.
func (k *keyring) makeSecret(ctx context.Context, passphrase, label string, kind seal.Kind, bits int) (secret seal.Secret, err error) {
	if kind == seal.KindRSA {
		secret, err = seal.NewRSA(bits)
	} else {
		secret, err = seal.NewHPKE()
	}
	if errors.Is(err, seal.ErrRSASize) {
		return secret, usageError{err}
	}
	if err != nil {
		return secret, err
	}
	if _, err := k.store.AddSecret(ctx, passphrase, label, "", secret); err != nil {
		return secret, fmt.Errorf("store the private key: %w", err)
	}
	fmt.Fprintf(k.program.err, "A private key of type %s was made. It is kept in the key file and nowhere else: back it up.\n", kind)
	return secret, nil
}

// A publishedLine is what `key publish --json` prints.
type publishedLine struct {
	ID         string `json:"id,omitempty"`
	TxID       string `json:"txid,omitempty"`
	Encryption string `json:"encryption"`
	Key        string `json:"key"`
}

func (a *account) publish(ctx context.Context, key seal.Published, f publishFlags) error {
	line := publishedLine{Encryption: key.Encryption(), Key: key.ID()}
	published, err := a.IsPublished(ctx, key)
	if err != nil {
		return err
	}
	if published {
		if f.asJSON {
			return json.NewEncoder(a.program.out).Encode(line)
		}
		_, err = fmt.Fprintf(a.program.out, "%s key %s is published already\n", line.Encryption, line.Key)
		return err
	}
	id, txid, err := a.PublishKey(ctx, key)
	if err != nil {
		return err
	}
	if line.ID, line.TxID = id.String(), txid.String(); f.asJSON {
		err = json.NewEncoder(a.program.out).Encode(line)
	} else {
		_, err = fmt.Fprintf(a.program.out, "published %s key %s in %s\n", line.Encryption, line.Key, txid)
	}
	return errors.Join(err, a.settled(ctx, txid, f.wait))
}

// settled waits for a block if it is asked to.
func (a *account) settled(ctx context.Context, txid frame.Hash, wait bool) error {
	if !wait {
		return nil
	}
	return a.Confirmed(ctx, txid)
}

func entryOf(entries []signer.Entry, label string) (signer.Entry, error) {
	for _, e := range entries {
		if e.Label == label {
			return e, nil
		}
	}
	return signer.Entry{}, fmt.Errorf("there is no key %q: metaim key list", label)
}

// newestSecret returns the newest secret of a kind that a key has.
func newestSecret(e signer.Entry, kind seal.Kind) (secret seal.Secret, ok bool) {
	for _, s := range e.Secrets {
		if s.Kind == kind {
			secret, ok = s.Secret, true
		}
	}
	return secret, ok
}

// typesOf names the types that a key's secrets open, for people.
func typesOf(secrets []signer.PublicSecret) string {
	var all []string
	for _, s := range secrets {
		name := string(s.Kind)
		if s.Kind == seal.KindKey || s.Kind == seal.KindPassphrase {
			name = improtocol.AES + " " + s.Label
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}
