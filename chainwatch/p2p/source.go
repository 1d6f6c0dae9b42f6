package p2p

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/chainwatch"
)

var _ chainwatch.Source = (*Source)(nil)

// A Source follows a chain through connections to nodes. Its methods may be
// called at any time and from any goroutine; answers come while Run runs.
type Source struct {
	cfg       Config
	limits    limits
	log       *slog.Logger
	nonce     uint64 // tells a connection to ourselves
	slots     []*slot
	inventory *inventory
	queue     *txQueue
	txs       chan []byte
	wake      chan struct{}
	running   context.Context // of Run; set before any connection

	lastSession atomic.Uint64
	heard       atomic.Int64 // Unix nanoseconds

	mu       sync.Mutex
	sessions map[sessionID]*session // after their handshake
	turn     int                    // of the node that serves the next block
	started  bool
	ended    bool
	changed  *broadcast // of sessions, of turns for blocks, of ended
}

// New returns a source that connects once Run is called.
func New(cfg Config) *Source {
	cfg = cfg.withDefaults()
	s := &Source{
		cfg:       cfg,
		limits:    limits{block: cfg.MaxBlock, tx: cfg.MaxTx},
		log:       cfg.Logger,
		nonce:     rand.Uint64(),
		inventory: newInventory(cfg.RetryAfter, cfg.SeenTxs),
		queue:     newTxQueue(cfg.QueueBytes),
		txs:       make(chan []byte, 16),
		wake:      make(chan struct{}, 1),
		sessions:  make(map[sessionID]*session),
		changed:   newBroadcast(),
	}
	for i, addr := range cfg.Peers {
		s.slots = append(s.slots, &slot{source: s, index: i, addr: withPort(addr, cfg.Params.Port), height: -1})
	}
	return s
}

// Run implements [chainwatch.Source]. It returns nil when ctx ends, a
// *NetworkError when every node turned out to be of another network, ErrNoPeers
// without nodes. It can be called once.
func (s *Source) Run(ctx context.Context) error {
	if len(s.slots) == 0 {
		return ErrNoPeers
	}
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("the source was started before")
	}
	g, gctx := errgroup.WithContext(ctx)
	s.running = gctx
	for _, p := range s.slots {
		g.Go(func() error { return p.run(gctx) })
	}
	g.Go(func() error { return s.pump(gctx) })
	g.Go(func() error { return s.retry(gctx) })
	err := g.Wait()

	s.mu.Lock()
	s.ended = true
	s.changed.tell()
	s.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pump moves transactions from the queue to whoever reads them.
func (s *Source) pump(ctx context.Context) error {
	for {
		raw, err := s.queue.first(ctx)
		if err != nil {
			return err
		}
		select {
		case s.txs <- raw:
		case <-ctx.Done():
			return ctx.Err()
		}
		full := s.queue.full(s.cfg.QueueLength)
		s.queue.drop()
		if full && !s.queue.full(s.cfg.QueueLength) {
			s.kickAll()
		}
	}
}

// retry has lost transactions asked for again.
func (s *Source) retry(ctx context.Context) error {
	tick := time.NewTicker(max(s.cfg.RetryAfter/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.kick(s.inventory.expire(time.Now())...)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// kick makes sessions ask for transactions.
func (s *Source) kick(ids ...sessionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if p := s.sessions[id]; p != nil {
			kick(p.askTxs)
		}
	}
}

func (s *Source) kickAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.sessions {
		kick(p.askTxs)
	}
}

func (s *Source) hear() { s.heard.Store(time.Now().UnixNano()) }

// Transactions implements [chainwatch.Source]. While nobody reads, no more are
// asked for once the queue is full; they stay announced, up to a bound. What a
// node announces beyond it is passed over: Status says so, and bsvd is asked for
// its mempool when there is room again.
func (s *Source) Transactions() <-chan []byte { return s.txs }

// Wake implements [chainwatch.Source].
func (s *Source) Wake() <-chan struct{} { return s.wake }

// RequestMempool has everything delivered again that the nodes hold in their
// mempools: after a reorganisation no node announces what went back there. Only
// bsvd can be asked, at most three times at once and then every
// Config.MempoolEvery; from others a transaction comes again when it is
// announced again.
func (s *Source) RequestMempool() {
	s.inventory.clearSeen()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.sessions {
		s.askMempool(p)
	}
}

// askMempool asks a node for its mempool if it is one that may be asked.
func (s *Source) askMempool(p *session) {
	if p.isBSVD() {
		kick(p.askMempool)
	}
}

// Status implements [chainwatch.Source]. Height is the highest that a node
// claimed when it was connected.
func (s *Source) Status() chainwatch.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	up := s.inOrder()
	st := chainwatch.Status{Connected: len(up), Height: -1, Trouble: s.trouble()}
	for _, p := range s.slots {
		st.Height = max(st.Height, p.height)
		st.Nodes = append(st.Nodes, chainwatch.Node{Address: p.addr, Height: p.height, Connected: slices.ContainsFunc(up, func(c *session) bool { return c.slot == p })})
	}
	if ns := s.heard.Load(); ns != 0 {
		st.LastHeard = time.Unix(0, ns)
	}
	return st
}

