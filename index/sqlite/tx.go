package sqlite

import (
	"cmp"
	"errors"
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
	failed error
	moved  bool         // blocks were cut, or places of transactions written
	fresh  []rows.Frame // saved in it
	bodies int64        // bytes of those saved
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

// check tells why what was written can't be committed.
func (t *tx) check() error {
	if t.failed != nil || !t.moved {
		return t.failed
	}
	height, err := t.number(`SELECT f.height FROM frames f WHERE f.height >= 0 ORDER BY f.height DESC LIMIT 1`)
	if err == index.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	tip, err := t.number(`SELECT coalesce(max(height), -1) FROM blocks`)
	if err == nil && height > tip {
		err = fmt.Errorf("a transaction is confirmed at height %d, and the last block is at %d", height, tip)
	}
	return err
}

// Lookup implements [index.Tx]. Of an id that is there more than once it gives
// one that is seen, else one that was dropped, else one in a block, of equal ones
// the first. Bodies are left out as in Unconfirmed.
func (t *tx) Lookup(txids []frame.Hash) (map[frame.Hash]*index.Saved, error) {
	best := make(map[frame.Hash]*rows.Found)
	rank := map[index.State]int{index.Seen: 0, index.Dropped: 1, index.Confirmed: 2}
	err := look(t.conn, light+`WHERE f.tx_key = ? AND f.tx_key <> 0 ORDER BY f.id`, txids,
		func(s *statement, id *frame.Hash) { s.BindInt64(1, rows.KeyOf(*id)) },
		func(s *statement, id *frame.Hash) (bool, error) {
			f, err := s.found()
			if err != nil || f.Tx == nil || f.Tx.ID != *id {
				return false, err
			}
			if old := best[*id]; old == nil || rank[f.State] < rank[old.State] {
				best[*id] = f
			}
			return false, nil
		})
	if err != nil {
		return nil, err
	}
	saved := make(map[frame.Hash]*index.Saved, len(best))
	for id, lead := range best {
		list, err := t.framesOf(light, lead)
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			f.Light()
		}
		saved[id] = savedOf(lead)
		saved[id].Entries = entries(list)
	}
	return saved, nil
}

// AtHeight implements [index.Tx]. Bodies are left out as in Unconfirmed.
func (t *tx) AtHeight(height int32) ([]*index.Saved, error) {
	if height < 0 {
		return nil, nil
	}
	return t.saved(light+`WHERE f.height = ? + 0 AND f.height >= 0 ORDER BY f.place, f.id`, number(int64(height)))
}

// PutBlock implements [index.Tx].
func (t *tx) PutBlock(b *index.Block, stateHash [32]byte) error {
	return t.write("save block", func() error {
		tip, err := t.number(`SELECT coalesce(max(height), -1) FROM blocks`)
		if err != nil {
			return err
		}
		if tip >= 0 && int64(b.Height) != tip+1 {
			return fmt.Errorf("height %d doesn't follow %d", b.Height, tip)
		}
		delete(t.blocks, b.Height)
		err = t.run(`INSERT INTO blocks (height, hash, header, median_time, state_hash) VALUES (?, ?, ?, ?, ?)`,
			number(int64(b.Height)), blob(b.Hash[:]), blob(b.Header[:]), number(b.MedianTime), blob(stateHash[:]))
		if err != nil {
			return err
		}
		return t.putProofs(b)
	})
}

// CutBlocks implements [index.Tx]. Commit fails when a transaction is still
// confirmed at a height that is gone.
func (t *tx) CutBlocks(above int32) error {
	return t.write("cut blocks", func() error {
		t.blocks, t.moved = nil, true
		if err := t.cutProofs(above); err != nil {
			return err
		}
		return t.run(`DELETE FROM blocks WHERE height > ?`, number(int64(above)))
	})
}

// PutNames implements [index.Tx].
func (t *tx) PutNames(names []*nprotocol.Name) error {
	return t.write("save names", func() error {
		return write(t.conn, `INSERT INTO names (name, address, since_height, since_position, since_output, registered_at, expires_at, deleted)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET address = excluded.address, since_height = excluded.since_height,
				since_position = excluded.since_position, since_output = excluded.since_output,
				registered_at = excluded.registered_at, expires_at = excluded.expires_at, deleted = excluded.deleted`, names,
			func(s *statement, n **nprotocol.Name) {
				s.BindBytes(1, []byte((*n).Name))
				s.BindBytes(2, (*n).Address[:])
				s.BindInt64(3, int64((*n).Since.Height))
				s.BindInt64(4, int64((*n).Since.Index))
				s.BindInt64(5, int64((*n).Since.Output))
				s.BindInt64(6, (*n).RegisteredAt)
				s.BindInt64(7, (*n).ExpiresAt)
				s.BindBool(8, (*n).Deleted)
			})
	})
}

