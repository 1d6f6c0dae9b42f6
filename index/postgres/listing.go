package postgres

import (
	"strings"
	"sync"
)

// A side is one of the ways in which frames concern an address, each through an
// index of its own and only as far as a page needs.
type side uint8

const (
	everything   side = iota + 1 // of whatever address
	sent                         // what the address sent
	received                     // what reaches the address first, and it didn't send
	receivedToo                  // what reaches it besides
	sentTo                       // what the address sent to the peer
	sentBack                     // what the peer sent to the address
	receivedFrom                 // what the peer sent to the address, by what the address received
	receivedTooFrom
	receivedBack // what the address sent to the peer, by what the peer received
	receivedTooBack
)

// A shape is what a listing's statement depends on. There are few, so that each
// statement is planned once on a connection, whatever is asked for.
type shape struct {
	sides   [4]side
	newest  bool
	refused bool
	light   bool // without long bodies
}

// The arguments of every statement: after, before, limit, the heights from, to and
// but, a mask of kinds and what it must leave, the keys of the address and of the
// peer.
const (
	isListed = `f.id > $1::bigint AND f.id < $2::bigint AND f.height BETWEEN $4::integer AND $5::integer AND f.height <> $6::integer
		AND f.kind & $7::integer = $8::integer AND `
	counts  = `f.verdict IN (7, 11)`
	refused = `f.verdict NOT IN (7, 11)`

	mine, theirs = `$9::bigint`, `$10::bigint`
)

var statements sync.Map // of texts by shape

func (s shape) text() string {
	if text, ok := statements.Load(s); ok {
		return text.(string)
	}
	text := s.make()
	statements.Store(s, text)
	return text
}

func (s shape) make() string {
	var parts []string
	for _, one := range s.sides {
		if one != 0 {
			parts = append(parts, `(`+s.side(one)+`)`)
		}
	}
	columns := withBodies
	if s.light {
		columns = forJudging
	}
	all := parts[0]
	if len(parts) > 1 {
		all = `(` + strings.Join(parts, ` UNION ALL `) + ` ORDER BY id ` + s.order() + ` LIMIT $3)`
	}
	return columns + `FROM ` + all + ` f` + inBlock + `ORDER BY f.id ` + s.order()
}

func (s shape) order() string {
	if s.newest {
		return `DESC`
	}
	return `ASC`
}

func (s shape) listed() string {
	if s.refused {
		return isListed + refused
	}
	return isListed + counts
}

// reaches tells whether the transaction of f reaches an address: of the parties'
// rows with its key, the last that begins before f is of f's transaction, or none
// is.
func reaches(key string) string {
	return `(f.to_key = ` + key + ` OR coalesce((SELECT p.lead + p.frames FROM parties p WHERE p.key = ` + key + ` AND p.lead <= f.id ORDER BY p.lead DESC LIMIT 1), 0) > f.id)`
}

func (s shape) side(one side) string {
	switch one {
	case sent:
		return s.bySource(mine, ``)
	case sentTo:
		return s.bySource(mine, ` AND `+reaches(theirs))
	case sentBack:
		return s.bySource(theirs, ` AND `+reaches(mine))
	case received:
		return s.byRecipient(mine, ` AND f.address_key <> `+mine)
	case receivedToo:
		return s.byParty(mine, ` AND f.address_key <> `+mine)
	case receivedFrom:
		return s.byRecipient(mine, ` AND f.address_key = `+theirs)
	case receivedTooFrom:
		return s.byParty(mine, ` AND f.address_key = `+theirs)
	case receivedBack:
		return s.byRecipient(theirs, ` AND f.address_key = `+mine)
	case receivedTooBack:
		return s.byParty(theirs, ` AND f.address_key = `+mine)
	}
	return `SELECT * FROM frames f WHERE ` + s.listed() + s.page()
}

func (s shape) page() string { return ` ORDER BY f.id ` + s.order() + ` LIMIT $3` }

func (s shape) bySource(key, condition string) string {
	return `SELECT * FROM frames f WHERE f.address_key = ` + key + ` AND f.address_key <> 0 AND ` + s.listed() + condition + s.page()
}

func (s shape) byRecipient(key, condition string) string {
	return `SELECT * FROM frames f WHERE f.to_key = ` + key + ` AND f.to_key <> 0 AND ` + s.listed() + condition + s.page()
}

// byParty goes from the transaction that holds the first arrival asked for. OFFSET
// 0 keeps the planner from turning around the order in which tables are read.
// Frames of a transaction arrive together, so what is listed by transaction is
// listed by arrival.
func (s shape) byParty(key, condition string) string {
	return `SELECT f.* FROM parties p CROSS JOIN LATERAL (
			SELECT * FROM frames f WHERE f.id >= p.lead AND f.id < p.lead + p.frames AND ` + s.listed() + condition + ` OFFSET 0) f
		WHERE p.key = ` + key + ` AND p.lead < $2 AND p.lead >= coalesce((SELECT q.lead FROM parties q
			WHERE q.key = ` + key + ` AND q.lead <= $1 ORDER BY q.lead DESC LIMIT 1), 0)
		ORDER BY p.lead ` + s.order() + `, f.id ` + s.order() + ` LIMIT $3`
}

// first returns the statement that finds, for each of some frame ids, the first
// occurrence that the listing could show. A valid one is looked for by its id, not
// in the order of arrival: there is one, but for ids of the same key.
func (s shape) first() string {
	of, keys := ``, `$9`
	switch one := s.sides[0]; {
	case one >= sentTo:
		of = ` AND (f.address_key = ` + mine + ` AND ` + reaches(theirs) + ` OR f.address_key = ` + theirs + ` AND ` + reaches(mine) + `)`
		keys = `$11`
	case one >= sent:
		of = ` AND (f.address_key = ` + mine + ` OR ` + reaches(mine) + `)`
		keys = `$10`
	}
	return forJudging + `FROM unnest(` + keys + `::bigint[]) AS need (key) CROSS JOIN LATERAL (
		SELECT * FROM ((SELECT * FROM (SELECT * FROM frames f WHERE f.frame_key = need.key AND ` + isFactOfID + ` OFFSET 0) f
				WHERE ` + s.listed() + of + ` ORDER BY f.id LIMIT $3)
			UNION ALL (SELECT * FROM frames f WHERE f.frame_key = need.key AND ` + isOtherID + ` AND ` + s.listed() + of + ` ORDER BY f.id LIMIT $3)) f
		ORDER BY f.id LIMIT $3) f` + inBlock + `ORDER BY f.id`
}
