package postgres

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A tx is a transaction that writes. It implements [index.Tx]. After a write
// that failed nothing more is written and nothing is committed.
type tx struct {
	view
	had, last numbers // given when it began, and by now
	xact      string  // the server's number of the transaction
	tip       *index.Tip
	failed    error
}

// numbers are the last ones given.
type numbers struct{ tx, frame, event int64 }

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

func (t *tx) exec(query string, args ...any) error {
	_, err := t.q.Exec(t.ctx, query, args...)
	return t.explain(err)
}

// Lookup implements [index.Tx]. Of an id that is there more than once it gives
// one that is seen, else one that was dropped, else one in a block, of equal ones
// the first. Bodies are left out as in Unconfirmed.
func (t *tx) Lookup(txids []frame.Hash) (map[frame.Hash]*index.Saved, error) {
	best := make(map[frame.Hash]*index.Saved)
	if len(txids) == 0 {
		return best, nil
	}
	asked := make([][]byte, len(txids))
	for i := range txids {
		asked[i] = txids[i][:]
	}
	// One of each id, the best.
	list, err := t.saved(`WHERE t.id IN (
		SELECT DISTINCT ON (o.txid) o.id FROM txs o WHERE o.txid = ANY ($1::bytea[])
		ORDER BY o.txid, array_position(ARRAY['seen', 'dropped', 'confirmed'], o.state), o.id)`, asked)
	for _, s := range list {
		if len(s.Entries) > 0 {
			best[s.Entries[0].Tx.ID] = s
		}
	}
	return best, err
}

// AtHeight implements [index.Tx]. Bodies are left out as in Unconfirmed.
func (t *tx) AtHeight(height int32) ([]*index.Saved, error) {
	return t.saved(`WHERE t.height = $1 ORDER BY t.position, t.id`, height)
}

// Tip implements [index.View]. It asks once: nobody else moves it.
func (t *tx) Tip() (index.Tip, error) {
	if t.tip == nil {
		tip, err := t.view.Tip()
		if err != nil {
			return index.Tip{}, err
		}
		t.tip = &tip
	}
	return *t.tip, nil
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
		t.tip = nil
		err = t.exec(`INSERT INTO blocks (height, hash, header, median_time, state_hash) VALUES ($1, $2, $3, $4, $5)`,
			b.Height, b.Hash[:], b.Header[:], b.MedianTime, stateHash[:])
		if err == nil {
			t.tip = &index.Tip{Height: b.Height, Hash: b.Hash, Header: b.Header, MedianTime: b.MedianTime, StateHash: stateHash}
		}
		return err
	})
}

// CutBlocks implements [index.Tx]. Commit fails when a transaction is still
// confirmed at a height that is gone.
func (t *tx) CutBlocks(above int32) error {
	return t.write("cut blocks", func() error {
		t.tip = nil
		return t.exec(`DELETE FROM blocks WHERE height > $1`, above)
	})
}

// lastOf leaves, of items with one key, the last: a statement can't write a row
// twice.
func lastOf[T any, K comparable](items []T, key func(T) K) []T {
	at := make(map[K]int, len(items))
	kept := make([]T, 0, len(items))
	for _, item := range items {
		if i, again := at[key(item)]; again {
			kept[i] = item
			continue
		}
		at[key(item)] = len(kept)
		kept = append(kept, item)
	}
	return kept
}

// PutNames implements [index.Tx].
func (t *tx) PutNames(names []*nprotocol.Name) error {
	return t.write("save names", func() error {
		return insert(t, namesTable, lastOf(names, func(n *nprotocol.Name) string { return n.Name }), func(n *nprotocol.Name) []any {
			return []any{[]byte(n.Name), n.Address[:], int64(n.Since.Height), int64(n.Since.Index), int64(n.Since.Output), n.RegisteredAt, n.ExpiresAt, n.Deleted}
		})
	})
}

