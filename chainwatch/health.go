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
	Passed     uint64 // unconfirmed transactions that there was no room for

	TipTime  time.Time     // in the header of the index's tip; zero before the first block
	BestTime time.Time     // in the header of the best branch's tip
	Behind   time.Duration // how long a header with more work than the index's tip has been known, without a block connected meanwhile; 0: none is
	Standing time.Duration // how long the loop hasn't gone on, waiting for the source or the sink; 0 while it rests
	Saving   time.Duration // how long the sink has been busy with what it was last given; 0: it isn't

	Unconfirmed  int   // transactions with frames that no block has
	WaitingBytes int64 // of transactions handed in by [Follower.Offer] that wait to be taken in
	Source       Status
}

type health struct {
	mu      sync.Mutex
	h       Health
	asked   time.Time
	started bool

	moved   time.Time // when the loop last went on
	resting bool      // it waits for nothing but time and news
	behind  time.Time // zero: it isn't
	saving  time.Time // zero: it isn't
}

// at notes where the index is.
func (h *health) at(tip index.Tip, s sight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Height = tip.Height
	h.sees(s)
	h.moved = time.Now()
}

// connected notes that a block was. To be behind counts anew then.
func (h *health) connected(b *index.Block, s sight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Height = b.Height
	h.behind, h.moved = time.Time{}, time.Now()
	h.sees(s)
}

func (h *health) sees(s sight) {
	h.h.Best, h.h.TipTime, h.h.BestTime = s.best, unix(s.tipTime), unix(s.bestTime)
	switch {
	case !s.behind:
		h.behind = time.Time{}
	case h.behind.IsZero():
		h.behind = time.Now()
	}
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// moves notes that the loop went on: something that it had waited for has come.
func (h *health) moves() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moved = time.Now()
}

// rests notes that the loop begins or ends to wait for nothing in particular.
func (h *health) rests(does bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resting, h.moved = does, time.Now()
}

// saves notes that the sink is given something, saved that it is through.
func (h *health) saves() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saving = time.Now()
}

func (h *health) saved() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saving = time.Time{}
}

// holds notes how many transactions are unconfirmed.
func (h *health) holds(unconfirmed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Unconfirmed = unconfirmed
}

// pass counts a transaction that there was no room for.
func (h *health) pass() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Passed++
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
	status := f.source.Status()
	f.health.mu.Lock()
	defer f.health.mu.Unlock()
	h := f.health.h
	h.Source, h.WaitingBytes = status, f.intake.bytes.Load()
	if !f.health.started {
		h.Trouble = "starting"
	}
	// A round that waits for a node has not ended, and says nothing yet.
	if t := status.Trouble; t != "" {
		h.Synced, h.Trouble = false, t
	}
	h.Since, h.Behind, h.Saving = since(f.health.asked), since(f.health.behind), since(f.health.saving)
	if !f.health.resting {
		h.Standing = since(f.health.moved)
	}
	return h
}

// since is 0 for a moment that hasn't been.
func since(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return time.Since(t)
}

// trouble says what the source complains of, or that it lost the index's branch.
func (f *Follower) trouble() string {
	if t := f.source.Status().Trouble; t != "" {
		return t
	}
	if f.refused != "" {
		return f.refused
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
