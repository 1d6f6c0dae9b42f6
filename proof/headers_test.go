package proof_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/proof"
)

// grow mines blocks on one, of times apart from those of other branches.
func grow(tree *simchain.Tree, on *simchain.Block, blocks int, apart uint32) *simchain.Block {
	for range blocks {
		on = tree.Mine(on, uint32(genesisTime+600*(on.Height+1))+apart, nil)
	}
	return on
}

func TestReadHeaders(t *testing.T) {
	tree := simchain.NewTree()
	good := headers(grow(tree, tree.Genesis, 5, 0))
	header := func(i int) []byte { return good[80*i : 80*i+80] }
	easy := slices.Clone(header(5))
	copy(easy[72:], []byte{0xff, 0xff, 0x7f, 0x21}) // a target above the network's limit
	unworked := slices.Clone(header(5))
	for h := chainwatch.Header(unworked); ; {
		unworked[76]++
		h = chainwatch.Header(unworked)
		if _, _, err := chainwatch.ParamsOf(frame.Regtest).Work(&h); err != nil {
			break
		}
	}
	main := chainwatch.ParamsOf(frame.Main).Genesis
	for _, c := range []struct {
		name string
		file []byte
		want error
		tip  int32
	}{
		{"a whole chain", good, nil, 5},
		{"the first block alone", header(0), nil, 0},
		{"the first block of mainnet", main[:], nil, 0},
		{"nothing", nil, proof.ErrStart, 0},
		{"half a header", good[:40], proof.ErrCut, 0},
		{"cut in the middle of one", good[:len(good)-1], proof.ErrCut, 0},
		{"without the first", good[80:], proof.ErrStart, 0},
		{"with a gap", slices.Concat(good[:160], good[240:]), proof.ErrLink, 0},
		{"one twice", slices.Concat(good[:160], good[80:]), proof.ErrLink, 0},
		{"of two networks", slices.Concat(main[:], good[80:]), proof.ErrLink, 0},
		{"a target easier than the network allows", slices.Concat(good[:400], easy), chainwatch.ErrWork, 0},
		{"a hash above its target", slices.Concat(good[:400], unworked), chainwatch.ErrWork, 0},
	} {
		h, err := proof.ReadHeaders(bytes.NewReader(c.file))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			continue
		}
		if err == nil && (h.Tip() != c.tip || !bytes.Equal(h.Bytes(), c.file)) {
			t.Errorf("%s: got a chain up to %d, want %d", c.name, h.Tip(), c.tip)
		}
	}
}

// pages serves the headers of a branch, a few at a time.
func pages(tip *simchain.Block, most int) func(context.Context, int32) ([]byte, error) {
	all := headers(tip)
	return func(_ context.Context, from int32) ([]byte, error) {
		at := min(int(from)*client.HeaderBytes, len(all))
		return all[at:min(at+most*client.HeaderBytes, len(all))], nil
	}
}

func TestFetch(t *testing.T) {
	tree := simchain.NewTree()
	five := grow(tree, tree.Genesis, 5, 0)
	old := grow(tree, five, 15, 0)
	longer := grow(tree, old, 7, 0)
	turned := grow(tree, five, 20, 1)
	short := grow(tree, five, 3, 2)
	other := grow(tree, tree.Genesis, 30, 3)
	broken := errors.New("the line went dead")
	main := chainwatch.ParamsOf(frame.Main).Genesis
	for _, c := range []struct {
		name  string
		have  *simchain.Block // nil: nothing
		page  func(context.Context, int32) ([]byte, error)
		want  error
		tip   *simchain.Block
		fresh int32 // headers that aren't as before
	}{
		{"from nothing", nil, pages(old, 4), nil, old, 21},
		{"from nothing, all at once", nil, pages(old, 2000), nil, old, 21},
		{"nothing new", old, pages(old, 4), nil, old, 0},
		{"some more", old, pages(longer, 4), nil, longer, 7},
		{"a reorganisation of 15", old, pages(turned, 4), nil, turned, 20},
		{"a reorganisation of all but the first", old, pages(other, 3), nil, other, 30},
		{"a server that is behind", longer, pages(old, 4), proof.ErrLighter, nil, 0},
		{"a branch of less work", old, pages(short, 4), proof.ErrLighter, nil, 0},
		{"a server of another network", old, func(_ context.Context, from int32) ([]byte, error) {
			return main[:max(0, 80-80*int(from))], nil
		}, proof.ErrOtherChain, nil, 0},
		{"a server without headers", old, pages(nil, 4), proof.ErrOtherChain, nil, 0},
		{"another branch in the middle", nil, func(ctx context.Context, from int32) ([]byte, error) {
			if from > 8 {
				return pages(turned, 4)(ctx, from)
			}
			return pages(old, 4)(ctx, from)
		}, proof.ErrTurned, nil, 0},
		{"a server that fails", old, func(context.Context, int32) ([]byte, error) { return nil, broken }, broken, nil, 0},
		{"half a header", nil, func(context.Context, int32) ([]byte, error) { return make([]byte, 40), nil }, proof.ErrCut, nil, 0},
		{"noise", nil, func(context.Context, int32) ([]byte, error) { return make([]byte, 160), nil }, proof.ErrStart, nil, 0},
	} {
		before := &proof.Headers{}
		if c.have != nil {
			before = mustHeaders(t, headers(c.have))
		}
		was := before.Bytes()
		got, err := proof.Fetch(t.Context(), before, c.page)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if !bytes.Equal(before.Bytes(), was) {
			t.Errorf("%s: what was there has changed", c.name)
		}
		if err != nil || c.want != nil {
			continue
		}
		if !bytes.Equal(got.Bytes(), headers(c.tip)) {
			t.Errorf("%s: got headers up to %d, want the branch up to %d", c.name, got.Tip(), c.tip.Height)
		}
		if fresh := got.Tip() - got.Common(before); fresh != c.fresh {
			t.Errorf("%s: %d fresh, want %d", c.name, fresh, c.fresh)
		}
	}
}
