package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// open opens a block, or of a source that has none what it picked out of it, put
// together again as a block. That needs a service that picks everything.
func (h *Harness) open(t testing.TB, ctx context.Context, s chainwatch.Source, hash frame.Hash) (io.ReadCloser, error) {
	t.Helper()
	selector, ok := s.(chainwatch.Selector)
	if !ok {
		return s.Block(ctx, hash)
	}
	if r, err := s.Block(ctx, hash); err == nil {
		t.Errorf("a source that has no blocks gives one; closing it: %v", r.Close())
	}
	picked, err := selector.Selection(ctx, hash)
	if err != nil {
		return nil, err
	}
	if _, err := chainwatch.NewScanner(h.Params.Network).Selection(picked, nil); err != nil {
		return nil, err
	}
	block := append(picked.Header[:], bt.VarInt(len(picked.Transactions)).Bytes()...)
	for i, p := range picked.Transactions {
		if root := index.FoldPath(frame.HashOf(p.Raw), p.Index, p.Path); int(p.Index) != i || root != picked.Header.MerkleRoot() {
			return nil, errors.New("a transaction isn't proved")
		}
		block = append(block, p.Raw...)
	}
	return io.NopCloser(bytes.NewReader(block)), nil
}
