package chainwatch

import (
	"fmt"
	"sync"
	"time"

	"github.com/metaim/metaim/index"
)

// Health is how a follower is doing, for people and for readiness checks.
type Health struct {
	Synced  bool          // the index was at the best tip known when last asked
	Height  int32         // of the index's tip
	Best    int32         // height of the best branch known
	Since   time.Duration // since the source last answered
	Trouble string        // a sentence when something is wrong, else empty

	Proved     uint64 // frames of blocks whose signatures were proved since the start
	Remembered uint64 // frames of blocks that had been proved while unconfirmed
}

type health struct {
	mu      sync.Mutex
	h       Health
	asked   time.Time
	started bool
}

func (h *health) at(tip index.Tip, best int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Height, h.h.Best = tip.Height, best
}

func (h *health) connected(b *index.Block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Height = b.Height
}

// proving counts frames of blocks.
func (h *health) proving(proved, remembered int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Proved += uint64(proved)
	h.h.Remembered += uint64(remembered)
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
	}
	// A round that waits for a node has not ended, and says nothing yet.
	if t := f.source.Status().Trouble; t != "" {
		h.Synced, h.Trouble = false, t
	}
	if !f.health.asked.IsZero() {
		h.Since = time.Since(f.health.asked)
	}
	return h
}

// trouble says what the source complains of, or that it lost the index's branch.
func (f *Follower) trouble() string {
	if t := f.source.Status().Trouble; t != "" {
		return t
	}
	return f.lost()
}

// lost says when no node has the block that the index ends with: they are still
// syncing, or were wiped. The index keeps what it has.
func (f *Follower) lost() string {
	if f.known {
		return ""
	}
	hash, height := f.chain.Best()
	return fmt.Sprintf("no node has block %d (%s), the last one known here: the node is still syncing, was wiped or follows another chain; the index is kept as it is",
		height, hash)
}
