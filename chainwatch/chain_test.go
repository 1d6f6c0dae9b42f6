package chainwatch

import (
	"encoding/binary"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

const (
	easy   = 0x207fffff // the easiest target of regtest: two tries a header
	harder = 0x201fffff // four times the work
)

// mineOn finds a header with work enough for its bits. Others of the same
// parent, time and bits differ by their salt.
func mineOn(prev frame.Hash, time, bits, salt uint32) Header {
	h := wireHeader(prev, frame.Hash{}, time, bits)
	binary.LittleEndian.PutUint32(h[36:], salt)
	for nonce := uint32(0); ; nonce++ {
		binary.LittleEndian.PutUint32(h[76:], nonce)
		if _, err := ParamsOf(frame.Regtest).proof(&h, h.Hash()); err == nil {
			return h
		}
	}
}

// branch mines a number of headers and adds them.
func branch(t *testing.T, c *Chain, from frame.Hash, n int, bits, salt uint32) (hashes []frame.Hash) {
	t.Helper()
	for i := range n {
		h := mineOn(from, uint32(1_400_000_000+600*i), bits, salt)
		if isNew, err := c.Add(h); err != nil || !isNew {
			t.Fatalf("header %d: new %v, %v", i, isNew, err)
		}
		from = h.Hash()
		hashes = append(hashes, from)
	}
	return hashes
}

func genesisOf(c *Chain) frame.Hash { return c.params.Genesis.Hash() }

func regtestChain() *Chain { return NewChain(ParamsOf(frame.Regtest)) }

func checkBest(t *testing.T, c *Chain, what string, want frame.Hash, height int32) {
	t.Helper()
	if got, h := c.Best(); got != want || h != height {
		t.Errorf("%s: the best is %s at %d, want %s at %d", what, got, h, want, height)
	}
}

func TestChainBest(t *testing.T) {
	c := regtestChain()
	g := genesisOf(c)
	checkBest(t, c, "nothing added", g, 0)
	a := branch(t, c, g, 3, easy, 1)
	checkBest(t, c, "three blocks", a[2], 3)
	b := branch(t, c, g, 3, easy, 2)
	checkBest(t, c, "a branch of equal work: the one seen first stays", a[2], 3)
	b = append(b, branch(t, c, b[2], 1, easy, 2)...)
	checkBest(t, c, "one block more", b[3], 4)
	d := branch(t, c, a[0], 1, harder, 3)
	checkBest(t, c, "fewer blocks with more work", d[0], 2)
	branch(t, c, b[3], 1, easy, 2)
	checkBest(t, c, "equal work again", d[0], 2)
	for hash, want := range map[frame.Hash]bool{g: true, a[0]: true, d[0]: true, a[1]: false, b[0]: false, b[3]: false, {1}: false} {
		if got := c.OnBest(hash); got != want {
			t.Errorf("OnBest(%s) = %v, want %v", hash, got, want)
		}
	}
}

func TestChainFork(t *testing.T) {
	c := regtestChain()
	g := genesisOf(c)
	a := branch(t, c, g, 6, easy, 1)
	b := branch(t, c, a[1], 2, easy, 2)
	for _, x := range []struct {
		name   string
		from   frame.Hash
		want   frame.Hash
		height int32
	}{
		{"a side branch", b[1], a[1], 2},
		{"the tip", a[5], a[5], 6},
		{"a block of the best branch", a[2], a[2], 3},
		{"the genesis block", g, g, 0},
	} {
		if got, h := c.Fork(x.from); got != x.want || h != x.height {
			t.Errorf("%s: got %s at %d, want %s at %d", x.name, got, h, x.want, x.height)
		}
	}
	longer := branch(t, c, b[1], 4, easy, 2)
	checkBest(t, c, "the side branch grown", longer[3], 8)
	if got, h := c.Fork(a[5]); got != a[1] || h != 2 {
		t.Errorf("the branch that lost: got %s at %d, want %s at 2", got, h, a[1])
	}
}

func TestChainAdd(t *testing.T) {
	c := regtestChain()
	g := genesisOf(c)
	first := mineOn(g, 1, easy, 1)
	second := mineOn(first.Hash(), 2, easy, 1)
	if isNew, err := c.Add(second); !errors.Is(err, ErrOrphan) || isNew {
		t.Errorf("an orphan: got %v %v, want %v", isNew, err, ErrOrphan)
	}
	for _, h := range []Header{first, second} {
		if isNew, err := c.Add(h); err != nil || !isNew {
			t.Errorf("got %v %v, want a new header", isNew, err)
		}
		if isNew, err := c.Add(h); err != nil || isNew {
			t.Errorf("again: got %v %v, want one that is known", isNew, err)
		}
	}
	if isNew, err := c.Add(c.params.Genesis); err != nil || isNew {
		t.Errorf("the genesis block: got %v %v", isNew, err)
	}
	if h, ok := c.Height(second.Hash()); !ok || h != 2 {
		t.Errorf("height %d %v, want 2", h, ok)
	}
	if _, ok := c.Height(frame.Hash{1}); ok {
		t.Error("an unknown block has a height")
	}
	for name, bits := range map[string]uint32{
		"a target of zero":                          0x20000000,
		"a negative target":                         0x20ffffff,
		"a target above the limit":                  0x21008000,
		"a target past 256 bits":                    0xff7fffff,
		"bits of zero":                              0,
		"a target so low that no hash can meet it":  0x03000001,
		"mainnet's easiest, which this hash misses": 0x1d00ffff,
	} {
		h := wireHeader(second.Hash(), frame.Hash{}, 3, bits)
		if isNew, err := c.Add(h); !errors.Is(err, ErrWork) || isNew {
			t.Errorf("%s: got %v %v, want %v", name, isNew, err, ErrWork)
		}
	}
	for nonce := uint32(0); ; nonce++ { // a hash above the target
		h := wireHeader(second.Hash(), frame.Hash{}, nonce, easy)
		if hash := h.Hash(); hash[31] < 0x80 {
			continue
		}
		if _, err := c.Add(h); !errors.Is(err, ErrWork) {
			t.Errorf("a hash above its target: got %v, want %v", err, ErrWork)
		}
		break
	}
	checkBest(t, c, "after all that was refused", second.Hash(), 2)
	main := NewChain(ParamsOf(frame.Main))
	if _, err := main.Add(mineOn(main.params.Genesis.Hash(), 1, easy, 1)); !errors.Is(err, ErrWork) {
		t.Errorf("a target of regtest on mainnet: got %v, want %v", err, ErrWork)
	}
}

// TestWork: the expected number of hashes is 2^256 / (target + 1).
func TestWork(t *testing.T) {
	for _, c := range []struct {
		name string
		bits uint32
		want string // hex
	}{
		{"regtest's easiest", 0x207fffff, "2"},
		{"mainnet's easiest", 0x1d00ffff, "100010001"},
		{"mainnet in 2021", 0x180f0d18, ""},
	} {
		mantissa, exponent := int64(c.bits&0x7fffff), uint(c.bits>>24)
		target := new(big.Int).Lsh(big.NewInt(mantissa), 8*(exponent-3))
		if got := expand(c.bits); got.Cmp(target) != 0 {
			t.Errorf("%s: target %x, want %x", c.name, got, target)
		}
		want := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 256), new(big.Int).Add(target, big.NewInt(1)))
		if c.want != "" && want.Text(16) != c.want {
			t.Errorf("%s: the definition gives %x, want %s", c.name, want, c.want)
		}
		var h Header
		binary.LittleEndian.PutUint32(h[72:], c.bits)
		got, err := (&Params{PowLimit: 0x207fffff}).proof(&h, frame.Hash{})
		sum := new(big.Int).Add(new(big.Int).Lsh(new(big.Int).SetUint64(got.hi), 64), new(big.Int).SetUint64(got.lo))
		if err != nil || sum.Cmp(want) != 0 {
			t.Errorf("%s: work %x, %v, want %x", c.name, sum, err, want)
		}
	}
	for compact, want := range map[uint32]int64{0x01003456: 0, 0x01123456: 0x12, 0x02008000: 0x80, 0x03123456: 0x123456, 0x04123456: 0x12345600, 0x04923456: 0} {
		if got := expand(compact); got.Cmp(big.NewInt(want)) != 0 {
			t.Errorf("expand(%#x) = %x, want %x", compact, got, want)
		}
	}
	top := work{^uint64(0), ^uint64(0)}
	if _, ok := top.add(work{0, 1}); ok {
		t.Error("work past 128 bits is added")
	}
	if sum, ok := (work{1, ^uint64(0)}).add(work{2, 1}); !ok || sum != (work{4, 0}) {
		t.Errorf("the carry: got %v %v", sum, ok)
	}
	if (work{1, 0}).more(work{1, 0}) || !(work{1, 0}).more(work{0, 9}) || (work{0, 9}).more(work{1, 0}) || !(work{1, 2}).more(work{1, 1}) {
		t.Error("work is compared wrongly")
	}
}

