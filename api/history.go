package api

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

func (c *conn) put(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	raw := c.socket
	if err := c.allow(raw); err != nil {
		return err
	}
	_, err := raw.Write(out)
	return err
}

// allow sets the time that the next write may take. The lock keeps a bye, which
// shortens it, from being overruled.
func (c *conn) allow(raw net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.server.timing.Write
	if c.closing {
		wait = c.patience
	}
	return raw.SetWriteDeadline(time.Now().Add(wait))
}

// nextBehind returns the subscription whose turn it is to read history.
func (c *conn) nextBehind() *subscription {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	if len(c.behind) == 0 {
		return nil
	}
	sub := c.behind[0]
	c.behind = append(c.behind[1:], sub)
	return sub
}

// tooSlow closes the connection when a subscription has been behind for too
// long, and says where to go on.
func (c *conn) tooSlow(sub *subscription) bool {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	if sub.lagging.IsZero() || time.Since(sub.lagging) < c.server.timing.Slow {
		return false
	}
	c.hub.counts.slowCloses++
	c.mu.Lock()
	c.overflow()
	c.mu.Unlock()
	for _, b := range c.subs {
		at := b.after
		if !b.gated {
			at = max(at, c.hub.cursor)
		}
		c.reply(c.closed(b.id, client.CodeSlowConsumer, at))
	}
	c.bye(client.Reply{Type: "bye", Code: client.CodeSlowConsumer, Reconnect: true}, client.CloseSlow,
		client.CodeSlowConsumer+" "+cursor{eventCursor, c.hub.epoch, sub.after}.String())
	return true
}

func (c *conn) closed(id, code string, at int64) client.Reply {
	r := client.Reply{Type: "closed", Code: code}
	r.Sub, r.Cursor = id, cursor{eventCursor, c.hub.epoch, at}.String()
	return r
}

// A page is a piece of history as read from one snapshot.
type page struct {
	out  []byte // frames
	next int64  // all up to this seq is read
	end  bool   // of the log
	left int    // events that may still be told; -1: all
	told uint64 // events in out
}

// page reads a piece of history for a subscription and sends it. At the end of
// the log the subscription becomes live.
func (c *conn) page(sub *subscription) error {
	h := c.hub
	h.mu.Lock()
	if sub.ended {
		h.mu.Unlock()
		return nil
	}
	sub.gate, sub.gateFull, sub.openAt = nil, false, h.cursor
	reading := *sub // what the page is read by
	epoch := h.epoch
	h.mu.Unlock()

	ctx, cancel := context.WithTimeout(c.ctx, c.server.timing.Request)
	defer cancel()
	var p page
	err := c.server.read(ctx, func(v *view) (err error) {
		if v.epoch != epoch {
			return expired(eventCursor, v.epoch)
		}
		p, err = v.page(&reading)
		return err
	})
	if err != nil {
		return c.lose(sub, err)
	}
	if !sub.telling(reading.match, p.next) {
		return nil
	}
	if err := c.put(p.out); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.history += p.told
	if sub.ended {
		return nil
	}
	sub.after, sub.left = p.next, p.left
	sub.trail = reading.trail
	if !sub.caughtUp && p.left == 0 && !p.end {
		r := sub.caughtUpAt(p.next)
		r.Complete = false
		c.reply(r)
		c.reply(c.closed(sub.id, client.CodeLimit, p.next))
		c.drop(sub)
		return nil
	}
	if p.end {
		c.open(sub)
	}
	return nil
}

// telling takes note that a page up to a seq, read by a matcher, is about to be
// sent. It isn't, if the subscription has ended or wants something else by now:
// then it is read again.
func (sub *subscription) telling(by *matcher, upto int64) bool {
	h := sub.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if sub.ended || sub.match != by {
		return false
	}
	sub.sent = upto
	return true
}

// open lets a subscription that has read the log to its end go live, with what
// came to the gate since. The hub's lock is held.
func (c *conn) open(sub *subscription) {
	if !sub.caughtUp {
		sub.caughtUp, sub.left = true, -1
		c.reply(sub.caughtUpAt(sub.after))
	}
	if sub.gateFull || sub.after < sub.openAt {
		return // another page: the gate overflowed, or the snapshot was an old one
	}
	sub.gated = false
	for i, b := range c.behind {
		if b == sub {
			c.behind = append(c.behind[:i:i], c.behind[i+1:]...)
			break
		}
	}
	gate, moves := sub.gate, sub.moves
	sub.gate, sub.moves, sub.lagging, sub.trail = nil, nil, time.Time{}, trail{}
	for _, t := range moves {
		sub.hand(t)
	}
	for _, t := range gate {
		if t.seq > sub.after && !sub.gated {
			c.hub.counts.live++
			c.push(sub, t)
		}
	}
}

// lose ends a subscription whose history can't be read. Only a failed
// connection is an error.
func (c *conn) lose(sub *subscription, err error) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	p := c.server.explain(err, c.id)
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	r := c.closed(sub.id, p.Code, sub.after)
	if p.Code == client.CodeCursorExpired {
		r.Cursor = p.Cursor
	}
	r.Detail, r.Retryable, r.RetryAfterMS = p.Detail, p.Retryable, int64(p.RetryAfter)*1000
	if !sub.ended {
		c.reply(r)
		c.drop(sub)
	}
	return nil
}

// page reads events after sub.after as frames: so many as are asked of the store
// at once, or fewer when they are large.
func (v *view) page(sub *subscription) (page, error) {
	p := page{next: sub.after, left: sub.left}
	last, err := v.LastSeq()
	if err != nil {
		return p, err
	}
	t, err := v.timeline(sub.match.names())
	if err != nil {
		return p, err
	}
	q := sub.match.historyQuery(t)
	q.After = sub.after
	events, upto, err := sub.trail.next(v, q, last)
	if err != nil {
		return p, err
	}
	begin := sub.voice.head[sub.phase()]
	for _, ev := range events {
		if p.left == 0 || len(p.out) >= pageBytes {
			return p, nil
		}
		p.next = ev.Seq
		asked, ok := sub.match.match(v.occasion(ev), t.resolve, nil)
		if !ok || sub.early(ev) {
			continue
		}
		one := encoder{view: v, event: ev}
		tail, variant, err := one.tail(asked)
		if err != nil {
			return p, errors.Join(errors.New("write event"), err)
		}
		if packed := one.pack(sub.conn, variant); packed != nil {
			p.out = appendPacked(p.out, begin, packed)
		} else {
			p.out = appendFrame(p.out, websocket.TextMessage, begin, tail)
		}
		p.told++
		if p.left > 0 {
			p.left--
		}
	}
	p.next = max(p.next, upto) // an old snapshot may end before what was told
	p.end = upto >= last
	return p, nil
}

// early tells whether an event of history lies before the time that the
// subscription starts at.
func (sub *subscription) early(ev *index.Event) bool {
	if sub.since == 0 || sub.caughtUp {
		return false
	}
	height := ev.Height
	if ev.Entry != nil && ev.Entry.State == index.Confirmed {
		height = ev.Entry.Height
	}
	return height >= 0 && height < sub.since
}
