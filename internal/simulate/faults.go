package simulate

import (
	"context"
	"errors"

	"github.com/metaim/metaim/index"
)

// What can happen to a commit.
const (
	storeFails  = iota // nothing is written, the process lives
	storeLost          // all is written, but the process is told otherwise and lives
	diesBefore         // nothing is written
	diesAfter          // all is written, the process never learns it
	storeUnread        // a read fails, the process lives
	storeFaults
)

var (
	errStore = errors.New("the store failed")
	errDead  = errors.New("the process is dead")
)

// A shaky store fails when it is told to.
type shaky struct {
	index.Store
	armed     bool
	fault     int
	after     int // commits (or reads) that still go well
	dead      bool
	committed int
	happened  int // faults
}

func (s *shaky) arm(fault, after int) { s.armed, s.fault, s.after = true, fault, after }

// due tells whether the fault armed happens now, to a read or a write.
func (s *shaky) due(read bool) bool {
	if !s.armed || read != (s.fault == storeUnread) {
		return false
	}
	if s.after > 0 {
		s.after--
		return false
	}
	s.armed = false
	s.happened++
	return true
}

func (s *shaky) View(ctx context.Context, read func(index.View) error) error {
	switch {
	case s.dead:
		return errDead
	case s.due(true):
		return errStore
	}
	return s.Store.View(ctx, read)
}

func (s *shaky) Update(ctx context.Context, write func(index.Tx) error) error {
	if s.dead {
		return errDead
	}
	fault := -1
	if s.due(false) {
		fault = s.fault
	}
	err := s.Store.Update(ctx, func(tx index.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		if fault == storeFails || fault == diesBefore {
			return errStore
		}
		return nil
	})
	if err == nil {
		s.committed++
	}
	switch fault {
	case diesBefore, diesAfter:
		s.dead = true
		return errDead
	case storeLost:
		return errors.Join(err, errStore)
	}
	return err
}