// TestMedianTime: of the times of a block and its ten predecessors, sorted, the
// one at n/2.
func TestMedianTime(t *testing.T) {
	c := regtestChain()
	times := []int64{c.params.Genesis.Time()}
	random := rand.New(rand.NewPCG(1, 2))
	from := genesisOf(c)
	for range 40 {
		h := mineOn(from, 1_300_000_000+random.Uint32N(1_000_000), easy, 0)
		if _, err := c.Add(h); err != nil {
			t.Fatal(err)
		}
		from = h.Hash()
		times = append(times, h.Time())
	}
	path := c.Path(-1, 100)
	if len(path) != len(times) {
		t.Fatalf("%d steps, want %d", len(path), len(times))
	}
	for i, step := range path {
		last := slices.Clone(times[max(0, i-10) : i+1])
		slices.Sort(last)
		if want := last[len(last)/2]; step.MedianTime != want || step.Height != int32(i) || step.Header.Time() != times[i] {
			t.Errorf("height %d: step at %d with median time %d, want %d", i, step.Height, step.MedianTime, want)
		}
	}
}

func TestChainPath(t *testing.T) {
	c := regtestChain()
	a := branch(t, c, genesisOf(c), 9, easy, 1)
	branch(t, c, a[3], 2, easy, 2)
	for _, x := range []struct {
		above int32
		limit int
		want  []frame.Hash
	}{
		{0, 100, a}, {0, 9, a}, {0, 3, a[:3]}, {4, 2, a[4:6]}, {8, 5, a[8:]}, {9, 5, nil}, {12, 5, nil}, {0, 0, nil},
	} {
		var got []frame.Hash
		for _, step := range c.Path(x.above, x.limit) {
			got = append(got, step.Hash)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("above %d, at most %d: got %v, want %v", x.above, x.limit, got, x.want)
		}
	}
}

