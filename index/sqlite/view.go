package sqlite

import (
	"cmp"
	"errors"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A view reads inside one transaction. It implements [index.View].
type view struct {
	*conn
	epoch  string
	blocks map[int32]blockMark // those met, as long as none is cut
}

const blockColumns = `SELECT height, hash, header, median_time, state_hash FROM blocks `

func (s *statement) tip() (t index.Tip, err error) {
	t.Height, t.MedianTime = s.ColumnInt32(0), s.ColumnInt64(3)
	return t, errors.Join(s.fill(1, t.Hash[:], "blocks.hash"), s.fill(2, t.Header[:], "blocks.header"), s.fill(4, t.StateHash[:], "blocks.state_hash"))
}

// Tip implements [index.View].
func (v *view) Tip() (t index.Tip, err error) {
	err = v.first(blockColumns+`ORDER BY height DESC LIMIT 1`, func(s *statement) error { t, err = s.tip(); return err })
	if err == index.ErrNotFound {
		return index.Tip{Height: -1}, nil
	}
	return t, err
}

// BlockAt implements [index.View].
func (v *view) BlockAt(height int32) (t index.Tip, err error) {
	err = v.first(blockColumns+`WHERE height = ?`, func(s *statement) error { t, err = s.tip(); return err }, number(int64(height)))
	return t, err
}

// Blocks implements [index.View].
func (v *view) Blocks(from int32, limit int) (tips []index.Tip, err error) {
	err = v.each(blockColumns+`WHERE height >= ? ORDER BY height LIMIT ? + 0`, func(s *statement) error {
		t, err := s.tip()
		tips = append(tips, t)
		return err
	}, number(int64(from)), number(int64(max(0, limit))))
	return tips, err
}

// Epoch implements [index.View].
func (v *view) Epoch() (string, error) { return v.epoch, nil }

// LastSeq implements [index.View].
func (v *view) LastSeq() (int64, error) { return v.number(`SELECT coalesce(max(last), 0) FROM events`) }

// Which rows of frames count as facts, and all others that a frame id can be
// looked for in: the conditions of two indexes.
const (
	isFact   = `f.height >= 0 AND f.verdict = 11`
	isNoFact = `f.frame_key <> 0 AND (f.height < 0 OR f.verdict <> 11)`
)

// ofFrame calls yield with the frames that have an id, the facts first, each kind
// by arrival, until it fails. It is not joined.
func (v *view) ofFrame(id frame.ID, yield func(*rows.Found) error) error {
	scan := func(s *statement) error {
		f, err := s.found()
		if err != nil || f.ID != id {
			return err
		}
		return yield(f)
	}
	for _, kind := range []string{isFact, isNoFact} {
		if err := v.each(whole+`WHERE f.frame_key = ? AND `+kind+` ORDER BY f.id`, scan, number(rows.KeyOf(id))); err != nil {
			return err
		}
	}
	return nil
}

// Occurrences implements [index.View].
func (v *view) Occurrences(id frame.ID) ([]*index.Entry, error) {
	var list []*rows.Found
	err := v.ofFrame(id, func(f *rows.Found) error { list = append(list, f); return nil })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, byArrival)
	return entries(list), v.join(list)
}

func byArrival(a, b *rows.Found) int { return cmp.Compare(a.Arrival, b.Arrival) }

// InTransaction implements [index.View].
func (v *view) InTransaction(txid frame.Hash) ([]*index.Entry, error) {
	leads, err := v.leadsOf(whole, txid)
	if err != nil {
		return nil, err
	}
	var list []*rows.Found
	for _, lead := range leads {
		frames, err := v.framesOf(whole, lead)
		if err != nil {
			return nil, err
		}
		list = append(list, frames...)
	}
	slices.SortStableFunc(list, func(a, b *rows.Found) int { return cmp.Compare(a.Output, b.Output) })
	return entries(list), nil
}

// leadsOf reads the first frames of the transactions with an id.
func (v *view) leadsOf(columns string, txid frame.Hash) ([]*rows.Found, error) {
	var list []*rows.Found
	err := v.each(columns+`WHERE f.tx_key = ? AND f.tx_key <> 0 ORDER BY f.id`, func(s *statement) error {
		f, err := s.found()
		if err == nil && f.Tx == nil {
			err = &rows.CorruptError{Column: "tx_key"}
		}
		if err == nil && f.Tx.ID == txid {
			list = append(list, f)
		}
		return err
	}, number(rows.KeyOf(txid)))
	return list, err
}

// framesOf reads the frames of a transaction whose first is given, and joins them.
func (v *view) framesOf(columns string, lead *rows.Found) ([]*rows.Found, error) {
	list := []*rows.Found{lead}
	if lead.Frames > 1 {
		err := v.each(columns+`WHERE f.id > ? AND f.id < ? ORDER BY f.id`, func(s *statement) error {
			f, err := s.found()
			list = append(list, f)
			return err
		}, number(lead.Arrival), number(lead.Arrival+lead.Frames))
		if err != nil {
			return nil, err
		}
	}
	if int64(len(list)) != lead.Frames {
		return nil, &rows.CorruptError{Column: "data: a frame is missing"}
	}
	return list, v.join(list)
}

// NameEntries implements [index.View].
func (v *view) NameEntries(name string, limit int) ([]*index.Entry, error) {
	if limit <= 0 {
		return nil, nil
	}
	list, err := v.list(whole+`WHERE f.name_key = ? AND f.name_key <> 0 ORDER BY f.id DESC`, limit, func(f *rows.Found) bool {
		return f.Record != nil && f.Record.Name == name
	}, number(rows.NameKey(name)))
	slices.Reverse(list)
	return entries(list), err
}

