package main

import (
	"context"
	"fmt"
	"time"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

// publishGrowths show what unconfirmed messages cost when a block comes: all of
// them are judged again after it.
func publishGrowths() []*measure.Growth {
	return []*measure.Growth{{
		Plot: measure.Plot{Name: "unconfirmed", Title: "An empty block, while so many messages are unconfirmed",
			X: "unconfirmed messages", Y: "ms of CPU for the block"},
		Run: func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
			for _, kind := range stores {
				if err := unconfirmedGrowth(ctx, size, kind, add); err != nil {
					return fmt.Errorf("%s: %w", kind, err)
				}
			}
			return nil
		},
	}}
}

func unconfirmedGrowth(ctx context.Context, size measure.Size, kind string, add func(string, measure.Point)) error {
	at, end, err := newPlace(kind)
	if err != nil {
		return err
	}
	defer end()
	spec, err := at.fresh()
	if err != nil {
		return err
	}
	store, err := openStore(ctx, spec)
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // what was measured is committed
	g := &unconfirmed{writer: index.NewWriter(store, index.DefaultRules(simchain.Network), nil), pids: append([]int{0}, at.pids...),
		publisher: newPublisher(), tree: simchain.NewTree()}
	g.tip = g.tree.Genesis
	if err := g.connect(ctx, g.tip); err != nil {
		return err
	}
	for _, n := range measure.Pick(size, []int{100, 1_000, 10_000, 30_000}, []int{10, 50}) {
		if err := g.seen(ctx, n); err != nil {
			return err
		}
		point, err := measure.Repeat(float64(n), size.Rounds, func() (float64, error) { return g.block(ctx) })
		if err != nil {
			return err
		}
		add(kind, point)
	}
	return nil
}

// unconfirmed is an index with unconfirmed messages.
type unconfirmed struct {
	writer    *index.Writer
	pids      []int // of whose CPU time is counted
	publisher *publisher
	tree      *simchain.Tree
	tip       *simchain.Block
	messages  int
}

// seen adds messages until there are n.
func (g *unconfirmed) seen(ctx context.Context, n int) error {
	for g.messages < n {
		now := min(1_000, n-g.messages)
		g.publisher.make(now)
		txs := make([]*index.Transaction, now)
		errs := make([]error, now)
		parallel(now, func(i int) {
			if txs[i], errs[i] = chainwatch.ReadTransaction(g.publisher.ready[i], simchain.Network); errs[i] == nil {
				chainwatch.Prove(txs[i], simchain.Network)
			}
		})
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		if _, err := g.writer.Seen(ctx, txs); err != nil {
			return err
		}
		g.messages += now
	}
	return nil
}

// block connects an empty block and returns what it cost, in milliseconds.
func (g *unconfirmed) block(ctx context.Context) (float64, error) {
	g.tip = g.tree.Mine(g.tip, uint32(1_700_000_000+600*g.tip.Height), nil)
	before := measure.CPU(g.pids...)
	err := g.connect(ctx, g.tip)
	return float64((measure.CPU(g.pids...)-before)/time.Microsecond) / 1e3, err
}

func (g *unconfirmed) connect(ctx context.Context, b *simchain.Block) error {
	return g.writer.Connect(ctx, []*index.Block{{Height: b.Height, Hash: b.Hash, Header: b.Header, MedianTime: int64(1_700_000_000 + 600*b.Height)}})
}
