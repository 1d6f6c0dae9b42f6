package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/whatsonchain"
	"github.com/spf13/cobra"
)

// scanWOC brings in what WhatsOnChain knows of the keys.
func scanWOC(cmd *cobra.Command, p *program, args []string, address string, asJSON bool) error {
	ring, err := openKeyring(cmd, p)
	if err != nil {
		return err
	}
	if ring.network == frame.Regtest && address == whatsonchain.DefaultURL {
		return usagef("WhatsOnChain knows nothing of network %s: name another with --network", ring.network)
	}
	keys, err := ring.some(args)
	if err != nil {
		return err
	}
	key, err := wocKey(p)
	if err != nil {
		return err
	}
	client, err := whatsonchain.New(address, ring.network, key)
	if err != nil {
		return usageError{err}
	}
	finder := &wocFinder{client: client, waiting: map[string]bool{}}
	there, err := finder.coins(cmd.Context(), ring.network, keys)
	if err != nil {
		return err
	}
	return ring.bringIn(cmd.Context(), there, knower{name: "WhatsOnChain", raw: finder.raw}, asJSON)
}

// A wocFinder asks for the transactions that coins are in, many at a time.
type wocFinder struct {
	client  *whatsonchain.Client
	wanted  []frame.Hash // in the order in which they will be asked for
	waiting map[string]bool
	got     map[frame.Hash][]byte // those asked for last
	failed  error                 // why that failed
}

func (w *wocFinder) coins(ctx context.Context, network frame.Network, keys []signer.PublicEntry) ([]listedCoin, error) {
	var coins []listedCoin
	met := map[frame.Hash]bool{}
	for _, e := range keys {
		address := network.Address(e.KeyHash)
		list, err := w.client.Unspent(ctx, address)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			coins = append(coins, listedCoin{Label: e.Label, Address: address, TxID: c.TxID.String(), Output: c.Output,
				Satoshis: c.Satoshis, Pending: c.Height == 0, KnownTo: knownThere})
			w.waiting[c.TxID.String()] = c.Height == 0
			if !met[c.TxID] && c.Height > 0 {
				met[c.TxID] = true
				w.wanted = append(w.wanted, c.TxID)
			}
		}
	}
	return coins, nil
}

// raw returns a transaction, and gets those that will be asked for next with it.
func (w *wocFinder) raw(ctx context.Context, id string) ([]byte, error) {
	if w.waiting[id] {
		return nil, errors.New("it is in no block yet")
	}
	hash, err := frame.ParseHash(id)
	if err != nil {
		return nil, err
	}
	if len(w.wanted) > 0 && w.wanted[0] == hash {
		next := w.wanted[:min(len(w.wanted), whatsonchain.BulkMost)]
		w.wanted = w.wanted[len(next):]
		if w.got, w.failed = w.client.Transactions(ctx, next); w.failed != nil {
			w.failed = fmt.Errorf("asked for %d at once: %w", len(next), w.failed)
		}
	}
	if w.failed != nil {
		return nil, w.failed
	}
	raw, ok := w.got[hash]
	if !ok {
		return nil, whatsonchain.ErrMissing
	}
	return raw, nil
}
