package chainwatch_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

// An asked source notes that its mempool was asked for.
type asked struct {
	*simchain.Source
	mempool int
}

func (a *asked) RequestMempool() { a.mempool++ }

// TestUnconfirmedAreBounded floods a follower with valid transactions that pay
// their way: no more are kept than may be, none of those is lost for it, blocks
// take in what was passed over, and then there is room again.
func TestUnconfirmedAreBounded(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name string
		most chainwatch.Amount
		kept int // of the flood
	}{
		{"by number", chainwatch.Amount{Transactions: 10}, 10},
		{"by bytes", chainwatch.Amount{Bytes: 9_000}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := &asked{}
			r := newRig(t, func(s *simchain.Source) chainwatch.Source {
				source.Source = s
				return source
			}, chainwatch.Config{Unconfirmed: test.most, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			tip := r.extend(r.tree.Genesis, 2)
			r.sync(tip)
			state := func(raw []byte) (state index.State) {
				err := r.store.View(ctx, func(v index.View) error {
					entries, err := v.InTransaction(frame.HashOf(raw))
					if len(entries) > 0 {
						state = entries[0].State
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return state
			}
			var flood [][]byte
			for range 100 {
				flood = append(flood, r.message())
			}
			if err := r.follower.Take(ctx, flood); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for kept < len(flood) && state(flood[kept]) == index.Seen {
				kept++
			}
			if kept == 0 || kept == len(flood) || test.kept >= 0 && kept != test.kept {
				t.Fatalf("kept: got %d of %d, want %d (-1: some)", kept, len(flood), test.kept)
			}
			for i, raw := range flood[kept:] {
				if got := state(raw); got != "" {
					t.Fatalf("transaction %d beyond the bound: got state %q, want none", i, got)
				}
			}
			if got := r.follower.Health().Passed; got != uint64(len(flood)-kept) {
				t.Errorf("passed over: got %d, want %d", got, len(flood)-kept)
			}
			if err := r.follower.Take(ctx, flood[:kept]); err != nil {
				t.Fatal(err)
			}
			r.sync(r.tree.Mine(tip, uint32(firstTime+600*(tip.Height+1)), flood))
			for i, raw := range flood {
				if got := state(raw); got != index.Confirmed {
					t.Fatalf("transaction %d in a block: got state %q, want %s", i, got, index.Confirmed)
				}
			}
			after := r.message()
			if err := r.follower.Take(ctx, [][]byte{after}); err != nil {
				t.Fatal(err)
			}
			if got := state(after); got != index.Seen {
				t.Errorf("after the block: got state %q, want %s", got, index.Seen)
			}
		})
	}
}

// TestOfferWithoutRoom: who hands in one more is told so, and what is kept already
// can still be offered.
func TestOfferWithoutRoom(t *testing.T) {
	o := offerTo(t, nil, 2, chainwatch.Amount{Transactions: 2})
	close(o.gate.open)
	first, second := o.message(), o.message()
	o.taken("first", first, o.offer(first))
	o.taken("second", second, o.offer(second))
	if got := within(t, "answer", o.offer(o.message())); !errors.Is(got.err, chainwatch.ErrFull) {
		t.Errorf("third: got %v, want %v", got.err, chainwatch.ErrFull)
	}
	o.taken("the first again", first, o.offer(first))
}
