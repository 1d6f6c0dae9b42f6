package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A view reads inside one transaction. It implements [index.View].
type view struct {
	ctx   context.Context
	q     querier
	epoch string
}

const blockColumns = `SELECT height, hash, header, median_time, state_hash FROM blocks `

func scanBlock(row interface{ Scan(...any) error }) (index.Tip, error) {
	var t index.Tip
	var hash, header, state []byte
	if err := row.Scan(&t.Height, &hash, &header, &t.MedianTime, &state); err != nil {
		return index.Tip{}, err
	}
	return t, errors.Join(rows.Fill(t.Hash[:], "blocks.hash", hash), rows.Fill(t.Header[:], "blocks.header", header),
		rows.Fill(t.StateHash[:], "blocks.state_hash", state))
}

// Tip implements [index.View].
func (v *view) Tip() (index.Tip, error) {
	t, err := scanBlock(v.q.QueryRowContext(v.ctx, blockColumns+`ORDER BY height DESC LIMIT 1`))
	if errors.Is(err, sql.ErrNoRows) {
		return index.Tip{Height: -1}, nil
	}
	return t, err
}

// BlockAt implements [index.View].
func (v *view) BlockAt(height int32) (index.Tip, error) {
	t, err := scanBlock(v.q.QueryRowContext(v.ctx, blockColumns+`WHERE height = ?`, height))
	if errors.Is(err, sql.ErrNoRows) {
		return index.Tip{}, index.ErrNotFound
	}
	return t, err
}

// Blocks implements [index.View].
func (v *view) Blocks(from int32, limit int) ([]index.Tip, error) {
	var tips []index.Tip
	err := v.each(blockColumns+`WHERE height >= ? ORDER BY height LIMIT ?`, []any{from, max(0, limit)}, func(rows *sql.Rows) error {
		t, err := scanBlock(rows)
		tips = append(tips, t)
		return err
	})
	return tips, err
}

// Epoch implements [index.View].
func (v *view) Epoch() (string, error) { return v.epoch, nil }

// LastSeq implements [index.View].
func (v *view) LastSeq() (seq int64, err error) {
	err = v.one(`SELECT coalesce(max(seq), 0) FROM events`, nil, &seq)
	return seq, err
}

// Occurrences implements [index.View].
func (v *view) Occurrences(id frame.ID) ([]*index.Entry, error) {
	return v.entries(withBodies+`WHERE f.frame_id = ? ORDER BY f.id`, id[:])
}

// InTransaction implements [index.View].
func (v *view) InTransaction(txid frame.Hash) ([]*index.Entry, error) {
	return v.entries(withBodies+`WHERE f.tx IN (SELECT id FROM txs WHERE txid = ?) ORDER BY f.output, f.id`, txid[:])
}

// NameEntries implements [index.View].
func (v *view) NameEntries(name string, limit int) ([]*index.Entry, error) {
	list, err := v.entries(withBodies+`WHERE f.name = ? ORDER BY f.id DESC LIMIT ?`, []byte(name), max(0, limit))
	slices.Reverse(list)
	return list, err
}

const nameColumns = `SELECT name, address, since_height, since_position, since_output, registered_at, expires_at, deleted FROM names `

func scanName(row interface{ Scan(...any) error }) (*nprotocol.Name, error) {
	var n nprotocol.Name
	var name, address []byte
	err := row.Scan(&name, &address, &n.Since.Height, &n.Since.Index, &n.Since.Output, &n.RegisteredAt, &n.ExpiresAt, &n.Deleted)
	if err != nil {
		return nil, err
	}
	n.Name = string(name)
	return &n, rows.Fill(n.Address[:], "names.address", address)
}

