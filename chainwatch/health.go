package chainwatch

import (
	"fmt"
	"sync"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Health is how a follower is doing, for people and for readiness checks.
type Health struct {
	Synced  bool          // the index was at the best tip known when last asked
	Height  int32         // of the index's tip
	Behind  int32         // blocks known but not yet indexed
	Since   time.Duration // since the source last answered
	Trouble string        // a sentence when something is wrong, else empty
}

type health struct {
	mu      sync.Mutex
	h       Health
	asked   time.Time
	block   frame.Hash
	started bool
}

func (h *health) at(tip index.Tip, path []Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Height, h.h.Behind, h.block = tip.Height, int32(len(path)), tip.Hash
}

func (h *health) connected(b *index.Block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Behind = max(0, h.h.Behind-(b.Height-h.h.Height))
	h.h.Height, h.block = b.Height, b.Hash
}

func (h *health) synced(err error, trouble string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Synced, h.h.Trouble = err == nil && trouble == "", trouble
	if err != nil {
		h.h.Trouble = err.Error()
	} else {
		h.asked = time.Now()
	}
	h.started = true
}

// Health tells how the follower is doing.
func (f *Follower) Health() Health {
	f.health.mu.Lock()
	defer f.health.mu.Unlock()
	h := f.health.h
	if !f.health.started {
		h.Trouble = "starting"
		if t := f.source.Status().Trouble; t != "" {
			h.Trouble = t
		}
	}
	if !f.health.asked.IsZero() {
		h.Since = time.Since(f.health.asked)
	}
	return h
}

// trouble says when no node has the block that the index ends with: they are
// still syncing, or were wiped. The index keeps what it has.
func (f *Follower) trouble() string {
	if t := f.source.Status().Trouble; t != "" {
		return t
	}
	if f.known {
		return ""
	}
	hash, height := f.chain.Best()
	return fmt.Sprintf("no node has block %d (%s), the last one known here: the node is still syncing, was wiped or follows another chain; the index is kept as it is",
		height, hash)
}
