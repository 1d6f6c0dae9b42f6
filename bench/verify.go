package main

import (
	"context"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

func verifyComparisons() []*measure.Comparison {
	return []*measure.Comparison{verifyPool()}
}

// verifyPool compares proving the messages of blocks with what the library makes
// of their signatures alone, on as many cores.
func verifyPool() *measure.Comparison {
	return &measure.Comparison{
		Name: "verify/pool", Title: "Proving messages on all cores, beside the library alone",
		Note: "The library is given digests and signatures that are parsed already; the pool begins with transactions as they were read.",
		Prepare: func(_ context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
			chain := converse(measure.Pick(size, 20_000, 500))
			txs, err := chain.read()
			if err != nil {
				return nil, err
			}
			signatures, err := parsed(txs)
			if err != nil {
				return nil, err
			}
			c.Sides = []measure.Side{
				{Name: "metaim", Run: func(ctx context.Context, r *measure.Round) error {
					r.Start()
					chainwatch.ProveAll(ctx, txs, simchain.Network)
					r.Stop(float64(len(txs)))
					return nil
				}},
				{Name: "library", Run: func(_ context.Context, r *measure.Round) error {
					r.Start()
					parallel(len(signatures), func(i int) { signatures[i].recover() })
					r.Stop(float64(len(signatures)))
					return nil
				}},
				{Name: "library, one core", Run: func(_ context.Context, r *measure.Round) error {
					some := signatures[:len(signatures)/4]
					r.Start()
					for i := range some {
						some[i].recover()
					}
					r.Stop(float64(len(some)))
					return nil
				}},
			}
			return nil, nil
		},
		Figures: []measure.Figure{
			{Name: "pool, of the library on all cores", Unit: "ratio", Goal: measure.AtLeast(0.95),
				Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Rate() / s["library"].Rate() }},
			{Name: "the same by CPU", Unit: "ratio", Of: func(s map[string]measure.Sample) float64 { return s["metaim"].PerCPU() / s["library"].PerCPU() }},
			{Name: "pool", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Rate() }},
			{Name: "library on one core", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s["library, one core"].Rate() }},
			{Name: "a signature, library alone", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s["library, one core"].Cost() }},
		},
	}
}

// read reads the transactions with messages.
func (c *conversation) read() ([]*index.Transaction, error) {
	var list []*index.Transaction
	for _, b := range c.tip.Branch()[1:] {
		for _, raw := range b.Txs[1:] {
			tx, err := chainwatch.ReadTransaction(raw, simchain.Network)
			if err != nil {
				return nil, err
			}
			list = append(list, tx)
		}
	}
	return list, nil
}

// A parsedSignature is one that has only to be recovered.
type parsedSignature struct {
	signature frame.Signature
	preimage  []byte
}

func (p *parsedSignature) recover() { _, _ = p.signature.Recover(p.preimage) }

func parsed(txs []*index.Transaction) ([]parsedSignature, error) {
	list := make([]parsedSignature, 0, len(txs))
	for _, tx := range txs {
		m := tx.Frames[0].Message
		s, err := frame.ParseSignature(m.Signature)
		if err != nil {
			return nil, err
		}
		list = append(list, parsedSignature{s, m.Preimage()})
	}
	return list, nil
}
