package reliability

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/metaim/metaim/internal/simchain"
)

// TestReorganisationDepths turns chains around at every depth, with frames in
// every block, and compares with an index that never saw the other branch.
func TestReorganisationDepths(t *testing.T) {
	depths := pick([]int{1, 2, 6, 14}, []int{1, 2, 6, 14, 100, 288, 1000})
	tree := simchain.NewTree()
	town := newTown(7)
	base := town.extend(tree, tree.Genesis, 20, 3)
	eachBackend(t, func(t *testing.T, b backend) {
		for _, depth := range depths {
			t.Run(fmt.Sprint(depth), func(t *testing.T) {
				perBlock := pick(2, max(1, 1000/depth))
				old := town.extend(tree, base, depth, perBlock)
				rival := town.extend(tree, base, depth+1, perBlock)
				store := b.open(t, b.spec(t))
				defer closeStore(t, store)
				source := simchain.NewSource(tree)
				f := newFollower(t, store, source)
				source.SetTips(old)
				if err := f.Sync(context.Background()); err != nil {
					t.Fatal(err)
				}
				source.SetTips(rival)
				start := time.Now()
				if err := f.Sync(context.Background()); err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				gotTip, got := whole(t, store)
				wantTip, want := clean(t, tree, rival)
				if gotTip != wantTip || got != want {
					t.Errorf("tip %+v, want %+v; the exports are equal: %t", gotTip, wantTip, got == want)
				}
				t.Logf("depth %d, %d frames taken off and %d put on, in %v", depth, depth*perBlock, (depth+1)*perBlock, took.Round(time.Millisecond))
			})
		}
	})
}

// TestFlipFlop turns the chain back and forth between two branches that overtake
// each other, and then back to nothing but the first blocks.
func TestFlipFlop(t *testing.T) {
	tree := simchain.NewTree()
	town := newTown(8)
	base := town.extend(tree, tree.Genesis, 5, 2)
	a, b := base, base
	var tips []*simchain.Block
	for range pick(6, 40) {
		a = town.extend(tree, a, 2, 3)
		tips = append(tips, a)
		b = town.extend(tree, b, int(a.Height-b.Height)+1, 2)
		tips = append(tips, b)
		a = town.extend(tree, a, int(b.Height-a.Height), 1)
	}
	eachBackend(t, func(t *testing.T, be backend) {
		store := be.open(t, be.spec(t))
		defer closeStore(t, store)
		follow(t, store, tree, tips...)
		gotTip, got := whole(t, store)
		wantTip, want := clean(t, tree, tips[len(tips)-1])
		if gotTip != wantTip || got != want {
			t.Errorf("after %d turns: tip %+v, want %+v; the exports are equal: %t", len(tips), gotTip, wantTip, got == want)
		}
	})
}
