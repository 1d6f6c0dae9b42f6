package chat

import (
	"context"
	"errors"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sync/errgroup"
)

// Options say how the conversations are shown.
type Options struct {
	In          io.Reader
	Out         io.Writer
	Environment []string // as os.Environ
	Open        *Peer    // conversation to begin with; nil: the list
	Mouse       bool     // the wheel scrolls, and the terminal's own selection needs shift
}

// Run shows the conversations full-window until the person ends it or ctx ends.
// It fails when the terminal does or when the backend can't go on.
func Run(ctx context.Context, backend Backend, marks *Marks, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := NewModel(ctx, backend, marks, time.Now)
	m.mouse = o.Mouse
	m.restyle()
	if o.Open != nil {
		m.book.talk(*o.Open)
		m.begin = o.Open.Address
	}
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithEnvironment(o.Environment),
		tea.WithoutSignalHandler())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := backend.Run(ctx, func(n News) { p.Send(newsMsg(n)) })
		if err != nil {
			p.Quit()
		}
		return err
	})
	_, err := p.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil // asked to end
	}
	cancel()
	return errors.Join(err, group.Wait(), marks.Save())
}
