package proof

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/bits"
	"slices"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why headers are refused.
var (
	ErrStart      = errors.New("the headers begin neither with the first block of a known network nor at a known checkpoint")
	ErrLink       = errors.New("the header doesn't follow the one before")
	ErrCheckpoint = errors.New("the headers are of another chain than the network's: a checkpoint has another hash")
	ErrCut        = errors.New("the headers end in the middle of one: each has 80 bytes")
)

// A checkpoint is a block that a network's chain is known to have.
type checkpoint struct {
	network frame.Network
	height  int32
	hash    string
}

// checkpoints are blocks where headers may begin or must pass. The first of BSV's
// own, after which another chain went its way, is named in its licence.
var checkpoints = []checkpoint{
	{frame.Main, 556_767, "000000000000000001d956714215d96ffc00e0afda4cd0a96c96f8d802b1662b"},
}

// Headers are the headers of one chain, without gaps: each follows the one before
// and has the work that it claims, no less than its network asks for. The zero
// value is empty and ready; one goroutine uses it.
type Headers struct {
	network frame.Network
	params  *chainwatch.Params
	from    int32
	list    []chainwatch.Header
	sums    [][2]uint64 // of the list up to each, upper half first
	tip     frame.Hash
}

// easierMost bounds how much easier than the checkpoint that it begins with a list's
// first headers may be, of which too little is known for the network's rule: within a
// day it lets a target get seven times as easy at most.
const easierMost = 16

// ReadHeaders reads headers of 80 bytes to the end, from the first block of a
// network on or from a checkpoint. It fails with ErrStart, ErrLink, ErrCheckpoint,
// ErrCut, chainwatch.ErrWork, chainwatch.ErrDifficulty or what the reader fails with.
func ReadHeaders(r io.Reader) (*Headers, error) {
	h := &Headers{}
	var next chainwatch.Header
	for {
		switch _, err := io.ReadFull(r, next[:]); {
		case errors.Is(err, io.EOF):
			if len(h.list) == 0 {
				return nil, ErrStart
			}
			return h, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, ErrCut
		case err != nil:
			return nil, err
		}
		if err := h.Add(next); err != nil {
			return nil, err
		}
	}
}

// Add adds the next header. It fails as ReadHeaders does and changes nothing
// then.
func (h *Headers) Add(next chainwatch.Header) error {
	hash := next.Hash()
	if len(h.list) == 0 {
		return h.begin(next, hash)
	}
	height := h.Tip() + 1
	if next.Prev() != h.tip {
		return fmt.Errorf("header %d: %w", height, ErrLink)
	}
	hi, lo, err := h.params.Work(&next)
	if err != nil {
		return fmt.Errorf("header %d: %w", height, err)
	}
	if err := h.checkTarget(height, &next); err != nil {
		return err
	}
	for _, c := range checkpoints {
		if c.network == h.network && c.height == height && c.hash != hash.String() {
			return fmt.Errorf("header %d: %w", height, ErrCheckpoint)
		}
	}
	sum := h.sums[len(h.sums)-1]
	sum[1], lo = bits.Add64(sum[1], lo, 0)
	sum[0], _ = bits.Add64(sum[0], hi, lo)
	h.list, h.sums, h.tip = append(h.list, next), append(h.sums, sum), hash
	return nil
}

// checkTarget checks that a header's target is the one that those before it lead to.
// It fails with chainwatch.ErrDifficulty.
func (h *Headers) checkTarget(height int32, next *chainwatch.Header) error {
	if len(h.list) < chainwatch.TargetDepth {
		if h.from > 0 && chainwatch.Easier(next.Bits(), h.list[0].Bits(), easierMost) {
			return fmt.Errorf("header %d: its target is over %d times as easy as the first: %w", height, easierMost, chainwatch.ErrDifficulty)
		}
		return nil
	}
	want, ok := h.params.Required(height, next.Time(), func(n int32) chainwatch.Mark {
		i := len(h.list) - int(n)
		return chainwatch.Mark{Time: h.list[i].Time(), Hi: h.sums[i][0], Lo: h.sums[i][1]}
	})
	if ok && next.Bits() != want {
		return fmt.Errorf("header %d: its target is %08x, not %08x: %w", height, next.Bits(), want, chainwatch.ErrDifficulty)
	}
	return nil
}

func (h *Headers) begin(first chainwatch.Header, hash frame.Hash) error {
	start := func(n frame.Network, from int32) error {
		h.network, h.params, h.from = n, chainwatch.ParamsOf(n), from
		hi, lo, err := h.params.Work(&first)
		h.list, h.sums, h.tip = append(h.list, first), append(h.sums, [2]uint64{hi, lo}), hash
		return err
	}
	for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
		if first == chainwatch.ParamsOf(n).Genesis {
			return start(n, 0)
		}
	}
	for _, c := range checkpoints {
		if hash.String() == c.hash {
			return start(c.network, c.height)
		}
	}
	return ErrStart
}

// Cut removes the headers above a height; the first stays.
func (h *Headers) Cut(above int32) {
	if above < h.Tip() && len(h.list) > 0 {
		h.list = h.list[:max(above-h.from, 0)+1]
		h.sums = h.sums[:len(h.list)]
		h.tip = h.list[len(h.list)-1].Hash()
	}
}

// Clone returns headers that can be changed apart from these.
func (h *Headers) Clone() *Headers {
	c := *h
	c.list, c.sums = slices.Clone(h.list), slices.Clone(h.sums)
	return &c
}

// Lighter tells whether less work is in these headers than in others that begin
// with the same.
func (h *Headers) Lighter(than *Headers) bool { return h.work(0).Cmp(than.work(0)) < 0 }

// Common returns the height of the last header that both have, or one less than the
// first when they have none in common.
func (h *Headers) Common(with *Headers) int32 {
	for height := min(h.Tip(), with.Tip()); height >= h.from; height-- {
		mine, _ := h.At(height)
		if theirs, ok := with.At(height); ok && mine == theirs {
			return height
		}
	}
	return h.from - 1
}

// Network returns the network whose headers these are.
func (h *Headers) Network() frame.Network { return h.network }

// From returns the height of the first header.
func (h *Headers) From() int32 { return h.from }

// Tip returns the height of the last header, -1 when there is none.
func (h *Headers) Tip() int32 { return h.from + int32(len(h.list)) - 1 }

// At returns the header at a height.
func (h *Headers) At(height int32) (chainwatch.Header, bool) {
	if height < h.from || height > h.Tip() {
		return chainwatch.Header{}, false
	}
	return h.list[height-h.from], true
}

// Bytes returns the headers one behind the other, as ReadHeaders reads them.
func (h *Headers) Bytes() []byte {
	b := make([]byte, 0, len(h.list)*chainwatch.HeaderSize)
	for i := range h.list {
		b = append(b, h.list[i][:]...)
	}
	return b
}

// work returns the expected number of hashes of the headers from a height on.
func (h *Headers) work(from int32) *big.Int {
	from = max(from-h.from, 0)
	if int(from) >= len(h.list) {
		return new(big.Int)
	}
	n := wide(h.sums[len(h.sums)-1])
	if from > 0 {
		return n.Sub(n, wide(h.sums[from-1]))
	}
	return n
}

// wide returns a number of two halves, the upper first.
func wide(halves [2]uint64) *big.Int {
	n := new(big.Int).SetUint64(halves[0])
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(halves[1]))
}
