package main

import (
	"context"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer/junglebus"
	"github.com/spf13/cobra"
)

// scanJungleBus brings in what a JungleBus service knows of the keys.
func scanJungleBus(cmd *cobra.Command, p *program, args []string, address string, asJSON bool) error {
	ring, err := openKeyring(cmd, p)
	if err != nil {
		return err
	}
	if ring.network != frame.Main && address == junglebus.DefaultURL {
		return usagef("the service at %s knows nothing of network %s: name another service with --junglebus=URL", address, ring.network)
	}
	keys, err := ring.some(args)
	if err != nil {
		return err
	}
	client, err := junglebus.New(address, chainwatch.ParamsOf(ring.network).Genesis.Hash())
	if err != nil {
		return usageError{err}
	}
	all, err := ring.store.List()
	if err != nil {
		return err
	}
	bar := newProgress(p, "transactions")
	q := junglebus.Query{Network: ring.network, Told: func(done, all int) { bar.draw(int64(done), int64(all)) }}
	labels := map[frame.KeyHash]string{}
	for _, e := range keys {
		labels[e.KeyHash] = e.Label
		q.Keys = append(q.Keys, e.KeyHash)
	}
	for _, e := range all {
		if _, asked := labels[e.KeyHash]; !asked {
			q.Others = append(q.Others, e.KeyHash)
		}
	}
	found, err := client.Find(cmd.Context(), q)
	bar.end()
	if err != nil {
		return err
	}
	var there []listedCoin
	for _, id := range found.Failed() { // they may hold coins: that they can't be had is told
		there = append(there, listedCoin{TxID: id.String(), KnownTo: knownThere})
	}
	for _, c := range found.Coins {
		there = append(there, listedCoin{Label: labels[c.Key], Address: ring.network.Address(c.Key), TxID: c.TxID.String(), Output: c.Output,
			Satoshis: c.Satoshis, Pending: c.Waiting, KnownTo: knownThere})
	}
	raw := func(_ context.Context, id string) ([]byte, error) {
		hash, err := frame.ParseHash(id)
		if err != nil {
			return nil, err
		}
		return found.Raw(hash)
	}
	return ring.bringIn(cmd.Context(), there, knower{name: "JungleBus", raw: raw, spender: found.Spender}, asJSON)
}
