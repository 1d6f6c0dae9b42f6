package api

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

// A subscription is what one connection wants to be told. It is live, and then
// events go to the connection's queue as they come; or it is behind, and the
// connection's own writer reads them from the store, while the newest are kept at
// the gate. The hub's lock guards it.
//
// The way from the one to the other has no gap and tells nothing twice: the gate
// opens, then a snapshot is read to its last event C; what the gate got in the
// meantime beyond C follows in order, and the subscription is live. When the
// gate is full, another snapshot is read.
type subscription struct {
	conn  *conn
	bell  chan struct{} // of a listener, which reads the log by itself: it has no conn
	id    string
	voice *voice
	match *matcher
	mark  int64 // of the last event that it was a candidate for
	ended bool

	gated    bool // behind
	gate     []told
	gateFull bool
	openAt   int64 // the hub's cursor when the gate was opened
	after    int64 // all up to here has been told from history
	sent     int64 // all up to here has, or is being told
	since    int32 // no history below this height
	left     int   // events of history that may still be told; -1: all
	trail    trail // through history
	caughtUp bool
	lagging  time.Time // since when it is behind for being slow; zero when it isn't
	moves    []told    // of names, untold while behind
}

// hand gives an event to the subscription.
func (sub *subscription) hand(t told) {
	switch {
	case sub.ended:
	case sub.bell != nil:
		sub.ring()
	case !sub.gated && (t.move || t.seq > sub.after): // history may be ahead of the hub
		sub.conn.hub.counts.live++
		sub.conn.push(sub, t)
	case !sub.gated:
	case t.move:
		sub.keepMove(t)
	case len(sub.gate) >= gateEvents:
		sub.gate, sub.gateFull = nil, true
	case !sub.gateFull:
		sub.gate = append(sub.gate, t)
	}
}

func (sub *subscription) keepMove(t told) {
	if len(sub.moves) >= gateEvents {
		sub.moves = sub.moves[1:]
	}
	sub.moves = append(sub.moves, t)
}

// fallBehind makes a live subscription read from the store after a seq. The
// locks of hub and connection are held.
func (sub *subscription) fallBehind(after int64) {
	if sub.gated || sub.ended {
		return
	}
	sub.gated, sub.after, sub.gate, sub.gateFull = true, after, nil, true
	sub.lagging = time.Now()
	sub.conn.hub.counts.resumes++
	sub.conn.behind, sub.conn.slow = append(sub.conn.behind, sub), true
}

// phase returns the index into the voice's heads.
func (sub *subscription) phase() int {
	if sub.caughtUp {
		return 1
	}
	return 0
}

// shown shortens what a client said for an answer to it.
func shown(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// do carries out one request.
func (c *conn) do(req client.Request) error {
	if most := c.server.limits.IDBytes; len(req.ID) > most {
		return badRequest("bad_id", "an id may have %d bytes", most)
	}
	switch req.Type {
	case "hello", "ping":
		c.reply(client.Reply{Type: "ok", ID: req.ID})
		return nil
	case "sub", "mod":
		if err := c.quota.charge(1); err != nil {
			return err
		}
		if req.Type == "mod" {
			return c.modify(req)
		}
		return c.subscribe(req)
	case "unsub":
		return c.unsubscribe(req)
	case "pub":
		return c.publish(req)
	}
	return badRequest("bad_frame", "the type %q is none of hello, sub, mod, unsub, pub, ping", shown(req.Type))
}

// A beginning says where a subscription starts, as read in one snapshot.
type beginning struct {
	now   bool
	after int64
	since int32
}

func (c *conn) subscribe(req client.Request) error {
	switch {
	case req.ID == "":
		return badRequest("bad_id", "a sub needs an id of 1 to %d bytes", c.server.limits.IDBytes)
	case req.Limit < 0:
		return badRequest("bad_limit", "limit can't be negative")
	case req.Since < 0:
		return badRequest("bad_since", "since can't be negative: it counts seconds from 1970")
	}
	match, err := c.server.matcher(req.Filter)
	if err != nil {
		return err
	}
	names := match.names()
	if err := c.reserve(req.ID, match); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.server.timing.Request)
	defer cancel()
	var begin beginning
	err = c.server.read(ctx, func(v *view) (err error) {
		if begin, err = v.beginning(req); err != nil {
			return err
		}
		return c.learn(v, names)
	})
	if err != nil {
		c.hub.mu.Lock()
		c.hub.unfollow(names)
		c.wants.shrink(match.weight())
		c.hub.mu.Unlock()
		return err
	}
	sub := &subscription{
		conn: c, id: req.ID, match: match, after: begin.after, since: begin.since, left: -1,
	}
	if req.Limit > 0 {
		sub.left = req.Limit
	}
	c.begin(sub, begin.now)
	return nil
}

