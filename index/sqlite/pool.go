package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A pool holds the connections that read: each View has one for itself. They are
// opened as they are needed, up to a number; beyond it a View waits for its turn.
type pool struct {
	open   func() (*conn, error)
	turns  chan struct{} // one for each connection in use
	closed chan struct{}

	mu   sync.Mutex
	idle []*conn // the last used is the next: its cache is warm
	done bool
}

func newPool(most int, open func() (*conn, error)) *pool {
	return &pool{open: open, turns: make(chan struct{}, most), closed: make(chan struct{})}
}

// take returns a connection for give to take back.
func (p *pool) take(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil { // select would toss a coin
		return nil, err
	}
	select {
	case <-p.closed:
		return nil, ErrClosed
	default:
	}
	select {
	case p.turns <- struct{}{}:
	case <-p.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := p.last(); c != nil {
		return c, nil
	}
	c, err := p.open()
	if err != nil {
		<-p.turns
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return c, nil
}

func (p *pool) last() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

// give ends what the connection was doing, and keeps it. A connection that can't
// end its snapshot would show it to the next: it is thrown away.
func (p *pool) give(c *conn) {
	c.db.SetInterrupt(nil)
	err := c.rollback()
	p.mu.Lock()
	keep := err == nil && !p.done
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		_ = c.close()
	}
	<-p.turns
}

// close closes the connections that nobody uses; those in use are closed when they
// are given back.
func (p *pool) close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.done = nil, true
	p.mu.Unlock()
	close(p.closed)
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}
