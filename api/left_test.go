package api

import "fmt"

// Left tells what the server keeps of connections and subscriptions, besides
// their listeners over HTTP: empty when there is none.
func (s *Server) Left() string {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	left := ""
	w := &h.wanted
	for _, kept := range []struct {
		what string
		n    int
	}{
		{"connections", len(h.conns)}, {"touched", len(h.touched)}, {"voices", len(h.voices)}, {"spoken", len(h.spoken)},
		{"names", len(h.names)}, {"addresses of names", len(h.namesAt)}, {"by address", len(w.byAddress)}, {"by name", len(w.byName)},
		{"by type", len(w.byType)}, {"by encryption", len(w.byEncryption)}, {"any", len(w.any)}, {"blocks", len(w.blocks)},
		{"for the crew", h.crew.waiting()},
	} {
		if kept.n > 0 {
			left += fmt.Sprintf("%d %s; ", kept.n, kept.what)
		}
	}
	return left
}

func (w *crew) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ready)
}
