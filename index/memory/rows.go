package memory

import (
	"bytes"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A txRow is a transaction as it stands.
type txRow struct {
	tx     *index.Transaction // with its index in the block, without its frames
	state  index.State
	height int32
	frames []int64 // arrivals, in the order of the outputs
}

// A frameRow is a frame as it stands.
type frameRow struct {
	row      int64        // of its transaction
	frame    *index.Frame // whole
	light    *index.Frame // with the body only where judging again needs it
	decision index.Decision
	sources  []frame.KeyHash // all that the frame was ever attributed to
}

// isFact tells whether the frame is confirmed and valid.
func (s *state) isFact(f *frameRow) bool {
	return f.decision.Verdict == frame.Valid && s.txs.get(f.row).state == index.Confirmed
}

// keep copies a frame so that what the caller does to it later changes nothing,
// with no bytes where there are none.
func keep(f *index.Frame) (whole, light *index.Frame) {
	w := *f
	w.Proofs = slices.Clone(f.Proofs)
	if f.Message != nil {
		m := *f.Message
		m.Body, m.Signature = present(m.Body), present(m.Signature)
		w.Message = &m
	}
	if f.Record != nil {
		r := *f.Record
		r.Signatures = make([][]byte, len(f.Record.Signatures))
		for i, s := range f.Record.Signatures {
			r.Signatures[i] = present(s)
		}
		w.Record = &r
	}
	if w.Message == nil || needsBody(&w) {
		return &w, &w
	}
	l := w
	m := *w.Message
	m.Body = nil
	l.Message = &m
	return &w, &l
}

func present(b []byte) []byte { return append([]byte{}, b...) }

// needsBody tells whether judging again verifies a signature over the body.
func needsBody(f *index.Frame) bool {
	s := f.Proofs[0].Signature
	return s.Readable() && !s.Recoverable()
}

func copyDecision(d index.Decision) index.Decision {
	c := index.Decision{Verdict: d.Verdict}
	if d.Address != nil {
		h := *d.Address
		c.Address = &h
	}
	for _, key := range d.Keys {
		c.Keys = append(c.Keys, bytes.Clone(key))
	}
	return c
}

// entry makes what is handed out of a frame.
func (s *state) entry(arrival int64, light bool, tx *index.Transaction) *index.Entry {
	f := s.frames.get(arrival)
	t := s.txs.get(f.row)
	e := &index.Entry{Arrival: arrival, State: t.state, Height: t.height, Tx: tx, Frame: f.frame, Decision: f.decision}
	if light {
		e.Frame = f.light
	}
	if tx == nil {
		e.Tx = t.tx
	}
	if t.state == index.Confirmed {
		if b, ok := s.block(t.height); ok {
			e.Block, e.Time = b.Hash, timeOf(&b)
		}
	}
	return e
}

func (s *state) saved(row int64) *index.Saved {
	t := s.txs.get(row)
	saved := &index.Saved{Row: row, State: t.state, Height: t.height, Seen: row}
	for _, arrival := range t.frames {
		saved.Entries = append(saved.Entries, s.entry(arrival, true, nil))
	}
	return saved
}

// rowsAt returns the transactions confirmed at a height, in order.
func (s *state) rowsAt(height int32) []int64 {
	rows := slices.Clone(s.atHeight.get(height))
	rows = slices.DeleteFunc(rows, func(row int64) bool {
		t := s.txs.get(row)
		return t.state != index.Confirmed || t.height != height
	})
	slices.SortFunc(rows, func(a, b int64) int {
		if c := int64(s.txs.get(a).tx.Index) - int64(s.txs.get(b).tx.Index); c != 0 {
			return int(c)
		}
		return int(a - b)
	})
	return slices.Compact(rows)
}

// block returns the block at a height.
func (s *state) block(height int32) (index.Tip, bool) {
	if len(s.blocks) == 0 || height < s.blocks[0].Height || int64(height)-int64(s.blocks[0].Height) >= int64(len(s.blocks)) {
		return index.Tip{}, false
	}
	return s.blocks[height-s.blocks[0].Height], true
}

func timeOf(t *index.Tip) int64 {
	b := index.Block{Header: t.Header}
	return b.Time()
}
