package p2p

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// A logBuffer takes a log from many goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestRefused: of two nodes the one whose header is refused is dropped and named,
// the other one stays.
func TestRefused(t *testing.T) {
	honest := (&fakeNode{on: gives(testHeader(1))}).start(t)
	liar := (&fakeNode{on: gives(testHeader(2))}).start(t)
	var log logBuffer
	cfg := shortLimits(addrs(honest, liar)...)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := run(t, cfg)
	until(t, "both are connected", func() bool { return s.Status().Connected == 2 })
	until(t, "both answer", func() bool {
		list, err := s.Headers(within(t), []frame.Hash{{1}})
		return err == nil && len(list) == 2
	})
	s.mu.Lock()
	var kept, gone *session
	for _, p := range s.sessions {
		if len(p.answer) == 1 && p.answer[0] == testHeader(2) {
			gone = p
		} else {
			kept = p
		}
	}
	s.mu.Unlock()
	s.Refused(testHeader(2), chainwatch.ErrWork)
	if gone == nil || kept == nil || gone.ctx.Err() == nil || kept.ctx.Err() != nil {
		t.Fatalf("the session of the liar: %v, of the other: %v; want only that of the liar ended", gone, kept)
	}
	if !errors.Is(context.Cause(gone.ctx), chainwatch.ErrWork) {
		t.Errorf("the session ended with %v", context.Cause(gone.ctx))
	}
	if text := log.String(); !strings.Contains(text, gone.slot.addr) || !strings.Contains(text, "contradicts the chain") {
		t.Errorf("the log doesn't name %s: %s", gone.slot.addr, text)
	}
}