// reserve checks that a subscription may be added, and follows its names.
func (c *conn) reserve(id string, match *matcher) error {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	if c.subs[id] != nil {
		return badRequest("sub_exists", "there is a subscription %q on this connection already", id)
	}
	if len(c.subs) >= c.server.limits.Subscriptions {
		return badRequest("too_many", "a connection may have %d subscriptions", c.server.limits.Subscriptions)
	}
	if err := c.allows(match, nil); err != nil {
		return err
	}
	if err := c.wants.grow(match.weight()); err != nil {
		return err
	}
	c.hub.follow(match.names())
	return nil
}

// allows checks that a connection may want so much, beside what its
// subscriptions but one want. The hub's lock is held.
func (c *conn) allows(match *matcher, but *subscription) error {
	n, most := match.values(), c.server.limits.Values
	for _, sub := range c.subs {
		if sub != but {
			n += sub.match.values()
		}
	}
	if n > most {
		return badRequest("too_many", "the filters of a connection may have %d values together", most)
	}
	return nil
}

func (c *conn) learn(v *view, names []string) error {
	found, err := v.holders(names)
	if err != nil {
		return err
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.hub.learn(names, found)
	return nil
}

// beginning reads where a request starts: at a cursor, at a time, at the start
// or now.
func (v *view) beginning(req client.Request) (b beginning, err error) {
	given := 0
	for _, is := range []bool{req.Cursor != "", req.Since != 0, req.From != ""} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return b, badRequest("bad_frame", "only one of cursor, since and from can be given")
	case req.Cursor != "":
		if b.after, err = parseCursor(req.Cursor, eventCursor, v.epoch); err != nil {
			return b, err
		}
		last, err := v.LastSeq()
		if err != nil {
			return b, err
		}
		return b, checkAhead(b.after, last)
	case req.Since != 0:
		b.since, err = v.heightAt(req.Since)
		return b, err
	case req.From == "start":
		return b, nil
	case req.From == "" || req.From == "now":
		b.now = true
		return b, nil
	}
	return b, badRequest("bad_frame", "from %q is neither now nor start", shown(req.From))
}

// heightAt returns the height of the first block whose median time is not before
// a time; that of the next block when there is none yet.
func (v *view) heightAt(when int64) (int32, error) {
	var failed error
	height := sort.Search(int(v.tip.Height)+1, func(h int) bool {
		b, err := v.BlockAt(int32(h))
		if err != nil && !errors.Is(err, index.ErrNotFound) { // an index may begin above block 0
			failed = err
		}
		return err == nil && b.MedianTime >= when
	})
	return int32(height), failed
}

// begin enters a subscription: live at once when it starts now, else behind.
func (c *conn) begin(sub *subscription, now bool) {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	c.reply(client.Reply{Type: "ok", ID: sub.id})
	if c.subs == nil {
		c.subs = map[string]*subscription{}
	}
	c.subs[sub.id] = sub
	sub.voice = h.voice(sub.id)
	h.wanted.enter(sub)
	if !now {
		sub.gated, sub.gateFull = true, true
		c.behind = append(c.behind, sub)
		c.mu.Lock()
		c.slow = true
		c.wake()
		c.mu.Unlock()
		return
	}
	sub.caughtUp = true
	c.reply(sub.caughtUpAt(h.cursor))
}

