package api

import "testing"

// KnowSeqs has trails know so many events beforehand while a test runs.
func KnowSeqs(t *testing.T, n int) {
	before := trailSeqs
	trailSeqs = n
	t.Cleanup(func() { trailSeqs = before })
}
