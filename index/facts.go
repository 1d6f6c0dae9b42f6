package index

import (
	"maps"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// Facts are what the judge knows of the chain before a frame, or the part of it
// that the frames to be judged can touch.
type Facts struct {
	Valid    map[frame.ID]bool        // frame ids that are valid
	Contents map[frame.ID]uint64      // largest time stamp of a valid message by content id
	Keys     map[frame.KeyHash][]byte // public keys proved by valid frames
	Ledger   *nprotocol.Ledger        // names that resolve, peers, time stamps
	Pending  *nprotocol.Ledger        // what records are judged by: Ledger itself, or beyond it unconfirmed

	inputsOf *Transaction // whose inputs these are
	inputs   map[frame.KeyHash][]byte
}

// inputKeys returns the public keys of a transaction's inputs by what their
// addresses name. Each is hashed once, however many frames ask: a transaction may
// have thousands of both.
func (f *Facts) inputKeys(tx *Transaction) map[frame.KeyHash][]byte {
	if f.inputsOf != tx {
		f.inputsOf, f.inputs = tx, make(map[frame.KeyHash][]byte, len(tx.InputKeys))
		for _, key := range tx.InputKeys {
			if h := frame.HashKey(key); f.inputs[h] == nil {
				f.inputs[h] = key
			}
		}
	}
	return f.inputs
}

// NewFacts returns the facts of an empty chain.
func NewFacts() *Facts {
	l := nprotocol.NewLedger()
	return &Facts{Valid: map[frame.ID]bool{}, Contents: map[frame.ID]uint64{}, Keys: map[frame.KeyHash][]byte{}, Ledger: l, Pending: l}
}

// Fork makes the facts provisional: records judged from now on are pending and
// change no resolution of a name.
func (f *Facts) Fork() {
	f.Pending = &nprotocol.Ledger{
		Names:      maps.Clone(f.Ledger.Names),
		Peers:      maps.Clone(f.Ledger.Peers),
		TimeStamps: maps.Clone(f.Ledger.TimeStamps),
	}
}

// extend adds confirmed facts that provisional ones don't hold yet. What is
// there already stays: it may be newer.
func (f *Facts) extend(more *Facts) {
	fill(f.Valid, more.Valid)
	fill(f.Contents, more.Contents)
	fill(f.Keys, more.Keys)
	for _, l := range []*nprotocol.Ledger{f.Ledger, f.Pending} {
		fill(l.Names, more.Ledger.Names)
		fill(l.Peers, more.Ledger.Peers)
		fill(l.TimeStamps, more.Ledger.TimeStamps)
	}
}

func fill[K comparable, V any](dst, src map[K]V) {
	for k, v := range src {
		if _, ok := dst[k]; !ok {
			dst[k] = v
		}
	}
}