// PutPeers implements [index.Tx].
func (t *tx) PutPeers(peers []*nprotocol.Peer) error {
	return t.write("save peers", func() error {
		return insert(t, peersTable, lastOf(peers, func(p *nprotocol.Peer) nprotocol.PeerKey { return p.PeerKey }), func(p *nprotocol.Peer) []any {
			return []any{p.Address[:], []byte(p.IP), p.RegisteredAt, p.ExpiresAt, p.Deleted}
		})
	})
}

// DeleteNames implements [index.Tx].
func (t *tx) DeleteNames(names []string) error {
	if len(names) == 0 {
		return t.failed
	}
	keys := make([][]byte, len(names))
	for i, name := range names {
		keys[i] = key(name)
	}
	return t.write("delete names", func() error {
		return t.exec(`DELETE FROM names WHERE sha256(name) = ANY ($1::bytea[])`, keys)
	})
}

// DeletePeers implements [index.Tx].
func (t *tx) DeletePeers(peers []nprotocol.PeerKey) error {
	if len(peers) == 0 {
		return t.failed
	}
	addresses, ips := peerArrays(peers)
	return t.write("delete peers", func() error {
		return t.exec(`DELETE FROM peers p USING unnest($1::bytea[], $2::bytea[]) AS gone (address, ip)
			WHERE p.address = gone.address AND sha256(p.ip) = gone.ip`, addresses, ips)
	})
}

// A place is where a valid record stands.
type place struct {
	nprotocol.Position
	arrival int64
}

// ValidRecords implements [index.Tx].
func (t *tx) ValidRecords(names []string, peers []nprotocol.PeerKey, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	if len(names)+len(peers) == 0 {
		return nil
	}
	var places []place
	gather := func(r *row) error {
		places = append(places, place{nprotocol.Position{Height: r.height(), Index: r.unsigned(), Output: r.unsigned()}, r.integer()})
		return nil
	}
	keys := make([][]byte, len(names))
	for i, name := range names {
		keys[i] = key(name)
	}
	addresses, ips := peerArrays(peers)
	const columns = `SELECT f.height, f.position, f.output, f.id FROM `
	err := t.ask(
		question{columns + `frames f WHERE sha256(f.name) = ANY ($1::bytea[]) AND ` + isFact, []any{keys}, gather},
		question{columns + `unnest($1::bytea[], $2::bytea[]) AS need (address, ip) JOIN frames f
			ON f.holder = need.address AND sha256(f.ip) = need.ip AND ` + isFact, []any{addresses, ips}, gather})
	if err != nil {
		return err
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(a.Compare(b.Position), cmp.Compare(a.arrival, b.arrival))
	})
	for chunk := range slices.Chunk(slices.Compact(places), fetched) {
		if err := t.yieldRecords(chunk, yield); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) yieldRecords(places []place, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	arrivals := make([]int64, len(places))
	for i, p := range places {
		arrivals[i] = p.arrival
	}
	records := make(map[int64]found, len(places))
	err := t.each(forJudging+`WHERE f.id = ANY ($1::bigint[])`, []any{arrivals}, func(r *row) error {
		f := scanEntry(r)
		if r.err == nil && (f.Record == nil || f.medianTime == nil) {
			r.fault("frames.height: no such block")
		}
		records[f.Arrival] = f
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range places {
		f := records[p.arrival]
		if err := yield(f.Record, nprotocol.Moment{Position: p.Position, Time: f.Time, Now: *f.medianTime}); err != nil {
			return err
		}
	}
	return nil
}

// AppendEvents implements [index.Tx].
func (t *tx) AppendEvents(events []*index.Event) error {
	return t.write("save events", func() error {
		for _, e := range events {
			t.last.event++
			e.Seq = t.last.event
		}
		return insert(t, eventsTable, events, bindEvent)
	})
}

func bindEvent(e *index.Event) []any {
	var block, arrival any
	if e.Block != (frame.Hash{}) {
		block = e.Block[:]
	}
	if e.Arrival != 0 {
		arrival = e.Arrival
	}
	return []any{e.Seq, string(e.Kind), arrival, rows.NullableHeight(e.Height), block, string(e.Verdict), string(e.From), e.Reason}
}
