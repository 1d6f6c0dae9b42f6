package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A listener is a stream of events that goes on. It reads the log by itself,
// after its own cursor; the hub rings when there is something for it, and says
// when the stream must end. Nothing is queued for it.
type listener struct {
	hub *hub
	sub *subscription // what it wants; only its matcher and its bell are used
	bye chan client.Bye
	out *patient
	// patience is for the last words.
	patience time.Duration
}

// join enters a listener in the hub.
func (s *Server) join(r *http.Request, match *matcher, out *patient) (*listener, error) {
	h, names := s.hub, match.names()
	li := &listener{hub: h, bye: make(chan client.Bye, 1), out: out, patience: s.timing.ByeWait,
		sub: &subscription{match: match, bell: make(chan struct{}, 1)}}
	h.mu.Lock()
	if h.ctx == nil {
		h.mu.Unlock()
		return nil, unavailable("this server isn't ready for streams, or no longer")
	}
	h.follow(names)
	h.wanted.enter(li.sub)
	h.listeners[li] = struct{}{}
	h.joined.Add(1)
	h.mu.Unlock()
	if len(names) == 0 {
		return li, nil
	}
	err := s.view(r, func(v *view) error {
		found, err := v.holders(names)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.learn(names, found)
		return nil
	})
	if err != nil {
		li.leave()
		return nil, err
	}
	return li, nil
}

func (li *listener) leave() {
	h := li.hub
	defer h.joined.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, li)
	h.wanted.leave(li.sub)
	h.unfollow(li.sub.match.names())
}

// ring tells a listener that the log has something for it. It waits for nobody.
func (sub *subscription) ring() {
	select {
	case sub.bell <- struct{}{}:
	default: // it rings already
	}
}

// end makes a listener say its last words, in a time. The hub's lock is held, so
// the stream's handler hasn't returned.
func (li *listener) end(b client.Bye) {
	select {
	case li.bye <- b:
		li.out.hurry(li.patience)
	default: // it ends already
	}
}

// hurry gives all that is still to be written so much time.
func (p *patient) hurry(wait time.Duration) {
	p.until.Store(time.Now().Add(wait).UnixNano())
	p.extend()
}

// A form is how a stream writes: as lines of JSON or as server-sent events.
type form struct {
	kind  string
	beat  []byte // says only that the connection lives
	write func(out *bytes.Buffer, name, id string, data []byte)
}

const (
	sayMessage  = "message"
	sayCaughtUp = "caught_up"
	sayBye      = "bye"
)

var lines = form{kind: kindLines, beat: []byte("\n"), write: func(out *bytes.Buffer, name, _ string, data []byte) {
	switch name {
	case sayMessage:
		out.Write(data)
	case sayBye:
		out.WriteString(`{"bye":`)
		out.Write(data)
		out.WriteByte('}')
	default:
		return
	}
	out.WriteByte('\n')
}}

var sse = form{kind: kindSSE, beat: []byte(":\n\n"), write: func(out *bytes.Buffer, name, id string, data []byte) {
	if name != sayMessage {
		out.WriteString("event: " + name + "\n")
	}
	if id != "" {
		out.WriteString("id: " + id + "\n")
	}
	out.WriteString("data: ")
	out.Write(data) // JSON has no line breaks
	out.WriteString("\n\n")
}}

// sseRetry is how long browsers wait before they come again, in milliseconds.
const sseRetry = "retry: 2000\n\n"

// An outlet is a stream that is being written.
type outlet struct {
	s      *Server
	w      *patient
	r      *http.Request
	form   form
	log    *logReader
	li     *listener // nil: the stream ends with the log
	left   int       // events that may still be told; -1: all
	begun  bool      // the status is sent
	caught bool      // caught_up was said
}

// errGone says that nobody reads the stream any more.
var errGone = errors.New("the reader is gone")

// streamEvents writes the log as a stream. Errors before its first byte are
// problems as anywhere; later ones are said in bye.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request, l *logReader, f form, follow bool) error {
	q := query(r)
	askingOf(r.Context()).stream = true
	o := &outlet{s: s, w: patientOf(w), r: r, form: f, log: l, left: -1}
	if follow && q.Has("limit") {
		return badRequest("bad_query", "limit is for pages, and for streams that end with the log")
	}
	if q.Has("limit") {
		o.left = s.limit(q)
	}
	if follow && l.text == "" && q.Get("from") == "" {
		l.now = true
	}
	release, err := s.hold(r)
	if err != nil {
		return err
	}
	defer release()
	if follow {
		if o.li, err = s.join(r, l.match, o.w); err != nil {
			return err
		}
		defer o.li.leave()
	}
	err = o.run()
	switch {
	case err == nil || errors.Is(err, errGone) || r.Context().Err() != nil:
		return nil
	case !o.begun:
		return err
	}
	o.sayBye(s.byeOf(err, r))
	return nil
}

