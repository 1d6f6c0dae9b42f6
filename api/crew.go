package api

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// A crew writes to all connections that can be written to at once: so many
// goroutines as there are processors, which never wait for a socket. What a
// socket doesn't take, and history, is left to a goroutine of the connection's
// own, which ends when it is through. So an idle connection has no writer, and
// to tell a thousand connections something wakes few goroutines.
type crew struct {
	mu    sync.Mutex
	work  sync.Cond // there is some, or no more will come
	free  sync.Cond // ready is empty
	ready []*conn   // to be written to, first come first served
	ended bool
}

func newCrew() *crew {
	w := &crew{}
	w.work.L, w.free.L = &w.mu, &w.mu
	return w
}

// add gives connections to the crew; their state says so already.
func (w *crew) add(conns ...*conn) {
	if len(conns) == 0 {
		return
	}
	w.mu.Lock()
	w.ready = append(w.ready, conns...)
	w.mu.Unlock()
	if len(conns) > 1 {
		w.work.Broadcast()
	} else {
		w.work.Signal()
	}
}

// settle waits until the crew has come to everything that it was given.
func (w *crew) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.ready) > 0 && !w.ended {
		w.free.Wait()
	}
}

// run lets the crew work until end.
func (w *crew) run() {
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(w.member)
	}
	all.Wait()
}

func (w *crew) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.work.Broadcast()
}

// turn is how many connections a member of the crew takes at once.
const turn = 16

func (w *crew) member() {
	var mine [turn]*conn
	p := pen{}
	for {
		n := w.take(mine[:])
		if n == 0 {
			return
		}
		for _, c := range mine[:n] {
			c.flush(&p)
		}
		clear(mine[:n])
	}
}

// take waits for connections; none says that the work is over.
func (w *crew) take(into []*conn) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.ready) == 0 {
		if w.ended {
			return 0
		}
		w.work.Wait()
	}
	// Half of what is there is left for others, so that all end together.
	n := copy(into, w.ready[:(len(w.ready)+1)/2])
	clear(w.ready[:n])
	if w.ready = w.ready[n:]; len(w.ready) == 0 {
		w.ready = nil
		w.free.Broadcast()
	}
	return n
}

// keptBytes is how large a buffer may be to be used again.
const keptBytes = 256 << 10

// A pen gathers what is written at once, in a buffer that it keeps.
type pen struct{ buffer []byte }

// gather returns what is queued as one piece of memory, valid until the next
// call.
func (p *pen) gather(batch []item) []byte {
	if len(batch) == 1 && batch[0].whole {
		return batch[0].text
	}
	out := p.buffer[:0]
	if cap(out) > keptBytes {
		out = nil
	}
	for i := range batch {
		out = batch[i].appendTo(out)
	}
	p.buffer = out
	return out
}

// pens are those of connections that write by themselves.
var pens = sync.Pool{New: func() any { return new(pen) }}

// A stage says who writes to a connection.
type stage uint8

const (
	opening stage = iota // nobody yet
	idle                 // nobody: there is nothing to write
	queued               // the crew, soon
	taken                // a goroutine of its own
	over                 // nobody any more
)

// wake has somebody write what is queued. The connection's lock is held.
func (c *conn) wake() {
	switch {
	case c.stage != idle:
	case c.slow:
		c.takeOver(nil)
	default:
		c.stage = queued
		c.hub.crew.add(c)
	}
}

// takeOver starts the connection's own writer, with what a write has left. The
// connection's lock is held.
func (c *conn) takeOver(rest []byte) {
	if c.gone {
		c.finish()
		return
	}
	c.stage = taken
	c.hub.joined.Add(1)
	go func() {
		defer c.hub.joined.Done()
		c.write(rest)
	}()
}

// finish says that nothing is written any more. The connection's lock is held.
func (c *conn) finish() {
	if c.stage == over {
		return
	}
	c.stage, c.queue, c.spare = over, nil, nil
	if c.farewell != nil {
		close(c.farewell)
	}
}

// flush writes what is queued as far as the socket takes it at once.
func (c *conn) flush(p *pen) {
	c.mu.Lock()
	if c.slow {
		c.takeOver(nil)
		c.mu.Unlock()
		return
	}
	batch, last := c.take()
	c.mu.Unlock()
	out := p.gather(batch)
	n, err := c.try(out)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.finish()
		_ = c.socket.Close() // the reader learns of it
	case n < len(out):
		c.takeOver(append([]byte(nil), out[n:]...))
	case last:
		c.finish() // the reader waits for the other side's close
	default:
		c.reuse(batch)
		c.stage = idle
		if len(c.queue) > 0 || c.slow { // more has come, or it came and was too much
			c.wake()
		}
	}
}

var errOver = errors.New("the connection is over")

// try writes without waiting, and tells how much was taken.
func (c *conn) try(out []byte) (int, error) {
	if len(out) == 0 {
		return 0, nil
	}
	if c.raw == nil {
		return 0, nil // not a socket, such as TLS: writing to it may wait
	}
	a := attempts.Get().(*attempt) //nolint:errcheck // the pool holds nothing else
	a.out, a.n, a.err = out, 0, nil
	err := c.raw.Write(a.do)
	n := a.n
	if err == nil {
		err = a.err
	}
	a.out = nil
	attempts.Put(a)
	return n, err
}

// An attempt is one write that doesn't wait; do is made once, for all of them.
type attempt struct {
	out []byte
	n   int
	err error
	do  func(fd uintptr) bool
}

var attempts = sync.Pool{New: func() any {
	a := &attempt{}
	a.do = func(fd uintptr) bool {
		a.n, a.err = writeNow(fd, a.out)
		return true // whether it was taken or not
	}
	return a
}}

// write is the connection's own writer: it drains the queue, and when that is
// empty reads history for one of the subscriptions that are behind. When there is
// neither, it ends.
func (c *conn) write(rest []byte) {
	p := pens.Get().(*pen) //nolint:errcheck // the pool holds nothing else
	defer pens.Put(p)
	err := c.put(rest)
	for err == nil {
		if c.ctx.Err() != nil && !c.isClosing() {
			err = context.Canceled
			break
		}
		sub := c.nextBehind() // before take: the answer to its request is in the queue then
		batch, last := c.takeAll()
		if err = c.put(p.gather(batch)); err != nil {
			break
		}
		switch {
		case last:
			err = errOver
		case sub != nil && !c.tooSlow(sub) && c.pay():
			if err = c.page(sub); c.isClosing() {
				err = nil // there are last words to be said
			}
		case sub == nil && len(batch) == 0 && c.rest():
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish()
	if !errors.Is(err, errOver) {
		_ = c.socket.Close() // the reader learns of it
	}
}

// unpaid is how long who has used up a quota waits at most until the queue is looked
// at again: history waits for the quota, news don't.
const unpaid = 50 * time.Millisecond

// pay pays for a page of history. It waits for a moment when that can't be.
func (c *conn) pay() bool {
	if c.quota == nil {
		return true
	}
	_, _, wait := c.quota.take(time.Now(), 1)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(min(wait, unpaid))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
	return false
}

func (c *conn) takeAll() (batch []item, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take()
}

// rest ends the connection's own writer if there is nothing left for it.
func (c *conn) rest() bool {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.behind) > 0 || len(c.queue) > 0 || c.closing {
		return false
	}
	c.slow, c.stage = false, idle
	_ = c.socket.SetWriteDeadline(time.Time{}) // the crew doesn't wait; an error shows at its write
	return true
}
