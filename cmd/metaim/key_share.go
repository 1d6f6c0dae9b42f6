package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

func newKeyShare(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "share",
		Short: "Keep keys and passphrases that are shared with others, for encryption AES",
		Long: `Messages of type AES are read by all who hold the same key, or know the same
passphrase. Here they are made, stored in the key file under a name of one's own,
and listed. Hand them on by another way than the chain.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{newShareNew(p), newShareAdd(p), newShareList(p), newShareShow(p), newShareRemove(p)} {
		networkSetting.add(sub)
		homeSetting.add(sub)
		c.AddCommand(sub)
	}
	return c
}

// addFrom adds the flag that says whose key file entry is meant.
func addFrom(c *cobra.Command, from *string) {
	c.Flags().StringVar(from, "from", "", "label of the key that it belongs to (default: the only key)")
}

func newShareNew(p *program) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:         "new NAME",
		Short:       "Make a random key to share, store it and print it: whoever reads it can read the messages",
		Example:     "  metaim key share new friends",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "prints a key and no more"},
		RunE: func(cmd *cobra.Command, args []string) error {
			shared := seal.NewSharedKey()
			if err := p.share(cmd, from, args[0], shared); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.out, shared.Text())
			return err
		},
	}
	addFrom(c, &from)
	return c
}

func newShareAdd(p *program) *cobra.Command {
	var from string
	var passphrase bool
	c := &cobra.Command{
		Use:         "add NAME",
		Short:       "Store a shared key, or a passphrase, from a line of standard input; spaces around it don't count",
		Example:     "  metaim key share add friends < key.txt\n  metaim key share add family --shared-passphrase < passphrase.txt",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "says nothing when all is right"},
		RunE: func(cmd *cobra.Command, args []string) error {
			prompt, read := "Shared key: ", seal.ParseSharedKey
			if passphrase {
				prompt, read = "Shared passphrase: ", seal.NewPassphrase
			}
			text, err := p.secret(prompt)
			if err != nil {
				return err
			}
			shared, err := read(text)
			if err != nil {
				return usageError{err}
			}
			return p.share(cmd, from, args[0], shared)
		},
	}
	addFrom(c, &from)
	c.Flags().BoolVar(&passphrase, "shared-passphrase", false, "what is shared is a passphrase, not a key")
	return c
}

// share stores what is shared.
func (p *program) share(cmd *cobra.Command, from, name string, shared seal.Shared) error {
	if err := signer.CheckLabel(name); err != nil {
		return usageError{err}
	}
	ring, owner, err := p.owner(cmd, from)
	if err != nil {
		return err
	}
	passphrase, err := p.passphrase("Passphrase: ")
	if err != nil {
		return err
	}
	if _, err := ring.store.AddSecret(cmd.Context(), passphrase, owner.Label, name, shared.Secret()); err != nil {
		return fmt.Errorf("store %q: %w", name, err)
	}
	return nil
}

// owner finds the key that something shared belongs to.
func (p *program) owner(cmd *cobra.Command, from string) (*keyring, signer.PublicEntry, error) {
	ring, err := openKeyring(cmd, p)
	if err != nil {
		return nil, signer.PublicEntry{}, err
	}
	owner, err := ring.find(from)
	return ring, owner, err
}

// A listedSecret is a secret as `key share list --json` and `key list --json`
// print it.
type listedSecret struct {
	Owner   string `json:"owner,omitempty"` // label of the key that it belongs to
	Label   string `json:"label"`
	Kind    string `json:"kind"`
	Created string `json:"created"`
}

func listSecrets(owner string, secrets []signer.PublicSecret) (all []listedSecret) {
	for _, s := range secrets {
		all = append(all, listedSecret{Owner: owner, Label: s.Label, Kind: string(s.Kind), Created: s.Created.Format(time.RFC3339)})
	}
	return all
}

func newShareList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List what is shared; asks for no passphrase",
		Example: "  metaim key share list --json",
		Long:    "Lists what is shared, and with which key it belongs. --json prints one object a\nline: owner, label, kind, created.",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			keys, err := ring.store.List()
			if err != nil {
				return err
			}
			for _, e := range keys {
				if err := p.printShared(e, asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line: owner, label, kind (key or passphrase), created")
	return c
}

func (p *program) printShared(e signer.PublicEntry, asJSON bool) error {
	for _, l := range listSecrets(e.Label, e.Secrets) {
		var err error
		switch {
		case l.Kind != string(seal.KindKey) && l.Kind != string(seal.KindPassphrase):
		case asJSON:
			err = json.NewEncoder(p.out).Encode(l)
		default:
			_, err = fmt.Fprintf(p.out, "%-16s %-10s of %s\n", safetext.Line(l.Label), l.Kind, safetext.Line(l.Owner))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newShareShow(p *program) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:         "show NAME",
		Short:       "Print a shared key or passphrase: whoever reads it can read the messages",
		Example:     "  metaim key share show friends",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "prints a key and no more"},
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, owner, err := p.owner(cmd, from)
			if err != nil {
				return err
			}
			entries, err := ring.unlock()
			if err != nil {
				return err
			}
			e, err := entryOf(entries, owner.Label)
			if err != nil {
				return err
			}
			for _, s := range e.Secrets {
				if shared, ok := s.Secret.Shared(); ok && s.Label == args[0] {
					_, err := fmt.Fprintln(p.out, shared.Text())
					return err
				}
			}
			return fmt.Errorf("%w: %q", signer.ErrNoSecretLabel, args[0])
		},
	}
	addFrom(c, &from)
	return c
}

func newShareRemove(p *program) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:         "remove NAME",
		Short:       "Forget a shared key or passphrase; what was encrypted with it stays closed",
		Example:     "  metaim key share remove friends",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "says nothing when all is right"},
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, owner, err := p.owner(cmd, from)
			if err != nil {
				return err
			}
			passphrase, err := p.passphrase("Passphrase: ")
			if err != nil {
				return err
			}
			return ring.store.RemoveSecret(cmd.Context(), passphrase, owner.Label, args[0])
		},
	}
	addFrom(c, &from)
	return c
}
