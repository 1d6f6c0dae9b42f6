package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// SubscribeOptions say where a subscription begins and how it is kept alive. The
// zero value begins now.
type SubscribeOptions struct {
	Cursor string // begin after it
	Since  int64  // begin at a time, Unix seconds
	From   string // "now" or "start"
	Limit  int    // end after so many events of history

	// Compress asks for events deflated (RFC 7692). They take about half the bytes
	// then, and to inflate one costs tens of microseconds: worth it on a slow or
	// metered line, not within one data centre.
	Compress bool

	MinBackoff time.Duration // before the first attempt to reconnect; 0: 250 ms
	MaxBackoff time.Duration // before later ones; 0: 30 s
	Silence    time.Duration // after which a connection counts as dead; 0: 60 s

	// CaughtUp is called when history has been told: what follows is live.
	CaughtUp func(cursor string)
	// Lost is called when the connection was lost, with the pause before the
	// next attempt.
	Lost func(err error, pause time.Duration)
}

func (o *SubscribeOptions) fill() {
	if o.MinBackoff <= 0 {
		o.MinBackoff = 250 * time.Millisecond
	}
	if o.MaxBackoff < o.MinBackoff {
		o.MaxBackoff = max(30*time.Second, o.MinBackoff)
	}
	if o.Silence <= 0 {
		o.Silence = time.Minute
	}
}

// Subscribe yields the events that a filter takes until ctx ends, which ends it
// without an error. When the connection is lost it reconnects, waiting longer
// each time, and goes on after the last event yielded: nothing is lost and
// nothing comes twice. It yields an error and ends when trying again can't help:
// a *Problem with CodeCursorExpired says that the server's history is another one
// now and where it starts.
func (c *Client) Subscribe(ctx context.Context, filters []Filter, options SubscribeOptions) iter.Seq2[Event, error] {
	options.fill()
	return func(yield func(Event, error) bool) {
		s := &stream{client: c, filters: filters, options: options, told: map[string]struct{}{}}
		s.run(ctx, yield)
	}
}

const subID = "1"

// errDone says that a stream ended as it should: the consumer wants no more, or
// the limit was reached.
var errDone = errors.New("done")

// A fatal error ends a subscription.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// A stream is one subscription over the connections that it takes.
type stream struct {
	client  *Client
	filters []Filter
	options SubscribeOptions
	backoff time.Duration
	pause   time.Duration // as the server asks for

	last   string // cursor to go on after
	caught bool   // history has been told
	count  int    // events yielded before
	told   map[string]struct{}
	order  []string // keys of told, oldest first
}