// Name implements [index.View].
func (v *view) Name(name string) (*nprotocol.Name, error) {
	n, err := scanName(v.q.QueryRowContext(v.ctx, nameColumns+`WHERE name = ?`, []byte(name)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, index.ErrNotFound
	}
	return n, err
}

// NamesOf implements [index.View].
func (v *view) NamesOf(address frame.KeyHash) (names []*nprotocol.Name, err error) {
	err = v.names(nameColumns+`WHERE address = ? ORDER BY name`, []any{address[:]}, func(n *nprotocol.Name) error {
		names = append(names, n)
		return nil
	})
	return names, err
}

func (v *view) names(query string, args []any, yield func(*nprotocol.Name) error) error {
	return v.each(query, args, func(rows *sql.Rows) error {
		n, err := scanName(rows)
		if err != nil {
			return err
		}
		return yield(n)
	})
}

const peerColumns = `SELECT address, ip, registered_at, expires_at, deleted FROM peers `

// PeersOf implements [index.View].
func (v *view) PeersOf(address frame.KeyHash) (peers []*nprotocol.Peer, err error) {
	err = v.peers(peerColumns+`WHERE address = ? ORDER BY ip`, []any{address[:]}, func(p *nprotocol.Peer) error {
		peers = append(peers, p)
		return nil
	})
	return peers, err
}

func (v *view) peers(query string, args []any, yield func(*nprotocol.Peer) error) error {
	return v.each(query, args, func(r *sql.Rows) error {
		var p nprotocol.Peer
		var address, ip []byte
		if err := r.Scan(&address, &ip, &p.RegisteredAt, &p.ExpiresAt, &p.Deleted); err != nil {
			return err
		}
		p.IP = string(ip)
		if err := rows.Fill(p.Address[:], "peers.address", address); err != nil {
			return err
		}
		return yield(&p)
	})
}

// PublicKey implements [index.View].
func (v *view) PublicKey(address frame.KeyHash) ([]byte, error) {
	keys := map[frame.KeyHash][]byte{}
	if err := v.provedKeys([]frame.KeyHash{address}, keys); err != nil {
		return nil, err
	}
	if key := keys[address]; key != nil {
		return key, nil
	}
	return nil, index.ErrNotFound
}

// Counts implements [index.View].
func (v *view) Counts() (map[frame.Verdict]int64, error) {
	counts := map[frame.Verdict]int64{}
	err := v.each(`SELECT verdict, frames FROM verdicts WHERE frames > 0`, nil, func(rows *sql.Rows) error {
		var verdict string
		var frames int64
		err := rows.Scan(&verdict, &frames)
		counts[frame.Verdict(verdict)] = frames
		return err
	})
	return counts, err
}

// Confirmed implements [index.View]. It holds one entry at a time.
func (v *view) Confirmed(yield func(*index.Entry) error) error {
	var row int64
	var tx *index.Transaction
	const query = withBodies + `WHERE f.height IS NOT NULL ORDER BY f.height, f.position, f.output, f.id`
	return v.each(query, nil, func(rows *sql.Rows) error {
		var r frameRow
		if err := r.scan(rows); err != nil {
			return err
		}
		e, err := r.entry()
		if err != nil {
			return err
		}
		if tx == nil || row != r.tx { // frames of one transaction stand together
			byRow, err := v.transactions([]int64{r.tx})
			if err != nil {
				return err
			}
			row, tx = r.tx, byRow[r.tx]
		}
		e.Tx = tx
		return yield(e)
	})
}

// AllNames implements [index.View].
func (v *view) AllNames(yield func(*nprotocol.Name) error) error {
	return v.names(nameColumns+`ORDER BY name`, nil, yield)
}

// AllPeers implements [index.View].
func (v *view) AllPeers(yield func(*nprotocol.Peer) error) error {
	return v.peers(peerColumns+`ORDER BY address, ip`, nil, yield)
}

// Unconfirmed implements [index.View]. Message bodies are left out but where
// judging a message again needs its body: where it is signed in DER.
func (v *view) Unconfirmed() ([]*index.Saved, error) {
	return v.saved(`SELECT id, state, height FROM txs WHERE state = 'seen' ORDER BY id`)
}

// saved reads transactions in the order of the query, which gives their row,
// state and height.
func (v *view) saved(query string, args ...any) ([]*index.Saved, error) {
	var list []*index.Saved
	var rows []int64
	byRow := map[int64]*index.Saved{}
	err := v.each(query, args, func(r *sql.Rows) error {
		var state string
		var height sql.NullInt32
		s := &index.Saved{Height: -1}
		err := r.Scan(&s.Row, &state, &height)
		s.State, s.Seen = index.State(state), s.Row
		if height.Valid {
			s.Height = height.Int32
		}
		list, rows, byRow[s.Row] = append(list, s), append(rows, s.Row), s
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, v.fillSaved(rows, byRow)
}

// fillSaved reads the frames of transactions, in the order of their outputs.
func (v *view) fillSaved(rows []int64, byRow map[int64]*index.Saved) error {
	return inChunks(rows, 1, bindNumber, func(list string, args []any) error {
		txs, err := v.transactions(numbers(args))
		if err != nil {
			return err
		}
		return v.each(forJudging+`WHERE f.tx IN (VALUES `+list+`) ORDER BY f.id`, args, func(rows *sql.Rows) error {
			var r frameRow
			if err := r.scan(rows); err != nil {
				return err
			}
			e, err := r.entry()
			if err != nil {
				return err
			}
			e.Tx = txs[r.tx]
			byRow[r.tx].Entries = append(byRow[r.tx].Entries, e)
			return nil
		})
	})
}

func numbers(args []any) []int64 {
	list := make([]int64, len(args))
	for i, a := range args {
		list[i], _ = a.(int64)
	}
	return list
}
