package node

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

const headersMost = 2000

// Headers implements [chainwatch.Source]. It fails with ErrForeign when not even
// the genesis block is the node's.
func (s *Source) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	headers, err := s.headers(ctx, locator)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", s.rpc.URL(), err)
	}
	return headers, nil
}

func (s *Source) headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from, height, err := s.find(ctx, locator)
	if err != nil {
		return nil, err
	}
	var best int32
	err = s.ask(ctx, func() (err error) {
		best, err = s.rpc.GetBlockCount(ctx)
		return err
	})
	if err != nil || best <= height {
		return nil, err
	}
	headers := make([]chainwatch.Header, min(headersMost, best-height))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Concurrency)
	for i := range headers {
		g.Go(func() (err error) {
			headers[i], err = s.headerAt(gctx, height+1+int32(i))
			return err
		})
	}
	if err := g.Wait(); err != nil && !errors.Is(err, noderpc.ErrNotFound) {
		return nil, err
	}
	return linked(from, headers), nil
}

// find returns the first block of a locator that is on the node's best chain.
func (s *Source) find(ctx context.Context, locator []frame.Hash) (frame.Hash, int32, error) {
	for _, hash := range locator {
		height, ok, err := s.heightOnBest(ctx, hash)
		if err != nil || ok {
			return hash, height, err
		}
	}
	return frame.Hash{}, 0, ErrForeign
}

func (s *Source) heightOnBest(ctx context.Context, hash frame.Hash) (height int32, ok bool, err error) {
	err = s.ask(ctx, func() (err error) {
		height, ok, err = s.rpc.HeightOnBest(ctx, hash)
		return err
	})
	return height, ok, err
}

func (s *Source) headerAt(ctx context.Context, height int32) (h chainwatch.Header, err error) {
	err = s.ask(ctx, func() error {
		hash, err := s.rpc.GetBlockHash(ctx, height)
		if err != nil {
			return err
		}
		h, err = s.rpc.GetBlockHeader(ctx, hash)
		return err
	})
	return h, err
}

// linked returns the headers that follow each other from a block on. A chain that
// turns while it is asked for gives headers of both branches, and none for the
// heights that are gone.
func linked(from frame.Hash, headers []chainwatch.Header) []chainwatch.Header {
	for i := range headers {
		if headers[i].Prev() != from {
			return headers[:i]
		}
		from = headers[i].Hash()
	}
	return headers
}
