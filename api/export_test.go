package api

import "testing"

// KnowSeqs has trails know so many events beforehand while a test runs.
func KnowSeqs(t *testing.T, n int) {
	before := trailSeqs
	trailSeqs = n
	t.Cleanup(func() { trailSeqs = before })
}

// HeldBytes returns how many bytes count as held for all visitors.
func (s *Server) HeldBytes() int64 {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.all
}
