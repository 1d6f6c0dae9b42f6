// Package service is what sources have in common that follow the chain through a
// service of somebody else's: how far it is trusted, and the look at its newest
// block that wakes the follower.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// DropFor is how long a service is asked nothing that was caught in a lie.
const DropFor = time.Minute

// A LieError says that the service gave what can't be true.
type LieError struct {
	Service string // its URL
	What    string // a sentence without a full stop
}

func (e *LieError) Error() string { return fmt.Sprintf("service %s: %s", e.Service, e.What) }

// A NetworkError says that the service is of another network.
type NetworkError struct {
	Service string
	Got     string // what shows it, such as: genesis block "00"
	Want    frame.Network
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("service %s has %s, which isn't that of network %s", e.Service, e.Got, e.Want)
}

// A Trust is what one makes of a service by what it has said. It may be used by many
// goroutines.
type Trust struct {
	name string
	log  *slog.Logger
	wake chan struct{}

	mu    sync.Mutex
	heard time.Time // it last answered
	err   error     // of the last look at the tip
	lie   error     // what it was caught in
	until time.Time // it is dropped for that
}

// NewTrust returns what one makes of a service at first. name is its URL, for people.
func NewTrust(name string, log *slog.Logger) *Trust {
	return &Trust{name: name, log: log, wake: make(chan struct{}, 1)}
}

// Wake receives when there may be something to ask for. It has a buffer of one.
func (t *Trust) Wake() <-chan struct{} { return t.wake }

// Kick makes Wake receive.
func (t *Trust) Kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Lied returns an error that says what can't be true.
func (t *Trust) Lied(format string, args ...any) *LieError {
	return &LieError{t.name, fmt.Sprintf(format, args...)}
}

// Drop has the service asked nothing for a while, and names it in the log.
func (t *Trust) Drop(lie error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lie == nil {
		t.log.Error("the service contradicts itself or the chain: it is dropped for a while", "service", t.name, "error", lie, "for", DropFor)
	}
	t.lie, t.until = lie, time.Now().Add(DropFor)
}

// Dropped returns what the service was caught in, while it is dropped for that.
func (t *Trust) Dropped() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lie != nil && time.Now().After(t.until) {
		t.lie = nil
		t.Kick()
	}
	return t.lie
}

// Forgive ends the time for which the service is dropped, at the next look.
func (t *Trust) Forgive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
}

// Hear notes that the service said something.
func (t *Trust) Hear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = time.Now()
}

// Trouble says in a sentence what is wrong with the service, "" when nothing is, and
// when it was heard last.
func (t *Trust) Trouble() (trouble string, heard time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.lie != nil:
		trouble = "dropped for a while: " + t.lie.Error()
	case t.err != nil:
		trouble = fmt.Sprintf("service %s: %v", t.name, t.err)
	}
	return trouble, t.heard
}

// Watch looks at the service's newest block so often, until ctx ends or a look finds
// a *NetworkError, which it returns. While the service is dropped it doesn't look.
func (t *Trust) Watch(ctx context.Context, every time.Duration, look func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if t.Dropped() == nil {
			err := look(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var network *NetworkError
			if t.looked(err); errors.As(err, &network) {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// looked keeps what a look ended with.
func (t *Trust) looked(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil && t.err != nil:
		t.log.Info("the service answers again", "service", t.name)
		t.Kick()
	case err != nil && t.err == nil:
		t.log.Warn("the service fails", "service", t.name, "error", err)
	}
	if t.err = err; err == nil {
		t.heard = time.Now()
	}
}
