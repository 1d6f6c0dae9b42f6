// Package doublesha computes the double SHA-256 of many messages: transaction
// ids, and the nodes of Merkle trees.
//
// One message after another keeps a core waiting for itself: each round of
// SHA-256 needs the one before. Where a machine has AVX-512, sixteen messages of
// equally many blocks go side by side, and each costs about a quarter; elsewhere
// crypto/sha256 does the work. The sums are the same.
package doublesha

import (
	"encoding/binary"
	"unsafe"

	"github.com/metaim/metaim/improtocol/frame"
)

const (
	// Room is how many sums a queue holds.
	Room = 1024

	lanes      = 16
	blockSize  = 64
	mostBlocks = 256 // in messages that wait for others of their length: 16 kB
	// fewest is how many messages are hashed side by side rather than one after
	// another: with fewer the empty lanes cost more than is won.
	fewest = 5
)

// A Queue hashes messages that stand in one buffer, and keeps the sums in the
// order in which they came. The zero value is empty and ready. Its buffer may
// change after Flush only.
type Queue struct {
	sums    [Room]frame.Hash
	n       int
	buf     []byte // of the messages that wait
	waiting [mostBlocks + 1]group
	longest int // of the messages that wait, in blocks, at most
	tails   [lanes][2 * blockSize]byte
}

// A group is messages of one number of blocks, which wait until there are enough
// of them.
type group struct {
	n    int
	at   [lanes]uint32 // where they begin in the buffer
	size [lanes]uint32
	sum  [lanes]uint32 // where their sums go
}

// Full tells whether there is no room for another sum.
func (q *Queue) Full() bool { return q.n == Room }

// Add adds the sum of buf[from:to]. The buffer is the same, and no longer than
// 2 GB, until Flush. The queue must not be full.
func (q *Queue) Add(buf []byte, from, to int) {
	size := to - from
	blocks := (size + 9 + blockSize - 1) / blockSize // one bit and eight bytes of length follow the message
	if !wide || blocks > mostBlocks {
		q.AddSum(frame.HashOf(buf[from:to]))
		return
	}
	q.buf = buf
	g := &q.waiting[blocks]
	i := g.n & (lanes - 1)
	g.at[i], g.size[i], g.sum[i] = uint32(from), uint32(size), uint32(q.n)
	q.n++
	q.longest = max(q.longest, blocks)
	if g.n = i + 1; g.n == lanes {
		q.hash(g, blocks)
	}
}

// AddSum adds a sum that is known. The queue must not be full.
func (q *Queue) AddSum(sum frame.Hash) {
	q.sums[q.n] = sum
	q.n++
}

// Flush hashes what waits, so that the buffer may change.
func (q *Queue) Flush() {
	for blocks := range q.waiting[:q.longest+1] {
		g := &q.waiting[blocks]
		if g.n >= fewest {
			q.hash(g, blocks)
			continue
		}
		for i := range g.n {
			q.sums[g.sum[i]] = frame.HashOf(q.buf[g.at[i] : g.at[i]+g.size[i]])
		}
		g.n = 0
	}
	q.longest, q.buf = 0, nil
}

// Take flushes the queue, empties it and returns the sums in the order of their
// messages. They stand until the next is added, and may be overwritten.
func (q *Queue) Take() []frame.Hash {
	q.Flush()
	sums := q.sums[:q.n]
	q.n = 0
	return sums
}

// Reset empties the queue without hashing what waits.
func (q *Queue) Reset() {
	for i := range q.waiting[:q.longest+1] {
		q.waiting[i].n = 0
	}
	q.n, q.longest, q.buf = 0, 0, nil
}

// hash hashes the messages of a group. The last two blocks of each, or the only
// one, are copied, since the padding stands in them.
func (q *Queue) hash(g *group, blocks int) {
	tailBlocks := min(blocks, 2)
	whole := (blocks - tailBlocks) * blockSize
	for i := range g.n {
		tail := q.tails[i][:tailBlocks*blockSize]
		from := int(g.at[i])
		n := copy(tail, q.buf[from+whole:from+int(g.size[i])])
		tail[n] = 0x80
		clear(tail[n+1:])
		binary.BigEndian.PutUint64(tail[len(tail)-8:], uint64(g.size[i])*8)
	}
	for i := g.n; i < lanes; i++ {
		g.at[i] = g.at[0] // an empty lane reads what another does
	}
	var sums [lanes]frame.Hash
	hash16(&sums, unsafe.SliceData(q.buf), &g.at, blocks-tailBlocks, &q.tails, tailBlocks)
	for i := range g.n {
		q.sums[g.sum[i]] = sums[i]
	}
	g.n = 0
}

// pairAt is where sixteen pairs of sums begin, and pairTail the padding behind
// each.
var pairAt, pairTail = func() (at [lanes]uint32, tail [lanes][2 * blockSize]byte) {
	for i := range lanes {
		at[i] = uint32(i * blockSize)
		tail[i][0] = 0x80
		binary.BigEndian.PutUint64(tail[i][blockSize-8:], blockSize*8)
	}
	return at, tail
}()

// Pairs replaces pairs of neighbours by the sums of both, one level of a Merkle
// tree by the next, and returns it: half of the list given, whose length must be
// even.
func Pairs(list []frame.Hash) []frame.Hash {
	done := 0
	for ; wide && len(list)/2-done >= lanes; done += lanes {
		// What is written over was read already, by this batch or an earlier one.
		hash16((*[lanes]frame.Hash)(list[done:]), &list[2*done][0], &pairAt, 1, &pairTail, 1)
	}
	for ; done < len(list)/2; done++ {
		list[done] = Pair(list[2*done], list[2*done+1])
	}
	return list[:done]
}

// Pair returns the sum of two sums.
func Pair(left, right frame.Hash) frame.Hash {
	var b [blockSize]byte
	copy(b[:], left[:])
	copy(b[len(left):], right[:])
	return frame.HashOf(b[:])
}
