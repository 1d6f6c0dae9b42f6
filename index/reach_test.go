package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// Reaches says of every address whether Reached has it.
func TestReaches(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, 4)
	for i := range keys {
		keys[i] = append([]byte{2}, make([]byte, 32)...)
		keys[i][32] = byte(i)
	}
	for range 2_000 {
		tx := &Transaction{InputKeys: keys[:r.IntN(3)]}
		for range r.IntN(5) {
			tx.Outputs = append(tx.Outputs, frame.HashKey(keys[r.IntN(len(keys))]))
		}
		for _, key := range keys {
			h := frame.HashKey(key)
			if got, want := tx.Reaches(h), slices.Contains(tx.Reached(), h); got != want {
				t.Fatalf("inputs %x, outputs %x: %x is reached: got %v, want %v", tx.InputKeys, tx.Outputs, h, got, want)
			}
		}
	}
}
