package simulate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A listener keeps what a subscriber knows who has read every event.
type listener struct {
	frames map[int64]*heard
	chain  []frame.Hash // blocks connected
}

// heard is what the events say of one frame.
type heard struct {
	state   index.State
	verdict frame.Verdict
	height  int32
	block   frame.Hash
	entry   *index.Entry // as the index has it
}

// replayEvents reads the log of events as a subscriber does, checks that each
// fits what was said before, and compares what the subscriber knows in the end
// with the entries.
func (w *world) replayEvents() error {
	return w.store.Store.View(w.ctx, func(v index.View) error {
		l := &listener{frames: map[int64]*heard{}}
		last := int64(0)
		for {
			events, err := v.Events(index.EventQuery{After: last, Limit: 10_000})
			if err != nil {
				return err
			}
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				if e.Seq != last+1 {
					return fmt.Errorf("event %d comes after %d", e.Seq, last)
				}
				last = e.Seq
				if err := l.hear(e); err != nil {
					return fmt.Errorf("event %d, %s of arrival %d (%s, from %q): %w", e.Seq, e.Kind, e.Arrival, e.Verdict, e.From, err)
				}
			}
		}
		return l.compare(v)
	})
}

func (l *listener) hear(e *index.Event) error {
	switch e.Kind {
	case index.EventConnected:
		if int(e.Height) != len(l.chain) {
			return fmt.Errorf("block %d after %d blocks", e.Height, len(l.chain))
		}
		l.chain = append(l.chain, e.Block)
		return nil
	case index.EventDisconnected:
		if int(e.Height) != len(l.chain)-1 || l.chain[e.Height] != e.Block {
			return fmt.Errorf("block %d %s isn't the last of %d", e.Height, e.Block, len(l.chain))
		}
		l.chain = l.chain[:e.Height]
		return nil
	}
	subject, what, _ := strings.Cut(string(e.Kind), ".")
	if want := map[frame.Protocol]string{frame.IM: "message", frame.N: "name", frame.P: "peer"}[e.Entry.Protocol]; subject != want {
		return fmt.Errorf("of a frame of protocol %s", e.Entry.Protocol)
	}
	h := l.frames[e.Arrival]
	if h == nil {
		h = &heard{state: "new"}
		l.frames[e.Arrival] = h
	}
	h.entry = e.Entry
	return h.hear(l, e, what)
}

// fits says what can happen to a frame that stands where.
var fits = map[string][]index.State{
	index.EventSeen:        {"new", index.Dropped},
	index.EventConfirmed:   {"new", index.Dropped, index.Seen},
	index.EventUnconfirmed: {index.Confirmed},
	index.EventDropped:     {index.Seen},
	index.EventRejudged:    {index.Seen},
}

func (h *heard) hear(l *listener, e *index.Event, what string) error {
	if !slices.Contains(fits[what], h.state) {
		return fmt.Errorf("of a frame that is %s", h.state)
	}
	switch what {
	case index.EventSeen:
		h.state = index.Seen
	case index.EventConfirmed:
		if h.state == index.Seen && h.verdict != e.Verdict {
			return fmt.Errorf("it was %s and nothing said that it changed", h.verdict)
		}
		if int(e.Height) >= len(l.chain) || l.chain[e.Height] != e.Block {
			return fmt.Errorf("in block %d %s, which isn't connected", e.Height, e.Block)
		}
		h.state, h.height, h.block = index.Confirmed, e.Height, e.Block
	case index.EventUnconfirmed, index.EventDropped:
		if h.verdict != e.Verdict {
			return fmt.Errorf("it was %s", h.verdict)
		}
		if what == index.EventDropped && e.Reason == "" {
			return fmt.Errorf("without a reason")
		}
		h.state, h.height, h.block = index.Seen, -1, frame.Hash{}
		if what == index.EventDropped {
			h.state = index.Dropped
		}
	case index.EventRejudged:
		if h.verdict != e.From || e.From == e.Verdict {
			return fmt.Errorf("it was %s", h.verdict)
		}
	}
	h.verdict = e.Verdict
	return nil
}

// compare compares what was heard with what is there.
func (l *listener) compare(v index.View) error {
	tip, err := v.Tip()
	if err != nil {
		return err
	}
	if int(tip.Height) != len(l.chain)-1 || len(l.chain) > 0 && l.chain[tip.Height] != tip.Hash {
		return fmt.Errorf("the events end with %d blocks, the index with height %d %s", len(l.chain), tip.Height, tip.Hash)
	}
	for arrival, h := range l.frames {
		if h.state != index.Confirmed {
			h.height = -1
		}
		e := h.entry
		if h.state != e.State || h.verdict != e.Verdict || h.height != e.Height || h.block != e.Block {
			return fmt.Errorf("the events say that arrival %d is %s, %s at %d %s; the index has it %s, %s at %d %s",
				arrival, h.state, h.verdict, h.height, h.block, e.State, e.Verdict, e.Height, e.Block)
		}
	}
	return l.silent(v)
}

// silent fails when a frame that can be read, and is in a block or the mempool,
// was never told of; or one that can't be read was.
func (l *listener) silent(v index.View) error {
	check := func(e *index.Entry) error {
		if (e.Malformed == "") != (l.frames[e.Arrival] != nil) {
			return fmt.Errorf("arrival %d, %s: told of %v", e.Arrival, e.Verdict, l.frames[e.Arrival] != nil)
		}
		return nil
	}
	if err := v.Confirmed(check); err != nil {
		return err
	}
	unconfirmed, err := v.Unconfirmed()
	for _, s := range unconfirmed {
		for _, e := range s.Entries {
			if err := check(e); err != nil {
				return err
			}
		}
	}
	return err
}
