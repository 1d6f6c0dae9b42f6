package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"mime"
	"net/http"
	"time"
)

// Follow yields the events that a filter takes as server-sent events, until ctx
// ends, which ends it without an error; a nil filter takes everything. Where
// neither Cursor nor From of the options is set it begins now; Since and Limit are
// not used. When the stream is lost it asks again, waiting longer each time, and
// goes on after the last event yielded: nothing is lost and nothing comes twice.
// It yields an error and ends when trying again can't help: a *Problem with
// CodeCursorExpired says that the server's history is another one now and where it
// starts.
//
// It needs no WebSocket and passes where those don't; [Client.Subscribe] takes
// several filters at once and costs a server less.
func (c *Client) Follow(ctx context.Context, f *Filter, options SubscribeOptions) iter.Seq2[Event, error] {
	options.fill()
	return func(yield func(Event, error) bool) {
		l := &follower{client: c, filter: f, options: options, last: options.Cursor, backoff: options.MinBackoff}
		for {
			err := l.once(ctx, yield)
			var end fatal
			switch {
			case ctx.Err() != nil || errors.Is(err, errDone):
				return
			case errors.As(err, &end):
				yield(Event{}, end.error)
				return
			}
			if !l.rest(ctx, err) {
				return
			}
		}
	}
}

// A follower is one stream over the requests that it takes.
type follower struct {
	client  *Client
	filter  *Filter
	options SubscribeOptions
	last    string // cursor to go on after
	backoff time.Duration
	pause   time.Duration // as the server asks for
	caught  bool          // history has been told once
}

// rest waits before the next attempt. It tells whether there is to be one.
func (l *follower) rest(ctx context.Context, err error) bool {
	pause := min(l.pause, l.options.MaxBackoff)
	if l.pause = 0; pause <= 0 {
		pause = l.backoff/2 + rand.N(l.backoff/2+1) //nolint:gosec // spreads load, no secret
		l.backoff = min(2*l.backoff, l.options.MaxBackoff)
	}
	if l.options.Lost != nil {
		l.options.Lost(err, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// once reads one answer to its end.
func (l *follower) once(ctx context.Context, yield func(Event, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	silence := time.AfterFunc(l.options.Silence, cancel)
	defer silence.Stop()
	in := bufio.NewReaderSize(resp.Body, 32<<10)
	for {
		e, err := readSSE(in, l.client.MaxReply, func() { silence.Reset(l.options.Silence) })
		if err != nil {
			return err
		}
		silence.Stop() // who is told takes the time that it takes
		if err := l.tell(e, yield); err != nil {
			return err
		}
		silence.Reset(l.options.Silence)
	}
}

// open asks for the stream after the last event.
func (l *follower) open(ctx context.Context) (*http.Response, error) {
	q := values(0, "after", l.last)
	if l.filter != nil {
		for name, list := range l.filter.values() {
			q[name] = list
		}
	}
	if l.last == "" && l.options.From != "" {
		q.Set("from", l.options.From)
	}
	u := l.client.url(q, "v1", "events")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fatal{err}
	}
	req.Header.Set("Accept", "text/event-stream")
	l.client.sign(req)
	endless := *l.client.HTTP
	endless.Timeout = 0 // silence ends it instead
	resp, err := endless.Do(req)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && kind == "text/event-stream" {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, l.client.MaxReply))
	if err != nil {
		return nil, err
	}
	p := problemOf(resp, answer)
	if resp.StatusCode == http.StatusOK {
		return nil, fatal{fmt.Errorf("the server answered with %q, not with events", kind)}
	}
	if !p.Retryable {
		return nil, fatal{p}
	}
	l.pause = time.Duration(p.RetryAfter) * time.Second
	return nil, p
}

// tell acts on one server-sent event.
func (l *follower) tell(e serverSent, yield func(Event, error) bool) error {
	switch e.name {
	case "", "message":
		var ev Event
		if err := json.Unmarshal(e.data, &ev); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if ev.Cursor == "" || ev.Cursor == l.last {
			return errors.New("the server told an event without a cursor of its own")
		}
		l.last, l.backoff = ev.Cursor, l.options.MinBackoff
		if !yield(ev, nil) {
			return errDone
		}
	case "caught_up":
		var at CaughtUp
		if err := json.Unmarshal(e.data, &at); err != nil {
			return fmt.Errorf("read caught_up: %w", err)
		}
		if at.Cursor != "" {
			l.last, l.backoff = at.Cursor, l.options.MinBackoff
		}
		if !l.caught && l.options.CaughtUp != nil {
			l.options.CaughtUp(l.last)
		}
		l.caught = true
	case "bye":
		var b Bye
		if err := json.Unmarshal(e.data, &b); err != nil {
			return fmt.Errorf("read bye: %w", err)
		}
		p := &Problem{Code: b.Code, Detail: b.Detail, Retryable: b.Reconnect, Cursor: b.Cursor}
		if !b.Reconnect {
			return fatal{p}
		}
		l.pause = max(time.Duration(b.AfterMS)*time.Millisecond, time.Millisecond)
		return p
	}
	return nil // what isn't known may be passed over
}

// A serverSent event as the HTML standard says, "Server-sent events".
type serverSent struct {
	name string
	data []byte
}

// readSSE reads one event with data, of so many bytes at most. alive is called
// with each line: comments show that the server lives.
func readSSE(in *bufio.Reader, most int64, alive func()) (serverSent, error) {
	var e serverSent
	seen := false
	for {
		line, err := readLine(in, most-int64(len(e.data)))
		if err != nil {
			return e, err
		}
		alive()
		if len(line) == 0 {
			if seen {
				return e, nil
			}
			e = serverSent{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.name = string(value)
		case "data":
			if seen {
				e.data = append(e.data, '\n')
			}
			e.data, seen = append(e.data, value...), true
		}
	}
}

// readLine reads a line without its end.
func readLine(in *bufio.Reader, most int64) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if int64(len(line)+len(part)) > most {
			return nil, fatal{ErrTooLarge}
		}
		line = append(line, part...)
		if err == nil {
			return bytes.TrimRight(line, "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}