// TestLocator: ten blocks in a row from the newest, then ever wider apart by
// doubling, the genesis block last.
func TestLocator(t *testing.T) {
	c := regtestChain()
	all := append([]frame.Hash{genesisOf(c)}, branch(t, c, genesisOf(c), 300, easy, 1)...)
	for _, c2 := range []struct {
		tip  int
		want []int
	}{
		{300, []int{300, 299, 298, 297, 296, 295, 294, 293, 292, 291, 289, 285, 277, 261, 229, 165, 37, 0}},
		{12, []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 1, 0}},
		{3, []int{3, 2, 1, 0}},
		{0, []int{0}},
	} {
		var want []frame.Hash
		for _, height := range c2.want {
			want = append(want, all[height])
		}
		if got := c.Locator(all[c2.tip]); !slices.Equal(got, want) {
			heights := []int32{}
			for _, hash := range got {
				h, _ := c.Height(hash)
				heights = append(heights, h)
			}
			t.Errorf("from %d: got heights %v, want %v", c2.tip, heights, c2.want)
		}
	}
	if got := c.Locator(frame.Hash{1}); got[0] != all[300] {
		t.Errorf("from an unknown block: begins with %s, want the best", got[0])
	}
}

// TestChainBar: a block that nobody has, and all that build on it, are out of
// account until it is said otherwise; then the branch seen first is best again.
func TestChainBar(t *testing.T) {
	c := regtestChain()
	g := genesisOf(c)
	a := branch(t, c, g, 4, easy, 1)
	b := branch(t, c, a[0], 2, easy, 2)
	checkBest(t, c, "nothing barred", a[3], 4)
	c.Bar(a[2])
	checkBest(t, c, "two are left of the first branch: of equal work, but the first seen is barred", b[1], 3)
	late := branch(t, c, a[3], 3, easy, 1)
	checkBest(t, c, "what builds on a barred block is barred", b[1], 3)
	c.Bar(b[0])
	checkBest(t, c, "what is left of both", a[1], 2)
	c.Bar(g)
	c.Bar(frame.Hash{1})
	checkBest(t, c, "the genesis block and unknown ones can't be barred", a[1], 2)
	c.Unbar()
	checkBest(t, c, "all in account again", late[2], 7)
	for salt := uint32(1); salt <= 2; salt++ { // equal work: order of arrival, whatever was barred
		d := regtestChain()
		first := branch(t, d, genesisOf(d), 2, easy, salt)
		branch(t, d, genesisOf(d), 2, easy, 3-salt)
		d.Bar(first[0])
		d.Unbar()
		checkBest(t, d, "equal work after barring", first[1], 2)
	}
}

// TestCheckWork: work is checked without a predecessor.
func TestCheckWork(t *testing.T) {
	p := ParamsOf(frame.Regtest)
	good := mineOn(frame.Hash{9}, 1, easy, 0)
	if err := p.CheckWork(&good); err != nil {
		t.Errorf("a header with work: %v", err)
	}
	if err := ParamsOf(frame.Main).CheckWork(&good); !errors.Is(err, ErrWork) {
		t.Errorf("on mainnet: got %v, want %v", err, ErrWork)
	}
}
