package chainwatch

import (
	"fmt"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// Patience says how long a follower may go without getting on before that counts
// as a stall. 0 of either: for ever.
type Patience struct {
	Stall time.Duration // the loop stands still, a save lasts, or headers are known and none of their blocks is connected
	Quiet time.Duration // no block has been found by anybody
}

// PatienceOf returns the patience for a network, with so long until a stall. Of
// mainnet's blocks, one in ten minutes on average, one in some 160,000 comes two
// hours or more after the one before; on other networks blocks come as they like.
func PatienceOf(n frame.Network, stall time.Duration) Patience {
	p := Patience{Stall: stall}
	if n == frame.Main {
		p.Quiet = 2 * time.Hour
	}
	return p
}

// Stalled says in a sentence that a follower doesn't get on though nothing fails:
// it waits for an answer that doesn't come, or others have more work than the index
// and it doesn't follow. Empty: it does get on. Work is what headers prove; what a
// node merely claims is never a stall, or one that lies could cause it.
func (h *Health) Stalled(p Patience) string {
	late := func(d time.Duration) bool { return p.Stall > 0 && d >= p.Stall }
	switch {
	case late(h.Saving):
		return fmt.Sprintf("the store hasn't finished a commit for %s", h.Saving.Round(time.Second))
	case late(h.Standing):
		return fmt.Sprintf("the chain isn't followed: nothing has come of what was asked for %s", h.Standing.Round(time.Second))
	case late(h.Behind):
		return fmt.Sprintf("the index stays at height %d though blocks with more work are known (to height %d): none was connected for %s",
			h.Height, max(h.Best, h.Source.Height), h.Behind.Round(time.Second))
	}
	return ""
}

// Warnings says in sentences what is odd and may yet be nobody's fault: that makes
// no server unfit to be asked.
func (h *Health) Warnings(now time.Time, p Patience) []string {
	var all []string
	if age := now.Sub(h.BestTime); p.Quiet > 0 && !h.BestTime.IsZero() && age >= p.Quiet {
		all = append(all, fmt.Sprintf("the newest block known (height %d) is %s old: the nodes may have lost the network, or this clock is wrong",
			h.Best, age.Round(time.Minute)))
	}
	if ahead := -now.Sub(h.BestTime); !h.BestTime.IsZero() && ahead >= headerAhead {
		all = append(all, fmt.Sprintf("the newest block known (height %d) is %s in the future: this clock is wrong", h.Best, ahead.Round(time.Minute)))
	}
	if h.Source.Height > h.Best {
		all = append(all, fmt.Sprintf("a node claims height %d, and no header beyond %d has come", h.Source.Height, h.Best))
	}
	return all
}

// headerAhead is how far nodes let a header's time be ahead of their clocks.
const headerAhead = 2 * time.Hour
