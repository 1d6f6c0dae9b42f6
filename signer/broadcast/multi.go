package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Bounds of [Multi].
const (
	confirmTime  = 30 * time.Second // of a way after the first one has accepted
	waitingBytes = 64 << 20         // of transactions whose submission goes on after the answer
	leastWaiting = 256 << 10        // bytes that each counts as at least: so there are 256 at most
)

// Multi submits through several ways at once. The first to accept decides; the
// others go on in the background and are logged.
type Multi struct {
	ways []Way
	log  *slog.Logger
	room *semaphore.Weighted // bytes of submissions that go on after their answer

	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// NewMulti returns a broadcaster that uses one way or more. It starts nothing
// before a transaction is submitted; Run must run to end what goes on.
func NewMulti(ways []Way, logger *slog.Logger) *Multi {
	m := &Multi{ways: ways, log: logger, room: semaphore.NewWeighted(waitingBytes)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// Extended tells whether one of the ways wants the extended format.
func (m *Multi) Extended() bool {
	for _, w := range m.ways {
		if w.Extended {
			return true
		}
	}
	return false
}

// Run waits for ctx to end, then ends what goes on in the background.
func (m *Multi) Run(ctx context.Context) error {
	<-ctx.Done()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.running.Wait()
	return nil
}

// goes starts a goroutine that Run waits for, unless Run has ended.
func (m *Multi) goes(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.running.Go(f)
	return true
}

// A said is what a way said.
type said struct {
	way string
	err error
}

// Submit hands a transaction in by all ways at once. nil says that one has accepted
// it. A refusal counts when no other way may have the transaction: each has refused
// it too, or surely didn't take it. Else it fails with ErrUnavailable.
func (m *Multi) Submit(ctx context.Context, tx *Transaction) error {
	own, cancel := context.WithTimeout(m.ctx, confirmTime)
	answers := make(chan said, len(m.ways))
	for _, w := range m.ways {
		if !m.goes(func() { answers <- said{w.Name, w.Submit(own, tx)} }) {
			answers <- said{w.Name, fmt.Errorf("%w: %w: this server is ending", ErrUnavailable, errUntouched)}
		}
	}
	var failed []said
	for len(failed) < len(m.ways) {
		select {
		case s := <-answers:
			if s.err == nil {
				m.rest(tx, cancel, answers, len(m.ways)-len(failed)-1, s.way, failed)
				return nil
			}
			failed = append(failed, s)
		case <-ctx.Done():
			m.rest(tx, cancel, answers, len(m.ways)-len(failed), "", failed)
			return fmt.Errorf("%w: no answer came in time", ErrUnavailable)
		}
	}
	cancel()
	return together(failed)
}

// rest hears the ways that haven't answered yet. by is who accepted, empty when
// nobody has.
func (m *Multi) rest(tx *Transaction, cancel context.CancelFunc, answers <-chan said, open int, by string, failed []said) {
	for _, s := range failed {
		m.tell(tx, by, s)
	}
	if open == 0 {
		cancel()
		return
	}
	weight := int64(max(tx.size(), leastWaiting))
	if !m.room.TryAcquire(weight) {
		m.log.Warn("too many submissions go on: the other ways are given up", "txid", tx.ID, "accepted_by", by)
		cancel()
		return
	}
	hear := func() {
		defer func() { cancel(); m.room.Release(weight) }()
		for range open {
			m.tell(tx, by, <-answers)
		}
	}
	if !m.goes(hear) {
		cancel()
		m.room.Release(weight)
	}
}

// tell logs what a way said of a transaction that another one has, or that nobody
// answered for in time.
func (m *Multi) tell(tx *Transaction, by string, s said) {
	var refused *Refused
	switch {
	case s.err == nil:
		m.log.Debug("another way accepts the transaction too", "txid", tx.ID, "way", s.way, "accepted_by", by)
	case errors.As(s.err, &refused) && !errors.Is(s.err, ErrNeedsExtended):
		m.log.Warn("one way refuses a transaction that was submitted", "txid", tx.ID, "way", s.way, "accepted_by", by, "error", s.err)
	default:
		m.log.Info("a way didn't take a transaction that was submitted", "txid", tx.ID, "way", s.way, "accepted_by", by, "error", s.err)
	}
}

// together makes one outcome of the failures of all ways.
func together(failed []said) error {
	var final *Refused
	var undecided []error
	open := false
	for _, s := range failed {
		var refused *Refused
		if errors.As(s.err, &refused) {
			if final == nil || rank(refused) > rank(final) {
				final = refused
			}
			continue
		}
		open = open || !errors.Is(s.err, errUntouched)
		undecided = append(undecided, fmt.Errorf("%s: %w", s.way, s.err))
	}
	// That a form is wanted says nothing while others couldn't be asked.
	if final != nil && !open && (len(undecided) == 0 || rank(final) > 0) {
		return final
	}
	if len(undecided) == 1 {
		return undecided[0]
	}
	return errors.Join(undecided...)
}

// rank tells how much a refusal explains.
func rank(r *Refused) int {
	switch {
	case errors.Is(r, ErrNeedsExtended):
		return 0
	case errors.Is(r, ErrDoubleSpend):
		return 3
	case errors.Is(r, ErrMissingInputs):
		return 1 // perhaps only because another transaction hasn't reached it
	}
	return 2
}
