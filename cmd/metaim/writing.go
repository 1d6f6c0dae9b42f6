package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/sqlite"
)

const (
	betweenTries = 50 * time.Millisecond
	// How often who reads is told to look while another process writes.
	ringEvery = 50 * time.Millisecond
)

// A writing is the part of a service that follows the chain and writes the index.
// It can be let go of, for another process to take up, and be taken up again,
// while the service goes on to read.
type writing struct {
	s       *service
	rules   index.Rules
	wake    chan struct{} // rings after commits
	last    atomic.Pointer[chainwatch.Follower]
	store   index.Store     // nil while another process writes; Run's while it runs
	release chan chan error // Run lets go and answers
	resume  chan struct{}   // Run takes up again
}

func (s *service) newWriting(rules index.Rules) *writing {
	return &writing{s: s, rules: rules, wake: make(chan struct{}, 1), release: make(chan chan error), resume: make(chan struct{}, 1)}
}

func (w *writing) ring() {
	select {
	case w.wake <- struct{}{}:
	default: // it rings already
	}
}

// open opens the store for writing and prepares what follows the chain into it.
// If it is to wait, it does so until nobody else writes a SQLite store; for
// PostgreSQL it always does.
func (w *writing) open(ctx context.Context, wait bool) error {
	for {
		store, err := openStore(ctx, w.s.store, w.s.network, false, w.s.logger)
		if err == nil {
			writer := index.NewWriter(store, w.rules, w.ring)
			w.store = store
			w.last.Store(chainwatch.NewFollower(w.s.source, w.s.watching.sink(writer),
				chainwatch.Config{Params: chainwatch.ParamsOf(w.s.network), Logger: w.s.logger.With("part", "follower")}))
			return nil
		}
		if !wait || !errors.Is(err, sqlite.ErrLocked) || ctx.Err() != nil {
			return err
		}
		rest(ctx, betweenTries)
	}
}

// close closes the store, if it is open. Run doesn't run then.
func (w *writing) close() error {
	if w.store == nil {
		return nil
	}
	defer func() { w.store = nil }()
	return w.store.Close()
}

// Run follows the chain until ctx ends. It owns the store, which is open.
func (w *writing) Run(ctx context.Context) error {
	for {
		answer, err := w.turn(ctx)
		if answer == nil {
			return err
		}
		answer <- err
		if !w.away(ctx) {
			return nil
		}
	}
}

// turn follows the chain until ctx ends, or until it is to let go: then it closes the
// store and returns who asked. Otherwise the store stays open for service.run, which
// closes it after the one that is read from: SQLite folds its journal into the file
// when the last to close may write it.
func (w *writing) turn(ctx context.Context) (answer chan error, err error) {
	life, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- w.last.Load().Run(life) }()
	select {
	case err = <-ended:
	case answer = <-w.release:
		end()
		err = <-ended
	}
	if answer != nil {
		err = errors.Join(err, w.close())
	}
	return answer, err
}

// away waits until the writing is to be taken up again, and takes it up; until
// then another process writes, whose commits ring nobody here. It tells whether
// ctx goes on.
func (w *writing) away(ctx context.Context) bool {
	tick := time.NewTicker(ringEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			w.ring()
			continue
		case <-w.resume:
		}
		for {
			err := w.open(ctx, true)
			if err == nil {
				w.s.logger.Info("this process writes the index again")
				return true
			}
			if ctx.Err() != nil {
				return false
			}
			w.s.logger.Warn("the index can't be written yet; trying again", "error", err)
			rest(ctx, time.Second)
		}
	}
}

// letGo stops writing and gives the lock of the store away.
func (w *writing) letGo(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case w.release <- answer:
		return <-answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

// offer hands in a transaction that was submitted, if this process writes.
func (w *writing) offer(ctx context.Context, tx *index.Transaction, size int) ([]index.Decision, error) {
	if f := w.last.Load(); f != nil {
		return f.Offer(ctx, tx, size)
	}
	return nil, chainwatch.ErrBusy
}

// health tells how following goes, or went until this process let go.
func (w *writing) health() chainwatch.Health {
	if f := w.last.Load(); f != nil {
		return f.Health()
	}
	return chainwatch.Health{Trouble: "another process writes the index"}
}

// awaitSource waits until the source has somebody to ask.
func (s *service) awaitSource(ctx context.Context, patience time.Duration) error {
	until := time.Now().Add(patience)
	for {
		trouble := s.source.Status().Trouble
		if trouble == "" {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("not ready after %s: %s", patience, trouble)
		}
		if rest(ctx, betweenTries); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// rest waits for a while, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
