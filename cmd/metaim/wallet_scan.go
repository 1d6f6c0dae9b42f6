package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
)

// A scanned is what `wallet scan --json` prints of a transaction.
type scanned struct {
	TxID     string `json:"txid"`
	Coins    int    `json:"coins"`           // outputs that pay the keys
	Satoshis uint64 `json:"satoshis"`        // in them
	Spent    uint64 `json:"spent,omitempty"` // satoshis of the wallet's coins that it spends
	Added    bool   `json:"added"`
	Reason   string `json:"reason,omitempty"` // why not
}

// A knower is who knows coins.
type knower struct {
	name string
	// raw gets a transaction and checks that it is the one that is named.
	raw func(ctx context.Context, id string) ([]byte, error)
	// spender tells which transaction spends an output; nil where that isn't known.
	spender func(id frame.Hash, output uint32) (frame.Hash, bool)
}

// bringIn brings those of the coins into the wallet that it doesn't know, and takes
// those off that it has and that are known to be spent.
func (k *keyring) bringIn(ctx context.Context, there []listedCoin, who knower, asJSON bool) error {
	entries, err := k.unlock()
	if err != nil {
		return err
	}
	wallet, err := k.wallet(ctx, entries)
	if err != nil {
		return err
	}
	s := scanner{program: k.program, who: who, wallet: wallet, asJSON: asJSON, bar: newProgress(k.program, "transactions")}
	for _, e := range entries {
		s.keys = append(s.keys, e.Key.KeyHash())
	}
	return errors.Join(s.run(ctx, there), wallet.Close())
}

// A scanner brings transactions that somebody else knows into a wallet.
type scanner struct {
	program *program
	who     knower
	wallet  *signer.Wallet
	keys    []frame.KeyHash
	asJSON  bool
	bar     *progress
	shown   map[string]bool // transactions that were brought in, or couldn't be
	added   int
	failed  int
}

func (s *scanner) run(ctx context.Context, there []listedCoin) error {
	var ids []string
	s.shown = map[string]bool{}
	for _, c := range there {
		if !s.shown[c.TxID] {
			s.shown[c.TxID] = true
			ids = append(ids, c.TxID)
		}
	}
	for i, id := range ids {
		s.bar.draw(int64(i), int64(len(ids)))
		if err := s.show(ctx, id, 0); err != nil {
			return err
		}
	}
	s.bar.end()
	if err := s.takeOff(ctx); err != nil {
		return err
	}
	switch {
	case s.failed > 0:
		return fmt.Errorf("%d of the %d transactions couldn't be brought in", s.failed, len(s.shown))
	case s.added == 0:
		fmt.Fprintln(s.program.err, "metaim: the wallet knows all coins that "+s.who.name+" knows")
	}
	return nil
}

// takeOff shows the wallet what spends coins that it has. What it learns may be
// spent too, so it goes on until nothing new comes; no transaction is shown twice.
func (s *scanner) takeOff(ctx context.Context) error {
	for s.who.spender != nil {
		var ids []string
		spent := map[string]uint64{}
		for _, key := range s.keys {
			for _, c := range s.wallet.Coins(key) {
				spender, ok := s.who.spender(c.TxID, c.Output)
				id := spender.String()
				if !ok || s.shown[id] && spent[id] == 0 {
					continue
				}
				if spent[id] == 0 {
					ids = append(ids, id)
				}
				s.shown[id] = true
				spent[id] += c.Satoshis
			}
		}
		for _, id := range ids {
			if err := s.show(ctx, id, spent[id]); err != nil {
				return err
			}
		}
		if len(ids) == 0 {
			break
		}
	}
	return nil
}

// show brings a transaction in that spends so much of what the wallet has, and prints
// what the wallet learnt.
func (s *scanner) show(ctx context.Context, id string, spent uint64) error {
	r, err := s.bring(ctx, id)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.failed++
		r = scanned{TxID: safetext.Line(id), Reason: safetext.Line(err.Error())}
	case !r.Added:
		return nil // the wallet knew it
	default:
		s.added++
		r.Spent = spent
	}
	return s.print(r)
}

// bring asks for one transaction and shows it to the wallet.
func (s *scanner) bring(ctx context.Context, id string) (scanned, error) {
	raw, err := s.who.raw(ctx, id)
	if err != nil {
		return scanned{}, err
	}
	a, err := s.wallet.Add(raw)
	return scanned{TxID: id, Coins: a.Coins, Satoshis: a.Satoshis, Added: a.New}, err
}

func (s *scanner) print(r scanned) error {
	if s.asJSON {
		return json.NewEncoder(s.program.out).Encode(r)
	}
	if r.Reason != "" {
		_, err := fmt.Fprintf(s.program.out, "left out %s: %s\n", r.TxID, r.Reason)
		return err
	}
	if r.Spent > 0 {
		if _, err := fmt.Fprintf(s.program.out, "spent %d satoshis in %s\n", r.Spent, r.TxID); err != nil || r.Satoshis == 0 {
			return err
		}
	}
	_, err := fmt.Fprintf(s.program.out, "received %d satoshis in %s\n", r.Satoshis, r.TxID)
	return err
}
