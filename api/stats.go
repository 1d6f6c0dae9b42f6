package api

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// Stats is what a server holds at a moment, and what it has done since its start.
type Stats struct {
	Connections   int   // WebSockets
	Streams       int   // over HTTP that go on
	Subscriptions int   // of the WebSockets
	Behind        int   // of those, the ones that read from the store
	QueueBytes    int64 // of events that wait to be written to WebSockets
	Names         int   // followed by subscriptions and streams
	Visitors      int   // whose quota is remembered

	Live       uint64 // events handed to a subscription as they happened
	History    uint64 // events sent to a subscription from the store
	Streamed   uint64 // events sent to streams
	Resumes    uint64 // subscriptions that were live, didn't keep up and read from the store
	SlowCloses uint64 // connections closed because they stayed behind
	Limited    uint64 // requests refused because a quota was used up
	Crowded    uint64 // connections and streams refused because there were too many

	Height  int32     // of the index's last block as the log was last read, -1 before the first
	TipTime time.Time // in that block's header; zero before the first
	Read    time.Time // when the log of events was last read; zero: not yet
}

// hubCounts are guarded by the hub's lock, so that counting costs no more than
// adding.
type hubCounts struct{ live, history, resumes, slowCloses uint64 }

// serverCounts are those of goroutines that don't hold the hub's lock.
type serverCounts struct {
	streamed, limited, crowded atomic.Uint64
	read                       atomic.Int64 // Unix nanoseconds
}

// Stats tells how the server is doing. It looks at every connection, which takes
// some milliseconds where there are many.
func (s *Server) Stats() Stats {
	st := Stats{Streamed: s.counts.streamed.Load(), Limited: s.counts.limited.Load(), Crowded: s.counts.crowded.Load(),
		Visitors: s.quotas.size(), Read: s.lastRead()}
	h := s.hub
	h.mu.Lock()
	n := h.counts
	tip := h.tip
	st.Live, st.History, st.Resumes, st.SlowCloses = n.live, n.history, n.resumes, n.slowCloses
	st.Connections, st.Streams, st.Names = len(h.conns), len(h.listeners), len(h.names)
	conns := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
		st.Subscriptions += len(c.subs)
		st.Behind += len(c.behind)
	}
	h.mu.Unlock()
	st.Height = -1
	if tip.Hash != (frame.Hash{}) {
		st.Height, st.TipTime = tip.Height, time.Unix(int64(binary.LittleEndian.Uint32(tip.Header[68:])), 0)
	}
	for _, c := range conns {
		c.mu.Lock()
		st.QueueBytes += int64(c.bytes)
		c.mu.Unlock()
	}
	return st
}

func (s *Server) lastRead() time.Time {
	if ns := s.counts.read.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// deaf says that the log hasn't been read for far longer than it takes: the store
// doesn't answer. Empty: it has.
func (s *Server) deaf() string {
	last := s.lastRead()
	if most := s.timing.Request + 10*s.timing.Poll; !last.IsZero() && time.Since(last) > most {
		return "the log of events couldn't be read for " + time.Since(last).Round(time.Second).String()
	}
	return ""
}

// A Request is one that was answered.
type Request struct {
	Method string // one of the routes' methods, or "other"
	Route  string // the route's path with its parameters' names, or "none": never what the asker wrote
	Status int
	Took   time.Duration
	Stream bool // the answer was a stream, which lasts as long as its reader wants
}

// A watched answer tells Config.Answered how it went.
type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands the socket to a WebSocket: gorilla asks the writer itself for it.
func (w *watched) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *watched) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// watch returns the writer to answer with, and what to do after the answer.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, a *asking) (http.ResponseWriter, func()) {
	if s.cfg.Answered == nil {
		return w, func() {}
	}
	start, out := time.Now(), &watched{ResponseWriter: w}
	return out, func() {
		req := Request{Method: methodOf(r.Method), Route: "none", Status: out.status, Took: time.Since(start), Stream: a.stream}
		if a.route != nil {
			req.Route = a.route.path
		}
		if a.upgraded {
			req.Status = http.StatusSwitchingProtocols
		}
		if req.Status == 0 {
			req.Status = http.StatusOK // what net/http says when a handler doesn't
		}
		s.cfg.Answered(req)
	}
}

// methodOf bounds how many methods there are.
func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions:
		return method
	}
	return "other"
}
