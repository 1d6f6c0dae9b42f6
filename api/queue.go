package api

import (
	"slices"

	"github.com/gorilla/websocket"
)

// An item is what one subscription is told, or without one a whole frame. What a
// subscription is told several times in a row is one item if it lies in one
// piece; its seq is that of the first.
type item struct {
	sub *subscription
	told
}

func (i *item) size() int {
	if i.whole {
		return len(i.text)
	}
	return len(i.sub.voice.head[1]) + len(i.text) // more or less: a header is missing
}

func (i *item) appendTo(out []byte) []byte {
	switch {
	case i.whole:
		return append(out, i.text...)
	case i.packed:
		return appendPacked(out, i.sub.voice.head[1], i.text)
	}
	return appendFrame(out, websocket.TextMessage, i.sub.voice.head[1], i.text)
}

// add puts a reply into the queue. The connection's lock is held.
func (c *conn) add(i item) {
	if c.stage == over {
		return
	}
	c.queue = append(c.queue, i)
	c.replies++
	c.wake()
}

// push queues what a subscription is told, to be written at the end of the
// hand-out. When the queue is full, the events in it are dropped: their
// subscriptions are behind and read from the store. The hub's lock is held.
func (c *conn) push(sub *subscription, t told) {
	i := item{sub: sub, told: t}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.stage == over {
		return
	}
	c.bytes += i.size()
	if !c.prolong(&i) {
		c.queue = append(c.queue, i)
	}
	if c.bytes > c.server.limits.QueueBytes {
		c.overflow()
	}
	if c.stage == idle {
		c.stage = queued
		c.hub.touched = append(c.hub.touched, c)
	}
}

// prolong joins what a subscription is told to the last item of the queue, if
// they lie in one piece.
func (c *conn) prolong(i *item) bool {
	if len(c.queue) == 0 {
		return false
	}
	last := &c.queue[len(c.queue)-1]
	if last.sub != i.sub || !last.whole || !i.whole {
		return false
	}
	text, ok := adjoin(last.text, i.text)
	if ok {
		last.text = text
	}
	return ok
}

// overflow drops the events in the queue. The locks of hub and connection are
// held.
func (c *conn) overflow() {
	dropped := c.queue
	c.queue, c.bytes = nil, 0
	for _, i := range dropped {
		switch {
		case i.sub == nil:
			c.queue = append(c.queue, i)
		case i.move:
			i.sub.fallBehind(i.seq)
			i.sub.keepMove(i.told)
		default:
			i.sub.fallBehind(i.seq - 1)
		}
	}
}

// withdraw takes out what an ended subscription would have been told.
func (c *conn) withdraw(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.DeleteFunc(c.queue, func(i item) bool { return i.sub == sub })
	c.bytes = 0
	for _, i := range c.queue {
		if i.sub != nil {
			c.bytes += i.size()
		}
	}
}

// waitForRoom waits while too many answers wait for whoever asked.
func (c *conn) waitForRoom() error {
	for {
		c.mu.Lock()
		if c.replies < repliesWaiting || c.stage == over {
			c.mu.Unlock()
			return nil
		}
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// take returns what is to be written, and whether it is the last. The
// connection's lock is held.
func (c *conn) take() (batch []item, last bool) {
	batch, c.queue, c.spare = c.queue, c.spare, nil
	c.bytes, c.replies = 0, 0
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	return batch, c.closing
}

// reuse keeps the memory of a queue that was written, if it is little. The
// connection's lock is held.
func (c *conn) reuse(batch []item) {
	clear(batch)
	if cap(batch) <= 4 {
		c.spare = batch[:0]
	}
}
