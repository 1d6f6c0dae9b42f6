package chainwatch_test

import (
	"context"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

// TestProvedOnce: frames that were proved while unconfirmed aren't proved again
// in a block, nor after a reorganisation, nor after a restart; and the index says
// the same as one that proved all of them in blocks.
func TestProvedOnce(t *testing.T) {
	r := newRig(t, nil, chainwatch.Config{})
	r.sync(r.extend(r.tree.Genesis, 2))
	seen := [][]byte{r.message(), r.message(), r.message()}
	unseen := r.message()
	mutated := r.message()
	mutated[len(mutated)-1] ^= 1 // the lock time: the same frame in another transaction
	if err := r.follower.Take(context.Background(), seen); err != nil {
		t.Fatal(err)
	}
	mine := func(parent *simchain.Block, txs ...[]byte) *simchain.Block {
		return r.tree.Mine(parent, uint32(firstTime+600*(parent.Height+1)), txs)
	}
	first := mine(r.extend(r.tree.Genesis, 2), seen...)
	for _, c := range []struct {
		name               string
		tip                *simchain.Block
		restart            bool
		proved, remembered uint64
	}{
		{"a block with what was seen", first, false, 0, 3},
		{"a block with another, and one like one seen", mine(first, unseen, mutated), false, 2, 3},
		{"a rival with all of them, after a restart", r.extend(mine(r.extend(first.Ancestor(1), 2), append(seen, unseen, mutated)...), 3), true, 0, 5},
		{"and one without a restart", r.extend(mine(r.extend(first.Ancestor(1), 5), append(seen, unseen)...), 6), false, 0, 9},
	} {
		if c.restart {
			writer := index.NewWriter(r.store, index.DefaultRules(frame.Regtest), nil)
			r.follower = chainwatch.NewFollower(r.source, writer, chainwatch.Config{Params: chainwatch.ParamsOf(frame.Regtest)})
			if err := r.follower.Load(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		r.sync(c.tip)
		h := r.follower.Health()
		if h.Proved != c.proved || h.Remembered != c.remembered {
			t.Errorf("%s: %d proved and %d remembered, want %d and %d", c.name, h.Proved, h.Remembered, c.proved, c.remembered)
		}
		if got, want := r.tip(), tipFromBlocks(t, r.tree, c.tip); got != want {
			t.Errorf("%s: the index ends with %+v, want %+v as when all is proved in blocks", c.name, got, want)
		}
	}
}

// tipFromBlocks is where an index ends that saw nothing but the blocks.
func tipFromBlocks(t *testing.T, tree *simchain.Tree, tip *simchain.Block) index.Tip {
	t.Helper()
	clean := newRig(t, func(*simchain.Source) chainwatch.Source {
		source := simchain.NewSource(tree)
		source.SetTips(tip)
		return source
	}, chainwatch.Config{})
	if err := clean.follower.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	return clean.tip()
}
