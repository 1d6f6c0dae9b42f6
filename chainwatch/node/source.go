package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

var (
	_ chainwatch.Source         = (*Source)(nil)
	_ chainwatch.MempoolWatcher = (*Source)(nil)
)

// A Source follows a chain through one node's RPC. Its methods may be called at
// any time and from any goroutine; Wake and Transactions receive while Run runs.
type Source struct {
	cfg   Config
	log   *slog.Logger
	rpc   *noderpc.Client
	turns chan struct{} // one for each question that may be open
	txs   chan []byte
	wake  chan struct{}
	poll  chan struct{} // asks for a look at the mempool; buffer of one
	pool  *pool

	mu      sync.Mutex
	started bool
	same    bool // the genesis block was compared
	noREST  bool
	tip     frame.Hash
	height  int32 // of the tip, -1 when unknown
	highest int32 // that the node ever had
	lost    string
	heard   time.Time
	err     error // of the last look at the best block
}

// New checks the configuration and returns a source; it connects to nothing.
func New(cfg Config) (*Source, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	rpc, err := noderpc.New(cfg.RPC)
	if err != nil {
		return nil, err
	}
	return &Source{
		cfg: cfg, log: cfg.Logger, rpc: rpc, turns: make(chan struct{}, cfg.Concurrency), txs: make(chan []byte, 16),
		wake: make(chan struct{}, 1), poll: make(chan struct{}, 1), pool: newPool(), height: -1, highest: -1,
	}, nil
}

// Run implements [chainwatch.Source]. It returns nil when ctx ends, and a
// *NetworkError when the node is of another network. It can be called once.
func (s *Source) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("the source was started before")
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watchTip(gctx) })
	g.Go(func() error { return s.watchMempool(gctx) })
	for _, address := range s.cfg.ZMQ {
		g.Go(func() error { return s.listen(gctx, address) })
	}
	err := g.Wait()
	s.rpc.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Transactions implements [chainwatch.Source].
func (s *Source) Transactions() <-chan []byte { return s.txs }

// Wake implements [chainwatch.Source].
func (s *Source) Wake() <-chan struct{} { return s.wake }

// RequestMempool has everything delivered again that the node holds in its
// mempool.
func (s *Source) RequestMempool() {
	s.pool.forgetAll()
	kick(s.poll)
}

// Mempool implements [chainwatch.MempoolWatcher].
func (s *Source) Mempool(ctx context.Context) (list []frame.Hash, err error) {
	err = s.ask(ctx, func() (err error) {
		list, err = s.rpc.GetRawMempool(ctx)
		return err
	})
	return list, err
}

// Status implements [chainwatch.Source].
func (s *Source) Status() chainwatch.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := chainwatch.Status{Height: s.height, LastHeard: s.heard, Trouble: s.trouble()}
	if s.same && s.err == nil {
		st.Connected = 1
	}
	st.Nodes = []chainwatch.Node{{Address: s.rpc.URL(), Connected: st.Connected == 1, Height: st.Height}}
	return st
}

func (s *Source) trouble() string {
	url := s.rpc.URL()
	var network *NetworkError
	switch {
	case s.err == nil && s.lost == "":
		return ""
	case s.err == nil:
		return s.lost
	case errors.As(s.err, &network):
		return network.Error()
	case errors.Is(s.err, noderpc.ErrUnauthorized):
		return fmt.Sprintf("node %s refuses the user or the password", url)
	case errors.Is(s.err, noderpc.ErrBusy):
		return fmt.Sprintf("node %s is busy or still starting: %v", url, s.err)
	case errors.Is(s.err, noderpc.ErrUnreachable):
		return fmt.Sprintf("node %s doesn't answer: %v", url, s.err)
	}
	return fmt.Sprintf("node %s: %v", url, s.err)
}

// watchTip looks at the best block, and wakes when it is another one or the node
// is back.
func (s *Source) watchTip(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		err := s.lookAtTip(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var network *NetworkError
		if s.looked(err); errors.As(err, &network) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// looked keeps what a look ended with.
func (s *Source) looked(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.err != nil:
		s.log.Info("the node answers again", "node", s.rpc.URL())
		s.noREST = false // it may run otherwise now
		kick(s.wake)
	case err != nil && s.err == nil:
		s.log.Warn("the node fails", "node", s.rpc.URL(), "error", err)
	}
	if s.err = err; err == nil {
		s.heard = time.Now()
	} else {
		s.same = false // another node may stand there when it is back
	}
}

func (s *Source) lookAtTip(ctx context.Context) error {
	if err := s.compareNetwork(ctx); err != nil {
		return err
	}
	var tip frame.Hash
	err := s.ask(ctx, func() (err error) {
		tip, err = s.rpc.GetBestBlockHash(ctx)
		return err
	})
	s.mu.Lock()
	before := s.tip
	s.mu.Unlock()
	if err != nil || tip == before {
		return err
	}
	height, _, err := s.heightOnBest(ctx, tip)
	if err != nil {
		return err
	}
	lost, err := s.lostSince(ctx, before, height)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tip, s.height = tip, height
	switch {
	case lost:
		s.lost = fmt.Sprintf("node %s has lost blocks: it is at height %d and was at %d; it was wiped or put back to an older state",
			s.rpc.URL(), height, s.highest)
		s.log.Warn("the node has lost blocks", "node", s.rpc.URL(), "height", height, "before", s.highest)
	case height >= s.highest:
		s.lost = ""
	}
	s.highest = max(s.highest, height)
	kick(s.wake)
	return nil
}

// lostSince tells whether the node has forgotten what was its best block: after a
// reorganisation it still has it.
func (s *Source) lostSince(ctx context.Context, before frame.Hash, height int32) (bool, error) {
	s.mu.Lock()
	lower := height < s.highest
	s.mu.Unlock()
	if !lower || before == (frame.Hash{}) {
		return false, nil
	}
	err := s.ask(ctx, func() error {
		_, err := s.rpc.GetBlockHeader(ctx, before)
		return err
	})
	if errors.Is(err, noderpc.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// compareNetwork asks a node that wasn't asked yet for its genesis block.
func (s *Source) compareNetwork(ctx context.Context) error {
	s.mu.Lock()
	same := s.same
	s.mu.Unlock()
	if same {
		return nil
	}
	var genesis frame.Hash
	err := s.ask(ctx, func() (err error) {
		genesis, err = s.rpc.GetBlockHash(ctx, 0)
		return err
	})
	if err != nil {
		return err
	}
	if genesis != s.cfg.Params.Genesis.Hash() {
		return &NetworkError{Node: s.rpc.URL(), Got: genesis, Want: s.cfg.Params.Network}
	}
	s.mu.Lock()
	s.same = true
	s.mu.Unlock()
	return nil
}

// ask waits for a turn and asks; a node that is busy is asked again, a few times.
func (s *Source) ask(ctx context.Context, question func() error) error {
	const tries = 5
	wait := 20 * time.Millisecond
	for i := 1; ; i++ {
		err := s.askOnce(ctx, question)
		if !errors.Is(err, noderpc.ErrBusy) || i == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func (s *Source) askOnce(ctx context.Context, question func() error) error {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
		return question()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kick fills a channel with a buffer of one.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
