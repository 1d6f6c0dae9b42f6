package simulate

import (
	"flag"
	"fmt"
	"strconv"
	"time"

	"pgregory.net/rapid"
)

// Shrink looks for the smallest scenario that still shows a difference,
// beginning with that of the seed. It needs the flags of package testing
// ([testing.Init]) and is not for concurrent use.
func Shrink(seed int, limit time.Duration) (*Failure, error) {
	for name, value := range map[string]string{"rapid.seed": strconv.Itoa(seed), "rapid.checks": "1", "rapid.nofailfile": "true",
		"rapid.shrinktime": limit.String()} {
		if err := flag.Set(name, value); err != nil {
			return nil, err
		}
	}
	var last *Failure
	property := func(t *rapid.T) {
		script := Scenarios.Draw(t, "script")
		if _, err := play(script); err != nil {
			last = &Failure{Seed: seed, Script: script, Err: err}
			t.Fatalf("a difference") // the same words for all: any difference will do
		}
	}
	done := make(chan struct{})
	quiet := &quietTest{}
	go func() { // FailNow ends the goroutine
		defer close(done)
		rapid.Check(quiet, property)
	}()
	<-done
	if last == nil {
		return nil, fmt.Errorf("the scenario of seed %d shows no difference", seed)
	}
	return last, nil
}
