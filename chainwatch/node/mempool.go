package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// A pool knows which transactions were delivered: those of the mempool as it was
// listed last, and those that came since.
type pool struct {
	mu        sync.Mutex
	round     uint64
	delivered map[frame.Hash]uint64 // the round in which it was
}

func newPool() *pool { return &pool{delivered: map[frame.Hash]uint64{}} }

// claim tells whether a transaction is still to be delivered, and notes that it
// is by whoever asked.
func (p *pool) claim(txid frame.Hash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.delivered[txid]; ok {
		return false
	}
	p.delivered[txid] = p.round
	return true
}

func (p *pool) forget(txid frame.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.delivered, txid)
}

func (p *pool) forgetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.delivered)
}

// begin begins a round: what is delivered from now on may be missing in the list
// that is asked for.
func (p *pool) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
}

// keep forgets what isn't in the list: when it comes back, it is news.
func (p *pool) keep(list []frame.Hash) {
	there := make(map[frame.Hash]struct{}, len(list))
	for _, txid := range list {
		there[txid] = struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.delivered, func(txid frame.Hash, round uint64) bool {
		_, ok := there[txid]
		return !ok && round < p.round
	})
}

// watchMempool looks at the mempool every Config.Poll, and at once when asked.
func (s *Source) watchMempool(ctx context.Context) error {
	for {
		began := time.Now()
		err := s.lookAtMempool(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.log.Debug("the mempool can't be had", "node", s.rpc.URL(), "error", err) // watchTip tells of a node that fails
		}
		// A node with a long list is not kept busy with it.
		timer := time.NewTimer(max(s.cfg.Poll-time.Since(began), s.cfg.Poll/4, time.Since(began)))
		select {
		case <-timer.C:
		case <-s.poll:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (s *Source) lookAtMempool(ctx context.Context) error {
	if err := s.compareNetwork(ctx); err != nil {
		return err // its transactions may be of another network
	}
	s.pool.begin()
	list, err := s.Mempool(ctx)
	if err != nil {
		return err
	}
	s.pool.keep(list)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Concurrency)
	for _, txid := range list {
		if !s.pool.claim(txid) {
			continue
		}
		g.Go(func() error { return s.fetch(gctx, txid) })
	}
	return g.Wait()
}

// fetch delivers a transaction that was claimed.
func (s *Source) fetch(ctx context.Context, txid frame.Hash) error {
	var raw []byte
	err := s.ask(ctx, func() (err error) {
		raw, err = s.rpc.GetRawTransaction(ctx, txid)
		return err
	})
	if err == nil && frame.HashOf(raw) != txid {
		err = fmt.Errorf("%w: it sends another transaction than %s", noderpc.ErrAnswer, txid)
	}
	if err == nil && int64(len(raw)) > s.cfg.MaxTx {
		s.log.Warn("a transaction is over the limit", "txid", txid, "bytes", len(raw))
		return nil // claimed: it isn't fetched again and again
	}
	if err != nil {
		s.pool.forget(txid)
		var said *noderpc.RPCError
		if errors.As(err, &said) && !errors.Is(err, noderpc.ErrBusy) {
			return nil // it has left the mempool meanwhile
		}
		return err
	}
	return s.deliver(ctx, txid, raw)
}

// deliver hands a transaction that was claimed to whoever reads Transactions.
func (s *Source) deliver(ctx context.Context, txid frame.Hash, raw []byte) error {
	select {
	case s.txs <- raw:
		return nil
	case <-ctx.Done():
		s.pool.forget(txid)
		return ctx.Err()
	}
}
