package chainwatch

import (
	"container/list"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

const (
	proofsBytes  = 64 << 20 // that the proofs of unconfirmed transactions may take
	proofsEntry  = 320      // bytes that remembering a transaction takes beside the keys
	longestProof = 65       // bytes of a key
)

// proofs remembers what was proved of transactions while they were unconfirmed:
// the keys that their signatures gave. In a block they aren't recovered again.
// A transaction's id commits to every byte of it and a proof hangs on nothing
// else, so that one is never out of date, whatever becomes of the chain. When
// room is short the oldest go: then they are proved once more, that is all.
//
// The follower adds and removes while a pipeline asks.
type proofs struct {
	mu    sync.Mutex
	most  int // bytes
	bytes int
	known map[frame.Hash]*list.Element // of order
	order *list.List                   // of *remembered, oldest first
}

// A remembered transaction has, for each signature of its frames in order, the
// length of the key that was recovered and the key; 0 where there is none.
type remembered struct {
	id   frame.Hash
	keys []byte
}

func newProofs(most int) *proofs {
	return &proofs{most: most, known: map[frame.Hash]*list.Element{}, order: list.New()}
}

func (r *remembered) bytes() int { return proofsEntry + len(r.keys) }

// remember takes a transaction whose frames are proved.
func (p *proofs) remember(tx *index.Transaction) {
	r := &remembered{id: tx.ID}
	for _, f := range tx.Frames {
		if f.Malformed == "" && len(f.Proofs) != len(signatures(f)) {
			return // it isn't proved
		}
		for _, proof := range f.Proofs {
			if len(proof.Key) > longestProof {
				return
			}
			r.keys = append(append(r.keys, byte(len(proof.Key))), proof.Key...)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[tx.ID] != nil || r.bytes() > p.most {
		return
	}
	p.known[tx.ID] = p.order.PushBack(r)
	p.bytes += r.bytes()
	for p.bytes > p.most {
		p.remove(p.order.Front())
	}
}

func (p *proofs) remove(e *list.Element) {
	r := p.order.Remove(e).(*remembered)
	delete(p.known, r.id)
	p.bytes -= r.bytes()
}

// forget drops what is remembered of transactions.
func (p *proofs) forget(gone map[frame.Hash]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range gone {
		if e := p.known[id]; e != nil {
			p.remove(e)
		}
	}
}

// keysOf returns the keys that are remembered of a transaction, as a remembered
// has them.
func (p *proofs) keysOf(id frame.Hash) (keys []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.known[id]; e != nil {
		return e.Value.(*remembered).keys, true
	}
	return nil, false
}

// recall proves the frames of a transaction from memory. It tells whether that
// could be done; else they are as they were.
func (p *proofs) recall(tx *index.Transaction) bool {
	keys, ok := p.keysOf(tx.ID)
	if !ok {
		return false
	}
	proved := make([][]frame.Proof, len(tx.Frames))
	for i, f := range tx.Frames {
		if f.Malformed != "" {
			continue
		}
		for _, field := range signatures(f) {
			if len(keys) == 0 || len(keys) < 1+int(keys[0]) {
				return false
			}
			n := 1 + int(keys[0])
			proved[i] = append(proved[i], proofOf(field, keys[1:n:n]))
			keys = keys[n:]
		}
	}
	if len(keys) > 0 {
		return false
	}
	for i, f := range tx.Frames {
		f.Proofs = proved[i]
	}
	return true
}

// proofOf is [frame.Prove] of a signature whose key is known; no bytes are none.
func proofOf(field, key []byte) frame.Proof {
	s, err := frame.ParseSignature(field)
	if err != nil || len(key) == 0 {
		return frame.Proof{Signature: s}
	}
	return frame.Proof{Signature: s, Key: key}
}
