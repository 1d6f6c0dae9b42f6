package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/bsv-blockchain/go-wire"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// A blockRequest is a getdata for a block with a ping behind it: the reference
// node doesn't answer at all when it has no such block.
type blockRequest struct {
	hash      frame.Hash
	nonce     uint64
	answer    chan blockAnswer // buffer of one
	passed    chan struct{}    // buffer of one: the pong came first
	abandoned bool             // nobody waits for the answer any more
}

type blockAnswer struct {
	stream *blockStream
	err    error
}

// Block implements [chainwatch.Source]. It waits until a node is connected, and
// asks one after another until one begins to send; a node sends one block at a
// time, so that with all of them busy Block waits. ctx governs the reading too.
//
// Reading ends with io.EOF after a whole block whose checksum is right, and with
// an error when the node fails; then the next call turns to another node. A
// [chainwatch.Scanner] checks the Merkle root instead of the checksum, and what it
// refuses counts as the node's failure too. The
// error of Block tells for each node why it doesn't give the block: ErrNotFound,
// ErrNoAnswer, ErrWrongBlock, ...
func (s *Source) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	var failed error
	tried := make(map[*slot]bool)
	for {
		p, err := s.takeTurn(ctx, tried)
		if err != nil {
			return nil, fmt.Errorf("get block %s: %w", hash, err)
		}
		if p == nil {
			return nil, fmt.Errorf("no node gives block %s: %w", hash, failed)
		}
		tried[p.slot] = true
		stream, err := p.open(ctx, hash)
		if err == nil {
			return stream, nil
		}
		s.freeTurn(p)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("get block %s: %w", hash, ctx.Err())
		}
		if !errors.Is(err, ErrNotFound) {
			s.blockFailed(p.slot)
		}
		s.log.Debug("node doesn't give a block", "peer", p.slot.addr, "block", hash, "reason", err)
		err = fmt.Errorf("node %s: %w", p.slot.addr, err)
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
}

// open asks for a block and waits for its first bytes.
func (s *session) open(ctx context.Context, hash frame.Hash) (*blockStream, error) {
	r := &blockRequest{hash: hash, nonce: rand.Uint64(), answer: make(chan blockAnswer, 1), passed: make(chan struct{}, 1)}
	s.mu.Lock()
	s.blocks = append(s.blocks, r)
	open := len(s.blocks)
	s.mu.Unlock()
	if open > maxPending {
		s.end(errBusy)
		return nil, errBusy
	}
	if err := s.send(ctx, getData(wire.InvTypeBlock, hash), wire.NewMsgPing(r.nonce)); err != nil {
		s.abandon(r)
		return nil, err
	}
	a := s.awaitBlock(ctx, r)
	if a.err != nil {
		s.abandon(r)
		return nil, a.err
	}
	a.stream.begin(ctx)
	return a.stream, nil
}

func (s *session) awaitBlock(ctx context.Context, r *blockRequest) blockAnswer {
	cfg := &s.source.cfg
	limit := time.NewTimer(cfg.BlockTimeout)
	defer limit.Stop()
	passed, grace := r.passed, (<-chan time.Time)(nil)
	for {
		select {
		case a := <-r.answer:
			return a
		case <-passed:
			if !s.inOrder {
				passed, grace = nil, time.After(cfg.Grace)
				continue
			}
			return blockAnswer{err: ErrNotFound}
		case <-grace:
			return blockAnswer{err: ErrNotFound}
		case <-limit.C:
			s.end(ErrNoAnswer)
			return blockAnswer{err: ErrNoAnswer}
		case <-ctx.Done():
			return blockAnswer{err: ctx.Err()}
		case <-s.ctx.Done():
			return blockAnswer{err: context.Cause(s.ctx)}
		}
	}
}

// abandon gives a request up. It stays known, so that a late answer isn't taken
// for a wrong one; an answer that has just come is closed.
func (s *session) abandon(r *blockRequest) {
	s.mu.Lock()
	r.abandoned = true
	s.mu.Unlock()
	select {
	case a := <-r.answer:
		if a.stream != nil {
			_ = a.stream.Close() // nothing was read, so nothing can be wrong
		}
	default:
	}
}

// receiveBlock lends the connection to whoever asked for the block that begins,
// and waits until it is given back.
func (s *session) receiveBlock(m message) error {
	if m.size <= chainwatch.HeaderSize {
		return fmt.Errorf("%w: block of %d bytes", ErrMalformed, m.size)
	}
	head, err := s.in.Peek(chainwatch.HeaderSize)
	if err != nil {
		return readError(unexpected(err))
	}
	stream := newBlockStream(s, frame.HashOf(head), m)
	wanted, err := s.answerBlock(stream)
	if err != nil {
		return err
	}
	if wanted {
		s.source.inventory.busy(s.id, true)
		defer s.source.inventory.busy(s.id, false)
		select {
		case <-stream.done:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
	if stream.left > s.source.cfg.DrainLimit {
		return errAbandoned
	}
	s.pace.within()
	return s.skip(stream.left)
}

// answerBlock finds the request for a block, and says whether anybody still
// waits for it. A block that was never asked for fails the live request.
func (s *session) answerBlock(stream *blockStream) (wanted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	match := -1
	for i, r := range s.blocks {
		if r.hash == stream.block && (match < 0 || !r.abandoned) {
			match = i
		}
	}
	if match < 0 {
		err := fmt.Errorf("%w: %s", ErrWrongBlock, stream.block)
		for _, r := range s.blocks {
			r.answer <- blockAnswer{err: err} // never waits: a request is answered once
		}
		s.blocks = nil
		return false, err
	}
	r := s.blocks[match]
	s.blocks = slices.Delete(s.blocks, match, match+1)
	if r.abandoned {
		return false, nil
	}
	r.answer <- blockAnswer{stream: stream}
	return true, nil
}

// blockNotFound answers the requests for a block that the node doesn't have.
func (s *session) blockNotFound(hash frame.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks = slices.DeleteFunc(s.blocks, func(r *blockRequest) bool {
		if r.hash != hash {
			return false
		}
		r.answer <- blockAnswer{err: ErrNotFound}
		return true
	})
}

// blockPassed notes that a pong overtook the answer of its request.
func (s *session) blockPassed(nonce uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.blocks, func(r *blockRequest) bool { return r.nonce == nonce })
	if i < 0 {
		return
	}
	kick(s.blocks[i].passed)
	if s.inOrder {
		s.blocks = slices.Delete(s.blocks, i, i+1)
	}
}
