package sqlite

import (
	"maps"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

const (
	// Up to this many events are read through rather than looked up by address;
	// fewer when more than one address is asked for.
	shortLog = 500
	// Of addresses that more frames concern, the log is read through in any case.
	mostLookups = 100_000

	runColumns = `SELECT e.last, e.frame, e.count, e.height, e.kind, e.verdict, e.from_verdict, e.reason, e.block FROM events e `
	runsAfter  = runColumns + `WHERE e.last > ? ORDER BY e.last`
	runWith    = runColumns + `WHERE e.last >= ? ORDER BY e.last LIMIT 1`
)

// Where the rows of the log are that can be about a frame: one of them names the
// last of its frames only. Each of the three has an index, so that one needn't pass
// by the many short rows that live messages make when looking for a long one. The
// sum keeps SQLite from trying whether the value proves the condition of another
// index (frame = 0), which it does by compiling the statement anew for each value.
var runsAbout = []string{
	`SELECT e.last, e.frame FROM events e WHERE e.frame = ?1 + 0 AND e.frame <> 0 AND e.count = 1 AND e.last > ?2`,
	`SELECT e.last, e.frame FROM events e WHERE e.frame >= ?1 AND e.frame < ?1 + 16 AND e.frame <> 0 AND e.count > 1 AND e.count <= 16 AND e.frame - e.count < ?1 AND e.last > ?2`,
	`SELECT e.last, e.frame FROM events e WHERE e.frame >= ?1 AND e.frame < ?1 + 256 AND e.frame <> 0 AND e.count > 16 AND e.frame - e.count < ?1 AND e.last > ?2`,
}

// run reads the row of the log that a statement stands on.
func (s *statement) run() *rows.Run {
	return &rows.Run{Last: s.ColumnInt64(0), Frame: s.ColumnInt64(1), Count: s.ColumnInt32(2), Height: s.ColumnInt32(3), Kind: int16(s.ColumnInt32(4)), //nolint:gosec // as written
		Verdict: int16(s.ColumnInt32(5)), From: int16(s.ColumnInt32(6)), Reason: int16(s.ColumnInt32(7)), Block: s.read(8)} //nolint:gosec // as written
}

// Events implements [index.View]. At most 5,000 addresses can be asked for at
// once. An event belongs to an address also when its frame was attributed to it
// once and isn't any more.
func (v *view) Events(q index.EventQuery) ([]*index.Event, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if q.Upto <= 0 {
		q.Upto = math.MaxInt64
	}
	if q.After == math.MaxInt64 {
		return nil, nil
	}
	if len(q.Addresses) > 0 {
		a, err := v.asking(q)
		if err != nil {
			return nil, err
		}
		return a.events()
	}
	events, err := v.runs(q, q.Limit)
	if err != nil {
		return nil, err
	}
	events = events[:min(len(events), q.Limit)]
	return events, v.tell(events)
}

// Seqs implements [index.View].
func (v *view) Seqs(q index.EventQuery) (seqs []int64, ok bool, err error) {
	if err := q.Check(); err != nil || len(q.Addresses) == 0 || q.After == math.MaxInt64 {
		return nil, false, err
	}
	if q.Upto <= 0 {
		q.Upto = math.MaxInt64
	}
	a, err := v.asking(q)
	if err != nil {
		return nil, false, err
	}
	if through, err := a.through(mostLookups); through || err != nil {
		return nil, false, err
	}
	seqs, err = a.seqs()
	return seqs[:min(len(seqs), q.Limit)], true, err
}

// runs reads the events of rows until there are enough.
func (v *view) runs(q index.EventQuery, enough int) (events []*index.Event, err error) {
	err = v.each(runsAfter, func(s *statement) error {
		r := s.run()
		if events, err = r.Events(events, q.After, q.Upto); err != nil {
			return err
		}
		if len(events) >= enough || r.Last >= q.Upto {
			return errEnough
		}
		return nil
	}, number(q.After))
	if err != nil && err != errEnough {
		return nil, err
	}
	return events, nil
}

// tell sets the entries of events.
func (v *view) tell(events []*index.Event) error {
	byArrival, err := v.entriesOf(rows.Arrivals(events))
	for _, e := range events {
		e.Entry = byArrival[e.Arrival]
	}
	return err
}

// An asking is a question for the events of addresses.
type asking struct {
	*view
	q         index.EventQuery
	addresses map[frame.KeyHash]bool
	former    map[int64]bool // frames that were attributed to one of them
	found     []*index.Event
}

func (v *view) asking(q index.EventQuery) (*asking, error) {
	a := &asking{view: v, q: q, addresses: make(map[frame.KeyHash]bool, len(q.Addresses)), former: map[int64]bool{}}
	for _, h := range q.Addresses {
		a.addresses[h] = true
	}
	return a, look(v.conn, `SELECT frame FROM former_sources WHERE address = ?`, q.Addresses,
		func(s *statement, h *frame.KeyHash) { s.BindBytes(1, h[:]) },
		func(s *statement, _ *frame.KeyHash) (bool, error) {
			a.former[s.ColumnInt64(0)] = true
			return false, nil
		})
}

func (a *asking) events() ([]*index.Event, error) {
	through, err := false, error(nil)
	if a.q.Among == nil {
		through, err = a.through(math.MaxInt64)
	}
	switch {
	case err != nil:
	case through:
		err = a.readThrough()
	default:
		err = a.readAmong()
	}
	if err == errEnough {
		err = nil
	}
	return a.found, err
}

// The ways in which frames concern an address, each by an index.
var ways = []string{
	`SELECT f.id, 1 FROM frames f WHERE f.address_key = ?1 AND ` + isCounted,
	`SELECT f.id, 1 FROM frames f WHERE f.address_key = ?1 AND ` + isRefused,
	`SELECT f.id, 1 FROM frames f WHERE f.to_key = ?1 AND f.to_key <> 0`,
	`SELECT p.lead, p.frames FROM parties p WHERE p.key = ?1`,
}

// through tells whether looking at each event asked for, once for each address,
// costs less than looking up the frames that concern the addresses, or whether
// there are more of these than most.
func (a *asking) through(most int64) (bool, error) {
	last, err := a.LastSeq()
	if err != nil {
		return false, err
	}
	events := max(0, min(last, a.q.Upto)-a.q.After)
	if events <= shortLog/int64(len(a.q.Addresses)) {
		return true, nil
	}
	concerned, enough := int64(0), min(most, events)
	for _, way := range ways {
		err := look(a.conn, way, a.q.Addresses, bindKey, func(*statement, *frame.KeyHash) (bool, error) {
			concerned++
			return concerned >= enough, nil
		})
		if err != nil {
			return false, err
		}
	}
	return concerned >= most || events <= concerned/int64(len(a.q.Addresses)), nil
}

func bindKey(s *statement, h *frame.KeyHash) { s.BindInt64(1, rows.AddressKey(*h)) }

// takeEvents keeps those of some events that concern an address, until there are
// enough. No more entries are read at once than are asked for.
func (a *asking) takeEvents(events []*index.Event) error {
	for some := range slices.Chunk(events, min(a.q.Limit, rows.MostRun)) {
		if err := a.tell(some); err != nil {
			return err
		}
		for _, e := range some {
			if e.Arrival == 0 && a.q.Blocks || e.Entry != nil && a.concerns(e.Entry) {
				if a.found = append(a.found, e); len(a.found) == a.q.Limit {
					return errEnough
				}
			}
		}
	}
	return nil
}

// concerns: who sent a frame, is to hold a name, is paid by a message, or was once
// taken for the sender is concerned.
func (a *asking) concerns(e *index.Entry) bool {
	if e.Address != nil && a.addresses[*e.Address] || a.former[e.Arrival] {
		return true
	}
	if e.Record != nil {
		return e.Operation() == "transfer" && a.addresses[e.Record.NewAddress]
	}
	return e.Protocol == frame.IM && slices.ContainsFunc(e.Tx.Reached(), func(h frame.KeyHash) bool { return a.addresses[h] })
}

// readThrough looks at the events as they are in the log.
func (a *asking) readThrough() error {
	return a.each(runsAfter, func(s *statement) error {
		r := s.run()
		events, err := r.Events(nil, a.q.After, a.q.Upto)
		if err != nil {
			return err
		}
		if err := a.takeEvents(events); err != nil {
			return err
		}
		if r.Last >= a.q.Upto {
			return errEnough
		}
		return nil
	}, number(a.q.After))
}

// readAmong looks at the events with the seqs that are known to be enough.
func (a *asking) readAmong() (err error) {
	among := a.q.Among
	if among == nil {
		if among, err = a.seqs(); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(among, min(a.q.Limit, rows.MostRun)) {
		events, err := a.at(some)
		if err != nil {
			return err
		}
		if err := a.takeEvents(events); err != nil {
			return err
		}
	}
	return nil
}

// at returns the events with these seqs.
func (a *asking) at(seqs []int64) (events []*index.Event, err error) {
	err = look(a.conn, runWith, seqs, func(s *statement, seq *int64) { s.BindInt64(1, *seq) },
		func(s *statement, seq *int64) (bool, error) {
			if *seq > a.q.After && *seq <= a.q.Upto {
				events, err = s.run().Events(events, *seq-1, *seq)
			}
			return true, err
		})
	return events, err
}

// seqs looks up the frames that concern the addresses, then where the log tells of
// them.
func (a *asking) seqs() (seqs []int64, err error) {
	frames := maps.Clone(a.former)
	for _, way := range ways {
		err := look(a.conn, way, a.q.Addresses, bindKey, func(s *statement, _ *frame.KeyHash) (bool, error) {
			lead := s.ColumnInt64(0)
			for i := range s.ColumnInt64(1) {
				frames[lead+i] = true
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	sorted := slices.Sorted(maps.Keys(frames)) // neighbours lie on the same pages
	for _, about := range runsAbout {
		err := look(a.conn, about, sorted, func(s *statement, f *int64) {
			s.BindInt64(1, *f)
			s.BindInt64(2, a.q.After)
		}, func(s *statement, f *int64) (bool, error) {
			seq := s.ColumnInt64(0) - (s.ColumnInt64(1) - *f)
			if seq > a.q.After && seq <= a.q.Upto {
				seqs = append(seqs, seq)
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	if a.q.Blocks {
		err = a.each(`SELECT e.last FROM events e WHERE e.frame = 0 AND e.last > ? AND e.last <= ? ORDER BY e.last LIMIT ? + 0`, func(s *statement) error {
			seqs = append(seqs, s.ColumnInt64(0))
			return nil
		}, number(a.q.After), number(a.q.Upto), number(int64(a.q.Limit)))
	}
	slices.Sort(seqs)
	return seqs, err
}
