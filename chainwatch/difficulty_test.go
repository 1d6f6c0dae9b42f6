package chainwatch

import (
	"encoding/binary"
	"errors"
	"math/big"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// A paced chain grows by blocks with a time and a target, without proof of work:
// their targets are the question.
type paced struct {
	*Chain
	bits uint32
}

func newPaced(bits uint32) *paced {
	p := *ParamsOf(frame.Main)
	p.DifficultyAfter, p.Checkpoints = 1, nil
	c := &paced{NewChain(&p), bits}
	c.nodes[0].header = wireHeader(frame.Hash{}, frame.Hash{}, 1_269_211_443, bits)
	c.nodes[0].work = worth(bits)
	return c
}

func worth(bits uint32) work {
	n := new(big.Int).Lsh(big.NewInt(1), 256)
	n.Div(n, new(big.Int).Add(expand(bits), big.NewInt(1)))
	return work{lo: n.Uint64()}
}

// grow adds a block so many seconds after the last, and returns what is asked of the
// next.
func (c *paced) grow(seconds int) uint32 {
	last := c.nodes[len(c.nodes)-1]
	total, _ := last.work.add(worth(c.bits))
	c.nodes = append(c.nodes, node{header: wireHeader(frame.Hash{}, frame.Hash{}, uint32(int(last.header.Time())+seconds), c.bits),
		parent: int32(len(c.nodes) - 1), height: last.height + 1, work: total})
	if last.height < 2*window {
		return c.bits // it isn't asked yet
	}
	bits, _ := c.required(int32(len(c.nodes)-1), 0)
	return bits
}

// TestDifficulty goes through the course of block times, with the targets, that the
// nodes of the network are tested by (cash_difficulty_test in pow_tests.cpp).
func TestDifficulty(t *testing.T) {
	c := newPaced(0x1c0fffff)
	for range 2049 {
		c.grow(600)
	}
	for _, step := range []struct {
		name    string
		times   int
		seconds int
		want    uint32
	}{
		{"as aimed at", 10, 600, 0x1c0fffff},
		{"far in the future", 1, 6000, 0x1c0fffff},
		{"and back", 1, 2*600 - 6000, 0x1c0fffff},
		{"as aimed at again", 20, 600, 0x1c0fffff},
		{"the first that is faster", 1, 550, 0x1c0fffff},
		{"a little faster", 10, 550, 0x1c0fe7b1},
		{"much faster", 20, 10, 0x1c0db19f},
		{"the first that is slow", 1, 6000, 0x1c0d9222},
		{"slow", 93, 6000, 0x1c2f13b9},
		{"the window has its bounds", 1, 6000, 0x1c2ee9bf},
		{"slow for long", 192, 6000, 0x1d00ffff},
		{"never easier than the limit", 5, 6000, 0x1d00ffff},
	} {
		for range step.times {
			c.bits = c.grow(step.seconds)
		}
		if c.bits != step.want {
			t.Errorf("%s: got the target %08x, want %08x", step.name, c.bits, step.want)
		}
	}
}

// TestDifficultyIsChecked: a header with proof of its own target is refused where
// another target is asked for.
func TestDifficultyIsChecked(t *testing.T) {
	p := *ParamsOf(frame.Regtest)
	p.DifficultyAfter = 200
	c := NewChain(&p)
	from := branch(t, c, genesisOf(c), 200, easy, 1)[199]
	last := uint32(1_400_000_000 + 600*199)
	if _, err := c.Add(mineOn(from, last+600, harder, 1)); !errors.Is(err, ErrDifficulty) {
		t.Errorf("more work than is asked for: got %v, want ErrDifficulty", err)
	}
	c.params.LateIsEasy = true
	want, ok := c.required(c.index[from], int64(last)+600)
	if late, _ := c.required(c.index[from], int64(last)+1201); !ok || late != p.PowLimit || want == 0 {
		t.Errorf("late: got the target %08x, want the easiest; in time: %08x, %v", late, want, ok)
	}
	if isNew, err := c.Add(mineOn(from, last+600, want, 1)); err != nil || !isNew {
		t.Errorf("the target asked for, %08x: got %v, %v, want it taken", want, isNew, err)
	}
	if _, ok := c.required(c.ancestor(c.best, 199), 0); ok {
		t.Error("a target is asked for before the rule")
	}
}

func TestCompress(t *testing.T) {
	for _, bits := range []uint32{0x1d00ffff, 0x1c0fe7b1, 0x207fffff, 0x1b04864c, 0x03123456, 0x02123400, 0x1804d13e} {
		if got := compress(expand(bits)); got != bits {
			t.Errorf("got %08x, want %08x", got, bits)
		}
	}
	var bytes [32]byte
	binary.BigEndian.PutUint32(bytes[4:], 0x80000000)
	if got, want := compress(new(big.Int).SetBytes(bytes[:])), uint32(0x1d008000); got != want {
		t.Errorf("a first byte that would be a sign: got %08x, want %08x", got, want)
	}
}
