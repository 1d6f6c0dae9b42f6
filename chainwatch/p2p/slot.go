package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A slot is a node of the configuration, connected or not.
type slot struct {
	source *Source
	index  int
	addr   string

	// Guarded by the source's lock.
	err      error         // why it isn't connected; nil while it is, or before the first attempt
	network  *NetworkError // it was last seen to be of another network
	height   int32         // highest claimed, -1 if unknown
	failures int           // blocks that it failed to give since it last gave one
}

func (p *slot) trouble() string {
	var network *NetworkError
	if errors.As(p.err, &network) {
		return network.Error()
	}
	return fmt.Sprintf("node %s: %v", p.addr, p.err)
}

// run keeps the node connected until ctx ends, or until every node has turned
// out to be of another network.
func (p *slot) run(ctx context.Context) error {
	cfg := &p.source.cfg
	wait := backoff{least: cfg.BackoffLeast, most: cfg.BackoffMost}
	for {
		lasted, err := p.connect(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if network := p.note(err); network != nil {
			return network
		}
		if lasted >= cfg.GoodSession {
			wait.reset()
		}
		pause := wait.next()
		p.source.log.Warn("node not connected", "peer", p.addr, "reason", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connect holds one connection, from dialling to its end, and tells how long it
// lasted after the handshake.
func (p *slot) connect(ctx context.Context) (lasted time.Duration, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, p.source.cfg.DialTimeout)
	defer cancel()
	conn, err := p.source.cfg.Dial(dialCtx, "tcp", p.addr)
	if err != nil {
		return 0, err
	}
	s := newSession(ctx, p.source, p, conn)
	if err = s.run(); s.established.IsZero() {
		return 0, err
	}
	return time.Since(s.established), err
}

// note keeps why the node isn't connected. It returns an error when no node can
// ever be of use.
func (p *slot) note(err error) error {
	s := p.source
	s.mu.Lock()
	defer s.mu.Unlock()
	p.err = err
	p.network = nil
	if !errors.As(err, &p.network) {
		return nil
	}
	for _, other := range s.slots {
		if other.network == nil {
			return nil
		}
	}
	return s.slots[0].network
}

// A backoff says how long to wait: twice as long each time, less a random part
// of up to a half, so that nodes aren't called by everybody at the same moment.
type backoff struct {
	least, most, now time.Duration
}

func (b *backoff) reset() { b.now = 0 }

func (b *backoff) next() time.Duration {
	b.now = min(max(2*b.now, b.least), b.most)
	return b.now - rand.N(b.now/2+1)
}
