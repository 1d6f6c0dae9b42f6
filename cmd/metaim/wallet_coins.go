package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/junglebus"
	"github.com/metaim/metaim/signer/whatsonchain"
	"github.com/spf13/cobra"
)

// Who knows a coin.
const (
	knownHere   = "wallet" // the wallet only, or the server wasn't asked
	knownThere  = "server"
	knownToBoth = "both"
)

// A listedCoin is what `wallet coins --json` prints of a coin.
type listedCoin struct {
	Label    string `json:"label"` // of the key
	Address  string `json:"address"`
	TxID     string `json:"txid"`
	Output   uint32 `json:"vout"`
	Satoshis uint64 `json:"satoshis"`
	Pending  bool   `json:"pending"`  // made by a transaction that the network hasn't taken yet
	KnownTo  string `json:"known_to"` // wallet, server (with --compare), both
}

func newWalletCoins(p *program) *cobra.Command {
	var asJSON, compare bool
	c := &cobra.Command{
		Use:   "coins [LABEL]",
		Short: "List the coins of each key; asks for no passphrase",
		Long: `Lists the coins of each key, or of one, that the wallet can spend, the biggest
first. With --compare the server is asked too: it knows only the coins of
transactions with messages or names, and not that such a coin was spent by
another. What only the server knows is brought in by wallet scan.`,
		Example: "  metaim wallet coins\n  metaim wallet coins alice --compare --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var coins []listedCoin
			var err error
			if compare {
				coins, err = comparedCoins(cmd, p, args)
			} else {
				coins, err = ownCoins(cmd, p, args)
			}
			if err != nil {
				return err
			}
			return p.printCoins(coins, asJSON, compare)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	c.Flags().BoolVar(&compare, "compare", false, "ask the server too, and say who knows a coin")
	return c
}

func ownCoins(cmd *cobra.Command, p *program, args []string) ([]listedCoin, error) {
	ring, err := openKeyring(cmd, p)
	if err != nil {
		return nil, err
	}
	keys, err := ring.some(args)
	if err != nil {
		return nil, err
	}
	return ring.listCoins(cmd.Context(), keys)
}

func (k *keyring) listCoins(ctx context.Context, keys []signer.PublicEntry) ([]listedCoin, error) {
	wallet, err := k.readCoins(ctx)
	if err != nil {
		return nil, err
	}
	var coins []listedCoin
	for _, e := range keys {
		for _, c := range wallet.Coins(e.KeyHash) {
			coins = append(coins, listedCoin{Label: e.Label, Address: k.network.Address(e.KeyHash), TxID: c.TxID.String(),
				Output: c.Output, Satoshis: c.Satoshis, Pending: c.Pending, KnownTo: knownHere})
		}
	}
	return coins, wallet.Close()
}

func comparedCoins(cmd *cobra.Command, p *program, args []string) ([]listedCoin, error) {
	u, err := connect(cmd, p)
	if err != nil {
		return nil, err
	}
	keys, err := u.ring.some(args)
	if err != nil {
		return nil, err
	}
	coins, err := u.ring.listCoins(cmd.Context(), keys)
	if err != nil {
		return nil, err
	}
	there, err := u.serverCoins(cmd.Context(), keys)
	if err != nil {
		return nil, err
	}
	return mergeCoins(coins, there), nil
}

// serverCoins asks the server for the coins of keys.
func (u *person) serverCoins(ctx context.Context, keys []signer.PublicEntry) ([]listedCoin, error) {
	var coins []listedCoin
	for _, e := range keys {
		address := u.Network.Address(e.KeyHash)
		for c, err := range u.Client.AllCoins(ctx, address) {
			if err != nil {
				return nil, fmt.Errorf("coins of %s: %w", address, err)
			}
			coins = append(coins, listedCoin{Label: e.Label, Address: address, TxID: c.TxID, Output: c.Output, Satoshis: c.Satoshis,
				Pending: c.Height < 0, KnownTo: knownThere})
		}
	}
	return coins, nil
}

// mergeCoins says of each coin who knows it, the biggest first for each key.
func mergeCoins(here, there []listedCoin) []listedCoin {
	type outpoint struct {
		txid string
		vout uint32
	}
	at := map[outpoint]int{}
	merged := slices.Clone(here)
	for i, c := range merged {
		at[outpoint{c.TxID, c.Output}] = i
	}
	for _, c := range there {
		if i, ok := at[outpoint{c.TxID, c.Output}]; ok {
			merged[i].KnownTo = knownToBoth
			continue
		}
		merged = append(merged, c)
	}
	slices.SortStableFunc(merged, func(a, b listedCoin) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), cmp.Compare(b.Satoshis, a.Satoshis))
	})
	return merged
}

