package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/bench/measure"
)

// Role is the name that Serve must have among the roles of a program that uses
// Start.
const Role = "readers"

// A Process is readers in a process of their own.
type Process struct{ *measure.Child }

// question is what a process is asked: to open connections instead of those that
// it has, or to wait for deliveries.
type question struct {
	Connect *Plan         `json:"connect,omitempty"`
	Await   int64         `json:"await,omitempty"`
	Quiet   time.Duration `json:"quiet,omitempty"`
}

type reply struct {
	Counts
	Error string `json:"error,omitempty"`
}

// Start starts this program again as a process of readers. Stop ends it.
func Start(ctx context.Context) (*Process, error) {
	child, err := measure.Role(ctx, Role)
	if err != nil {
		return nil, err
	}
	return &Process{child}, nil
}

// Connect opens the connections of a plan, after closing those of the plan
// before, and returns when all of them are ready.
func (p *Process) Connect(plan Plan) error {
	_, err := p.ask(question{Connect: &plan})
	return err
}

// Await waits until so many deliveries have come since it was called before, or
// Connect was, and returns what came. It gives up, which is no error, when none
// has come for the time quiet; 0 deliveries are waited for no time.
func (p *Process) Await(deliveries int64, quiet time.Duration) (Counts, error) {
	return p.ask(question{Await: deliveries, Quiet: quiet})
}

func (p *Process) ask(q question) (Counts, error) {
	var r reply
	if err := p.Ask(q, &r); err != nil {
		return Counts{}, fmt.Errorf("ask the readers: %w", err)
	}
	if r.Error != "" {
		return Counts{}, errors.New(r.Error)
	}
	return r.Counts, nil
}

// Serve is the process's side.
func Serve(ctx context.Context, _ []string) error {
	var readers *Readers
	shut := func() error {
		if readers == nil {
			return nil
		}
		r := readers
		readers = nil
		return r.Close()
	}
	err := measure.Serve(measure.Ready{Name: Role}, func(line []byte) (any, error) {
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, err
		}
		if q.Connect == nil {
			if readers == nil {
				return reply{Error: "there are no connections"}, nil
			}
			return reply{Counts: readers.Await(ctx, q.Await, q.Quiet)}, nil
		}
		err := shut()
		if err == nil {
			readers, err = Open(ctx, *q.Connect)
		}
		if err != nil {
			return reply{Error: err.Error()}, nil
		}
		return reply{}, nil
	})
	return errors.Join(err, shut())
}
