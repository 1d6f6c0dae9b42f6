package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A view reads inside one transaction. It implements [index.View].
type view struct {
	ctx     context.Context
	q       *pgx.Conn
	head    *viewHead // nil in a tx, which may change it
	cursors int       // opened so far
	puts    []put     // of a tx: statements that were put off
	failed  error     // of a tx: the first write that failed
}

// A viewHead is what a View reads as it begins.
type viewHead struct {
	epoch   string
	lastSeq int64
	tip     index.Tip
}

const blockColumns = `SELECT height, hash, header, median_time, state_hash FROM blocks `

func (v *view) tips(query string, args ...any) (tips []index.Tip, err error) {
	err = v.each(query, args, func(r *row) error {
		tips = append(tips, scanTip(r))
		return nil
	})
	return tips, err
}

func scanTip(r *row) index.Tip {
	t := index.Tip{Height: r.height()}
	r.must(t.Hash[:], "blocks.hash")
	r.must(t.Header[:], "blocks.header")
	t.MedianTime = r.integer()
	r.must(t.StateHash[:], "blocks.state_hash")
	return t
}

// Tip implements [index.View].
func (v *view) Tip() (index.Tip, error) {
	if v.head != nil {
		return v.head.tip, nil
	}
	tips, err := v.tips(blockColumns + `ORDER BY height DESC LIMIT 1`)
	if err != nil || len(tips) == 0 {
		return index.Tip{Height: -1}, err
	}
	return tips[0], nil
}

// BlockAt implements [index.View].
func (v *view) BlockAt(height int32) (index.Tip, error) {
	tips, err := v.tips(blockColumns+`WHERE height = $1`, height)
	switch {
	case err != nil:
		return index.Tip{}, err
	case len(tips) == 0:
		return index.Tip{}, index.ErrNotFound
	}
	return tips[0], nil
}

// Blocks implements [index.View].
func (v *view) Blocks(from int32, limit int) ([]index.Tip, error) {
	return v.tips(blockColumns+`WHERE height >= $1 ORDER BY height LIMIT $2`, from, max(0, limit))
}

// Epoch implements [index.View]. It is asked in each View: somebody may have made
// the database anew under a process that reads it.
func (v *view) Epoch() (epoch string, err error) {
	if v.head != nil {
		epoch = v.head.epoch
	} else {
		err = v.each(`SELECT value FROM meta WHERE key = 'epoch'`, nil, func(r *row) error {
			epoch = r.text()
			return nil
		})
	}
	if err == nil && epoch == "" {
		return "", &rows.CorruptError{Column: "meta.value of the epoch"}
	}
	return epoch, err
}

const lastSeq = `SELECT coalesce(max(last), 0) FROM events`

// LastSeq implements [index.View].
func (v *view) LastSeq() (int64, error) {
	if v.head != nil {
		return v.head.lastSeq, nil
	}
	return v.one(lastSeq)
}

// one returns the number that is the answer to a query.
func (v *view) one(query string, args ...any) (n int64, err error) {
	err = v.each(query, args, func(r *row) error {
		n = r.integer()
		return nil
	})
	return n, err
}

const nameColumns = `SELECT name, address, since_height, since_position, since_output, registered_at, expires_at, deleted FROM names `

func scanName(r *row) *nprotocol.Name {
	n := &nprotocol.Name{Name: r.text()}
	r.must(n.Address[:], "names.address")
	since := r.integer() // of any int32: the store only keeps it
	if since < math.MinInt32 || since > math.MaxInt32 {
		r.fault("names.since_height")
	}
	n.Since = nprotocol.Position{Height: int32(since), Index: r.unsigned(), Output: r.unsigned()}
	n.RegisteredAt, n.ExpiresAt, n.Deleted = r.integer(), r.integer(), r.flag()
	return n
}

func (v *view) names(query string, args ...any) (names []*nprotocol.Name, err error) {
	err = v.each(query, args, func(r *row) error {
		names = append(names, scanName(r))
		return nil
	})
	return names, err
}

// Name implements [index.View].
func (v *view) Name(name string) (*nprotocol.Name, error) {
	names, err := v.names(nameColumns+`WHERE sha256(name) = $1`, key(name))
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, index.ErrNotFound
	}
	return names[0], nil
}

// NamesOf implements [index.View].
func (v *view) NamesOf(address frame.KeyHash) ([]*nprotocol.Name, error) {
	return v.names(nameColumns+`WHERE address = $1 ORDER BY name`, address[:])
}

const peerColumns = `SELECT p.address, p.ip, p.registered_at, p.expires_at, p.deleted FROM peers p `

