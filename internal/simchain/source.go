package simchain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// Errors of a source that was told to fail.
var (
	ErrFault   = errors.New("the node failed")
	ErrNoBlock = errors.New("the node has no such block")
)

// A Fault is one way in which a source misbehaves.
type Fault int

// The faults. Each is over once it has happened.
const (
	NoFault       Fault = iota
	HeadersFail         // asking for headers fails
	HeadersLate         // no headers, as if the news had not come yet
	HeadersFew          // one header only
	HeadersWrong        // a header without work, and one without predecessor, among the right ones
	BlockFails          // opening a block fails
	BlockCut            // the block ends in its middle
	BlockBroken         // the block is read and then the connection is lost
	BlockOther          // another block is sent
	BlockChanged        // one byte of a transaction is changed
	BlockRepeated       // the last transactions are there twice: the same Merkle root (CVE-2012-2459)
	Faults        = iota
)

// A Source serves the branches of a tree. It implements [chainwatch.Source]. It
// is for one goroutine that sets it up and a follower that asks; it changes only
// between questions.
type Source struct {
	tree  *Tree
	tips  []*Block      // of the nodes behind the source
	armed []Fault       // what happens at the next questions that they fit
	skip  int           // blocks served before a fault of blocks happens
	past  int           // faults that happened
	Told  func(*Block)  // called for each header that is told, if not nil
	txs   chan []byte   // what Transactions delivers
	wake  chan struct{} // has room for one
	state chainwatch.Status
}

var _ chainwatch.Source = (*Source)(nil)

// NewSource returns a source with one node at the genesis block.
func NewSource(tree *Tree) *Source {
	return &Source{tree: tree, tips: []*Block{tree.Genesis}, txs: make(chan []byte, 1<<12), wake: make(chan struct{}, 1),
		state: chainwatch.Status{Connected: 1, Height: -1}}
}

// SetTips says which blocks the nodes behind the source end with.
func (s *Source) SetTips(tips ...*Block) { s.tips = tips }

// Arm makes a fault happen at the next question that it fits, faults of blocks
// after some were served.
func (s *Source) Arm(f Fault, skip int) { s.armed, s.skip = append(s.armed, f), skip }

// Disarm forgets all faults.
func (s *Source) Disarm() { s.armed, s.skip = nil, 0 }

// Happened tells how many faults have happened.
func (s *Source) Happened() int { return s.past }

// happens takes an armed fault that lies between two others.
func (s *Source) happens(from, to Fault) Fault {
	for i, f := range s.armed {
		if f >= from && f <= to {
			s.armed = append(s.armed[:i:i], s.armed[i+1:]...)
			s.past++
			return f
		}
	}
	return NoFault
}

// Push delivers mempool transactions through Transactions.
func (s *Source) Push(raw ...[]byte) {
	for _, r := range raw {
		s.txs <- r
	}
}

// Nudge wakes the follower.
func (s *Source) Nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run implements [chainwatch.Source]: there is nothing to connect to.
func (s *Source) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Transactions implements [chainwatch.Source].
func (s *Source) Transactions() <-chan []byte { return s.txs }

// Wake implements [chainwatch.Source].
func (s *Source) Wake() <-chan struct{} { return s.wake }

// Status implements [chainwatch.Source].
func (s *Source) Status() chainwatch.Status {
	status := s.state
	status.LastHeard = time.Unix(0, 0)
	for _, tip := range s.tips {
		status.Height = max(status.Height, tip.Height)
	}
	return status
}

// mostHeaders is how many headers a node sends at once.
const mostHeaders = 2000

// Headers implements [chainwatch.Source].
func (s *Source) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fault := s.happens(HeadersFail, HeadersWrong)
	switch fault {
	case HeadersFail:
		return nil, ErrFault
	case HeadersLate:
		return nil, nil
	}
	var answer []chainwatch.Header
	for _, tip := range s.tips {
		run := s.after(tip, locator)
		if fault == HeadersFew && len(run) > 1 {
			run = run[:1]
		}
		for _, b := range run {
			answer = append(answer, b.Header)
			if s.Told != nil {
				s.Told(b)
			}
		}
	}
	if fault == HeadersWrong {
		answer = append(wrong(s.tips[0]), answer...)
	}
	return answer, nil
}

// after returns what follows, on the branch that ends in tip, the first hash of
// the locator that is on it.
func (s *Source) after(tip *Block, locator []frame.Hash) []*Block {
	branch := tip.Branch()
	for _, hash := range locator {
		b := s.tree.Blocks[hash]
		if b != nil && tip.Ancestor(b.Height) == b {
			rest := branch[b.Height+1:]
			return rest[:min(len(rest), mostHeaders)]
		}
	}
	return nil
}

// wrong returns a header after tip that has no work, and one after nothing.
func wrong(tip *Block) []chainwatch.Header {
	light := header(tip, frame.Hash{1}, uint32(tip.Header.Time())+1)
	for hash := light.Hash(); hash[31] < 0x80; hash = light.Hash() {
		light[76]++
	}
	lost := header(&Block{Hash: frame.Hash{2}}, frame.Hash{3}, 1)
	return []chainwatch.Header{light, lost}
}

// Block implements [chainwatch.Source]. Every block of the tree is served,
// whichever branch it is on.
func (s *Source) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := s.tree.Blocks[hash]
	if b == nil {
		return nil, ErrNoBlock
	}
	raw := b.Bytes()
	if s.skip > 0 {
		s.skip--
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	switch s.happens(BlockFails, BlockRepeated) {
	case BlockFails:
		return nil, ErrFault
	case BlockCut:
		raw = raw[:len(raw)/2]
	case BlockBroken:
		return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:len(raw)-1]), failing{})), nil
	case BlockOther:
		if b.Parent.Parent != nil {
			raw = b.Parent.Bytes()
		} else {
			raw = nil
		}
	case BlockChanged:
		raw[len(raw)-6] ^= 1 // in the last output of the last transaction
	case BlockRepeated:
		raw = repeated(b)
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// repeated writes a block with its last transaction twice. Where their number is
// odd the Merkle root stays the same.
func repeated(b *Block) []byte {
	twice := *b
	twice.Txs = append(b.Txs[:len(b.Txs):len(b.Txs)], b.Txs[len(b.Txs)-1])
	return twice.Bytes()
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, ErrFault }
