package doublesha

import (
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

func plain(b []byte) frame.Hash {
	sum := sha256.Sum256(b)
	return sha256.Sum256(sum[:])
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// bothWays runs a test with the wide hash, where this machine has it, and without.
func bothWays(t *testing.T, run func(t *testing.T)) {
	t.Run("one by one", func(t *testing.T) {
		defer without()()
		run(t)
	})
	t.Run("side by side", func(t *testing.T) {
		if !wide {
			t.Skip("this machine hashes one by one")
		}
		run(t)
	})
}

// TestQueueLengths: every length up to more than what waits, at every number of
// messages that a group can hold.
func TestQueueLengths(t *testing.T) {
	buf := noise(1, 2*(mostBlocks+2)*blockSize)
	bothWays(t, func(t *testing.T) {
		var q Queue
		for size := 0; size < (mostBlocks+1)*blockSize; size += 1 + size/700 {
			count := 1 + size%(2*lanes+3)
			for i := range count {
				q.Add(buf, i*7, i*7+size)
			}
			got := q.Take()
			if len(got) != count {
				t.Fatalf("%d bytes: got %d sums, want %d", size, len(got), count)
			}
			for i, sum := range got {
				if want := plain(buf[i*7 : i*7+size]); sum != want {
					t.Fatalf("%d bytes, message %d of %d: got %s, want %s", size, i, count, sum, want)
				}
			}
		}
	})
}

// TestQueueOrder: messages of all lengths among each other and sums that are
// known come out in their order, whenever the queue is flushed.
func TestQueueOrder(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 2))
		var q Queue
		buf := noise(3, 1<<16)
		for round := range 50 {
			var want []frame.Hash
			for !q.Full() {
				from := r.IntN(len(buf) - 18000)
				to := from + r.IntN([]int{300, 18000}[round%2])
				switch r.IntN(200) {
				case 0:
					q.Flush()
					copy(buf, noise(uint64(r.Uint32()), 1000)) // what was flushed isn't read again
				case 1:
					want = append(want, frame.Hash{byte(from)})
					q.AddSum(frame.Hash{byte(from)})
				default:
					want = append(want, plain(buf[from:to]))
					q.Add(buf, from, to)
				}
			}
			if got := q.Take(); !slices.Equal(got, want) {
				t.Fatalf("round %d: the sums aren't those of the messages in their order", round)
			}
		}
		q.Add(buf, 0, 100)
		q.Reset()
		q.Add(buf, 5, 100)
		if got, want := q.Take(), plain(buf[5:100]); len(got) != 1 || got[0] != want {
			t.Errorf("after Reset: got %v, want %s alone", got, want)
		}
	})
}

// TestQueueNothing: a message may be empty, alone and in an empty buffer.
func TestQueueNothing(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for _, count := range []int{1, fewest, lanes} {
			var q Queue
			for range count {
				q.Add(nil, 0, 0)
			}
			for i, got := range q.Take() {
				if want := plain(nil); got != want {
					t.Errorf("message %d of %d: got %s, want %s", i, count, got, want)
				}
			}
		}
	})
}

func TestPairs(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for n := 0; n <= 200; n += 2 {
			list := make([]frame.Hash, n, n+1)
			var want []frame.Hash
			for i := range list {
				copy(list[i][:], noise(uint64(i), 32))
			}
			for i := 0; i < n; i += 2 {
				want = append(want, plain(slices.Concat(list[i][:], list[i+1][:])))
			}
			if got := Pairs(list); !slices.Equal(got, want) {
				t.Errorf("%d sums: got others than one by one", n)
			}
		}
	})
}

func TestAllocatesNothing(t *testing.T) {
	var q Queue
	buf := noise(4, 1<<16)
	got := testing.AllocsPerRun(10, func() {
		for i := range Room {
			q.Add(buf, i, i+250)
		}
		for list := q.Take(); len(list) > 1; {
			list = Pairs(list)
		}
	})
	if got > 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func BenchmarkQueue(b *testing.B) {
	var q Queue
	buf := noise(5, 1<<18)
	b.SetBytes(Room * 250)
	for b.Loop() {
		for i := range Room {
			q.Add(buf, i*250, i*250+250)
		}
		q.Take()
	}
}

func BenchmarkPairs(b *testing.B) {
	var list [Room]frame.Hash
	for b.Loop() {
		for l := list[:]; len(l) > 1; {
			l = Pairs(l)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(Room-1), "ns/pair")
}
