package simulate

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// A Failure is a seed whose scenario showed a difference.
type Failure struct {
	Seed   int
	Run    int // counted from 1
	Script Script
	Err    error
}

// Seeds plays the scenarios of seeds from the first on, on all cores. It returns
// the failure with the lowest seed, or nil. progress, if not nil, is called now
// and then with the number of runs.
func Seeds(first, runs int, progress func(done int)) (Stats, *Failure) {
	var (
		mu     sync.Mutex
		total  Stats
		found  *Failure
		next   atomic.Int64
		upto   atomic.Int64 // runs that still matter
		worker sync.WaitGroup
	)
	upto.Store(int64(runs))
	for range runtime.GOMAXPROCS(0) {
		worker.Go(func() {
			for i := next.Add(1); i <= upto.Load(); i = next.Add(1) {
				seed := first + int(i) - 1
				script := Scenarios.Example(seed)
				stats, err := play(script)
				mu.Lock()
				total.Add(stats)
				if err != nil && (found == nil || seed < found.Seed) {
					found = &Failure{Seed: seed, Run: int(i), Script: script, Err: err}
					upto.Store(i)
				}
				if progress != nil && total.Runs%10_000 == 0 {
					progress(total.Runs)
				}
				mu.Unlock()
			}
		})
	}
	worker.Wait()
	return total, found
}

// play runs a scenario; a panic is a difference too.
func play(script Script) (stats Stats, err error) {
	defer func() {
		if p := recover(); p != nil {
			stats, err = Stats{Runs: 1}, fmt.Errorf("panic: %v\n%s", p, stack())
		}
	}()
	return Run(script)
}

func stack() []byte {
	b := make([]byte, 1<<13)
	return b[:runtime.Stack(b, false)]
}
