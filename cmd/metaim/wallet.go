package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

func newWallet(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "wallet",
		Short: "Show, receive, add and sweep the coins of your keys",
		Long: `Shows, receives, adds and sweeps the coins of your keys. The wallet knows the
coins that it was told of: those of the faucet, change, and what wallet add or
wallet scan brought in.`,
		Example: "  metaim wallet balance\n  metaim wallet receive alice --amount 5000",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	local := []*cobra.Command{newWalletBalance(p), newWalletReceive(p), newWalletAdd(p)}
	for _, sub := range local {
		networkSetting.add(sub)
		homeSetting.add(sub)
	}
	asking := []*cobra.Command{newWalletCoins(p), newWalletSweep(p), newWalletScan(p)}
	for _, sub := range asking {
		addPersonFlags(sub)
	}
	c.AddCommand(append(local, asking...)...)
	return c
}

// readCoins opens the coins of all keys for looking only: without the keys
// nothing can be spent, and no passphrase is needed.
func (k *keyring) readCoins(ctx context.Context) (*signer.Wallet, error) {
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return signer.OpenWallet(wait, signer.Options{Network: k.network, Journal: k.journal()})
}

// journal is the file that remembers coins.
func (k *keyring) journal() string {
	return filepath.Join(k.home, "coins-"+string(k.network)+".journal")
}

// some returns the key with a label, or all keys where there is no label.
func (k *keyring) some(args []string) ([]signer.PublicEntry, error) {
	if len(args) > 0 {
		e, err := k.find(args[0])
		return []signer.PublicEntry{e}, err
	}
	keys, err := k.store.List()
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no key yet: metaim key new LABEL")
	}
	return keys, err
}

// A keyBalance is what `wallet balance --json` prints of one key.
type keyBalance struct {
	Label    string `json:"label"`
	Address  string `json:"address"`
	Satoshis uint64 `json:"satoshis"` // in all coins
	Coins    int    `json:"coins"`
	Dust     int    `json:"dust"`    // coins of 1 satoshi
	Pending  uint64 `json:"pending"` // the part of satoshis that the network hasn't taken yet
}

// A walletBalance is what `wallet balance --json` prints.
type walletBalance struct {
	Keys  []keyBalance `json:"keys"`
	Total keyBalance   `json:"total"` // its label and address are empty
}

func newWalletBalance(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "balance [LABEL]",
		Short: "Show the satoshis and coins of each key; asks for no passphrase",
		Long: `Shows for each key, or for one, its satoshis, its coins, how many of these are
dust of 1 satoshi, and how many satoshis are pending: made by a transaction that
isn't known to be taken by the network. It asks for no passphrase and no server.`,
		Example: "  metaim wallet balance\n  metaim wallet balance alice --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			keys, err := ring.some(args)
			if err != nil {
				return err
			}
			b, err := ring.balances(cmd.Context(), keys)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(p.out).Encode(b)
			}
			return p.printBalance(b)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (k *keyring) balances(ctx context.Context, keys []signer.PublicEntry) (walletBalance, error) {
	wallet, err := k.readCoins(ctx)
	if err != nil {
		return walletBalance{}, err
	}
	b := walletBalance{Keys: []keyBalance{}}
	for _, e := range keys {
		has := wallet.Balance(e.KeyHash)
		b.Keys = append(b.Keys, keyBalance{Label: e.Label, Address: k.network.Address(e.KeyHash),
			Satoshis: has.Satoshis, Coins: has.Coins, Dust: has.Dust, Pending: has.Pending})
		b.Total.Satoshis += has.Satoshis
		b.Total.Coins += has.Coins
		b.Total.Dust += has.Dust
		b.Total.Pending += has.Pending
	}
	return b, wallet.Close()
}

func (p *program) printBalance(b walletBalance) error {
	t := p.table("key", ">satoshis", ">coins", ">dust", ">pending", "address")
	for _, k := range b.Keys {
		t.row(safetext.Line(k.Label), grouped(k.Satoshis), grouped(uint64(k.Coins)), grouped(uint64(k.Dust)), grouped(k.Pending), k.Address)
	}
	if len(b.Keys) > 1 {
		t.row("all", grouped(b.Total.Satoshis), grouped(uint64(b.Total.Coins)), grouped(uint64(b.Total.Dust)), grouped(b.Total.Pending), "")
	}
	return t.print()
}

// grouped writes a number with a comma after each three digits.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A receivedCoins is what `wallet add --json` prints.
type receivedCoins struct {
	TxID     string `json:"txid"`
	Coins    int    `json:"coins"`    // outputs that pay the keys
	Satoshis uint64 `json:"satoshis"` // in them
	New      bool   `json:"new"`      // whether the wallet learnt anything
}

func newWalletAdd(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "add",
		Short: "Tell the wallet of coins: reads the raw transaction that paid them",
		Long: `Reads a raw transaction that pays one of your keys, in hexadecimal, from standard
input, and adds its outputs to the coins. The wallet believes that the network
has the transaction: add none that a stranger gave you and nobody has taken.`,
		Example: "  metaim wallet add < transaction.hex",
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
			added, err := ring.addCoins(cmd.Context(), raw)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(p.out).Encode(receivedCoins{added.TxID.String(), added.Coins, added.Satoshis, added.New})
			}
			if !added.New {
				fmt.Fprintln(p.err, "metaim: the wallet knew these coins")
			}
			_, err = fmt.Fprintf(p.out, "received %d satoshis in %s\n", added.Satoshis, added.TxID)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// addCoins shows the wallet a transaction that pays one of the keys.
func (k *keyring) addCoins(ctx context.Context, raw []byte) (signer.Added, error) {
	entries, err := k.unlock()
	if err != nil {
		return signer.Added{}, err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	wallet, err := k.wallet(wait, entries)
	if err != nil {
		return signer.Added{}, err
	}
	added, err := wallet.Add(raw)
	if err := errors.Join(err, wallet.Close()); err != nil {
		return added, err
	}
	if added.Coins == 0 {
		return added, fmt.Errorf("transaction %s pays none of the keys: %s", added.TxID, k.labels(entries))
	}
	return added, nil
}