func (s *stream) run(ctx context.Context, yield func(Event, error) bool) {
	s.backoff = s.options.MinBackoff
	for {
		err := s.once(ctx, yield)
		var end fatal
		switch {
		case ctx.Err() != nil || errors.Is(err, errDone):
			return
		case errors.As(err, &end):
			yield(Event{}, end.error)
			return
		}
		pause := s.nextPause()
		if s.options.Lost != nil {
			s.options.Lost(err, pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// nextPause returns what the server asked for, else a growing pause with some
// chance in it, so that not everyone comes at once.
func (s *stream) nextPause() time.Duration {
	pause := s.pause
	s.pause = 0
	if pause > 0 {
		return min(pause, s.options.MaxBackoff)
	}
	pause = s.backoff/2 + rand.N(s.backoff/2+1) //nolint:gosec // spreads load, no secret
	s.backoff = min(2*s.backoff, s.options.MaxBackoff)
	return pause
}

// once connects, subscribes and yields events until the connection ends.
func (s *stream) once(ctx context.Context, yield func(Event, error) bool) error {
	ws, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer ws.Close() //nolint:errcheck // nothing waits to be written
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer stop()
	ws.SetReadLimit(s.client.MaxReply)
	ws.EnableWriteCompression(false) // what is sent is small
	answer := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		_ = ws.SetReadDeadline(time.Now().Add(s.options.Silence)) // an error shows at the next read
		return answer(data)
	})
	if err := ws.SetWriteDeadline(time.Now().Add(s.options.Silence)); err != nil {
		return err
	}
	if err := ws.WriteJSON(s.request()); err != nil {
		return err
	}
	for {
		if err := ws.SetReadDeadline(time.Now().Add(s.options.Silence)); err != nil {
			return err
		}
		kind, data, err := s.read(ws)
		if err != nil {
			return readError(err)
		}
		if kind != websocket.TextMessage {
			return fatal{errors.New("the server sends frames that aren't text")}
		}
		var r Reply
		if err := json.Unmarshal(data, &r); err != nil {
			return fatal{fmt.Errorf("the server sends a frame that can't be read: %w", err)}
		}
		if err := s.take(&r, yield); err != nil {
			return err
		}
	}
}

// read reads one message. What a deflated one grows to is bounded as well.
func (s *stream) read(ws *websocket.Conn) (kind int, data []byte, err error) {
	kind, r, err := ws.NextReader()
	if err != nil {
		return kind, nil, err
	}
	data, err = io.ReadAll(io.LimitReader(r, s.client.MaxReply+1))
	if err == nil && int64(len(data)) > s.client.MaxReply {
		err = websocket.ErrReadLimit
	}
	return kind, data, err
}

func (s *stream) dial(ctx context.Context) (*websocket.Conn, error) {
	d := websocket.Dialer{
		Proxy: http.ProxyFromEnvironment, HandshakeTimeout: s.options.Silence, Subprotocols: []string{Subprotocol},
		EnableCompression: s.options.Compress,
	}
	if t, ok := s.client.HTTP.Transport.(*http.Transport); ok {
		d.Proxy, d.NetDialContext, d.TLSClientConfig = t.Proxy, t.DialContext, t.TLSClientConfig
	}
	asks := &http.Request{Header: http.Header{}}
	s.client.sign(asks)
	ws, resp, err := d.DialContext(ctx, s.client.socketURL(), asks.Header)
	if err == nil && ws.Subprotocol() != Subprotocol {
		_ = ws.Close()
		return nil, fatal{fmt.Errorf("the server doesn't speak %s", Subprotocol)}
	}
	if !errors.Is(err, websocket.ErrBadHandshake) || resp == nil {
		return ws, err
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // gorilla keeps the beginning of it
	p := problemOf(resp, answer)
	s.pause = time.Duration(p.RetryAfter) * time.Second
	if !p.Retryable {
		return nil, fatal{p}
	}
	return nil, p
}

func (s *stream) request() Request {
	r := Request{Type: "sub", ID: subID, Filter: s.filters}
	if s.options.Limit > 0 && !s.caught {
		r.Limit = max(s.options.Limit-s.count, 1)
	}
	if s.last != "" {
		r.Cursor = s.last
		return r
	}
	r.Cursor, r.Since, r.From = s.options.Cursor, s.options.Since, s.options.From
	return r
}

// readError tells a close that forbids to come back from any other end.
func readError(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code >= CloseProtocol && closed.Code != CloseSlow {
		return fatal{err}
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return fatal{ErrTooLarge}
	}
	return err
}

// take acts on one frame.
func (s *stream) take(r *Reply, yield func(Event, error) bool) error {
	switch r.Type {
	case "event":
		return s.event(r.Event, yield)
	case "caught_up":
		s.backoff = s.options.MinBackoff
		if r.Cursor != "" {
			s.last = r.Cursor
		}
		if r.Complete && !s.caught && s.options.CaughtUp != nil {
			s.options.CaughtUp(r.Cursor)
		}
		s.caught = s.caught || r.Complete
	case "err", "closed":
		if r.Code == CodeLimit {
			return errDone
		}
		p := &Problem{Code: r.Code, Detail: r.Detail, Retryable: r.Retryable, Cursor: r.Cursor}
		s.pause = time.Duration(min(r.RetryAfterMS, time.Hour.Milliseconds())) * time.Millisecond
		if r.Retryable || r.Code == CodeSlowConsumer {
			return p
		}
		return fatal{p}
	case "bye":
		s.pause = time.Duration(min(r.AfterMS, time.Hour.Milliseconds())) * time.Millisecond
		p := &Problem{Code: r.Code, Detail: "the server says bye: " + r.Code, Retryable: r.Reconnect}
		if !r.Reconnect {
			return fatal{p}
		}
		return p
	}
	return nil
}

// remembered bounds the events by which a repetition is noticed.
const remembered = 1024

func (s *stream) event(e Event, yield func(Event, error) bool) error {
	if e.Cursor == "" {
		return fatal{errors.New("the server sends an event without a cursor")}
	}
	key := e.Cursor + " " + e.Kind + " " + e.Name
	if _, twice := s.told[key]; twice {
		return nil
	}
	if len(s.order) == remembered {
		delete(s.told, s.order[0])
		s.order = s.order[1:]
	}
	s.told[key] = struct{}{}
	s.order = append(s.order, key)
	s.last = e.Cursor
	s.count++
	s.backoff = s.options.MinBackoff
	if !yield(e, nil) {
		return errDone
	}
	return nil
}
