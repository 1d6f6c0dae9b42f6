package proof

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// mined finds a header with work enough for its bits.
func mined(p *chainwatch.Params, prev frame.Hash, time, bits uint32) (h chainwatch.Header) {
	copy(h[4:36], prev[:])
	binary.LittleEndian.PutUint32(h[68:], time)
	binary.LittleEndian.PutUint32(h[72:], bits)
	for nonce := uint32(0); ; nonce++ {
		binary.LittleEndian.PutUint32(h[76:], nonce)
		if _, _, err := p.Work(&h); err == nil {
			return h
		}
	}
}

// TestTargetsAreChecked: headers whose targets the ones before don't lead to are
// refused, though each has the work that it claims.
func TestTargetsAreChecked(t *testing.T) {
	p := *chainwatch.ParamsOf(frame.Regtest)
	p.DifficultyAfter = 1
	h := &Headers{network: frame.Regtest, params: &p}
	if err := h.Add(p.Genesis); err != nil {
		t.Fatal(err)
	}
	h.params = &p
	time := uint32(p.Genesis.Time())
	const hard, harder, hardest = 0x1f7fffff, 0x1f3fffff, 0x1f07fffe
	add := func(after, bits uint32) error { return h.Add(mined(&p, h.tip, time+after, bits)) }
	for range chainwatch.TargetDepth {
		if err := add(600, hard); err != nil {
			t.Fatal(err)
		}
		time += 600
	}
	for name, bits := range map[string]uint32{"easier": 0x207fffff, "harder": harder} {
		before := len(h.list)
		if err := add(600, bits); !errors.Is(err, chainwatch.ErrDifficulty) || len(h.list) != before || len(h.sums) != before {
			t.Errorf("%s: got %v with %d headers, want ErrDifficulty and %d headers", name, err, len(h.list), before)
		}
	}
	if err := add(600, hard); err != nil {
		t.Errorf("the target that they lead to: %v", err)
	}
	c := h.Clone()
	h.Cut(10)
	if len(h.sums) != len(h.list) || len(c.sums) != len(c.list) || !h.Lighter(c) || c.Lighter(h) {
		t.Errorf("cut to %d headers and %d sums, the clone has %d and %d: the longer must have more work", len(h.list), len(h.sums), len(c.list), len(c.sums))
	}

	// A list that begins at a checkpoint: too few are known for the rule.
	from := &Headers{network: frame.Regtest, params: &p, from: 100, list: []chainwatch.Header{mined(&p, frame.Hash{}, time, hardest)}, sums: [][2]uint64{{}}}
	from.tip = from.list[0].Hash()
	if err := from.Add(mined(&p, from.tip, time+600, 0x207fffff)); !errors.Is(err, chainwatch.ErrDifficulty) {
		t.Errorf("far easier than the checkpoint: got %v, want ErrDifficulty", err)
	}
	if err := from.Add(mined(&p, from.tip, time+600, harder)); err != nil {
		t.Errorf("eight times as easy: %v", err)
	}
}
