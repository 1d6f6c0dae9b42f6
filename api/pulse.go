package api

import (
	"context"
	"time"

	"github.com/gorilla/websocket"
)

// beats is among how many moments of the time between pings the connections are
// spread.
const beats = 16

// pulse pings every connection once in the time between pings, until ctx ends.
func (h *hub) pulse(ctx context.Context, every time.Duration) {
	interval := max(every/beats, time.Millisecond)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	start := time.Now()
	for beat := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for ; beat < time.Since(start)/interval; beat++ { // a late ticker leaves some out
			for _, c := range h.on(uint8(beat % beats)) {
				c.ping()
			}
		}
	}
}

// on returns the connections that one beat pings.
func (h *hub) on(beat uint8) []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*conn
	for c := range h.conns {
		if c.beat == beat {
			all = append(all, c)
		}
	}
	return all
}

var pingFrame = appendFrame(nil, websocket.PingMessage)

func (c *conn) ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing && c.stage != opening && c.replies < repliesWaiting {
		c.add(item{told: told{text: pingFrame, whole: true}})
	}
}
