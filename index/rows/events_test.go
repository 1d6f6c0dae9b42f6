package rows

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// The log that is kept in runs reads as it was written, whatever part of it is
// asked for, and says where a frame's events are.
func TestRuns(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(9, 10))}
	for range 300 {
		var events []*index.Event
		arrival := int64(1_000)
		for range m.IntN(1_500) {
			e := &index.Event{Kind: "message.confirmed", Height: 5, Block: frame.Hash{5}, Verdict: frame.Valid, Arrival: arrival}
			arrival++
			switch m.IntN(400) {
			case 0:
				*e = index.Event{Kind: index.EventConnected, Height: 6, Block: frame.Hash{6}}
			case 1:
				e.Kind, e.Height, e.Block = "message.seen", -1, frame.Hash{}
			case 2:
				e.Kind, e.Verdict, e.From = "name.rejudged", frame.Taken, frame.Valid
			case 3:
				e.Kind, e.Reason = "peer.dropped", index.ReasonEvicted
			case 4:
				arrival += 3
			}
			events = append(events, e)
		}
		last := int64(7)
		runs, err := Runs(events, &last)
		if err != nil || last != int64(7+len(events)) {
			t.Fatalf("got last %d, %v, want %d", last, err, 7+len(events))
		}
		after, upto := 7+m.Int64N(int64(len(events))+1), int64(math.MaxInt64)
		if m.IntN(2) == 0 {
			upto = after + m.Int64N(300)
		}
		var got, want []*index.Event
		for i := range runs {
			if got, err = runs[i].Events(got, after, upto); err != nil {
				t.Fatal(err)
			}
			if runs[i].Count > MostRun {
				t.Fatalf("a run of %d", runs[i].Count)
			}
		}
		for _, e := range events {
			if e.Seq > after && e.Seq <= upto {
				want = append(want, e)
			}
			checkSeq(t, runs, e)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d up to %d: got %d events, want %d, or others", after, upto, len(got), len(want))
		}
	}
}

func checkSeq(t *testing.T, runs []Run, e *index.Event) {
	t.Helper()
	if e.Arrival == 0 {
		return
	}
	for i := range runs {
		if seq, ok := runs[i].SeqOf(e.Arrival); ok && seq == e.Seq {
			return
		}
	}
	t.Fatalf("event %d of frame %d: no run has it", e.Seq, e.Arrival)
}

// A block of a thousand new messages takes a handful of rows.
func TestRunsAreLong(t *testing.T) {
	events := []*index.Event{{Kind: index.EventConnected, Height: 1, Block: frame.Hash{1}}}
	for i := range int64(1_000) {
		events = append(events, &index.Event{Kind: "message.confirmed", Height: 1, Block: frame.Hash{1}, Verdict: frame.Valid, Arrival: i + 1})
	}
	last := int64(0)
	runs, err := Runs(events, &last)
	if err != nil || len(runs) != 5 {
		t.Errorf("got %d runs, %v, want 5", len(runs), err)
	}
}

func TestRunsRefused(t *testing.T) {
	for _, e := range []*index.Event{
		{Kind: "message.imagined"}, {Kind: ""}, {Kind: "message.seen", Verdict: "fine"}, {Kind: "message.seen", From: "fine"}, {Kind: "message.seen", Reason: "why not"},
	} {
		if _, err := Runs([]*index.Event{e}, new(int64)); err == nil {
			t.Errorf("%+v: got no error", e)
		}
	}
	good := Run{Last: 300, Frame: 280, Count: 2, Kind: 3}
	for name, spoil := range map[string]func(*Run){
		"no events":           func(r *Run) { r.Count = 0 },
		"too many":            func(r *Run) { r.Count = MostRun + 1 },
		"before the first":    func(r *Run) { r.Last = 1 },
		"many of a block":     func(r *Run) { r.Frame = 0 },
		"frames before 1":     func(r *Run) { r.Frame = 1 },
		"a kind without name": func(r *Run) { r.Kind = 99 },
		"no kind":             func(r *Run) { r.Kind = 0 },
		"an unknown verdict":  func(r *Run) { r.Verdict = -1 },
		"an unknown from":     func(r *Run) { r.From = 99 },
		"an unknown reason":   func(r *Run) { r.Reason = 99 },
		"a short block hash":  func(r *Run) { r.Block = []byte{1} },
	} {
		r := good
		spoil(&r)
		var corrupt *CorruptError
		if _, err := r.Events(nil, 0, math.MaxInt64); !errors.As(err, &corrupt) {
			t.Errorf("%s: got %v, want a CorruptError", name, err)
		}
	}
	if list, err := good.Events(nil, 0, math.MaxInt64); err != nil || len(list) != 2 {
		t.Errorf("a good run: got %d events, %v", len(list), err)
	}
}
