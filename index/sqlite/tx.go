package sqlite

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A tx is a transaction that writes. It implements [index.Tx]. After a write
// that failed nothing more is written and nothing is committed.
type tx struct {
	view
	failed error
}

// write runs one of the writing methods.
func (t *tx) write(what string, run func() error) error {
	if t.failed != nil {
		return t.failed
	}
	if err := run(); err != nil {
		t.failed = fmt.Errorf("%s: %w", what, err)
	}
	return t.failed
}

// insert runs a statement for some of the items at a time; %s stands for their
// rows of parameters. Statements of more than one row say OR FAIL: a transaction
// that failed is never committed, so SQLite needn't keep a journal to undo the
// one statement by itself, which costs a fifth of the time. For the same reason
// foreign keys are deferred.
func insert[T any](t *tx, statement string, columns int, items []T, bind func([]any, T) []any) error {
	return chunks(items, columns, writeParameters(columns), bind, func(rows string, args []any) error {
		_, err := t.q.ExecContext(t.ctx, strings.Replace(statement, "%s", rows, 1), args...)
		return err
	})
}

// Lookup implements [index.Tx]. Of an id that is there more than once it gives
// one that is seen, else one that was dropped, else one in a block, of equal ones
// the first. Bodies are left out as in Unconfirmed.
func (t *tx) Lookup(txids []frame.Hash) (map[frame.Hash]*index.Saved, error) {
	best := make(map[frame.Hash]*index.Saved)
	rank := map[index.State]int{index.Seen: 0, index.Dropped: 1, index.Confirmed: 2}
	err := inChunks(txids, 1, bindHash, func(list string, args []any) error {
		return t.each(`SELECT txid, id, state, height FROM txs WHERE txid IN (VALUES `+list+`) ORDER BY id`, args, func(r *sql.Rows) error {
			var txid []byte
			var state string
			var height sql.NullInt32
			s := &index.Saved{Height: -1}
			if err := r.Scan(&txid, &s.Row, &state, &height); err != nil {
				return err
			}
			s.State, s.Seen = index.State(state), s.Row
			if height.Valid {
				s.Height = height.Int32
			}
			var id frame.Hash
			err := rows.Fill(id[:], "txs.txid", txid)
			if old := best[id]; old == nil || rank[s.State] < rank[old.State] {
				best[id] = s
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	rows := make([]int64, 0, len(best))
	byRow := make(map[int64]*index.Saved, len(best))
	for _, s := range best {
		rows, byRow[s.Row] = append(rows, s.Row), s
	}
	return best, t.fillSaved(rows, byRow)
}

// AtHeight implements [index.Tx]. Bodies are left out as in Unconfirmed.
func (t *tx) AtHeight(height int32) ([]*index.Saved, error) {
	return t.saved(`SELECT id, state, height FROM txs WHERE height = ? ORDER BY position, id`, height)
}

// PutBlock implements [index.Tx].
func (t *tx) PutBlock(b *index.Block, stateHash [32]byte) error {
	return t.write("save block", func() error {
		tip, err := t.Tip()
		if err != nil {
			return err
		}
		if tip.Height >= 0 && b.Height != tip.Height+1 {
			return fmt.Errorf("height %d doesn't follow %d", b.Height, tip.Height)
		}
		_, err = t.q.ExecContext(t.ctx, `INSERT INTO blocks (height, hash, header, median_time, state_hash) VALUES (?, ?, ?, ?, ?)`,
			b.Height, b.Hash[:], b.Header[:], b.MedianTime, stateHash[:])
		return err
	})
}

// CutBlocks implements [index.Tx]. Commit fails when a transaction is still
// confirmed at a height that is gone.
func (t *tx) CutBlocks(above int32) error {
	return t.write("cut blocks", func() error {
		_, err := t.q.ExecContext(t.ctx, `DELETE FROM blocks WHERE height > ?`, above)
		return err
	})
}

// PutNames implements [index.Tx].
func (t *tx) PutNames(names []*nprotocol.Name) error {
	return t.write("save names", func() error {
		return insert(t, `INSERT OR FAIL INTO names (name, address, since_height, since_position, since_output, registered_at, expires_at, deleted) VALUES %s
			ON CONFLICT (name) DO UPDATE SET address = excluded.address, since_height = excluded.since_height,
				since_position = excluded.since_position, since_output = excluded.since_output,
				registered_at = excluded.registered_at, expires_at = excluded.expires_at, deleted = excluded.deleted`, 8, names,
			func(a []any, n *nprotocol.Name) []any {
				return append(a, []byte(n.Name), n.Address[:], n.Since.Height, n.Since.Index, n.Since.Output, n.RegisteredAt, n.ExpiresAt, n.Deleted)
			})
	})
}

// PutPeers implements [index.Tx].
func (t *tx) PutPeers(peers []*nprotocol.Peer) error {
	return t.write("save peers", func() error {
		return insert(t, `INSERT OR FAIL INTO peers (address, ip, registered_at, expires_at, deleted) VALUES %s
			ON CONFLICT (address, ip) DO UPDATE SET registered_at = excluded.registered_at,
				expires_at = excluded.expires_at, deleted = excluded.deleted`, 5, peers,
			func(a []any, p *nprotocol.Peer) []any {
				return append(a, p.Address[:], []byte(p.IP), p.RegisteredAt, p.ExpiresAt, p.Deleted)
			})
	})
}

// DeleteNames implements [index.Tx].
func (t *tx) DeleteNames(names []string) error {
	return t.write("delete names", func() error {
		return insert(t, `DELETE FROM names WHERE name IN (VALUES %s)`, 1, names, bindText)
	})
}

// DeletePeers implements [index.Tx].
func (t *tx) DeletePeers(peers []nprotocol.PeerKey) error {
	return t.write("delete peers", func() error {
		return insert(t, `DELETE FROM peers WHERE (address, ip) IN (VALUES %s)`, 2, peers, bindPeer)
	})
}

// A place is where a valid record stands.
type place struct {
	nprotocol.Position
	arrival int64
}

// ValidRecords implements [index.Tx].
func (t *tx) ValidRecords(names []string, peers []nprotocol.PeerKey, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	var places []place
	gather := func(r *sql.Rows) error {
		var p place
		err := r.Scan(&p.Height, &p.Index, &p.Output, &p.arrival)
		places = append(places, p)
		return err
	}
	const query = `SELECT f.height, f.position, f.output, f.id FROM frames f WHERE ` + isFact
	err := inChunks(names, 1, bindText, func(rows string, args []any) error {
		return t.each(query+` AND f.name IN (VALUES `+rows+`)`, args, gather)
	})
	if err != nil {
		return err
	}
	err = inChunks(peers, 2, bindPeer, func(rows string, args []any) error {
		return t.each(query+` AND f.ip IS NOT NULL AND (f.holder, f.ip) IN (VALUES `+rows+`)`, args, gather)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(a.Compare(b.Position), cmp.Compare(a.arrival, b.arrival))
	})
	for chunk := range slices.Chunk(slices.Compact(places), parameters) {
		if err := t.yieldRecords(chunk, yield); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) yieldRecords(places []place, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	args := make([]any, len(places))
	for i, p := range places {
		args[i] = p.arrival
	}
	type found struct {
		record    *nprotocol.Record
		time, now int64
	}
	records := make(map[int64]found, len(places))
	err := t.each(forJudging+`WHERE f.id IN (VALUES `+values(len(places), 1)+`)`, args, func(answer *sql.Rows) error {
		var r frameRow
		if err := r.scan(answer); err != nil {
			return err
		}
		e, err := r.entry()
		if err != nil {
			return err
		}
		if e.Record == nil || !r.medianTime.Valid {
			return &rows.CorruptError{Column: "frames.height: no such block"}
		}
		records[r.id] = found{e.Record, e.Time, r.medianTime.Int64}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range places {
		r := records[p.arrival]
		if err := yield(r.record, nprotocol.Moment{Position: p.Position, Time: r.time, Now: r.now}); err != nil {
			return err
		}
	}
	return nil
}

// AppendEvents implements [index.Tx].
func (t *tx) AppendEvents(events []*index.Event) error {
	return t.write("save events", func() error {
		var last int64
		err := t.one(`SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)`, nil, &last)
		if err != nil {
			return err
		}
		for _, e := range events {
			last++
			e.Seq = last
		}
		return insert(t, `INSERT OR FAIL INTO events (seq, kind, frame, height, block, verdict, from_verdict, reason) VALUES %s`, 8, events, bindEvent)
	})
}

func bindEvent(args []any, e *index.Event) []any {
	var block, arrival any
	if e.Block != (frame.Hash{}) {
		block = e.Block[:]
	}
	if e.Arrival != 0 {
		arrival = e.Arrival
	}
	return append(args, e.Seq, string(e.Kind), arrival, rows.NullableHeight(e.Height), block, string(e.Verdict), string(e.From), e.Reason)
}
