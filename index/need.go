package index

import (
	"maps"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A needs gathers what judging some frames can touch, each thing once.
type needs struct {
	rules    *Rules
	ids      map[frame.ID]bool
	contents map[frame.ID]bool
	names    map[string]bool
	peers    map[nprotocol.PeerKey]bool
	subjects map[nprotocol.Subject]bool
	keys     map[frame.KeyHash]bool
	der      bool // some message from a name is signed in DER
	holders  map[frame.KeyHash]bool
}

func newNeeds(r *Rules) *needs {
	return &needs{rules: r, ids: map[frame.ID]bool{}, contents: map[frame.ID]bool{}, names: map[string]bool{},
		peers: map[nprotocol.PeerKey]bool{}, subjects: map[nprotocol.Subject]bool{},
		keys: map[frame.KeyHash]bool{}, holders: map[frame.KeyHash]bool{}}
}

func (n *needs) add(txs []*Transaction) {
	for _, tx := range txs {
		for _, f := range tx.Frames {
			switch {
			case f.Message != nil:
				n.message(f)
			case f.Record != nil:
				n.record(f)
			}
		}
	}
}

func (n *needs) message(f *Frame) {
	n.ids[f.ID] = true
	n.contents[f.ContentID] = true
	der := !f.Proofs[0].Signature.Recoverable()
	if h, err := n.rules.Network.ParseAddress(f.Message.Source); err == nil {
		if der {
			n.keys[h] = true
		}
		return
	}
	n.names[f.Message.Source] = true
	n.der = n.der || der
}

func (n *needs) record(f *Frame) {
	n.ids[f.ID] = true
	n.subjects[f.Record.Subject()] = true
	for i, signer := range f.Record.Signers() {
		n.holders[signer] = true
		if !f.Proofs[i].Signature.Recoverable() {
			n.keys[signer] = true
		}
	}
	if f.Protocol == frame.P {
		n.peers[nprotocol.PeerKey{Address: f.Record.Address, IP: f.Record.IP}] = true
		return
	}
	n.names[f.Record.Name] = true
}

// facts reads what is needed, in one question. Only where a name signs in DER is
// a second one asked, for the keys of those who hold a name.
func (n *needs) facts(v View) (*Facts, error) {
	need := Need{}
	for id := range n.ids {
		need.FrameIDs = append(need.FrameIDs, id)
	}
	for id := range n.contents {
		need.ContentIDs = append(need.ContentIDs, id)
	}
	for name := range n.names {
		need.Names = append(need.Names, name)
	}
	for peer := range n.peers {
		need.Peers = append(need.Peers, peer)
	}
	for subject := range n.subjects {
		need.Subjects = append(need.Subjects, subject)
	}
	for h := range n.keys {
		need.Keys = append(need.Keys, h)
	}
	facts, err := v.Facts(need)
	if err != nil || !n.der {
		return facts, err
	}
	for _, name := range facts.Ledger.Names {
		n.holders[name.Address] = true
	}
	need = Need{}
	for h := range n.holders {
		if !n.keys[h] {
			need.Keys = append(need.Keys, h)
		}
	}
	more, err := v.Facts(need)
	if err != nil {
		return nil, err
	}
	maps.Copy(facts.Keys, more.Keys)
	return facts, nil
}
