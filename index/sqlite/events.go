package sqlite

import (
	"database/sql"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

const (
	// Up to this many events are read through rather than looked up by address;
	// fewer when more than one address is asked for.
	shortLog = 4_000
)

const eventColumns = ` SELECT e.seq, e.kind, e.frame, e.height, e.block, e.verdict, e.from_verdict, e.reason FROM events e `

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
	query, args, err := v.eventQuery(q)
	if err != nil {
		return nil, err
	}
	events, err := v.events(query, args)
	if err != nil {
		return nil, err
	}
	byArrival, err := v.entriesOf(rows.Arrivals(events))
	for _, e := range events {
		e.Entry = byArrival[e.Arrival]
	}
	return events, err
}

func (v *view) eventQuery(q index.EventQuery) (query string, args []any, err error) {
	if len(q.Addresses) == 0 {
		return eventColumns + `WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?`, []any{q.After, q.Upto, q.Limit}, nil
	}
	asked := `WITH asked (address) AS (VALUES ` + values(len(q.Addresses), 1) + `)`
	for _, h := range q.Addresses {
		args = bindAddress(args, h)
	}
	through, err := v.readThrough(q, asked, args)
	if through {
		return asked + readingThrough, append(args, q.After, q.Upto, q.Blocks, q.Limit), err
	}
	return asked + byAddress, append(args, q.After, q.Upto, q.After, q.Upto, q.Blocks, q.Limit, q.Limit), err
}

// readThrough tells whether looking at each event asked for, once for each
// address, costs less than looking up the frames that concern the addresses.
func (v *view) readThrough(q index.EventQuery, asked string, addresses []any) (bool, error) {
	last, err := v.LastSeq()
	if err != nil {
		return false, err
	}
	events := max(0, min(last, q.Upto)-q.After)
	if events <= shortLog/int64(len(q.Addresses)) {
		return true, nil
	}
	var sent, received int64
	args := append(slices.Clone(addresses), events, events)
	err = v.one(asked+` SELECT (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address `+isAsked+` LIMIT ?)),
		(SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.address `+isAsked+` LIMIT ?))`, args, &sent, &received)
	return events <= (sent+received)/int64(len(q.Addresses)), err
}

const (
	isAsked = `IN (SELECT address FROM asked)`

	// Who sent a frame, is to hold a name, is paid by a message, or was once
	// taken for the sender is concerned.
	readingThrough = eventColumns + `LEFT JOIN frames f ON f.id = e.frame
		WHERE e.seq > ? AND e.seq <= ? AND (e.frame IS NULL AND ? OR +f.address ` + isAsked + ` OR +f.new_address ` + isAsked + `
			OR f.protocol = 'im' AND EXISTS (SELECT 1 FROM parties p WHERE p.address ` + isAsked + ` AND p.tx = f.tx)
			OR EXISTS (SELECT 1 FROM former_sources s WHERE s.address ` + isAsked + ` AND s.frame = e.frame))
		ORDER BY e.seq LIMIT ?`
	byAddress = `, concerned (frame) AS (
			SELECT f.id FROM frames f WHERE f.address ` + isAsked + `
			UNION SELECT f.id FROM frames f WHERE f.new_address ` + isAsked + `
			UNION SELECT f.id FROM parties p CROSS JOIN frames f WHERE p.address ` + isAsked + ` AND f.tx = p.tx AND f.protocol = 'im'
			UNION SELECT s.frame FROM former_sources s WHERE s.address ` + isAsked + `
		), found (seq) AS (
			SELECT e.seq FROM concerned CROSS JOIN events e WHERE e.frame = concerned.frame AND e.seq > ? AND e.seq <= ?
			UNION ALL
			SELECT * FROM (SELECT e.seq FROM events e WHERE e.frame IS NULL AND e.seq > ? AND e.seq <= ? AND ? ORDER BY e.seq LIMIT ?)
			ORDER BY 1 LIMIT ?
		) ` + eventColumns + `WHERE e.seq IN (SELECT seq FROM found) ORDER BY e.seq`
)

func (v *view) events(query string, args []any) ([]*index.Event, error) {
	var list []*index.Event
	err := v.each(query, args, func(r *sql.Rows) error {
		var kind, verdict, from string
		var block []byte
		var arrival sql.NullInt64
		var height sql.NullInt32
		e := &index.Event{Height: -1}
		if err := r.Scan(&e.Seq, &kind, &arrival, &height, &block, &verdict, &from, &e.Reason); err != nil {
			return err
		}
		e.Kind, e.Verdict, e.From, e.Arrival = index.EventKind(kind), frame.Verdict(verdict), frame.Verdict(from), arrival.Int64
		if height.Valid {
			e.Height = height.Int32
		}
		list = append(list, e)
		if block == nil {
			return nil
		}
		return rows.Fill(e.Block[:], "events.block", block)
	})
	return list, err
}
