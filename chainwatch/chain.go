package chainwatch

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Reasons why a header is refused.
var (
	ErrWork     = errors.New("the header's hash is above its target, or the target is easier than the network allows")
	ErrOrphan   = errors.New("the header's predecessor is unknown")
	errTooHeavy = errors.New("the header claims more work than can be counted")
)

// A Chain is the tree of headers that are known, and which branch of it has the
// most work. Of branches with equal work the one whose tip came first stays. One
// goroutine owns it.
type Chain struct {
	params *Params
	index  map[frame.Hash]int32 // of nodes
	nodes  []node
	best   int32
	most   int32 // has the most work of all, barred or not
}

type node struct {
	header Header
	hash   frame.Hash
	parent int32 // -1 for the genesis block
	height int32
	work   work // of the branch up to here
	barred bool // it, or one before it, is barred
}

// work is a 128-bit count of expected hashes.
type work struct{ hi, lo uint64 }

func (w work) add(v work) (sum work, ok bool) {
	lo, carry := bits.Add64(w.lo, v.lo, 0)
	hi, carry := bits.Add64(w.hi, v.hi, carry)
	return work{hi, lo}, carry == 0
}

func (w work) more(v work) bool { return w.hi > v.hi || w.hi == v.hi && w.lo > v.lo }

// NewChain returns a tree that holds the network's genesis block.
func NewChain(p *Params) *Chain {
	c := &Chain{params: p, index: map[frame.Hash]int32{}}
	h := p.Genesis.Hash()
	c.index[h] = 0
	c.nodes = []node{{header: p.Genesis, hash: h, parent: -1}}
	return c
}

// Add adds a header and tells whether it was new. It fails with ErrWork,
// ErrDifficulty, ErrOrphan or ErrCheckpoint.
func (c *Chain) Add(h Header) (isNew bool, err error) {
	hash := h.Hash()
	if _, ok := c.index[hash]; ok {
		return false, nil
	}
	parent, ok := c.index[h.Prev()]
	if !ok {
		return false, fmt.Errorf("header %s: %w", hash, ErrOrphan)
	}
	own, err := c.params.proof(&h, hash)
	if err != nil {
		return false, fmt.Errorf("header %s: %w", hash, err)
	}
	if c.params.contradicts(c.nodes[parent].height+1, hash) {
		return false, fmt.Errorf("header %s at height %d: %w", hash, c.nodes[parent].height+1, ErrCheckpoint)
	}
	if bits, ok := c.required(parent, h.Time()); ok && h.Bits() != bits {
		return false, fmt.Errorf("header %s at height %d: its target is %08x, not %08x: %w", hash, c.nodes[parent].height+1, h.Bits(), bits, ErrDifficulty)
	}
	total, ok := c.nodes[parent].work.add(own)
	if !ok {
		return false, fmt.Errorf("header %s: %w", hash, errTooHeavy)
	}
	i := int32(len(c.nodes))
	c.nodes = append(c.nodes, node{header: h, hash: hash, parent: parent, height: c.nodes[parent].height + 1,
		work: total, barred: c.nodes[parent].barred})
	c.index[hash] = i
	if total.more(c.nodes[c.most].work) {
		c.most = i
	}
	c.consider(i)
	return true, nil
}

func (c *Chain) consider(i int32) {
	if n := &c.nodes[i]; !n.barred && n.work.more(c.nodes[c.best].work) {
		c.best = i
	}
}

// Bar leaves a block, and all that build on it, out of account until Unbar: its
// header is known, and nobody has the block.
func (c *Chain) Bar(hash frame.Hash) {
	barred, ok := c.index[hash]
	if !ok || barred == 0 {
		return
	}
	c.nodes[barred].barred = true
	for i := barred + 1; int(i) < len(c.nodes); i++ { // a parent stands before its children
		c.nodes[i].barred = c.nodes[i].barred || c.nodes[c.nodes[i].parent].barred
	}
	c.choose()
}

// Unbar takes every block into account again.
func (c *Chain) Unbar() {
	for i := range c.nodes {
		c.nodes[i].barred = false
	}
	c.choose()
}

func (c *Chain) choose() {
	c.best = 0
	for i := range c.nodes {
		c.consider(int32(i))
	}
}

// Work returns the expected number of hashes that a header took, in 128 bits, the
// upper half first. It fails with ErrWork when the header's hash is above its
// target, or the target is easier than the network allows.
func (p *Params) Work(h *Header) (hi, lo uint64, err error) {
	w, err := p.proof(h, h.Hash())
	return w.hi, w.lo, err
}

// proof checks that a header's hash meets its target, and the target the
// network's limit. It returns the expected number of hashes.
func (p *Params) proof(h *Header, hash frame.Hash) (work, error) {
	target := expand(h.Bits())
	if target.Sign() <= 0 || target.Cmp(expand(p.PowLimit)) > 0 {
		return work{}, ErrWork
	}
	be := hash
	slices.Reverse(be[:])
	if new(big.Int).SetBytes(be[:]).Cmp(target) > 0 {
		return work{}, ErrWork
	}
	n := new(big.Int).Lsh(big.NewInt(1), 256)
	n.Div(n, target.Add(target, big.NewInt(1)))
	if n.BitLen() > 128 {
		return work{}, errTooHeavy
	}
	lo := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0))).Uint64()
	return work{hi: n.Rsh(n, 64).Uint64(), lo: lo}, nil
}

