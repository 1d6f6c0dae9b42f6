package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// Block implements [chainwatch.Source]. Over RPC, the node decodes and sends a
// block as hexadecimal; over REST, where svnode has it, as it is. It fails with
// ErrNotFound, and reading with ErrTooLarge beyond Config.MaxBlock.
func (s *Source) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	r, err := s.open(ctx, hash)
	if errors.Is(err, noderpc.ErrNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get block %s from node %s: %w", hash, s.rpc.URL(), err)
	}
	return &blockReader{ctx: ctx, in: r, left: s.cfg.MaxBlock}, nil
}

func (s *Source) open(ctx context.Context, hash frame.Hash) (r io.ReadCloser, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	rest := !s.noREST
	s.mu.Unlock()
	if rest {
		r, err = s.rpc.GetBlockREST(ctx, hash)
		if err == nil || ctx.Err() != nil || errors.Is(err, noderpc.ErrUnreachable) {
			return r, err
		}
	}
	absent := rest && errors.Is(err, noderpc.ErrNoREST)
	err = s.ask(ctx, func() (err error) {
		r, err = s.rpc.GetBlockStream(ctx, hash)
		return err
	})
	if err == nil && absent { // it has the block and didn't give it over REST
		s.mu.Lock()
		s.noREST = true
		s.mu.Unlock()
	}
	return r, err
}

// A blockReader bounds a block and ends it with Close.
type blockReader struct {
	ctx context.Context
	in  io.ReadCloser

	mu     sync.Mutex
	left   int64
	closed bool
}

// Read implements io.Reader.
func (b *blockReader) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, ErrClosed
	case b.ctx.Err() != nil:
		return 0, b.ctx.Err()
	}
	n, err := b.in.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

// Close gives up what wasn't read. The node may go on preparing it.
func (b *blockReader) Close() error {
	if !b.mu.TryLock() {
		return b.in.Close() // ends the reading that is under way
	}
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return b.in.Close()
}