const nameColumns = `SELECT name, address, since_height, since_position, since_output, registered_at, expires_at, deleted FROM names `

func (s *statement) name() (*nprotocol.Name, error) {
	n := &nprotocol.Name{Name: string(s.read(0)), RegisteredAt: s.ColumnInt64(5), ExpiresAt: s.ColumnInt64(6), Deleted: s.ColumnBool(7)}
	n.Since = nprotocol.Position{Height: s.ColumnInt32(2), Index: uint32(s.ColumnInt64(3)), Output: uint32(s.ColumnInt64(4))} //nolint:gosec // as written
	return n, s.fill(1, n.Address[:], "names.address")
}

// Name implements [index.View].
func (v *view) Name(name string) (n *nprotocol.Name, err error) {
	err = v.first(nameColumns+`WHERE name = ?`, func(s *statement) error { n, err = s.name(); return err }, text(name))
	return n, err
}

// NamesOf implements [index.View].
func (v *view) NamesOf(address frame.KeyHash) (names []*nprotocol.Name, err error) {
	err = v.names(nameColumns+`WHERE address = ? ORDER BY name`, func(n *nprotocol.Name) error {
		names = append(names, n)
		return nil
	}, blob(address[:]))
	return names, err
}

func (v *view) names(query string, yield func(*nprotocol.Name) error, args ...value) error {
	return v.each(query, func(s *statement) error {
		n, err := s.name()
		if err != nil {
			return err
		}
		return yield(n)
	}, args...)
}

const peerColumns = `SELECT address, ip, registered_at, expires_at, deleted FROM peers `

func (s *statement) peer() (*nprotocol.Peer, error) {
	p := &nprotocol.Peer{RegisteredAt: s.ColumnInt64(2), ExpiresAt: s.ColumnInt64(3), Deleted: s.ColumnBool(4)}
	p.IP = string(s.read(1))
	return p, s.fill(0, p.Address[:], "peers.address")
}

// PeersOf implements [index.View].
func (v *view) PeersOf(address frame.KeyHash) (peers []*nprotocol.Peer, err error) {
	err = v.peers(peerColumns+`WHERE address = ? ORDER BY ip`, func(p *nprotocol.Peer) error {
		peers = append(peers, p)
		return nil
	}, blob(address[:]))
	return peers, err
}

func (v *view) peers(query string, yield func(*nprotocol.Peer) error, args ...value) error {
	return v.each(query, func(s *statement) error {
		p, err := s.peer()
		if err != nil {
			return err
		}
		return yield(p)
	}, args...)
}

// PublicKey implements [index.View].
func (v *view) PublicKey(address frame.KeyHash) ([]byte, error) {
	key, err := v.provedKey(address)
	if err == nil && key == nil {
		err = index.ErrNotFound
	}
	return key, err
}

// Counts implements [index.View].
func (v *view) Counts() (map[frame.Verdict]int64, error) {
	counts := map[frame.Verdict]int64{}
	err := v.each(`SELECT verdict, frames FROM verdicts WHERE frames > 0`, func(s *statement) error {
		counts[frame.Verdict(s.ColumnText(0))] = s.ColumnInt64(1)
		return nil
	})
	return counts, err
}

// Confirmed implements [index.View]. It holds one transaction at a time.
func (v *view) Confirmed(yield func(*index.Entry) error) error {
	var lead *rows.Found
	const query = whole + `WHERE f.height >= 0 ORDER BY f.height, f.place, f.id`
	return v.each(query, func(s *statement) error {
		f, err := s.found()
		if err != nil {
			return err
		}
		switch {
		case f.Tx != nil:
			lead = f
		case lead == nil || lead.Arrival != f.Lead: // frames of one transaction stand together
			if lead, err = v.lead(f.Lead); err != nil {
				return err
			}
		}
		f.Tx = lead.Tx
		if err := v.place(f.Entry); err != nil {
			return err
		}
		return yield(f.Entry)
	})
}

// AllNames implements [index.View].
func (v *view) AllNames(yield func(*nprotocol.Name) error) error {
	return v.names(nameColumns+`ORDER BY name`, yield)
}

// AllPeers implements [index.View].
func (v *view) AllPeers(yield func(*nprotocol.Peer) error) error {
	return v.peers(peerColumns+`ORDER BY address, ip`, yield)
}

// Unconfirmed implements [index.View]. Message bodies are left out but where
// judging a message again needs its body: where it is signed in DER.
func (v *view) Unconfirmed() ([]*index.Saved, error) {
	return v.saved(light + `WHERE f.height = -1 ORDER BY f.id`)
}

// saved reads the transactions whose frames a query gives: those of one together,
// in the order of their outputs.
func (v *view) saved(query string, args ...value) ([]*index.Saved, error) {
	var list []*index.Saved
	found, err := v.list(query, 0, nil, args...)
	for _, f := range found {
		f.Light()
		if n := len(list); n == 0 || list[n-1].Row != f.Lead {
			list = append(list, savedOf(f))
		}
		s := list[len(list)-1]
		s.Entries = append(s.Entries, f.Entry)
	}
	return list, err
}

// savedOf returns the transaction of a frame, without entries.
func savedOf(f *rows.Found) *index.Saved {
	return &index.Saved{Row: f.Lead, State: f.State, Height: f.Height, Seen: f.Lead}
}