// CheckWork tells whether a header's hash meets its target, and the target the
// network's limit, without its predecessor. It fails with ErrWork.
func (p *Params) CheckWork(h *Header) error {
	if _, err := p.proof(h, h.Hash()); err != nil {
		return fmt.Errorf("header %s: %w", h.Hash(), err)
	}
	return nil
}

// expand reads the compact form of a target; one that is negative or larger than
// 256 bits is 0.
func expand(compact uint32) *big.Int {
	mantissa, exponent := int64(compact&0x007fffff), uint(compact>>24)
	if compact&0x00800000 != 0 || exponent > 32 {
		return new(big.Int)
	}
	n := big.NewInt(mantissa)
	if exponent <= 3 {
		return n.Rsh(n, 8*(3-exponent))
	}
	return n.Lsh(n, 8*(exponent-3))
}

// Best returns the tip of the branch with the most work.
func (c *Chain) Best() (hash frame.Hash, height int32) {
	n := &c.nodes[c.best]
	return n.hash, n.height
}

// a sight is what a chain says of the index's last block, for whoever asks how the
// follower is doing.
type sight struct {
	best              int32 // height of the best branch
	tipTime, bestTime int64 // in the headers, Unix seconds; 0: there is no such block
	behind            bool  // there is a header with more work, even if nobody has its block
}

func (c *Chain) sight(tip index.Tip) sight {
	s := sight{best: c.nodes[c.best].height, bestTime: c.nodes[c.best].header.Time(), behind: true}
	if i, ok := c.index[tip.Hash]; ok && tip.Height >= 0 {
		s.tipTime = c.nodes[i].header.Time()
		s.behind = c.nodes[c.most].work.more(c.nodes[i].work)
	}
	return s
}

// parent returns the block before, and the genesis block for itself.
func (c *Chain) parent(hash frame.Hash) frame.Hash {
	return c.nodes[max(0, c.nodes[c.index[hash]].parent)].hash
}

// Height returns the height of a block that is known.
func (c *Chain) Height(hash frame.Hash) (height int32, ok bool) {
	i, ok := c.index[hash]
	if !ok {
		return 0, false
	}
	return c.nodes[i].height, true
}

// ancestor returns the node at a height on the branch that ends in i.
func (c *Chain) ancestor(i, height int32) int32 {
	for i >= 0 && c.nodes[i].height > height {
		i = c.nodes[i].parent
	}
	return i
}

// OnBest tells whether a block is on the best branch.
func (c *Chain) OnBest(hash frame.Hash) bool {
	i, ok := c.index[hash]
	return ok && c.ancestor(c.best, c.nodes[i].height) == i
}

// Fork returns the last block that the branch ending in hash shares with the
// best branch.
func (c *Chain) Fork(hash frame.Hash) (frame.Hash, int32) {
	a, b := c.index[hash], c.best
	for a != b {
		if c.nodes[a].height > c.nodes[b].height {
			a = c.nodes[a].parent
		} else {
			b = c.nodes[b].parent
		}
	}
	return c.nodes[a].hash, c.nodes[a].height
}

// A Step is a block of the best branch, to be fetched.
type Step struct {
	Hash       frame.Hash
	Header     Header
	Height     int32
	MedianTime int64 // Unix seconds
}

// Path returns the blocks of the best branch above a height, oldest first, at
// most limit.
func (c *Chain) Path(height int32, limit int) []Step {
	end := c.best
	if best := c.nodes[c.best].height; best-height > int32(limit) {
		end = c.ancestor(c.best, height+int32(limit))
	}
	var path []Step
	for i := end; i >= 0 && c.nodes[i].height > height; i = c.nodes[i].parent {
		n := &c.nodes[i]
		path = append(path, Step{Hash: n.hash, Header: n.header, Height: n.height, MedianTime: c.medianTime(i)})
	}
	slices.Reverse(path)
	return path
}

const medianSpan = 11

// medianTime returns the median of the times in the headers of a block and its
// ten predecessors: of n sorted times the one at n/2.
func (c *Chain) medianTime(i int32) int64 {
	times := make([]int64, 0, medianSpan)
	for ; i >= 0 && len(times) < medianSpan; i = c.nodes[i].parent {
		times = append(times, c.nodes[i].header.Time())
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// Locator returns hashes of the branch that ends in hash, newest first: ten in a
// row, then ever wider apart, the genesis block last.
func (c *Chain) Locator(hash frame.Hash) []frame.Hash {
	i, ok := c.index[hash]
	if !ok {
		i = c.best
	}
	var locator []frame.Hash
	for step := int32(1); i > 0; {
		locator = append(locator, c.nodes[i].hash)
		if len(locator) >= 10 {
			step *= 2
		}
		i = c.ancestor(i, max(c.nodes[i].height-step, 0))
	}
	return append(locator, c.nodes[0].hash)
}
