package postgres

import (
	"math"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

const (
	// Up to this many events are read through rather than looked up by address; fewer
	// when more than one address is asked for.
	shortLog = 500
	// Of addresses that more frames concern, the log is read through in any case.
	mostLookups = 100_000
)

const runColumns = `SELECT e.last, e.frame, e.count, e.height, e.kind, e.verdict, e.from_verdict, e.reason, e.block`

func scanRun(r *row) rows.Run {
	return rows.Run{Last: r.integer(), Frame: r.integer(), Count: r.integer4(), Height: r.integer4(),
		Kind: r.integer2(), Verdict: r.integer2(), From: r.integer2(), Reason: r.integer2(), Block: r.bytes()}
}

// Events implements [index.View]. At most 5,000 addresses can be asked for at
// once. An event belongs to an address also when its frame was attributed to it
// once and isn't any more.
func (v *view) Events(q index.EventQuery) ([]*index.Event, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if q.Upto <= 0 {
		q.Upto = endless
	}
	if len(q.Addresses) > 0 {
		return v.eventsOf(q)
	}
	events, err := v.events(q)
	if err != nil {
		return nil, err
	}
	byArrival, err := v.entriesOf(rows.Arrivals(events))
	for _, e := range events {
		e.Entry = byArrival[e.Arrival]
	}
	return events, err
}

// events reads the events of all. Seqs have no gaps, so the rows to be read are
// known beforehand.
func (v *view) events(q index.EventQuery) (list []*index.Event, err error) {
	q.After = max(0, q.After)
	last := min(q.Upto, saturated(q.After, int64(q.Limit)))
	err = v.each(runColumns+` FROM events e WHERE e.last > $1 AND e.last < $2 ORDER BY e.last`, []any{q.After, saturated(last, rows.MostRun)}, func(r *row) error {
		run := scanRun(r)
		if r.err != nil {
			return r.err
		}
		list, err = run.Events(list, q.After, last)
		return err
	})
	return list, err
}

// saturated adds numbers of which none is negative.
func saturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Arguments of the queries: after, upto, limit, keys of addresses, addresses,
// blocks.
const (
	isAsked = `= ANY ($4::bigint[])`

	// Who sent a frame, is to hold a name, is reached by a message, or was once
	// taken for the sender is concerned.
	readingThrough = `(` + runColumns + `, n.seq FROM events e CROSS JOIN LATERAL generate_series(greatest(e.last - e.count, $1::bigint) + 1, least(e.last, $2)) AS n (seq)
		CROSS JOIN LATERAL (SELECT * FROM frames f WHERE f.id = e.frame - (e.last - n.seq) OFFSET 0) f
		WHERE e.last > $1 AND e.last < $7::bigint AND e.frame <> 0 AND (f.address_key ` + isAsked + ` OR f.to_key ` + isAsked + `
			OR EXISTS (SELECT 1 FROM unnest($4) AS need (key) CROSS JOIN LATERAL (SELECT p.lead + p.frames AS beyond FROM parties p
				WHERE p.key = need.key AND p.lead <= f.id ORDER BY p.lead DESC LIMIT 1) p WHERE p.beyond > f.id OFFSET 0)
			OR EXISTS (SELECT 1 FROM former_sources s WHERE s.address = ANY ($5::bytea[]) AND s.frame = f.id OFFSET 0))
		ORDER BY e.last, n.seq LIMIT $3) UNION ALL (` + runColumns + `, e.last AS seq ` + ofBlocks + `) ORDER BY seq LIMIT $3`
	ofBlocks = `FROM events e WHERE e.frame = 0 AND e.last > $1 AND e.last <= $2 AND $6::boolean ORDER BY e.last LIMIT $3`
	// A row can be about a frame that names the last of its frames only. By its
	// length it is in one of three indexes, so that one needn't pass by the many short
	// rows that live messages make when looking for a long one.
	byAddress = `WITH concerned (frame) AS MATERIALIZED (
			SELECT f.id FROM frames f WHERE f.address_key ` + isAsked + ` AND f.address_key <> 0 AND ` + counts + `
			UNION SELECT f.id FROM frames f WHERE f.address_key ` + isAsked + ` AND f.address_key <> 0 AND ` + refused + `
			UNION SELECT f.id FROM frames f WHERE f.to_key ` + isAsked + ` AND f.to_key <> 0
			UNION SELECT generate_series(p.lead, p.lead + p.frames - 1) FROM parties p WHERE p.key ` + isAsked + `
			UNION SELECT s.frame FROM former_sources s WHERE s.address = ANY ($5::bytea[])
		), found AS MATERIALIZED (
			SELECT e.last - (e.frame - c.frame) AS seq FROM concerned c CROSS JOIN LATERAL (
				SELECT e.last, e.frame FROM events e WHERE e.frame = c.frame AND e.frame <> 0 AND e.count = 1
				UNION ALL SELECT e.last, e.frame FROM events e WHERE e.frame >= c.frame AND e.frame < c.frame + 16 AND e.frame <> 0
					AND e.count > 1 AND e.count <= 16 AND e.frame - e.count < c.frame
				UNION ALL SELECT e.last, e.frame FROM events e WHERE e.frame >= c.frame AND e.frame < c.frame + 256 AND e.frame <> 0
					AND e.count > 16 AND e.frame - e.count < c.frame) e
			WHERE e.last - (e.frame - c.frame) > $1 AND e.last - (e.frame - c.frame) <= $2
			ORDER BY 1 LIMIT $3
		) SELECT seq FROM found UNION ALL (SELECT e.last AS seq ` + ofBlocks + `) ORDER BY seq LIMIT $3`
	// Arguments: after, upto, limit, seqs.
	among = runColumns + `, n.seq FROM (SELECT seq FROM unnest($4::bigint[]) AS n (seq) WHERE seq > $1::bigint AND seq <= $2::bigint ORDER BY seq LIMIT $3) n
		CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.last >= n.seq ORDER BY e.last LIMIT 1) e ORDER BY n.seq`
)

// An asking is a question for the events of addresses.
type asking struct {
	*view
	q         index.EventQuery
	keys      []int64
	addresses [][]byte
	through   bool // the log is read rather than looked up in
}

func (v *view) asking(q index.EventQuery) *asking {
	a := &asking{view: v, q: q, keys: make([]int64, len(q.Addresses)), addresses: make([][]byte, len(q.Addresses))}
	for i := range q.Addresses {
		a.keys[i], a.addresses[i] = rows.AddressKey(q.Addresses[i]), q.Addresses[i][:]
	}
	return a
}

// Seqs implements [index.View].
func (v *view) Seqs(q index.EventQuery) ([]int64, bool, error) {
	if err := q.Check(); err != nil || len(q.Addresses) == 0 {
		return nil, false, err
	}
	if q.Upto <= 0 {
		q.Upto = endless
	}
	a := v.asking(q)
	if err := a.choose(mostLookups); err != nil || a.through {
		return nil, false, err
	}
	seqs, err := a.seqs(q.Limit)
	return seqs, true, err
}

func (a *asking) seqs(limit int) (seqs []int64, err error) {
	err = a.each(byAddress, []any{a.q.After, a.q.Upto, limit, a.keys, a.addresses, a.q.Blocks}, func(r *row) error {
		seqs = append(seqs, r.integer())
		return r.err
	})
	return seqs, err
}

// eventsOf reads the events of addresses. What is found by keys may be of others;
// then more are read.
func (v *view) eventsOf(q index.EventQuery) (list []*index.Event, err error) {
	a := v.asking(q)
	if q.Among == nil {
		if err := a.choose(math.MaxInt64); err != nil {
			return nil, err
		}
	}
	for {
		n := q.Limit - len(list)
		part, err := a.some(n)
		if err != nil {
			return nil, err
		}
		if len(part) > 0 {
			a.q.After = part[len(part)-1].Seq
		}
		found := len(part)
		concerned, err := v.concerned(part, &q, a.addresses)
		if err != nil {
			return nil, err
		}
		if list = append(list, concerned...); found < n || len(list) == q.Limit {
			return list, nil
		}
	}
}

// some reads the next events that may be of the addresses, so many at most.
func (a *asking) some(n int) (list []*index.Event, err error) {
	query, args := readingThrough, []any{a.q.After, a.q.Upto, n, a.keys, a.addresses, a.q.Blocks, saturated(a.q.Upto, rows.MostRun)}
	if !a.through {
		seqs := a.q.Among
		if seqs == nil {
			if seqs, err = a.seqs(n); err != nil {
				return nil, err
			}
		}
		query, args = among, []any{a.q.After, a.q.Upto, n, seqs}
	}
	err = a.each(query, args, func(r *row) (err error) {
		run := scanRun(r)
		if seq := r.integer(); r.err == nil {
			list, err = run.Events(list, seq-1, seq)
		}
		return err
	})
	return list, err
}

// concerned gives events their entries, and leaves out those that none of the
// addresses is concerned by.
func (v *view) concerned(events []*index.Event, q *index.EventQuery, addresses [][]byte) ([]*index.Event, error) {
	arrivals := rows.Arrivals(events)
	byArrival, err := v.entriesOf(arrivals)
	if err != nil {
		return nil, err
	}
	asked := make(map[frame.KeyHash]bool, len(q.Addresses))
	for _, h := range q.Addresses {
		asked[h] = true
	}
	is := make(map[int64]bool, len(arrivals))
	var others []int64
	for _, a := range arrivals {
		if is[a] = concerns(byArrival[a], asked); !is[a] {
			others = append(others, a)
		}
	}
	if len(others) > 0 {
		const query = `SELECT s.frame FROM former_sources s WHERE s.address = ANY ($1::bytea[]) AND s.frame = ANY ($2::bigint[])`
		err = v.each(query, []any{addresses, others}, func(r *row) error {
			is[r.integer()] = true
			return nil
		})
	}
	list := events[:0]
	for _, e := range events {
		if e.Arrival == 0 || is[e.Arrival] {
			e.Entry = byArrival[e.Arrival]
			list = append(list, e)
		}
	}
	return list, err
}

// concerns tells whether one of the addresses sent a frame, is to hold a name by
// it, or is reached by it.
func concerns(e *index.Entry, asked map[frame.KeyHash]bool) bool {
	if e.Address != nil && asked[*e.Address] {
		return true
	}
	if e.Record != nil {
		return asked[e.Record.NewAddress]
	}
	if e.Protocol != frame.IM {
		return false
	}
	for _, h := range e.Tx.Reached() {
		if asked[h] {
			return true
		}
	}
	return false
}

// choose sets how the events of addresses are found: looking at each event asked
// for, once for each address, or looking up the frames that concern them, of which
// there are not more than most.
func (a *asking) choose(most int64) error {
	last, err := a.LastSeq()
	if err != nil {
		return err
	}
	events := max(0, min(last, a.q.Upto)-a.q.After)
	if a.through = events <= shortLog/int64(len(a.keys)); a.through {
		return nil
	}
	concerned, err := a.one(`SELECT (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address_key = ANY ($1::bigint[]) AND f.address_key <> 0 AND `+counts+` LIMIT $2) x)
		+ (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address_key = ANY ($1::bigint[]) AND f.address_key <> 0 AND `+refused+` LIMIT $2) x)
		+ (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.to_key = ANY ($1::bigint[]) AND f.to_key <> 0 LIMIT $2) x)
		+ (SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.key = ANY ($1::bigint[]) LIMIT $2) x)`, a.keys, min(most, events))
	a.through = concerned >= most || events <= concerned/int64(len(a.keys))
	return err
}