func (p *program) printCoins(coins []listedCoin, asJSON, compare bool) error {
	if asJSON {
		e := json.NewEncoder(p.out)
		for _, c := range coins {
			if err := e.Encode(c); err != nil {
				return err
			}
		}
		return nil
	}
	if len(coins) == 0 {
		fmt.Fprintln(p.err, "There are no coins: metaim wallet receive shows where to send some")
		return nil
	}
	columns := []string{"key", ">satoshis", "output", "state"}
	if compare {
		columns = append(columns, "known to")
	}
	t := p.table(columns...)
	for _, c := range coins {
		state := map[bool]string{false: "", true: "pending"}[c.Pending]
		row := []string{safetext.Line(c.Label), grouped(c.Satoshis), fmt.Sprintf("%s:%d", safetext.Line(c.TxID), c.Output), state}
		if compare {
			row = append(row, c.KnownTo)
		}
		t.row(row...)
	}
	return t.print()
}

func newWalletScan(p *program) *cobra.Command {
	var asJSON bool
	var woc, jungle string
	c := &cobra.Command{
		Use:   "scan [LABEL]",
		Short: "Bring in the coins that the server knows and the wallet doesn't",
		Long: `Asks the server for the coins of each key, or of one, and brings in those that the
wallet doesn't know, for a wallet that lost its file. Only coins of messages that
are in a block can be found so: payments without a message, and change of names,
are not in the index; wallet add takes them. Each transaction is checked to be the
one that is named; that it is in a block, and that its coins aren't spent by a
transaction without a message, is the server's word.

With --woc no server is asked but WhatsOnChain, which knows payments without a
message too, and learns the addresses. Again each transaction is checked to be the
one that is named, and the rest is the service's word. It allows three questions a
second.

With --junglebus a JungleBus service is asked instead, at the address that follows,
without a subscription. It tells which transactions concern the addresses: all of
them are read, 10,000 for an address at most, and what none of them spends is a coin.
Coins that the wallet has and one of them spends are taken off. Again each
transaction is checked to be the one that is named; that it is in a block, and that
none is left out, is the service's word.`,
		Example: "  metaim wallet scan\n  metaim wallet scan alice --json\n  metaim wallet scan --woc\n  metaim wallet scan --junglebus",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case woc != "":
				return scanWOC(cmd, p, args, woc, asJSON)
			case jungle != "":
				return scanJungleBus(cmd, p, args, jungle, asJSON)
			}
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			keys, err := u.ring.some(args)
			if err != nil {
				return err
			}
			there, err := u.serverCoins(cmd.Context(), keys)
			if err != nil {
				return err
			}
			return u.ring.bringIn(cmd.Context(), there, knower{name: "the server", raw: u.raw}, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	c.Flags().StringVar(&woc, "woc", "", "ask WhatsOnChain instead of the server; =URL: at another address")
	c.Flags().Lookup("woc").NoOptDefVal = whatsonchain.DefaultURL
	c.Flags().StringVar(&jungle, "junglebus", "", "ask a JungleBus service instead of the server; =URL: at another address")
	c.Flags().Lookup("junglebus").NoOptDefVal = junglebus.DefaultURL
	c.MarkFlagsMutuallyExclusive("woc", "junglebus")
	return c
}

// raw gets a transaction out of the proof of a message that it carries.
func (u *person) raw(ctx context.Context, id string) ([]byte, error) {
	want, err := frame.ParseHash(id)
	if err != nil {
		return nil, err
	}
	tx, err := u.Client.Transaction(ctx, id)
	if err != nil {
		return nil, err
	}
	if tx.Height < 0 {
		return nil, errors.New("it is in no block yet")
	}
	at := slices.IndexFunc(tx.Frames, func(f client.Frame) bool { return f.Message != nil })
	if at < 0 {
		return nil, errors.New("it carries no message, and the server gives only those")
	}
	proof, err := u.Client.Proof(ctx, fmt.Sprintf("%s:%d", id, tx.Frames[at].Message.Output))
	if err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(proof.Raw)
	if err != nil || frame.HashOf(raw) != want {
		return nil, errors.New("what the server gave isn't that transaction")
	}
	return raw, nil
}
