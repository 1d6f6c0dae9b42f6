package sqlite

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// Bits of kind: 3 protocol, 32 came before (rows.Again), 64 reaches several
// (rows.Many).
const (
	allSent     = `SELECT f.id, f.kind, f.to_key FROM frames f WHERE f.address_key = ?1 AND ` + isCounted + ` AND f.kind & 3 = 0 ORDER BY f.id`
	allReceived = `SELECT f.id, f.kind, f.address_key FROM frames f WHERE f.to_key = ?1 AND f.to_key <> 0 AND f.kind & 3 = 0
		AND f.verdict IN (7, 11) AND f.address_key NOT IN (0, ?1) ORDER BY f.id`
	allReceivedToo = `SELECT f.id, f.kind, f.address_key FROM parties p CROSS JOIN frames f WHERE p.key = ?1 AND f.id >= p.lead AND f.id < p.lead + p.frames
		AND f.kind & 3 = 0 AND f.verdict IN (7, 11) AND f.address_key NOT IN (0, ?1) ORDER BY p.lead, f.id`
	allDropped = `SELECT f.id FROM frames f WHERE f.address_key = ?1 AND f.height = -2 UNION ALL
		SELECT f.id FROM frames f WHERE f.to_key = ?1 AND f.height = -2 UNION ALL
		SELECT f.id FROM parties p CROSS JOIN frames f WHERE p.key = ?1 AND f.id >= p.lead AND f.id < p.lead + p.frames AND f.height = -2`
	partiesOf = `SELECT p.key FROM parties p WHERE p.lead = (SELECT b.lead FROM parties b WHERE b.lead <= ?1 ORDER BY b.lead DESC LIMIT 1)
		AND p.lead + p.frames > ?1`
)

// Conversations implements [index.View]. Counts are of keys of addresses: who makes
// two addresses of one key may be taken for one, but by who gets the newest.
func (v *view) Conversations(q index.ConversationQuery) ([]index.Conversation, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	t := &tally{view: v, Tally: rows.NewTally(q.Address), own: rows.AddressKey(q.Address), dropped: map[int64]bool{}}
	for _, part := range []struct {
		query string
		count func(s *statement) error
	}{
		{allDropped, func(s *statement) error { t.dropped[s.ColumnInt64(0)] = true; return nil }},
		{allSent, t.sent},
		{allReceived, t.received},
		{allReceivedToo, t.received},
	} {
		if err := v.each(part.query, part.count, number(t.own)); err != nil {
			return nil, err
		}
	}
	return t.List(v, q)
}

// A tally is conversations being counted.
type tally struct {
	*view
	*rows.Tally
	own     int64
	dropped map[int64]bool
}

// passed tells whether the row a statement stands on isn't to be counted now.
func (t *tally) passed(s *statement) (id int64, passed bool) {
	id = s.ColumnInt64(0)
	switch {
	case len(t.dropped) > 0 && t.dropped[id]:
		return id, true
	case s.ColumnInt32(1)&rows.Again != 0:
		t.Again(id)
		return id, true
	}
	return id, false
}

func (t *tally) received(s *statement) error {
	if id, passed := t.passed(s); !passed {
		t.Received(s.ColumnInt64(2), 1, id)
	}
	return nil
}

func (t *tally) sent(s *statement) error {
	id, passed := t.passed(s)
	if passed {
		return nil
	}
	to := s.ColumnInt64(2)
	if s.ColumnInt32(1)&rows.Many == 0 {
		t.Sent(to, 1, id)
		return nil
	}
	if to != t.own {
		t.Sent(to, 1, id)
	}
	return t.each(partiesOf, func(s *statement) error {
		if key := s.ColumnInt64(0); key != t.own {
			t.Sent(key, 1, id)
		}
		return nil
	}, number(id))
}

// Whole implements [rows.TallyReader].
func (v *view) Whole(arrivals []int64) (map[int64]*index.Entry, error) { return v.entriesOf(arrivals) }