// PutPeers implements [index.Tx].
func (t *tx) PutPeers(peers []*nprotocol.Peer) error {
	return t.write("save peers", func() error {
		return write(t.conn, `INSERT INTO peers (address, ip, registered_at, expires_at, deleted) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (address, ip) DO UPDATE SET registered_at = excluded.registered_at,
				expires_at = excluded.expires_at, deleted = excluded.deleted`, peers,
			func(s *statement, p **nprotocol.Peer) {
				bindPeer(s, &(*p).PeerKey)
				s.BindInt64(3, (*p).RegisteredAt)
				s.BindInt64(4, (*p).ExpiresAt)
				s.BindBool(5, (*p).Deleted)
			})
	})
}

// DeleteNames implements [index.Tx].
func (t *tx) DeleteNames(names []string) error {
	return t.write("delete names", func() error {
		return write(t.conn, `DELETE FROM names WHERE name = ?`, names, func(s *statement, name *string) { s.BindBytes(1, []byte(*name)) })
	})
}

// DeletePeers implements [index.Tx].
func (t *tx) DeletePeers(peers []nprotocol.PeerKey) error {
	return t.write("delete peers", func() error {
		return write(t.conn, `DELETE FROM peers WHERE address = ? AND ip = ?`, peers, bindPeer)
	})
}

// A valid is where a valid record stands.
type valid struct {
	nprotocol.Position
	arrival int64
}

// ValidRecords implements [index.Tx].
func (t *tx) ValidRecords(names []string, peers []nprotocol.PeerKey, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	var places []valid
	gather := func(f *rows.Found) error {
		lead := f
		if f.Tx == nil {
			var err error
			if lead, err = t.lead(f.Lead); err != nil {
				return err
			}
		}
		places = append(places, valid{nprotocol.Position{Height: f.Height, Index: lead.Tx.Index, Output: f.Output}, f.Arrival})
		return nil
	}
	err := look(t.conn, light+`WHERE f.name_key = ? AND f.name_key <> 0 AND `+isFact, names,
		func(s *statement, name *string) { s.BindInt64(1, rows.NameKey(*name)) },
		func(s *statement, name *string) (bool, error) {
			f, err := s.found()
			if err != nil || f.Record == nil || f.Record.Name != *name {
				return false, err
			}
			return false, gather(f)
		})
	if err != nil {
		return err
	}
	err = look(t.conn, newest, peers, func(s *statement, p *nprotocol.PeerKey) {
		s.BindInt64(1, rows.SubjectKey(nprotocol.Subject{Protocol: frame.P, Address: p.Address, Text: p.IP}))
	}, func(s *statement, p *nprotocol.PeerKey) (bool, error) {
		f, err := s.found()
		if err != nil || f.Record == nil || f.Protocol != frame.P || f.Record.Address != p.Address || f.Record.IP != p.IP {
			return false, err
		}
		return false, gather(f)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(places, func(a, b valid) int {
		return cmp.Or(a.Compare(b.Position), cmp.Compare(a.arrival, b.arrival))
	})
	for _, p := range slices.Compact(places) {
		if err := t.yieldRecord(p, yield); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) yieldRecord(p valid, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	byArrival, err := t.entriesOf([]int64{p.arrival})
	if err != nil {
		return err
	}
	b, err := t.BlockAt(p.Height)
	e := byArrival[p.arrival]
	if errors.Is(err, index.ErrNotFound) || e == nil || e.Record == nil {
		return &rows.CorruptError{Column: "frames.height: no such block"}
	}
	if err != nil {
		return err
	}
	return yield(e.Record, nprotocol.Moment{Position: p.Position, Time: e.Time, Now: b.MedianTime})
}

// AppendEvents implements [index.Tx].
func (t *tx) AppendEvents(events []*index.Event) error {
	if len(events) == 0 {
		return t.failed
	}
	return t.write("save events", func() error {
		last, err := t.LastSeq()
		if err != nil {
			return err
		}
		runs, err := rows.Runs(events, &last)
		if err != nil {
			return err
		}
		return write(t.conn, `INSERT INTO events (last, frame, count, height, kind, verdict, from_verdict, reason, block)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, runs, func(s *statement, r *rows.Run) {
			for i, n := range []int64{r.Last, r.Frame, int64(r.Count), int64(r.Height), int64(r.Kind), int64(r.Verdict), int64(r.From), int64(r.Reason)} {
				s.BindInt64(i+1, n)
			}
			s.BindBytes(9, r.Block)
		})
	})
}