func scanPeer(r *row) *nprotocol.Peer {
	p := &nprotocol.Peer{}
	r.must(p.Address[:], "peers.address")
	p.IP, p.RegisteredAt, p.ExpiresAt, p.Deleted = r.text(), r.integer(), r.integer(), r.flag()
	return p
}

// PeersOf implements [index.View].
func (v *view) PeersOf(address frame.KeyHash) (peers []*nprotocol.Peer, err error) {
	err = v.each(peerColumns+`WHERE p.address = $1 ORDER BY p.ip`, []any{address[:]}, func(r *row) error {
		peers = append(peers, scanPeer(r))
		return nil
	})
	return peers, err
}

// PublicKey implements [index.View].
func (v *view) PublicKey(address frame.KeyHash) ([]byte, error) {
	facts, err := v.Facts(index.Need{Keys: []frame.KeyHash{address}})
	if err != nil {
		return nil, err
	}
	if key := facts.Keys[address]; key != nil {
		return key, nil
	}
	return nil, index.ErrNotFound
}

// Counts implements [index.View].
func (v *view) Counts() (map[frame.Verdict]int64, error) {
	counts := map[frame.Verdict]int64{}
	err := v.each(`SELECT verdict, frames FROM verdicts WHERE frames > 0`, nil, func(r *row) error {
		verdict := frame.Verdict(r.text())
		counts[verdict] = r.integer()
		return nil
	})
	return counts, err
}

// fetched is how many rows are fetched through a cursor at a time.
const fetched = 500

// through calls scan for every row of a long query, and done after each batch of
// them, when other questions can be asked.
func (v *view) through(query string, scan func(*row), done func() error) (err error) {
	v.cursors++
	cursor := fmt.Sprintf("through_%d", v.cursors)
	if err := v.flush(); err != nil {
		return err
	}
	if _, err := v.q.Exec(v.ctx, `DECLARE `+cursor+` NO SCROLL CURSOR FOR `+query); err != nil {
		return v.explain(err)
	}
	defer func() { // also when done panics
		_, failed := v.q.Exec(v.ctx, `CLOSE `+cursor)
		if err == nil {
			err = v.explain(failed)
		}
	}()
	for {
		n := 0
		// Not kept prepared: the next cursor of this name has other columns.
		err := v.each(fmt.Sprintf(`FETCH %d FROM %s`, fetched, cursor), []any{pgx.QueryExecModeDescribeExec}, func(r *row) error {
			n++
			scan(r)
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
		if err := done(); err != nil {
			return err
		}
	}
}

// AllNames implements [index.View].
func (v *view) AllNames(yield func(*nprotocol.Name) error) error {
	return all(v, nameColumns+`ORDER BY name`, scanName, yield)
}

// AllPeers implements [index.View].
func (v *view) AllPeers(yield func(*nprotocol.Peer) error) error {
	return all(v, peerColumns+`ORDER BY p.address, p.ip`, scanPeer, yield)
}

func all[T any](v *view, query string, scan func(*row) T, yield func(T) error) error {
	var list []T
	return v.through(query, func(r *row) { list = append(list, scan(r)) }, func() error {
		batch := list
		list = nil
		for _, item := range batch {
			if err := yield(item); err != nil {
				return err
			}
		}
		return nil
	})
}

// Bodies are read until they are this many bytes; then they are yielded.
const manyBytes = 8 << 20

const confirmed = `SELECT id, octet_length(body) FROM frames WHERE height >= 0 ORDER BY height, place, id`

// Confirmed implements [index.View]. It holds a few megabytes of bodies at a
// time, or one that is larger.
func (v *view) Confirmed(yield func(*index.Entry) error) error {
	type found struct{ arrival, size int64 }
	var list []found
	scan := func(r *row) { list = append(list, found{r.integer(), r.integer()}) }
	return v.through(confirmed, scan, func() error {
		batch := list
		list = nil
		for len(batch) > 0 {
			var arrivals []int64
			for size := int64(0); len(batch) > 0 && (len(arrivals) == 0 || size+batch[0].size <= manyBytes); batch = batch[1:] {
				arrivals, size = append(arrivals, batch[0].arrival), size+batch[0].size
			}
			if err := v.yieldEntries(arrivals, yield); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *view) yieldEntries(arrivals []int64, yield func(*index.Entry) error) error {
	byArrival, err := v.entriesOf(arrivals)
	if err != nil {
		return err
	}
	for _, a := range arrivals {
		if err := yield(byArrival[a]); err != nil {
			return err
		}
	}
	return nil
}
