package postgres

import (
	"math"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

const (
	// Up to this many events are read through rather than looked up by address;
	// fewer when more than one address is asked for.
	shortLog = 4_000
)

const eventColumns = `SELECT e.seq, e.kind, e.frame, e.height, e.block, e.verdict, e.from_verdict, e.reason FROM events e `

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

// Arguments of the queries: after, upto, limit, addresses, blocks.
const (
	allEvents = eventColumns + `WHERE e.seq > $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3`

	isAsked = `= ANY ($4::bytea[])`

	// Who sent a frame, is to hold a name, is paid by a message, or was once
	// taken for the sender is concerned.
	readingThrough = eventColumns + `LEFT JOIN LATERAL (SELECT * FROM frames f WHERE f.id = e.frame OFFSET 0) f ON true
		WHERE e.seq > $1 AND e.seq <= $2 AND (e.frame IS NULL AND $5::boolean OR f.address ` + isAsked + ` OR f.new_address ` + isAsked + `
			OR f.protocol = 'im' AND EXISTS (SELECT 1 FROM parties p WHERE p.address ` + isAsked + ` AND p.tx = f.tx OFFSET 0)
			OR EXISTS (SELECT 1 FROM former_sources s WHERE s.address ` + isAsked + ` AND s.frame = e.frame OFFSET 0))
		ORDER BY e.seq LIMIT $3`
	byAddress = `WITH concerned (frame) AS MATERIALIZED (
			SELECT f.id FROM frames f WHERE f.address ` + isAsked + `
			UNION SELECT f.id FROM frames f WHERE f.new_address ` + isAsked + `
			UNION SELECT f.id FROM parties p CROSS JOIN LATERAL (SELECT f.id, f.protocol FROM frames f WHERE f.tx = p.tx OFFSET 0) f
				WHERE p.address ` + isAsked + ` AND f.protocol = 'im'
			UNION SELECT s.frame FROM former_sources s WHERE s.address ` + isAsked + `
		), found (seq) AS MATERIALIZED (
			SELECT e.seq FROM concerned c CROSS JOIN LATERAL (
				SELECT e.seq FROM events e WHERE e.frame = c.frame AND e.seq > $1 AND e.seq <= $2 OFFSET 0) e
			UNION ALL
			(SELECT e.seq FROM events e WHERE e.frame IS NULL AND e.seq > $1 AND e.seq <= $2 AND $5::boolean ORDER BY e.seq LIMIT $3)
			ORDER BY 1 LIMIT $3
		) SELECT e.* FROM found CROSS JOIN LATERAL (` + eventColumns + `WHERE e.seq = found.seq OFFSET 0) e ORDER BY e.seq`
)

func (v *view) events(q index.EventQuery) ([]*index.Event, error) {
	args := []any{q.After, q.Upto, q.Limit}
	if len(q.Addresses) == 0 {
		return v.scanEvents(allEvents, args)
	}
	args = append(args, addressBytes(q.Addresses), q.Blocks)
	through, err := v.readThrough(q)
	switch {
	case err != nil:
		return nil, err
	case through:
		return v.scanEvents(readingThrough, args)
	}
	return v.scanEvents(byAddress, args)
}

// readThrough tells whether looking at each event asked for, once for each
// address, costs less than looking up the frames that concern the addresses.
func (v *view) readThrough(q index.EventQuery) (bool, error) {
	last, err := v.LastSeq()
	if err != nil {
		return false, err
	}
	events := max(0, min(last, q.Upto)-q.After)
	if events <= shortLog/int64(len(q.Addresses)) {
		return true, nil
	}
	concerned, err := v.one(`SELECT (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address = ANY ($1::bytea[]) LIMIT $2) x)
		+ (SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.address = ANY ($1::bytea[]) LIMIT $2) x)`, addressBytes(q.Addresses), events)
	return events <= concerned/int64(len(q.Addresses)), err
}

func (v *view) scanEvents(query string, args []any) (list []*index.Event, err error) {
	err = v.each(query, args, func(r *row) error {
		e := &index.Event{Seq: r.integer(), Kind: index.EventKind(r.text()), Arrival: r.integer(), Height: r.height()}
		r.fill(e.Block[:], "events.block")
		e.Verdict, e.From, e.Reason = frame.Verdict(r.text()), frame.Verdict(r.text()), r.text()
		list = append(list, e)
		return nil
	})
	return list, err
}
