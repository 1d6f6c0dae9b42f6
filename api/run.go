package api

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Run reads the log of events and hands them out until ctx ends. Then it says
// bye to every connection and waits until all are closed.
func (s *Server) Run(ctx context.Context) error {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	helpers.Go(s.hub.crew.run)
	defer s.hub.crew.end()
	helpers.Go(func() { s.hub.pulse(ctx, s.timing.Ping) })
	tick := time.NewTicker(s.timing.Poll)
	defer tick.Stop()
	for started := false; ; {
		var err error
		if started {
			err = s.advance(ctx)
			s.gather(ctx)
		} else if err = s.start(ctx); err == nil {
			started = true
		}
		if err == nil {
			s.counts.read.Store(time.Now().UnixNano())
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("events can't be read; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			s.sayBye(client.CodeShutdown, true)
			s.hub.joined.Wait()
			return nil
		case <-s.cfg.Wake:
		case <-tick.C:
		}
	}
}

// gather waits a moment for more events, if some were just handed out: many at
// once cost less, and after a quiet time the first is told without delay.
func (s *Server) gather(ctx context.Context) {
	if !s.hub.handOut() {
		return
	}
	timer := time.NewTimer(s.timing.Gather)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// start begins with the last event that the log has now.
func (s *Server) start(ctx context.Context) error {
	return s.read(ctx, func(v *view) error {
		last, err := v.LastSeq()
		if err != nil {
			return err
		}
		h := s.hub
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ctx, h.epoch, h.cursor, h.tip = ctx, v.epoch, last, v.tip
		return nil
	})
}

// sayBye closes every connection; done says that no more are taken.
func (s *Server) sayBye(code string, done bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if done {
		h.ctx = nil
	}
	for c := range h.conns {
		after := rand.Int64N(int64(s.timing.ByeAfter)) //nolint:gosec // spreads load, no secret
		c.bye(client.Reply{Type: "bye", Code: code, Reconnect: true, AfterMS: time.Duration(after).Milliseconds()},
			client.CloseReconnect, code)
		c.cancel()
	}
	for li := range h.listeners {
		after := rand.Int64N(int64(s.timing.ByeAfter)) //nolint:gosec // spreads load, no secret
		li.end(client.Bye{Code: code, Reconnect: true, AfterMS: time.Duration(after).Milliseconds()})
	}
}

// A batch is what one snapshot says after a place in the log.
type batch struct {
	idle   bool // nobody was connected, so no events were read
	view   *view
	last   int64
	events []*index.Event
	names  []string                 // to be resolved anew, because the tip is new
	found  map[string]frame.KeyHash // who holds them
}

// advance hands out all events up to the end of the log.
func (s *Server) advance(ctx context.Context) error {
	for {
		b, err := s.next(ctx)
		if err != nil {
			return err
		}
		if !s.sameHistory(b) {
			return nil
		}
		if b.idle && s.hub.skip(b) {
			return nil
		}
		if b.idle {
			continue // somebody came in the meantime
		}
		for _, ev := range b.events {
			if err := s.hub.tell(b.view, ev, b.last-ev.Seq); err != nil {
				s.log.Error("event can't be written", "seq", ev.Seq, "error", err)
			}
		}
		if len(b.events) < readAtOnce {
			s.hub.reconcile(b.view, b.names, b.found)
			return nil
		}
		if s.hub.said() >= chunkBytes {
			s.hub.handOut()
		}
	}
}

// next reads the events after the hub's cursor.
func (s *Server) next(ctx context.Context) (*batch, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.Request)
	defer cancel()
	h := s.hub
	b := &batch{}
	h.mu.Lock()
	after, tip := h.cursor, h.tip
	b.idle = len(h.conns)+len(h.listeners) == 0
	h.mu.Unlock()
	err := s.read(ctx, func(v *view) (err error) {
		b.view = v
		if b.last, err = v.LastSeq(); err != nil || b.idle || b.last == after && v.tip.Hash == tip.Hash {
			return err // or nothing is new
		}
		if b.events, err = v.Events(index.EventQuery{After: after, Limit: readAtOnce}); err != nil {
			return err
		}
		if len(b.events) == readAtOnce || v.tip.Hash == tip.Hash {
			return nil
		}
		b.names = h.followed()
		b.found, err = v.holders(b.names)
		return err
	})
	return b, err
}

// skip passes over what nobody listens to, if that is still so.
func (h *hub) skip(b *batch) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns)+len(h.listeners) > 0 {
		return false
	}
	h.cursor, h.tip = b.last, b.view.tip
	return true
}

// sameHistory tells whether a batch goes on where the hub is. When the index was
// made anew under us, everyone must come again and learn it from their cursors.
func (s *Server) sameHistory(b *batch) bool {
	h := s.hub
	h.mu.Lock()
	same := b.view.epoch == h.epoch && b.last >= h.cursor
	if !same {
		h.epoch, h.cursor, h.tip = b.view.epoch, b.last, b.view.tip
	}
	h.mu.Unlock()
	if !same {
		s.log.Warn("the index was made anew: all subscribers must start again")
		s.sayBye(client.CodeHistory, false)
	}
	return same
}
