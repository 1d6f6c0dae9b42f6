package memory

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A view reads a state. It implements [index.View].
type view struct {
	ctx context.Context
	*state
}

// Tip implements [index.View].
func (v *view) Tip() (index.Tip, error) {
	if len(v.blocks) == 0 {
		return index.Tip{Height: -1}, v.ctx.Err()
	}
	return v.blocks[len(v.blocks)-1], v.ctx.Err()
}

// BlockAt implements [index.View].
func (v *view) BlockAt(height int32) (index.Tip, error) {
	if b, ok := v.block(height); ok {
		return b, nil
	}
	return index.Tip{}, index.ErrNotFound
}

// Blocks implements [index.View].
func (v *view) Blocks(from int32, limit int) ([]index.Tip, error) {
	i, _ := slices.BinarySearchFunc(v.blocks, from, func(t index.Tip, h int32) int { return cmp.Compare(t.Height, h) })
	list := v.blocks[i:]
	return slices.Clone(list[:min(len(list), max(0, limit))]), v.ctx.Err()
}

// Unconfirmed implements [index.View]. Message bodies are left out but where
// judging a message again needs its body: where it is signed in DER.
func (v *view) Unconfirmed() ([]*index.Saved, error) {
	list := make([]*index.Saved, len(v.seen))
	for i, row := range v.seen {
		list[i] = v.saved(row)
	}
	return list, v.ctx.Err()
}

// Epoch implements [index.View].
func (v *view) Epoch() (string, error) { return v.epoch, nil }

// LastSeq implements [index.View].
func (v *view) LastSeq() (int64, error) { return int64(len(v.events)), nil }

// Facts implements [index.View].
func (v *view) Facts(need index.Need) (*index.Facts, error) {
	facts := index.NewFacts()
	for _, id := range need.FrameIDs {
		if slices.ContainsFunc(v.byID.get(id), func(a int64) bool { return v.isFact(v.frames.get(a)) }) {
			facts.Valid[id] = true
		}
	}
	for _, id := range need.ContentIDs {
		if last, ok := v.lastTime(v.byContent.get(id), func(*frameRow) bool { return true }); ok {
			facts.Contents[id] = last
		}
	}
	for _, name := range need.Names {
		if n := v.names.get(name); n != nil {
			facts.Ledger.Names[name] = n
		}
	}
	for _, key := range need.Peers {
		if p := v.peers.get(key); p != nil {
			facts.Ledger.Peers[key] = p
		}
	}
	for _, s := range need.Subjects {
		arrivals := v.byName.get(s.Text)
		if s.Protocol == frame.P {
			arrivals = v.byPeer.get(nprotocol.PeerKey{Address: s.Address, IP: s.Text})
		}
		if last, ok := v.lastTime(arrivals, func(f *frameRow) bool { return f.frame.Record.Address == s.Address }); ok {
			facts.Ledger.TimeStamps[s] = last
		}
	}
	for _, h := range need.Keys {
		if key := v.provedKey(h); key != nil {
			facts.Keys[h] = key
		}
	}
	return facts, v.ctx.Err()
}

// lastTime returns the largest time stamp of the facts among frames.
func (v *view) lastTime(arrivals []int64, counts func(*frameRow) bool) (last uint64, ok bool) {
	for _, a := range arrivals {
		f := v.frames.get(a)
		if !v.isFact(f) || !counts(f) {
			continue
		}
		if t, err := frame.ParseTimeStamp(f.frame.TimeStamp()); err == nil && (!ok || t > last) {
			last, ok = t, true
		}
	}
	return last, ok
}

// provedKey returns the key that confirmed valid frames prove for an address:
// of its source or holder, or of whom a name was transferred to.
func (v *view) provedKey(address frame.KeyHash) []byte {
	for _, a := range v.bySource.get(address) {
		f := v.frames.get(a)
		if v.isFact(f) && len(f.decision.Keys) > 0 && *f.decision.Address == address {
			return slices.Clone(f.decision.Keys[0])
		}
	}
	for _, a := range v.byNew.get(address) {
		f := v.frames.get(a)
		if v.isFact(f) && len(f.decision.Keys) > 1 {
			return slices.Clone(f.decision.Keys[1])
		}
	}
	return nil
}

