package p2p

import (
	"fmt"
	"slices"

	"github.com/metaim/metaim/chainwatch"
)

var _ chainwatch.Refusing = (*Source)(nil)

// A headerError says that a node gave a header that can't be on this chain.
type headerError struct{ err error }

func (e *headerError) Error() string {
	return fmt.Sprintf("it gives a header that can't be on this chain: %v", e.err)
}

func (e *headerError) Unwrap() error { return e.err }

// gave keeps what a node answered last.
func (s *Source) gave(p *session, list []chainwatch.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.answer = list
}

// Refused implements [chainwatch.Refusing]: nodes whose last answer has the header
// are dropped.
func (s *Source) Refused(h chainwatch.Header, err error) {
	var liars []*session
	s.mu.Lock()
	for _, p := range s.sessions {
		if slices.Contains(p.answer, h) {
			p.answer = nil
			liars = append(liars, p)
		}
	}
	s.mu.Unlock()
	for _, p := range liars {
		s.log.Error("a node contradicts the chain: it is dropped", "peer", p.slot.addr, "error", err)
		p.end(&headerError{err})
	}
}