// caughtUpAt says that the history up to a seq has been told.
func (sub *subscription) caughtUpAt(seq int64) client.Reply {
	h := sub.conn.hub
	r := client.Reply{Type: "caught_up", Complete: true, Names: h.resolved(sub.conn.server.network, sub.match.names())}
	r.Sub, r.Cursor = sub.id, cursor{eventCursor, h.epoch, seq}.String()
	return r
}

func (c *conn) find(id string) (*subscription, error) {
	sub := c.subs[id]
	if sub == nil {
		return nil, badRequest("no_such_sub", "there is no subscription %q on this connection", shown(id))
	}
	return sub, nil
}

func (c *conn) unsubscribe(req client.Request) error {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	sub, err := c.find(req.Sub)
	if err != nil {
		return err
	}
	c.drop(sub)
	c.withdraw(sub)
	c.reply(client.Reply{Type: "ok", ID: req.ID})
	return nil
}

// modify changes the filters of a subscription from a cursor on, which the
// answer names.
func (c *conn) modify(req client.Request) error {
	if len(req.Add)+len(req.Remove) == 0 {
		return badRequest("bad_frame", "mod needs filters to add or to remove")
	}
	added := &matcher{}
	var err error
	if len(req.Add) > 0 {
		if added, err = c.server.matcher(req.Add); err != nil {
			return err
		}
	}
	names := added.names()
	c.hub.mu.Lock()
	c.hub.follow(names)
	c.hub.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, c.server.timing.Request)
	defer cancel()
	if len(names) > 0 {
		err = c.server.read(ctx, func(v *view) error { return c.learn(v, names) })
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	defer c.hub.unfollow(names) // the subscription follows them by itself now
	if err != nil {
		return err
	}
	return c.rematch(req, added)
}

func (c *conn) rematch(req client.Request, added *matcher) error {
	sub, err := c.find(req.Sub)
	if err != nil {
		return err
	}
	match, err := sub.match.without(req.Remove)
	if err != nil {
		return err
	}
	match.rules = append(match.rules, added.rules...)
	switch n := len(match.rules); {
	case n == 0:
		return badRequest("bad_filter", "no filter would be left: end the subscription with unsub")
	case n > c.server.limits.Filters:
		return badRequest("too_many", "a subscription may have %d filters", c.server.limits.Filters)
	}
	if err := c.allows(match, sub); err != nil {
		return err
	}
	if err := c.wants.grow(match.weight()); err != nil {
		return err
	}
	c.wants.shrink(sub.match.weight())
	h := c.hub
	h.follow(match.names())
	h.wanted.leave(sub)
	h.unfollow(sub.match.names())
	sub.match = match
	h.wanted.enter(sub)
	r := client.Reply{Type: "ok", ID: req.ID, Names: h.resolved(c.server.network, match.names())}
	r.Cursor = cursor{eventCursor, h.epoch, sub.turns()}.String()
	c.reply(r)
	return nil
}

// turns returns the last seq that another matcher than the present one judged.
func (sub *subscription) turns() int64 {
	if !sub.gated {
		return max(sub.conn.hub.cursor, sub.after) // history may be ahead of the hub
	}
	sub.gate, sub.gateFull = nil, true // the gate was kept by the other: another page is read
	return max(sub.after, sub.sent)
}

func (c *conn) publish(req client.Request) error {
	if c.server.cfg.Submit == nil {
		return errNoSubmit
	}
	if !c.writes {
		return errKeyRequired
	}
	if err := c.quota.charge(submitCost); err != nil {
		return err
	}
	raw, err := unhex([]byte(req.Tx))
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return badRequest("bad_frame", "pub needs tx: a raw transaction in hexadecimal")
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.server.timing.Request)
	defer cancel()
	done, err := c.server.submit(ctx, raw)
	if err != nil {
		return err
	}
	c.reply(client.Reply{Type: "ok", ID: req.ID, TxID: done.TxID, Indexed: done.Indexed, Frames: slices.Clip(done.Frames)})
	return nil
}
