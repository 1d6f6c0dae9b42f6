package postgres

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// Conversations are counted in the indexes: what was sent and what was received, to
// one and to several, of one peer's key together. Bits of kind: 3 protocol, 32 came
// before (rows.Again), 64 reaches several (rows.Many). What came before is listed
// one by one, with no peer.
const (
	ofTally  = `f.height > -2 AND f.kind & 3 = 0 AND ` + counts
	toOthers = `FROM frames f WHERE f.address_key = $1 AND f.address_key <> 0 AND ` + ofTally
	toUs     = `FROM frames f WHERE f.to_key = $1 AND f.to_key <> 0 AND f.address_key <> 0 AND f.address_key <> $1 AND ` + ofTally
	toUsToo  = `FROM parties p CROSS JOIN LATERAL (SELECT * FROM frames f WHERE f.id >= p.lead AND f.id < p.lead + p.frames OFFSET 0) f
		WHERE p.key = $1 AND f.address_key <> 0 AND f.address_key <> $1 AND ` + ofTally

	tallied = `SELECT t.way, t.peer, count(*), max(t.id) FROM (
			SELECT 0 AS way, CASE WHEN f.to_key = 0 THEN $1 ELSE f.to_key END AS peer, f.id ` + toOthers + ` AND f.kind & 96 = 0
			UNION ALL SELECT 0, f.to_key, f.id ` + toOthers + ` AND f.kind & 96 = 64 AND f.to_key <> $1
			UNION ALL SELECT 0, p.key, f.id FROM (SELECT f.id ` + toOthers + ` AND f.kind & 96 = 64 OFFSET 0) f CROSS JOIN LATERAL (
				SELECT p.key FROM parties p WHERE p.lead + 0 = (SELECT b.lead + 0 FROM parties b WHERE b.lead + 0 <= f.id ORDER BY b.lead + 0 DESC LIMIT 1)
					AND p.lead + p.frames > f.id OFFSET 0) p WHERE p.key <> $1
			UNION ALL SELECT 1, f.address_key, f.id ` + toUs + ` AND f.kind & 32 = 0
			UNION ALL SELECT 1, f.address_key, f.id ` + toUsToo + ` AND f.kind & 32 = 0
		) t GROUP BY t.way, t.peer`
	talliedAgain = `SELECT f.id ` + toOthers + ` AND f.kind & 32 <> 0 UNION SELECT f.id ` + toUs + ` AND f.kind & 32 <> 0
		UNION SELECT f.id ` + toUsToo + ` AND f.kind & 32 <> 0`
)

// Conversations implements [index.View]. Counts are of keys of addresses: who makes
// two addresses of one key may be taken for one, but by who gets the newest.
func (v *view) Conversations(q index.ConversationQuery) ([]index.Conversation, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	t := rows.NewTally(q.Address)
	own := []any{rows.AddressKey(q.Address)}
	err := v.ask(question{tallied, own, func(r *row) error {
		way, peer, n, last := r.integer(), r.integer(), r.integer(), r.integer()
		if way == 0 {
			t.Sent(peer, n, last)
		} else {
			t.Received(peer, n, last)
		}
		return nil
	}}, question{talliedAgain, own, func(r *row) error {
		t.Again(r.integer())
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return t.List(v, q)
}

// Whole implements [rows.TallyReader].
func (v *view) Whole(arrivals []int64) (map[int64]*index.Entry, error) { return v.entriesOf(arrivals) }

// Copies implements [rows.TallyReader].
func (v *view) Copies(id frame.ID, yield func(*rows.Found) error) error {
	list, err := v.entries(forJudging+`FROM (SELECT * FROM frames f WHERE f.frame_key = $1 AND `+isFactOfID+`
		UNION ALL SELECT * FROM frames f WHERE f.frame_key = $1 AND `+isOtherID+`) f`+inBlock, rows.KeyOf(id))
	for _, f := range list {
		if err == nil && f.ID == id {
			err = yield(f)
		}
	}
	return err
}

const keyRecords = withBodies + `FROM frames f` + inBlock + `WHERE f.address_key = $1 AND f.address_key <> 0 AND ` + counts + ` AND f.verdict = 11
	AND f.kind & 16776963 = $2::integer AND f.height > -2 AND f.id < $3 ORDER BY f.id DESC LIMIT $4`

// KeyRecords implements [index.View].
func (v *view) KeyRecords(address frame.KeyHash, limit int) ([]*index.Entry, error) {
	const atOnce = 100
	var entries []*index.Entry
	for before := int64(endless); len(entries) < limit; {
		list, err := v.entries(keyRecords, rows.AddressKey(address), rows.TypeBits(improtocol.KeyRecord), before, atOnce)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(list, func(a, b *rows.Found) int { return cmp.Compare(b.Arrival, a.Arrival) })
		for _, f := range list {
			if before = f.Arrival; len(entries) < limit && rows.Sent(f.Entry, address) && index.IsKeyRecord(f.Entry) {
				entries = append(entries, f.Entry)
			}
		}
		if len(list) < atOnce {
			break
		}
	}
	return entries, nil
}

// Coins implements [index.View].
func (v *view) Coins(q index.CoinQuery) ([]index.Coin, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	return rows.Coins(v, q)
}

// arrivals reads the arrivals that a query gives, in order, each once.
func (v *view) arrivals(query string, args ...any) (list []int64, err error) {
	err = v.each(query, args, func(r *row) error {
		list = append(list, r.integer())
		return nil
	})
	slices.Sort(list)
	return slices.Compact(list), err
}

const (
	ownOf = `SELECT f.id FROM frames f WHERE f.address_key = $1 AND f.address_key <> 0 AND ` + counts + `
		UNION ALL SELECT f.id FROM frames f WHERE f.address_key = $1 AND f.address_key <> 0 AND ` + refused + `
		UNION ALL SELECT t.lead FROM touched t WHERE t.key = $1
		UNION ALL SELECT s.frame FROM former_sources s WHERE s.address = $2`
	paidTo = `(SELECT f.id FROM frames f WHERE f.to_key = $1 AND f.to_key <> 0 AND f.id > $2 ORDER BY f.id LIMIT $3)
		UNION ALL (SELECT p.lead FROM parties p WHERE p.key = $1 AND p.lead > $2 ORDER BY p.lead LIMIT $3)`
	spending = `SELECT s.lead FROM spends s WHERE s.key = ANY ($1::bigint[])`
	lightly  = forJudging + `FROM frames f` + inBlock + `WHERE f.id = ANY ($1::bigint[])`
)

// Own implements [rows.CoinReader].
func (v *view) Own(address frame.KeyHash) ([]int64, error) {
	return v.arrivals(ownOf, rows.AddressKey(address), address[:])
}

// Paid implements [rows.CoinReader].
func (v *view) Paid(address frame.KeyHash, after int64, limit int) ([]int64, error) {
	list, err := v.arrivals(paidTo, rows.AddressKey(address), after, limit)
	return list[:min(len(list), limit)], err
}

// Spenders implements [rows.CoinReader].
func (v *view) Spenders(keys []int64) ([]int64, error) { return v.arrivals(spending, keys) }

// Light implements [rows.CoinReader].
func (v *view) Light(arrivals []int64) ([]*rows.Found, error) { return v.found(lightly, arrivals) }