// PublicKey implements [index.View].
func (v *view) PublicKey(address frame.KeyHash) ([]byte, error) {
	if key := v.provedKey(address); key != nil {
		return key, nil
	}
	return nil, index.ErrNotFound
}

func (v *view) entriesOf(arrivals []int64) []*index.Entry {
	var list []*index.Entry
	for _, a := range arrivals {
		list = append(list, v.entry(a, false, nil))
	}
	return list
}

// Occurrences implements [index.View].
func (v *view) Occurrences(id frame.ID) ([]*index.Entry, error) {
	return v.entriesOf(v.byID.get(id)), v.ctx.Err()
}

// InTransaction implements [index.View].
func (v *view) InTransaction(txid frame.Hash) ([]*index.Entry, error) {
	var list []*index.Entry
	for _, row := range v.byTxID.get(txid) {
		list = append(list, v.entriesOf(v.txs.get(row).frames)...)
	}
	slices.SortStableFunc(list, func(a, b *index.Entry) int { return cmp.Compare(a.Output, b.Output) })
	return list, v.ctx.Err()
}

// Name implements [index.View].
func (v *view) Name(name string) (*nprotocol.Name, error) {
	if n := v.names.get(name); n != nil {
		c := *n
		return &c, nil
	}
	return nil, index.ErrNotFound
}

// NamesOf implements [index.View].
func (v *view) NamesOf(address frame.KeyHash) ([]*nprotocol.Name, error) {
	var list []*nprotocol.Name
	for _, n := range v.sortedNames() {
		if n.Address == address {
			list = append(list, n)
		}
	}
	return list, v.ctx.Err()
}

// PeersOf implements [index.View].
func (v *view) PeersOf(address frame.KeyHash) ([]*nprotocol.Peer, error) {
	var list []*nprotocol.Peer
	for _, p := range v.sortedPeers() {
		if p.Address == address {
			list = append(list, p)
		}
	}
	return list, v.ctx.Err()
}

func (v *view) sortedNames() (list []*nprotocol.Name) {
	for _, n := range v.names.all {
		if n != nil {
			c := *n
			list = append(list, &c)
		}
	}
	slices.SortFunc(list, func(a, b *nprotocol.Name) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (v *view) sortedPeers() (list []*nprotocol.Peer) {
	for _, p := range v.peers.all {
		if p != nil {
			c := *p
			list = append(list, &c)
		}
	}
	slices.SortFunc(list, func(a, b *nprotocol.Peer) int {
		return cmp.Or(slices.Compare(a.Address[:], b.Address[:]), cmp.Compare(a.IP, b.IP))
	})
	return list
}

// NameEntries implements [index.View].
func (v *view) NameEntries(name string, limit int) ([]*index.Entry, error) {
	arrivals := v.byName.get(name)
	return v.entriesOf(arrivals[len(arrivals)-min(len(arrivals), max(0, limit)):]), v.ctx.Err()
}

// Counts implements [index.View].
func (v *view) Counts() (map[frame.Verdict]int64, error) {
	counts := maps.Clone(v.counts)
	maps.DeleteFunc(counts, func(_ frame.Verdict, n int64) bool { return n == 0 })
	return counts, v.ctx.Err()
}

// Confirmed implements [index.View].
func (v *view) Confirmed(yield func(*index.Entry) error) error {
	for _, b := range v.blocks {
		for _, row := range v.rowsAt(b.Height) {
			for _, arrival := range v.txs.get(row).frames {
				if err := yield(v.entry(arrival, false, nil)); err != nil {
					return err
				}
			}
		}
		if err := v.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// AllNames implements [index.View].
func (v *view) AllNames(yield func(*nprotocol.Name) error) error {
	for _, n := range v.sortedNames() {
		if err := yield(n); err != nil {
			return err
		}
	}
	return v.ctx.Err()
}

// AllPeers implements [index.View].
func (v *view) AllPeers(yield func(*nprotocol.Peer) error) error {
	for _, p := range v.sortedPeers() {
		if err := yield(p); err != nil {
			return err
		}
	}
	return v.ctx.Err()
}

// upto is the bound of an arrival or a seq that is not given.
func upto(n int64) int64 {
	if n <= 0 {
		return math.MaxInt64
	}
	return n
}
