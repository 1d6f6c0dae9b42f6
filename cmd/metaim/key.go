package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

func newKey(p *program) *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make, import and list keys, and get coins for them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, sub := range []*cobra.Command{newKeyNew(p), newKeyImport(p), newKeyList(p), newKeyExport(p), newKeyRemove(p), newKeyFund(p), newKeyReceive(p), newKeyPublish(p)} {
		networkSetting.add(sub)
		homeSetting.add(sub)
		c.AddCommand(sub)
	}
	c.AddCommand(newKeyShare(p))
	return c
}

func newKeyNew(p *program) *cobra.Command {
	var words bool
	c := &cobra.Command{
		Use:     "new LABEL",
		Short:   "Make a key and store it encrypted",
		Example: "  metaim key new alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			key, list := signer.NewKey(), ""
			if words {
				if list, err = signer.NewWords(12); err != nil {
					return err
				}
				if key, err = signer.KeyFromWords(list, "", signer.DefaultPath, ring.network); err != nil {
					return err
				}
			}
			if err := ring.add(cmd.Context(), args[0], key); err != nil {
				return err
			}
			if words {
				fmt.Fprintf(p.err, "Write these words down: they are the key, and are not shown again.\n\n  %s\n", list)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&words, "words", false, "make it from 12 words, and print them")
	return c
}

// add stores a key and prints its address.
func (k *keyring) add(ctx context.Context, label string, key signer.Key) error {
	if err := signer.CheckLabel(label); err != nil {
		return usageError{err}
	}
	known, err := k.store.List()
	if err != nil {
		return err
	}
	ask := k.program.newPassphrase
	if len(known) > 0 {
		ask = func() (string, error) { return k.program.passphrase("Passphrase: ") }
	}
	passphrase, err := ask()
	if err != nil {
		return err
	}
	e, err := k.store.Add(ctx, passphrase, label, key)
	if err != nil {
		return fmt.Errorf("store key %q: %w", label, err)
	}
	_, err = fmt.Fprintf(k.program.out, "%s %s\n", e.Label, k.network.Address(e.KeyHash))
	return err
}

func newKeyImport(p *program) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:     "import LABEL",
		Short:   "Import a key: WIF, BIP 39 words or an extended private key, from standard input",
		Example: "  metaim key import alice < key.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			text, err := p.secret("Key, words or extended key: ")
			if err != nil {
				return err
			}
			key, _, err := signer.Import{Network: ring.network, Path: path}.Parse(text)
			if err != nil {
				return err
			}
			return ring.add(cmd.Context(), args[0], key)
		},
	}
	c.Flags().StringVar(&path, "path", "", "derivation path of words and extended keys (default "+signer.DefaultPath+")")
	return c
}

// A listedKey is a key as `key list --json` prints it.
type listedKey struct {
	Label     string `json:"label"`
	Address   string `json:"address"`
	PublicKey string `json:"public_key"`
	Created   string `json:"created"`

	Secrets []listedSecret `json:"secrets,omitempty"` // what else opens messages
}

func newKeyList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List keys and their addresses; asks for no passphrase",
		Example: "  metaim key list --json",
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
			if len(keys) == 0 {
				fmt.Fprintln(p.err, "There is no key yet: metaim key new LABEL")
			}
			for _, e := range keys {
				if err := ring.print(e, asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return c
}

func (k *keyring) print(e signer.PublicEntry, asJSON bool) error {
	l := listedKey{Label: e.Label, Address: k.network.Address(e.KeyHash), PublicKey: hex.EncodeToString(e.PublicKey),
		Created: e.Created.Format(time.RFC3339), Secrets: listSecrets("", e.Secrets)}
	if asJSON {
		return json.NewEncoder(k.program.out).Encode(l)
	}
	more := ""
	if len(e.Secrets) > 0 {
		more = "  " + safetext.Line(typesOf(e.Secrets))
	}
	_, err := fmt.Fprintf(k.program.out, "%-16s %s%s\n", safetext.Line(l.Label), l.Address, more)
	return err
}

func newKeyExport(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "export LABEL",
		Short:   "Print a key in wallet import format: whoever reads it has the key",
		Example: "  metaim key export alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			key, _, err := ring.unlockKey(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.out, key.WIF(ring.network))
			return err
		},
	}
}

func newKeyRemove(p *program) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "remove LABEL",
		Short:   "Forget a key; its coins and names are lost unless it is kept elsewhere",
		Example: "  metaim key remove alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			if _, err := ring.find(args[0]); err != nil {
				return err
			}
			passphrase, err := p.passphrase("Passphrase: ")
			if err != nil {
				return err
			}
			if all {
				return ring.store.RemoveAll(cmd.Context(), passphrase, args[0])
			}
			err = ring.store.Remove(cmd.Context(), passphrase, args[0])
			if has := (*signer.SecretsError)(nil); errors.As(err, &has) {
				return fmt.Errorf("%w, with --with-secrets", err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&all, "with-secrets", false, "forget its private keys of HPKE and RSA, and what is shared, too")
	return c
}

func newKeyFund(p *program) *cobra.Command {
	var satoshis uint64
	c := &cobra.Command{
		Use:     "fund LABEL",
		Short:   "Ask the faucet of a development network for coins",
		Example: "  metaim key fund alice --network regtest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			public, err := ring.find(args[0])
			if err != nil {
				return err
			}
			var funded devnet.Funded
			ask := devnet.Funding{Address: ring.network.Address(public.KeyHash), Satoshis: satoshis}
			if err := control(cmd.Context(), devnetSetting.value(cmd, p), "/faucet", ask, &funded); err != nil {
				return err
			}
			raw, err := hex.DecodeString(funded.Raw)
			if err != nil {
				return fmt.Errorf("the faucet's answer: %w", err)
			}
			return ring.receive(cmd.Context(), raw)
		},
	}
	devnetSetting.add(c)
	c.Flags().Uint64Var(&satoshis, "satoshis", 1_000_000, "how many satoshis")
	return c
}

func newKeyReceive(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "receive",
		Short:   "Tell the wallet of coins: reads the raw transaction that paid them, in hexadecimal, from standard input",
		Example: "  metaim key receive < transaction.hex",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			raw, err := readHex(p)
			if err != nil {
				return err
			}
			return ring.receive(cmd.Context(), raw)
		},
	}
}

// receive shows the wallet a transaction and prints what came with it.
func (k *keyring) receive(ctx context.Context, raw []byte) error {
	added, err := k.addCoins(ctx, raw)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.program.out, "received %d satoshis in %s\n", added.Satoshis, added.TxID)
	return err
}

func (k *keyring) labels(entries []signer.Entry) string {
	labels := make([]string, len(entries))
	for i, e := range entries {
		labels[i] = e.Label
	}
	return strings.Join(labels, ", ")
}
