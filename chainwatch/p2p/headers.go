package p2p

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/bsv-blockchain/go-bt/v2/chainhash"
	"github.com/bsv-blockchain/go-wire"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// maxLocator is how many hashes the reference node accepts.
const maxLocator = 101

// A headersRequest is a getheaders, with a ping behind it: headers carry nothing
// that says which question they answer, and a node that isn't in sync doesn't
// answer at all. The pong says that the question is over.
type headersRequest struct {
	nonce  uint64
	answer chan []chainwatch.Header // buffer of one
	passed chan struct{}            // buffer of one: the pong came first
}

// Headers implements [chainwatch.Source]. It waits until a node is connected,
// and asks all that are. A node that doesn't hold itself for in sync doesn't
// answer: if it never had a block that counts as an empty answer, else as
// ErrNotInSync. An error is returned when nobody answered.
func (s *Source) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	sessions, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.HeadersTimeout)
	defer cancel()
	type answer struct {
		i    int
		list []chainwatch.Header
		err  error
	}
	answers := make(chan answer)
	for i, p := range sessions {
		go func() {
			list, err := p.askHeaders(ctx, locator)
			answers <- answer{i: i, list: list, err: err}
		}()
	}
	runs := make([][]chainwatch.Header, len(sessions))
	answered := false
	for range sessions {
		a := <-answers // always comes: the question ends with ctx
		switch {
		case a.err == nil && !answered:
			answered = true
			spread := time.AfterFunc(s.cfg.HeadersSpread, cancel)
			defer spread.Stop()
			fallthrough
		case a.err == nil:
			runs[a.i] = a.list
			s.gave(sessions[a.i], a.list)
		case err == nil:
			err = fmt.Errorf("ask node %s for headers: %w", sessions[a.i].slot.addr, a.err)
		}
	}
	if !answered {
		return nil, err
	}
	return join(runs), nil
}

// join puts runs together and leaves out those that are equal to one before.
func join(runs [][]chainwatch.Header) []chainwatch.Header {
	var all []chainwatch.Header
	for i, run := range runs {
		same := func(other []chainwatch.Header) bool { return slices.Equal(run, other) }
		if !slices.ContainsFunc(runs[:i], same) {
			all = append(all, run...)
		}
	}
	return all
}

// askHeaders asks one node. Whoever gives up leaves the request behind, so that
// a late answer isn't taken for that of the next request.
func (s *session) askHeaders(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	select {
	case s.headersTurn <- struct{}{}:
		defer func() { <-s.headersTurn }()
	case <-ctx.Done():
		return nil, noAnswer(ctx)
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
	r := &headersRequest{nonce: rand.Uint64(), answer: make(chan []chainwatch.Header, 1), passed: make(chan struct{}, 1)}
	s.mu.Lock()
	s.headers = append(s.headers, r)
	open := len(s.headers)
	s.mu.Unlock()
	if open > maxPending {
		s.forgetHeaders(r)
		if len(s.blockTurn) == 0 { // else it may be a block that the answers wait behind
			s.end(errBusy)
		}
		return nil, errBusy
	}
	if err := s.send(ctx, getHeaders(locator), wire.NewMsgPing(r.nonce)); err != nil {
		s.forgetHeaders(r)
		return nil, err
	}
	return s.awaitHeaders(ctx, r)
}

func (s *session) awaitHeaders(ctx context.Context, r *headersRequest) ([]chainwatch.Header, error) {
	passed, grace := r.passed, (<-chan time.Time)(nil)
	for {
		select {
		case list := <-r.answer:
			return list, nil
		case <-passed:
			if !s.inOrder {
				passed, grace = nil, time.After(s.source.cfg.Grace)
				continue
			}
			return s.notInSync()
		case <-grace:
			s.forgetHeaders(r)
			return s.notInSync()
		case <-ctx.Done():
			return nil, noAnswer(ctx)
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
}

func (s *session) notInSync() ([]chainwatch.Header, error) {
	if s.height <= 0 {
		return nil, nil
	}
	return nil, ErrNotInSync
}

func (s *session) forgetHeaders(r *headersRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers = slices.DeleteFunc(s.headers, func(o *headersRequest) bool { return o == r })
}

// onHeaders gives headers to the oldest request; without any they are news.
func (s *session) onHeaders(b []byte, _ frame.Hash) error {
	list, err := parseHeaders(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.headers) == 0 {
		kick(s.source.wake)
		return nil
	}
	s.headers[0].answer <- list // never waits: a request is answered once
	s.headers = s.headers[1:]
	return nil
}

// headersPassed notes that a pong overtook the answer of its request. Where
// answers come in order there will be none any more.
func (s *session) headersPassed(nonce uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.headers, func(r *headersRequest) bool { return r.nonce == nonce })
	if i < 0 {
		return
	}
	kick(s.headers[i].passed)
	if s.inOrder {
		s.headers = slices.Delete(s.headers, i, i+1)
	}
}

// getHeaders builds the question; of a locator that is too long the newest
// hashes and the genesis block stay.
func getHeaders(locator []frame.Hash) *wire.MsgGetHeaders {
	m := wire.NewMsgGetHeaders()
	m.ProtocolVersion = protocolVersion
	if n := len(locator); n > maxLocator {
		locator = append(slices.Clone(locator[:maxLocator-1]), locator[n-1])
	}
	for _, h := range locator {
		m.BlockLocatorHashes = append(m.BlockLocatorHashes, (*chainhash.Hash)(&h))
	}
	return m
}

// noAnswer makes of an ended context the reason for which a question failed.
func noAnswer(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
}