// byeOf says in last words why a stream that has begun can't go on.
func (s *Server) byeOf(err error, r *http.Request) client.Bye {
	p := s.explain(err, requestID(r.Context()))
	return client.Bye{Code: p.Code, Detail: p.Detail, Reconnect: p.Retryable, AfterMS: int64(p.RetryAfter) * 1000, Cursor: p.Cursor}
}

func (o *outlet) run() error {
	for {
		out, end, err := o.page()
		if err != nil {
			return err
		}
		if end && !o.caught {
			o.caught = true
			o.say(out, sayCaughtUp, o.log.cursor(), client.CaughtUp{Cursor: o.log.cursor()})
		}
		if err := o.put(out.Bytes()); err != nil {
			return err
		}
		switch {
		case o.left == 0 || end && o.li == nil || o.r.Method == http.MethodHead:
			return nil
		case end:
			err = o.wait()
		default:
			err = o.pay()
		}
		if err != nil {
			return err
		}
	}
}

// page reads a piece of the log, so much as is asked of the store at once.
func (o *outlet) page() (out *bytes.Buffer, end bool, err error) {
	out = &bytes.Buffer{}
	told := uint64(0)
	most := readAtOnce
	if o.left >= 0 {
		most = min(most, o.left)
	}
	err = o.s.view(o.r, func(v *view) (err error) {
		end, err = o.log.read(v, most, func(ev *index.Event, asked []frame.KeyHash) (int, error) {
			e := v.event(ev, asked...)
			before := out.Len()
			o.say(out, sayMessage, e.Cursor, e)
			told++
			if o.left > 0 {
				o.left--
			}
			return out.Len() - before, nil
		})
		return err
	})
	o.s.counts.streamed.Add(told)
	return out, end, err
}

func (o *outlet) say(out *bytes.Buffer, name, id string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		o.s.log.Error("event can't be written", "error", err)
		return
	}
	o.form.write(out, name, id, data)
}

// put writes to the socket. The first time the status goes before.
func (o *outlet) put(b []byte) error {
	if !o.begun {
		o.begun = true
		h := o.w.Header()
		h.Set("Content-Type", o.form.kind)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // a proxy in between passes events on at once
		o.w.WriteHeader(http.StatusOK)
		if o.form.kind == kindSSE {
			b = append([]byte(sseRetry), b...)
		}
	}
	if len(b) > 0 {
		if _, err := o.w.Write(b); err != nil {
			return errGone
		}
	}
	if o.w.control.Flush() != nil {
		return errGone
	}
	o.w.rest()
	return nil
}

// wait waits until there is news.
func (o *outlet) wait() error {
	beat := time.NewTimer(o.s.timing.Ping)
	defer beat.Stop()
	for {
		select {
		case <-o.li.sub.bell:
			return nil
		case b := <-o.li.bye:
			o.sayBye(b)
			return errGone
		case <-o.r.Context().Done():
			return errGone
		case <-beat.C:
			if err := o.put(o.form.beat); err != nil {
				return err
			}
			beat.Reset(o.s.timing.Ping)
		}
	}
}

// pay pays for the next page of history: whose quota is used up waits.
func (o *outlet) pay() error {
	q := askingOf(o.r.Context()).quota
	for {
		wait := time.Duration(0)
		if q != nil {
			_, _, wait = q.take(time.Now(), 1)
		}
		if err := o.pause(wait); err != nil || wait <= 0 {
			return err
		}
	}
}

// pause waits for a while, unless the stream must end before.
func (o *outlet) pause(wait time.Duration) error {
	var bye chan client.Bye
	if o.li != nil {
		bye = o.li.bye
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case b := <-bye:
		o.sayBye(b)
		return errGone
	case <-o.r.Context().Done():
		return errGone
	case <-timer.C:
		return nil
	}
}

// sayBye says the last words. Where to go on in the log is after what was told.
func (o *outlet) sayBye(b client.Bye) {
	if b.Cursor == "" && o.log != nil {
		b.Cursor = o.log.cursor()
	}
	var out bytes.Buffer
	o.say(&out, sayBye, "", b)
	_ = o.put(out.Bytes()) // nobody reads it, then
}

// patientOf returns the writer that handle made.
func patientOf(w http.ResponseWriter) *patient {
	if p, ok := w.(*patient); ok {
		return p
	}
	return &patient{ResponseWriter: w, control: http.NewResponseController(w), wait: DefaultTiming.Write}
}
