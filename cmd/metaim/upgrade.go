package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/metaim/metaim/internal/handover"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
)

const (
	sourcePatience = 30 * time.Second // for a new process to reach its nodes
	readyPatience  = 10 * time.Second // for the index to be at the tip before it is said to be taken
	// How long keep-alive connections are told, answer by answer, that they end:
	// who asks on one meanwhile isn't cut off.
	closingTime = time.Second
	// For requests under way, longer than the API gives any.
	lastAnswers = 35 * time.Second
)

// errLeft ends a service that another process has taken over.
var errLeft = errors.New("another process has taken over")

// A succession is how a service came to be and how it is replaced. A zero one
// neither takes over from anybody nor hands over.
type succession struct {
	doors   *handover.Doors
	elder   *handover.Elder  // that this process takes over from; nil: it is the first
	asked   <-chan os.Signal // receives when the service is to be replaced
	command []string

	leaving  atomic.Bool
	requests atomic.Int64 // under way
}

// join finds out what this process inherited and by what it is to be replaced.
func (u *succession) join(p *program) (err error) {
	if u.doors, u.elder, err = handover.Inherit(); err != nil {
		return err
	}
	// What PATH or a link leads to later may be another version: so it is meant.
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, err = os.Executable()
	}
	if err != nil {
		return err
	}
	u.command = append([]string{path}, os.Args[1:]...)
	if in, ok := p.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		return nil // there, SIGHUP says that the terminal has gone
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	u.asked = asked
	return nil
}

// door returns the listener of a name, inherited or new.
func (u *succession) door(ctx context.Context, name, address string) (net.Listener, error) {
	if u.doors == nil {
		u.doors = &handover.Doors{}
	}
	return u.doors.Listen(ctx, name, address)
}

// courteous counts requests and, once another process has taken over, has
// connections end after their answer.
func (u *succession) courteous(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.requests.Add(1)
		defer u.requests.Add(-1)
		if u.leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// takeOver takes over from the process that started this one, if there is one:
// from then on this one writes. Nobody is let in before.
func (s *service) takeOver(ctx context.Context, group *errgroup.Group, w *writing, ready func() error) error {
	if s.elder == nil {
		return nil
	}
	if w != nil {
		if err := s.awaitSource(ctx, sourcePatience); err != nil {
			return err
		}
	}
	if err := s.doors.CloseRest(); err != nil { // another address is listened on now
		return err
	}
	return s.elder.TakeOver(ctx, func(ctx context.Context) error {
		if w == nil {
			return nil
		}
		if err := w.open(ctx, true); err != nil {
			return err
		}
		group.Go(func() error { return w.Run(ctx) })
		for until := time.Now().Add(readyPatience); ready() != nil && time.Now().Before(until) && ctx.Err() == nil; {
			rest(ctx, betweenTries) // the one before serves meanwhile
		}
		return ctx.Err()
	})
}

// beReplaced hands over whenever it is asked to. When that has worked it sees
// those inside off and returns errLeft; goodbye makes subscribers come again.
func (s *service) beReplaced(ctx context.Context, w *writing, goodbye func()) error {
	plan := handover.Plan{Command: s.command, Release: func(context.Context) error { return nil }, Resume: func() {}}
	if w != nil {
		plan.Release, plan.Resume = w.letGo, func() { w.resume <- struct{}{} }
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.asked:
		}
		s.logger.Info("a new process is to take over", "program", plan.Command[0])
		pid, err := s.doors.HandOver(ctx, plan)
		if err == nil {
			s.leave(ctx, pid, goodbye)
			return errLeft
		}
		if ctx.Err() == nil {
			s.logger.Error("no new process has taken over: this one goes on as before", "error", err)
		}
	}
}

// leave lets nobody in any more and waits until those inside have their answers.
func (s *service) leave(ctx context.Context, pid int, goodbye func()) {
	s.logger.Info("a new process has taken over", "process", pid)
	s.doors.Leave()
	tellSystemd(s.logger, fmt.Sprintf("MAINPID=%d", pid))
	s.leaving.Store(true)
	rest(ctx, closingTime)
	goodbye()
	for until := time.Now().Add(lastAnswers); s.requests.Load() > 0 && time.Now().Before(until) && ctx.Err() == nil; {
		rest(ctx, betweenTries)
	}
}
