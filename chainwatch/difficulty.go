package chainwatch

import (
	"errors"
	"math/big"
)

// ErrDifficulty says that a header's target isn't the one that the blocks before it
// lead to.
var ErrDifficulty = errors.New("the header's target isn't the one that the network asks for there")

const (
	spacing = 600 // seconds between blocks, as is aimed at
	window  = 144 // blocks that a target is computed from
)

// TargetDepth is of how many blocks before it a block's target is computed.
const TargetDepth = window + 3

// A Mark is what later targets depend on of a block.
type Mark struct {
	Time   int64  // in its header, Unix seconds
	Hi, Lo uint64 // work of the chain up to it, in 128 bits; where it begins makes no difference
}

// Required returns the compact target that the network asks of a block at a height,
// with a time (Unix seconds) in its header. before gives the n-th block before it,
// and is asked for 1 to TargetDepth in ascending order. ok is false where no rule is
// checked: before the present one (the checkpoints commit to all those blocks), and on
// a network that has none.
//
// The rule is that of November 2017: the work of a day, divided by the time that it
// took, within half a day and two. Where the day begins and ends is the median of
// three blocks by their time. On testnet a block that is late by another spacing may
// have the easiest target.
func (p *Params) Required(height int32, time int64, before func(n int32) Mark) (compact uint32, ok bool) {
	if p.DifficultyAfter == 0 || height <= p.DifficultyAfter {
		return 0, false
	}
	ends := [3]Mark{before(1), before(2), before(3)}
	if p.LateIsEasy && time > ends[0].Time+2*spacing {
		return p.PowLimit, true
	}
	last := suitable(ends)
	first := suitable([3]Mark{before(window + 1), before(window + 2), before(window + 3)})
	took := min(max(last.Time-first.Time, window*spacing/2), window*spacing*2)

	done := new(big.Int).Sub(work{last.Hi, last.Lo}.big(), work{first.Hi, first.Lo}.big())
	done.Mul(done, big.NewInt(spacing)).Div(done, big.NewInt(took))
	if done.Sign() <= 0 {
		return p.PowLimit, true
	}
	target := new(big.Int).Lsh(big.NewInt(1), 256)
	target.Sub(target, done).Div(target, done)
	if target.Cmp(expand(p.PowLimit)) > 0 {
		return p.PowLimit, true
	}
	return compress(target), true
}

// suitable returns the one of three blocks, newest first, that lies between the
// others by its time. Of equal times the order of comparing decides, which is part of
// the rule.
func suitable(newest [3]Mark) Mark {
	three := [3]Mark{newest[2], newest[1], newest[0]}
	for _, pair := range [][2]int{{0, 2}, {0, 1}, {1, 2}} {
		a, b := &three[pair[0]], &three[pair[1]]
		if a.Time > b.Time {
			*a, *b = *b, *a
		}
	}
	return three[1]
}

// required returns the target asked of a block with a time after the node i.
func (c *Chain) required(i int32, time int64) (compact uint32, ok bool) {
	at, back := i, int32(1)
	return c.params.Required(c.nodes[i].height+1, time, func(n int32) Mark {
		for ; back < n; back++ {
			at = c.nodes[at].parent
		}
		return Mark{c.nodes[at].header.Time(), c.nodes[at].work.hi, c.nodes[at].work.lo}
	})
}

// Easier tells whether a compact target is more than so many times as easy as
// another.
func Easier(compact, than uint32, times int64) bool {
	most := expand(than)
	return expand(compact).Cmp(most.Mul(most, big.NewInt(times))) > 0
}

func (w work) big() *big.Int {
	n := new(big.Int).SetUint64(w.hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(w.lo))
}

// compress writes a target in its compact form: its length in bytes and its first
// three, which are read as a signed number.
func compress(target *big.Int) uint32 {
	size := uint((target.BitLen() + 7) / 8)
	n := new(big.Int)
	if size <= 3 {
		n.Lsh(target, 8*(3-size))
	} else {
		n.Rsh(target, 8*(size-3))
	}
	mantissa := uint32(n.Uint64()) //nolint:gosec // three bytes
	if mantissa&0x00800000 != 0 {
		mantissa >>= 8
		size++
	}
	return uint32(size)<<24 | mantissa //nolint:gosec // at most 33
}