// trouble describes the first node that isn't connected though it was tried, or
// else the first whose announcements were passed over.
func (s *Source) trouble() string {
	down := 0
	var first *slot
	for _, p := range s.slots {
		if p.err == nil {
			continue
		}
		if down++; first == nil {
			first = p
		}
	}
	switch {
	case first == nil:
		return s.missed()
	case down < len(s.slots):
		return fmt.Sprintf("%d of %d nodes not connected: %s", down, len(s.slots), first.trouble())
	default:
		return first.trouble()
	}
}

func (s *Source) missed() string {
	for _, p := range s.inOrder() {
		if n := p.missed.Load(); n > 0 {
			return fmt.Sprintf("node %s announces transactions faster than they are read: %d were passed over", p.slot.addr, n)
		}
	}
	return ""
}

// joined makes a connection available after its handshake.
func (s *Source) joined(p *session) {
	s.inventory.join(p.id)
	s.mu.Lock()
	s.sessions[p.id] = p
	p.slot.err, p.slot.network = nil, nil
	p.slot.height = max(p.slot.height, p.height)
	s.changed.tell()
	s.mu.Unlock()
	s.log.Info("connected to a node", "peer", p.slot.addr, "agent", p.agent, "height", p.height)
	s.askMempool(p)
	kick(s.wake)
}

func (s *Source) left(p *session) {
	s.mu.Lock()
	delete(s.sessions, p.id)
	s.changed.tell()
	s.mu.Unlock()
	s.kick(s.inventory.leave(p.id)...)
}

// connected returns the connections in the order of the configuration, and waits
// until there is one.
func (s *Source) connected(ctx context.Context) ([]*session, error) {
	for {
		s.mu.Lock()
		list := s.inOrder()
		changed, ended, trouble := s.changed.next(), s.ended, s.trouble()
		s.mu.Unlock()
		if ended {
			return nil, ErrEnded
		}
		if len(list) > 0 {
			return list, nil
		}
		if err := await(ctx, changed, trouble); err != nil {
			return nil, err
		}
	}
}

// inOrder leaves out connections that have ended while their reader still waits
// for room in the queue.
func (s *Source) inOrder() []*session {
	list := make([]*session, 0, len(s.sessions))
	for _, p := range s.sessions {
		if p.ctx.Err() == nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *session) int { return cmp.Compare(a.slot.index, b.slot.index) })
	return list
}

func await(ctx context.Context, changed <-chan struct{}, trouble string) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		if trouble == "" {
			return fmt.Errorf("wait for a node: %w", ctx.Err())
		}
		return fmt.Errorf("wait for a node (%s): %w", trouble, ctx.Err())
	}
}

// takeTurn chooses the connection to ask for a block: of the nodes that were not
// tried and are free the one that failed least, in turn. It returns nil when all
// that are connected were tried, and waits while none is connected or all are
// busy.
func (s *Source) takeTurn(ctx context.Context, tried map[*slot]bool) (*session, error) {
	for {
		s.mu.Lock()
		chosen, untried := s.choose(tried)
		changed, ended, trouble := s.changed.next(), s.ended, s.trouble()
		s.mu.Unlock()
		switch {
		case ended:
			return nil, ErrEnded
		case chosen != nil:
			return chosen, nil
		case untried == 0 && len(tried) > 0:
			return nil, nil
		}
		if err := await(ctx, changed, trouble); err != nil {
			return nil, err
		}
	}
}

func (s *Source) choose(tried map[*slot]bool) (chosen *session, untried int) {
	rank := func(p *session) int { // the node after the last that served comes first
		return p.slot.failures*len(s.slots) + (p.slot.index-s.turn+len(s.slots))%len(s.slots)
	}
	for _, p := range s.inOrder() {
		if tried[p.slot] {
			continue
		}
		untried++
		if len(p.blockTurn) == 0 && (chosen == nil || rank(p) < rank(chosen)) {
			chosen = p
		}
	}
	if chosen != nil {
		chosen.blockTurn <- struct{}{} // never waits: turns are taken under the lock
		s.turn = (chosen.slot.index + 1) % len(s.slots)
	}
	return chosen, untried
}

func (s *Source) freeTurn(p *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	<-p.blockTurn
	s.changed.tell()
}

// blockFailed puts a node behind the others for the next blocks.
func (s *Source) blockFailed(p *slot) {
	const most = 1000
	s.mu.Lock()
	defer s.mu.Unlock()
	p.failures = min(p.failures+1, most)
}

func (s *Source) blockServed(p *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.failures = 0
}
