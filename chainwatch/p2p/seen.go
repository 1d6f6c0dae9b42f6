package p2p

import "github.com/metaim/metaim/improtocol/frame"

// A seenSet remembers at least its last n hashes and at most twice as many, in
// two generations: what is asked for moves to the young one, and when that is
// full the old one goes.
type seenSet struct {
	n          int
	young, old map[frame.Hash]struct{}
}

func newSeenSet(n int) *seenSet {
	return &seenSet{n: n, young: make(map[frame.Hash]struct{})}
}

func (s *seenSet) has(h frame.Hash) bool {
	if _, ok := s.young[h]; ok {
		return true
	}
	if _, ok := s.old[h]; !ok {
		return false
	}
	s.add(h)
	return true
}

func (s *seenSet) add(h frame.Hash) {
	if len(s.young) >= s.n {
		s.young, s.old = make(map[frame.Hash]struct{}), s.young
	}
	s.young[h] = struct{}{}
}

func (s *seenSet) clear() { s.young, s.old = make(map[frame.Hash]struct{}), nil }
