package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// mostWord bounds what either side may say at once.
const mostWord = 1024

// A line is what the two processes talk over: words, one in a line of text.
type line struct {
	conn net.Conn
	in   *bufio.Reader
}

func newLine(conn net.Conn) *line {
	return &line{conn, bufio.NewReader(io.LimitReader(conn, 8*mostWord))} // a few words are all that is ever said
}

func (l *line) say(word string) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err := io.WriteString(l.conn, word+"\n")
	return err
}

// await waits for a word. It fails with io.EOF when the other side is gone.
func (l *line) await(ctx context.Context, word string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, err := l.in.ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && len(text) == 0 && gone(err):
		return io.EOF
	case err != nil:
		return err
	}
	if got := strings.TrimSuffix(text, "\n"); got != word {
		return fmt.Errorf("the other process says %.80q, not %q", got, word)
	}
	return nil
}

// gone tells that the other side has closed the line; with something unread on
// it, the kernel says it in another way.
func gone(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &op) && !op.Timeout()
}

// An Elder is the process that hands over to this one.
type Elder struct{ line *line }

// TakeOver says that this process is ready, waits until the elder has let go,
// calls take and says that it is done. The elder's death lets go as well. Any
// error means that this process must end.
func (e *Elder) TakeOver(ctx context.Context, take func(context.Context) error) error {
	defer e.line.conn.Close() //nolint:errcheck // all is said
	alone := e.line.say(sayReady) != nil
	if !alone {
		switch err := e.line.await(ctx, sayReleased); {
		case errors.Is(err, io.EOF):
			alone = true
		case err != nil:
			return fmt.Errorf("take over from the running server: %w", err)
		}
	}
	if err := take(ctx); err != nil {
		return fmt.Errorf("take over from the running server: %w", err)
	}
	if alone {
		return nil
	}
	_ = e.line.say(sayTaken) // who died meanwhile needn't hear it
	return nil
}

// A Plan says how to hand over.
type Plan struct {
	Command []string // path and arguments of the new program
	// Release stops what only one process may do; Resume begins it again when the
	// new process has failed.
	Release func(context.Context) error
	Resume  func()
	// Ready and Taken are how long the new process may take until it says so; 0:
	// a minute, five minutes.
	Ready, Taken time.Duration
}

// An heir is the process that this one hands over to.
type heir struct {
	line  *line
	pid   int
	kill  func()        // sends SIGKILL
	ended chan struct{} // closed when it has
}

// HandOver starts the new program and hands over to it; it returns the id of the
// process. An error means that this one goes on as it was.
func (d *Doors) HandOver(ctx context.Context, plan Plan) (pid int, err error) {
	if plan.Ready <= 0 {
		plan.Ready = time.Minute
	}
	if plan.Taken <= 0 {
		plan.Taken = 5 * time.Minute
	}
	h, err := d.start(plan.Command)
	if err != nil {
		return 0, fmt.Errorf("start the new process: %w", err)
	}
	defer h.line.conn.Close() //nolint:errcheck // all is said
	if err := h.await(ctx, plan.Ready, sayReady); err != nil {
		h.end()
		return 0, err
	}
	if err := plan.Release(ctx); err != nil {
		h.end()
		plan.Resume()
		return 0, err
	}
	err = h.line.say(sayReleased)
	if err == nil {
		err = h.await(ctx, plan.Taken, sayTaken)
	}
	if err != nil {
		h.end() // before anything is taken back
		plan.Resume()
		return 0, err
	}
	return h.pid, nil
}

// await waits for a word of the heir's.
func (h *heir) await(ctx context.Context, patience time.Duration, word string) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := h.line.await(limited, word)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("the new process didn't say %q within %s", word, patience)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the new process ended before it was %s: its own words say why", word)
	}
	return fmt.Errorf("the new process: %w", err)
}

// end kills the heir and waits until it is gone.
func (h *heir) end() {
	h.kill()
	<-h.ended
}
