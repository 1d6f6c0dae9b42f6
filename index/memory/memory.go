// Package memory keeps an index in memory: for audits, which fold a chain anew
// and throw the result away, for the simulator and for tests. Nothing survives
// the process.
//
// An Update gathers what it writes in a layer above what is committed, so a
// write that fails leaves nothing, and views beside it see what was there
// before. What is committed is merged into the store's own maps; only where
// views are still open are these copied first.
package memory

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// ErrClosed says that a store was closed.
var ErrClosed = errors.New("the index is closed")

// A Store is an index in memory. It implements [index.Store].
type Store struct {
	turn   chan struct{} // holds one token while nobody writes
	mu     sync.Mutex
	now    *version
	closed bool
}

var _ index.Store = (*Store)(nil)

// A version is a committed state and the number of views that read it.
type version struct {
	state
	readers int
}

// New returns an empty index.
func New() *Store {
	s := &Store{turn: make(chan struct{}, 1), now: &version{state: newState(rand.Text())}}
	s.turn <- struct{}{}
	return s
}

// Close refuses everything from now on, and waits for a write under way.
func (s *Store) Close() error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Reopen returns a store that holds what a closed one held, of the same epoch:
// what a process finds when it opens its database again.
func (s *Store) Reopen() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := &Store{turn: make(chan struct{}, 1), now: &version{state: s.now.clone()}}
	again.turn <- struct{}{}
	return again
}

// View implements [index.Store].
func (s *Store) View(ctx context.Context, read func(index.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	v := s.now
	v.readers++
	snapshot := v.state
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		v.readers--
	}()
	return read(&view{ctx: ctx, state: &snapshot})
}

// Update implements [index.Store].
func (s *Store) Update(ctx context.Context, write func(index.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	s.mu.Lock()
	closed, base := s.closed, s.now
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	above := base.above()
	t := &tx{view: view{ctx: ctx, state: &above}}
	if err := write(t); err != nil {
		return err
	}
	if err := errors.Join(t.failed, ctx.Err()); err != nil {
		return err
	}
	if err := t.check(); err != nil {
		return err
	}
	s.commit(&above)
	return nil
}

func (s *Store) commit(above *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.readers > 0 {
		above.cloneBases()
	}
	above.merge()
	s.now = &version{state: *above}
}

// A state is everything that is kept. Rows are never changed but replaced, and
// lists grow at their end only, so that a copy of the struct is a snapshot as
// long as nothing is merged into the maps below it.
type state struct {
	epoch     string
	blocks    []index.Tip
	events    []*index.Event
	seen      []int64 // rows of transactions in state Seen, in order
	counts    map[frame.Verdict]int64
	lastTx    int64
	lastFrame int64

	txs    layer[int64, *txRow]    // by row
	frames layer[int64, *frameRow] // by arrival
	names  layer[string, *nprotocol.Name]
	peers  layer[nprotocol.PeerKey, *nprotocol.Peer]

	proofs layer[int32, []rows.Group] // by height of the block

	// Where things are. Lists by height may name rows that have moved on.
	atHeight  layer[int32, []int64]             // rows
	byTxID    layer[frame.Hash, []int64]        // rows
	reaching  layer[frame.KeyHash, []int64]     // rows that pay the address
	byID      layer[frame.ID, []int64]          // arrivals, as in all that follow
	byContent layer[frame.ID, []int64]          // of messages
	byName    layer[string, []int64]            // N frames
	byPeer    layer[nprotocol.PeerKey, []int64] // P frames
	bySource  layer[frame.KeyHash, []int64]     // frames ever attributed to the address
	byNew     layer[frame.KeyHash, []int64]     // transfers to the address
}

// A table is a layer, whatever it holds.
type table interface {
	push()
	merge()
	cloneBase()
}

func (s *state) tables() []table {
	return []table{&s.txs, &s.frames, &s.names, &s.peers, &s.proofs, &s.atHeight, &s.byTxID, &s.reaching,
		&s.byID, &s.byContent, &s.byName, &s.byPeer, &s.bySource, &s.byNew}
}

func newState(epoch string) state {
	s := state{epoch: epoch, counts: map[frame.Verdict]int64{}}
	s.cloneBases()
	return s
}

// above returns the state that an update writes to.
func (s *state) above() state {
	a := *s
	a.counts = maps.Clone(s.counts)
	for _, t := range a.tables() {
		t.push()
	}
	return a
}

func (s *state) merge() {
	for _, t := range s.tables() {
		t.merge()
	}
}

func (s *state) cloneBases() {
	for _, t := range s.tables() {
		t.cloneBase()
	}
}

// clone returns a state that shares nothing with s that either could change.
func (s *state) clone() state {
	c := *s
	c.counts = maps.Clone(s.counts)
	c.blocks, c.events, c.seen = c.blocks[:len(c.blocks):len(c.blocks)], c.events[:len(c.events):len(c.events)], c.seen[:len(c.seen):len(c.seen)]
	c.cloneBases()
	return c
}
