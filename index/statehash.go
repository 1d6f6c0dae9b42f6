package index

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A digest writes the bytes that a state hash is of. docs/spec/index.md, "State
// hash", has them exactly.
type digest struct{ hash.Hash }

func (d digest) number(n int64) { d.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }
func (d digest) text(s string)  { d.number(int64(len(s))); d.Write([]byte(s)) }
func (d digest) flag(b bool)    { d.Write([]byte{map[bool]byte{false: 0, true: 1}[b]}) }

// StartHash is the state hash before the first block: it names the rules.
func (r *Rules) StartHash() [32]byte {
	d := digest{sha256.New()}
	d.text("metaim state 1")
	d.text(string(r.Network))
	for _, list := range [][]Registration{r.Names, r.Peers} {
		d.number(int64(len(list)))
		for _, g := range list {
			d.number(int64(g.FromHeight))
			d.Write(g.Address[:])
		}
	}
	return [32]byte(d.Sum(nil))
}

// stateHash chains a block to the state hash before it: the block, every frame
// with its decision, and the records that the block changed as they are after it.
func stateHash(prev [32]byte, b *Block, decisions [][]Decision, ledger *nprotocol.Ledger) [32]byte {
	d := digest{sha256.New()}
	d.Write(prev[:])
	d.Write(b.Hash[:])
	names, peers := map[string]bool{}, map[nprotocol.PeerKey]bool{}
	for i, tx := range b.Transactions {
		reached := tx.Reached()
		for j, f := range tx.Frames {
			decision := decisions[i][j]
			d.frame(tx, f, decision, reached)
			if decision.Verdict == frame.Valid && f.Record != nil {
				touch(f.Record, names, peers)
			}
		}
	}
	d.number(int64(len(names)))
	for _, name := range sortedNames(names) {
		d.name(ledger.Names[name])
	}
	d.number(int64(len(peers)))
	for _, key := range sortedPeers(peers) {
		d.peer(ledger.Peers[key])
	}
	return [32]byte(d.Sum(nil))
}

func (d digest) frame(tx *Transaction, f *Frame, decision Decision, reached []frame.KeyHash) {
	d.Write(tx.ID[:])
	d.number(int64(tx.Index))
	d.number(int64(f.Output))
	d.text(string(f.Protocol))
	d.text(f.Operation())
	d.text(string(decision.Verdict))
	d.Write(f.ID[:])
	d.flag(decision.Address != nil)
	if decision.Address != nil {
		d.Write(decision.Address[:])
	}
	if f.Message == nil {
		return
	}
	to := recipients(slices.Clone(reached), decision.Address)
	d.number(int64(len(to)))
	for _, h := range to {
		d.Write(h[:])
	}
}

func (d digest) name(n *nprotocol.Name) {
	d.text(n.Name)
	d.Write(n.Address[:])
	d.number(int64(n.Since.Height))
	d.number(int64(n.Since.Index))
	d.number(int64(n.Since.Output))
	d.number(n.RegisteredAt)
	d.number(n.ExpiresAt)
	d.flag(n.Deleted)
}

func (d digest) peer(p *nprotocol.Peer) {
	d.Write(p.Address[:])
	d.text(p.IP)
	d.number(p.RegisteredAt)
	d.number(p.ExpiresAt)
	d.flag(p.Deleted)
}

// touch notes which record a valid record changed.
func touch(r *nprotocol.Record, names map[string]bool, peers map[nprotocol.PeerKey]bool) {
	if r.Protocol == frame.P {
		peers[nprotocol.PeerKey{Address: r.Address, IP: r.IP}] = true
		return
	}
	names[r.Name] = true
}

func sortedNames(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func sortedPeers(set map[nprotocol.PeerKey]bool) []nprotocol.PeerKey {
	list := make([]nprotocol.PeerKey, 0, len(set))
	for key := range set {
		list = append(list, key)
	}
	slices.SortFunc(list, func(a, b nprotocol.PeerKey) int {
		if c := slices.Compare(a.Address[:], b.Address[:]); c != 0 {
			return c
		}
		if a.IP < b.IP {
			return -1
		}
		return 1
	})
	return list
}
