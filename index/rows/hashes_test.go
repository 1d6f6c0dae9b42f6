package rows

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// What is remembered of keys is what is so, also of those that share a place, and
// from several goroutines.
func TestMeet(t *testing.T) {
	var all sync.WaitGroup
	for seed := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 2_000 {
				key := make([]byte, []int{33, 33, 33, 65, 32, 1}[r.IntN(6)])
				key[0], key[len(key)-1] = byte(r.IntN(3)), byte(r.IntN(2)) // few keys, in two places
				version, hash := byte(r.IntN(2)*111), frame.HashKey(key)
				address := frame.EncodeAddress(version, hash)
				var h hasher
				switch r.IntN(3) {
				case 0:
					if got := h.of(key); got != hash {
						t.Errorf("hash of %x: got %x, want %x", key, got, hash)
					}
				case 1:
					if got := addressOf(version, key, &h); got != address {
						t.Errorf("address of %x: got %s, want %s", key, got, address)
					}
				default:
					if got, own := ownAddress(address, key, &h); !own || got != version {
						t.Errorf("%s of %x: got version %d, own %v, want %d, true", address, key, got, own, version)
					}
					if _, own := ownAddress(address, append([]byte{9}, key[1:]...), &h); own {
						t.Errorf("%s of another key than %x: got own", address, key)
					}
				}
			}
		})
	}
	all.Wait()
}
