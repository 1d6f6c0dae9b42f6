package api

import (
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// windowEvents is how much of the log is read through at once, at most, when
// looking for events of addresses: so every page ends in time.
const windowEvents = 2048

// trailSeqs is how many events a trail knows beforehand, at most: 32 kB. Tests have
// it know fewer.
var trailSeqs = 4096

// A trail leads through the log page by page. Where addresses are asked for it
// remembers where their next events are, so that a history of n messages costs a
// few times n to read, not its square.
type trail struct {
	addresses   []frame.KeyHash
	blocks      bool
	after, upto int64   // the part of the log that is known
	through     bool    // the part is to be read through
	seqs        []int64 // else these are all that can concern the addresses
}

// next reads the events that a query finds after q.After, readAtOnce at most. All
// up to the seq that it returns was looked at; last is the log's last.
func (f *trail) next(v *view, q index.EventQuery, last int64) (events []*index.Event, upto int64, err error) {
	q.Limit = readAtOnce
	if len(q.Addresses) == 0 || last-q.After <= readAtOnce {
		q.Upto = last
		return read(v, q)
	}
	if !f.covers(&q) {
		if err := f.look(v, q, last); err != nil {
			return nil, 0, err
		}
	}
	if f.through {
		q.Upto = min(f.upto, q.After+windowEvents)
		return read(v, q)
	}
	from, _ := slices.BinarySearch(f.seqs, q.After+1)
	q.Among, q.Upto = f.seqs[from:], f.upto
	if len(q.Among) > readAtOnce {
		q.Among = q.Among[:readAtOnce]
		q.Upto = q.Among[readAtOnce-1]
	}
	if len(q.Among) == 0 {
		return nil, f.upto, nil
	}
	events, err = v.Events(q)
	return events, q.Upto, err
}

// read asks for events up to q.Upto.
func read(v *view, q index.EventQuery) (events []*index.Event, upto int64, err error) {
	if q.After >= q.Upto {
		return nil, q.Upto, nil
	}
	if events, err = v.Events(q); err != nil || len(events) < q.Limit {
		return events, q.Upto, err
	}
	return events, events[len(events)-1].Seq, nil
}

func (f *trail) covers(q *index.EventQuery) bool {
	return f.blocks == q.Blocks && q.After >= f.after && q.After < f.upto && slices.Equal(f.addresses, q.Addresses)
}

// look finds out what comes after q.After.
func (f *trail) look(v *view, q index.EventQuery, last int64) error {
	q.Limit, q.Upto = trailSeqs, last
	seqs, ok, err := v.Seqs(q)
	if err != nil {
		return err
	}
	*f = trail{addresses: q.Addresses, blocks: q.Blocks, after: q.After, upto: last, through: !ok, seqs: seqs}
	switch {
	case !ok:
		f.upto = min(last, q.After+10*windowEvents) // then it is asked again
	case len(seqs) == trailSeqs:
		f.upto = seqs[trailSeqs-1]
	}
	return nil
}
