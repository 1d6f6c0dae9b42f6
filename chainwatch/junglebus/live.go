package junglebus

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	rest "github.com/metaim/metaim/internal/junglebus"
)

const slowest = 30 * time.Second // between attempts to connect

// errGap says that publications are missing in between.
var errGap = errors.New("publications of the mempool channel are missing: they are asked for")

// listen keeps the connection that tells of news.
func (s *Source) listen(ctx context.Context) error {
	for backoff := s.cfg.Backoff; ; backoff = min(2*backoff, slowest) {
		began := time.Now()
		err := s.hear(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.hearing(err)
		if errors.Is(err, errGap) && time.Since(began) > time.Second {
			backoff = s.cfg.Backoff
			continue
		}
		if time.Since(began) > slowest {
			backoff = s.cfg.Backoff
		}
		if err := rest.Sleep(ctx, backoff); err != nil {
			return err
		}
	}
}

// hearing keeps whether news come, and why not.
func (s *Source) hearing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && s.deaf == nil:
		s.log.Warn("the service's connection for news ended", "service", s.name, "error", err)
	case err == nil && s.deaf != nil:
		s.log.Info("the service's connection for news is there again", "service", s.name)
	}
	if s.deaf = err; err == nil {
		s.trust.Hear()
		s.trust.Kick() // what was told meanwhile was missed
	}
}

// hear connects and passes on what is told, until that fails.
func (s *Source) hear(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.subscribe("query:"+s.subscription+":control", place{}); err != nil {
		return err
	}
	channel := "query:" + s.subscription + ":mempool"
	from := s.mempool
	r, err := c.subscribe(channel, from)
	if err != nil {
		return err
	}
	if from.known && !r.recovered {
		s.log.Warn("the service didn't keep what it published while the connection was lost: unconfirmed messages of that time come with their blocks",
			"service", s.name)
		s.mempool = place{}
	}
	for _, p := range r.missed {
		if err := s.entered(ctx, p); err != nil {
			return err
		}
	}
	s.mempool = place{r.epoch, max(r.offset, s.mempool.offset), r.epoch != "" || r.offset > 0}
	s.hearing(nil)
	for {
		p, err := c.next()
		if err == nil {
			err = s.hearOne(ctx, p)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Source) hearOne(ctx context.Context, p publication) error {
	s.trust.Hear()
	if strings.HasSuffix(p.channel, ":mempool") {
		return s.entered(ctx, p)
	}
	c, err := readControl(p.data)
	if err != nil {
		return err
	}
	if c.code == codeReorg {
		s.mu.Lock()
		s.reorg = true
		clear(s.known)
		s.mu.Unlock()
		s.log.Info("the service tells of a reorganisation", "service", s.name, "height", c.block)
	}
	s.trust.Kick()
	return nil
}

// entered passes on a transaction that entered the mempool. It fails with errGap
// when others came before it that weren't told of here.
func (s *Source) entered(ctx context.Context, p publication) error {
	if p.offset > 0 && s.mempool.known {
		switch {
		case p.offset <= s.mempool.offset:
			return nil // told before
		case p.offset > s.mempool.offset+1:
			return errGap
		}
		s.mempool.offset = p.offset
	}
	t, err := readTold(clone(p).data)
	if err != nil {
		return err
	}
	raw, err := s.rawOf(ctx, &t)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("a transaction in the mempool is passed over until a block has it", "service", s.name, "error", s.failed(err))
		return nil
	}
	select {
	case s.txs <- raw:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) rawOf(ctx context.Context, t *told) ([]byte, error) {
	txid, err := frame.ParseHash(t.id)
	if err != nil {
		return nil, errAnswer
	}
	raw := t.raw
	if len(raw) == 0 {
		if raw, err = s.transaction(ctx, txid); err != nil {
			return nil, err
		}
	}
	if frame.HashOf(raw) != txid {
		return nil, s.trust.Lied("what it gives as transaction %s is another one", txid)
	}
	return raw, nil
}