// Copies implements [rows.TallyReader].
func (v *view) Copies(id frame.ID, yield func(*rows.Found) error) error {
	return v.ofFrame(id, func(f *rows.Found) error {
		if f.Tx == nil {
			lead, err := v.lead(f.Lead)
			if err != nil {
				return err
			}
			f.Tx = lead.Tx
		}
		return yield(f)
	})
}

// KeyRecords implements [index.View].
func (v *view) KeyRecords(address frame.KeyHash, limit int) ([]*index.Entry, error) {
	if limit <= 0 {
		return nil, nil
	}
	var list []*rows.Found
	err := v.each(whole+`WHERE f.address_key = ? AND `+isCounted+` AND f.verdict = 11 AND `+isText+`? ORDER BY f.id DESC`, func(s *statement) error {
		f, err := s.found()
		if err == nil && rows.Sent(f.Entry, address) {
			if err = v.join([]*rows.Found{f}); err == nil && index.IsKeyRecord(f.Entry) {
				list = append(list, f)
			}
		}
		if err == nil && len(list) == limit {
			err = errEnough
		}
		return err
	}, number(rows.AddressKey(address)), number(int64(rows.TypeBits(improtocol.KeyRecord))))
	if err != nil && err != errEnough {
		return nil, err
	}
	return entries(list), nil
}

// Coins implements [index.View].
func (v *view) Coins(q index.CoinQuery) ([]index.Coin, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	return rows.Coins(v, q)
}

// arrivals reads the arrivals that queries give, in order, each once.
func (v *view) arrivals(queries []string, args ...value) (list []int64, err error) {
	for _, query := range queries {
		err := v.each(query, func(s *statement) error {
			list = append(list, s.ColumnInt64(0))
			return nil
		}, args...)
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Own implements [rows.CoinReader].
func (v *view) Own(address frame.KeyHash) ([]int64, error) {
	list, err := v.arrivals([]string{
		`SELECT f.id FROM frames f WHERE f.address_key = ? AND ` + isCounted,
		`SELECT f.id FROM frames f WHERE f.address_key = ? AND ` + isRefused,
		`SELECT t.lead FROM touched t WHERE t.key = ?`,
	}, number(rows.AddressKey(address)))
	if err != nil {
		return nil, err
	}
	former, err := v.arrivals([]string{`SELECT s.frame FROM former_sources s WHERE s.address = ?`}, blob(address[:]))
	list = append(list, former...)
	slices.Sort(list)
	return slices.Compact(list), err
}

// Paid implements [rows.CoinReader].
func (v *view) Paid(address frame.KeyHash, after int64, limit int) ([]int64, error) {
	list, err := v.arrivals([]string{
		`SELECT f.id FROM frames f WHERE f.to_key = ? AND f.to_key <> 0 AND f.id > ? ORDER BY f.id LIMIT ? + 0`,
		`SELECT p.lead FROM parties p WHERE p.key = ? AND p.lead > ? ORDER BY p.lead LIMIT ? + 0`,
	}, number(rows.AddressKey(address)), number(after), number(int64(limit)))
	return list[:min(len(list), limit)], err
}

// Spenders implements [rows.CoinReader].
func (v *view) Spenders(keys []int64) (leads []int64, err error) {
	err = look(v.conn, `SELECT s.lead FROM spends s WHERE s.key = ?`, keys,
		func(s *statement, key *int64) { s.BindInt64(1, *key) },
		func(s *statement, _ *int64) (bool, error) {
			leads = append(leads, s.ColumnInt64(0))
			return false, nil
		})
	return leads, err
}

// Light implements [rows.CoinReader].
func (v *view) Light(arrivals []int64) (list []*rows.Found, err error) {
	err = look(v.conn, light+`WHERE f.id = ?`, arrivals,
		func(s *statement, arrival *int64) { s.BindInt64(1, *arrival) },
		func(s *statement, _ *int64) (bool, error) {
			f, err := s.found()
			list = append(list, f)
			return false, err
		})
	slices.SortFunc(list, func(a, b *rows.Found) int { return cmp.Compare(a.Arrival, b.Arrival) })
	return list, err
}
