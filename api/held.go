package api

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/metaim/metaim/api/client"
)

// A ledger counts the bytes that visitors make the server hold beside the little
// that each connection has: bodies and messages that are on their way, and what
// subscriptions ask for. It is bounded in all and for each visitor, so that one
// can't take what the others need.
type ledger struct {
	most, each int64

	mu  sync.Mutex
	all int64
	by  map[visitor]int64
}

func newLedger(most, each int64) *ledger {
	return &ledger{most: most, each: min(each, most), by: map[visitor]int64{}}
}

// take counts bytes of a visitor. An exempt one is bounded by what all may hold.
func (l *ledger) take(who visitor, exempt bool, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !exempt && l.by[who]+n > l.each {
		return &client.Problem{Status: http.StatusTooManyRequests, Code: "held_bytes", Retryable: true, RetryAfter: 5,
			Detail: fmt.Sprintf("this server holds %d bytes for one address: let what is on its way end, or ask for less", l.each)}
	}
	if l.all+n > l.most {
		return unavailable("this server holds as much as it can")
	}
	l.all += n
	l.by[who] += n
	return nil
}

func (l *ledger) give(who visitor, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all -= n
	if l.by[who] -= n; l.by[who] == 0 {
		delete(l.by, who)
	}
}

// A claim is what one request or connection has in the ledger. It belongs to a
// goroutine, or to who has the hub's lock. Without a ledger it counts nothing.
type claim struct {
	ledger *ledger
	who    visitor
	exempt bool
	n      int64
}

func (s *Server) claim(a *asking) claim {
	return claim{ledger: s.ledger, who: a.who, exempt: a.quota == nil}
}

func (h *claim) grow(n int64) error {
	if h.ledger == nil {
		return nil
	}
	if err := h.ledger.take(h.who, h.exempt, n); err != nil {
		return err
	}
	h.n += n
	return nil
}

func (h *claim) shrink(n int64) {
	if n != 0 && h.ledger != nil {
		h.ledger.give(h.who, n)
		h.n -= n
	}
}

func (h *claim) release() { h.shrink(h.n) }

// bodyFactor is how many bytes are held for one of a body: memory grows by
// doubling, and hexadecimal is decoded beside it.
const bodyFactor = 3

// A countedBody is a body that is counted as it comes.
type countedBody struct {
	from  io.Reader
	claim *claim
}

func (c *countedBody) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	if n > 0 {
		if full := c.claim.grow(bodyFactor * int64(n)); full != nil {
			return n, full
		}
	}
	return n, err
}

// What a subscription and each value in its filters are counted as, in bytes,
// beside the value itself: the tables that events are looked up in.
const (
	subscriptionBytes = 1024
	valueBytes        = 128
)

// weight returns how many bytes a subscription with this matcher is counted as.
func (m *matcher) weight() int64 {
	n := int64(subscriptionBytes)
	for _, r := range m.rules {
		for _, list := range lists(&r.given) {
			for _, value := range list {
				n += int64(valueBytes + len(value))
			}
		}
	}
	return n
}
