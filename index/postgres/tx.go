package postgres

import (
	"bytes"
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
	met       map[int64]bool // frame keys asked about, and whether there are rows of them
	cut       bool           // blocks were removed
	mark      int64          // up to this arrival words were indexed when it began
	fresh     []rows.Frame   // saved in it
	bodies    int64          // bytes of those saved
	top       int32          // the largest height something was confirmed at; -1: none
}

// numbers are the last ones given.
type numbers struct{ frame, event int64 }

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

// exec puts a statement off until the next question or the commit: a round trip
// for each would take longer than most of them do. Its arguments aren't to be
// changed after.
func (t *tx) exec(query string, args ...any) error {
	t.puts = append(t.puts, put{query, args})
	if len(t.puts) < mostPuts {
		return nil
	}
	return t.flush()
}

// Lookup implements [index.Tx]. Of an id that is there more than once it gives
// one that is seen, else one that was dropped, else one in a block, of equal ones
// the first. Bodies are left out as in Unconfirmed.
func (t *tx) Lookup(txids []frame.Hash) (map[frame.Hash]*index.Saved, error) {
	best := make(map[frame.Hash]*index.Saved)
	if len(txids) == 0 {
		return best, nil
	}
	keys := make([]int64, len(txids))
	asked := make(map[frame.Hash]*rows.Found, len(txids))
	for i, id := range txids {
		keys[i], asked[id] = rows.KeyOf(id), nil
	}
	list, err := t.found(forJudging+`FROM frames f`+inBlock+`WHERE f.tx_key = ANY ($1::bigint[]) AND f.tx_key <> 0`, keys)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.Tx == nil {
			return nil, &rows.CorruptError{Column: "frames.tx_key"}
		}
		if old, ok := asked[f.Tx.ID]; ok && (old == nil || preferred(f, old)) {
			asked[f.Tx.ID] = f
		}
	}
	leads := list[:0]
	for _, f := range asked {
		if f != nil {
			leads = append(leads, f)
		}
	}
	more, err := t.others(forJudging, leads)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(more, func(a, b *rows.Found) int { return cmp.Compare(a.Arrival, b.Arrival) })
	saved, err := t.saved(append(leads, more...))
	for _, s := range saved {
		best[s.Entries[0].Tx.ID] = s
	}
	return best, err
}

// preferred tells whether Lookup gives a rather than b.
func preferred(a, b *rows.Found) bool {
	order := []index.State{index.Seen, index.Dropped, index.Confirmed}
	return cmp.Or(cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), cmp.Compare(a.Arrival, b.Arrival)) < 0
}

// AtHeight implements [index.Tx]. Bodies are left out as in Unconfirmed.
func (t *tx) AtHeight(height int32) ([]*index.Saved, error) {
	type placed struct {
		*rows.Found
		place int32
	}
	var all []placed
	err := t.each(forJudging+`, f.place FROM frames f`+inBlock+`WHERE f.height = $1 AND f.height >= 0`, []any{height}, func(r *row) error {
		f, err := scanFrame(r)
		all = append(all, placed{f, r.integer4()})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.Arrival, b.Arrival)) })
	list := make([]*rows.Found, len(all))
	for i, p := range all {
		list[i] = p.Found
	}
	return t.saved(list)
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
			b.Height, bytes.Clone(b.Hash[:]), bytes.Clone(b.Header[:]), b.MedianTime, stateHash[:])
		if err != nil {
			return err
		}
		t.tip = &index.Tip{Height: b.Height, Hash: b.Hash, Header: b.Header, MedianTime: b.MedianTime, StateHash: stateHash}
		return t.putProofs(b)
	})
}

// CutBlocks implements [index.Tx]. Commit fails when a transaction is still
// confirmed at a height that is gone.
func (t *tx) CutBlocks(above int32) error {
	return t.write("cut blocks", func() error {
		t.tip, t.cut = nil, true
		if err := t.cutProofs(above); err != nil {
			return err
		}
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
			return []any{[]byte(n.Name), bytes.Clone(n.Address[:]), int64(n.Since.Height), int64(n.Since.Index), int64(n.Since.Output), n.RegisteredAt, n.ExpiresAt, n.Deleted}
		})
	})
}

// PutPeers implements [index.Tx].
func (t *tx) PutPeers(peers []*nprotocol.Peer) error {
	return t.write("save peers", func() error {
		return insert(t, peersTable, lastOf(peers, func(p *nprotocol.Peer) nprotocol.PeerKey { return p.PeerKey }), func(p *nprotocol.Peer) []any {
			return []any{bytes.Clone(p.Address[:]), []byte(p.IP), p.RegisteredAt, p.ExpiresAt, p.Deleted}
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

// settled checks what a foreign key would, row by row: nothing is confirmed at a
// height without a block.
func (t *tx) settled() error {
	if t.top < 0 && !t.cut {
		return nil
	}
	tip, err := t.Tip()
	if err != nil {
		return err
	}
	above := t.top > tip.Height
	if t.cut && !above {
		err = t.each(`SELECT true FROM frames f WHERE f.height > $1 AND f.height >= 0 LIMIT 1`, []any{tip.Height}, func(*row) error {
			above = true
			return nil
		})
	}
	if above && err == nil {
		return fmt.Errorf("a transaction is confirmed above the last block, %d", tip.Height)
	}
	return err
}

// AppendEvents implements [index.Tx].
func (t *tx) AppendEvents(events []*index.Event) error {
	return t.write("save events", func() error {
		runs, err := rows.Runs(events, &t.last.event)
		switch {
		case err != nil:
			return err
		case len(runs) >= manyRows:
			return t.copyIn(eventsTable, len(runs), func(b []byte, i int) []byte { return appendRun(b, &runs[i]) })
		}
		return insert(t, eventsTable, runs, bindRun)
	})
}
