package rows

import (
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// MostRun is how many events one row of the log may stand for.
const MostRun = 256

// A Run is a row of the log: Count events with consecutive seqs up to Last, alike
// but for their frames, which have consecutive arrivals up to Frame. A block of a
// thousand messages is a few rows so.
type Run struct {
	Last    int64 // seq
	Frame   int64 // arrival; 0 for an event of a block
	Count   int32
	Height  int32 // -1 when there is none
	Block   []byte
	Kind    int16
	Verdict int16
	From    int16
	Reason  int16
}

// Runs numbers events from last on and gathers them into rows. It fails for an
// event that the log has no code for.
func Runs(events []*index.Event, last *int64) ([]Run, error) {
	var runs []Run
	for _, e := range events {
		*last++
		e.Seq = *last
		run, err := runOf(e)
		if err != nil {
			return nil, err
		}
		if n := len(runs); n > 0 && runs[n-1].takes(&run) {
			runs[n-1].Last, runs[n-1].Frame = run.Last, run.Frame
			runs[n-1].Count++
			continue
		}
		runs = append(runs, run)
	}
	return runs, nil
}

func runOf(e *index.Event) (Run, error) {
	r := Run{Last: e.Seq, Frame: e.Arrival, Count: 1, Height: e.Height, Block: []byte{}, Kind: code(string(e.Kind), eventWords),
		Verdict: VerdictOf(e.Verdict), From: VerdictOf(e.From), Reason: code(e.Reason, reasonWords)}
	if e.Block != (frame.Hash{}) {
		r.Block = e.Block[:]
	}
	if r.Kind == 0 || r.Verdict == 0 && e.Verdict != "" || r.From == 0 && e.From != "" || r.Reason == 0 && e.Reason != "" {
		return r, fmt.Errorf("an event of kind %q, verdict %q, from %q, reason %q", e.Kind, e.Verdict, e.From, e.Reason)
	}
	return r, nil
}

// code is the place of a word in a list, from 1; 0 stands for none.
func code(word string, list []string) int16 { return int16(slices.Index(list, word) + 1) }

func wordOf(code int16, list []string, column string) (string, error) {
	switch {
	case code == 0:
		return "", nil
	case code < 0 || int(code) > len(list):
		return "", &CorruptError{column}
	}
	return list[code-1], nil
}

func (r *Run) takes(next *Run) bool {
	return r.Frame != 0 && next.Frame == r.Frame+1 && r.Count < MostRun && r.Height == next.Height && string(r.Block) == string(next.Block) &&
		r.Kind == next.Kind && r.Verdict == next.Verdict && r.From == next.From && r.Reason == next.Reason
}

// SeqOf returns the seq of the run's event about a frame; ok is false when it has
// none.
func (r *Run) SeqOf(arrival int64) (seq int64, ok bool) {
	back := r.Frame - arrival
	if r.Frame == 0 || back < 0 || back >= int64(r.Count) {
		return 0, false
	}
	return r.Last - back, true
}

// Events appends the events of the run with after < seq <= upto to a list.
func (r *Run) Events(list []*index.Event, after, upto int64) ([]*index.Event, error) {
	if r.Count < 1 || r.Count > MostRun || r.Last < int64(r.Count) || r.Frame == 0 && r.Count != 1 || r.Frame < 0 || r.Frame > 0 && r.Frame < int64(r.Count) {
		return nil, &CorruptError{"events.count"}
	}
	e := index.Event{Height: r.Height}
	kind, err := wordOf(r.Kind, eventWords, "events.kind")
	if err != nil || kind == "" {
		return nil, &CorruptError{"events.kind"}
	}
	e.Kind = index.EventKind(kind)
	if e.Reason, err = wordOf(r.Reason, reasonWords, "events.reason"); err != nil {
		return nil, err
	}
	if e.Verdict, err = verdictFrom(r.Verdict); err != nil {
		return nil, err
	}
	if e.From, err = verdictFrom(r.From); err != nil {
		return nil, err
	}
	if len(r.Block) > 0 {
		if err := Fill(e.Block[:], "events.block", r.Block); err != nil {
			return nil, err
		}
	}
	first := r.Last - int64(r.Count) + 1
	for seq := max(first, after+1); seq <= min(r.Last, upto); seq++ {
		one := e
		one.Seq = seq
		if r.Frame != 0 {
			one.Arrival = r.Frame - (r.Last - seq)
		}
		list = append(list, &one)
	}
	return list, nil
}
