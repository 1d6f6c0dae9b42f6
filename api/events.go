package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// event shows an event of the log.
func (v *view) event(ev *index.Event, asked ...frame.KeyHash) client.Event {
	e := client.Event{
		Cursor: cursor{eventCursor, v.epoch, ev.Seq}.String(), Kind: string(ev.Kind), Verdict: string(ev.Verdict), Reason: ev.Reason,
	}
	if ev.From != "" {
		e.From, e.To = string(ev.From), string(ev.Verdict)
	}
	switch {
	case ev.Entry == nil:
		e.Block = &client.Block{Height: ev.Height, Hash: ev.Block.String()}
	case ev.Entry.Protocol == frame.IM:
		m := v.message(ev.Entry, asked...)
		e.Message = &m
	default:
		r := v.record(ev.Entry)
		e.Record = &r
	}
	return e
}

// An encoder writes an event as JSON once for all who are told of it; a message
// twice at most, as it is shown to whom it is addressed and to others.
type encoder struct {
	view  *view // only for showing: its snapshot may be over
	event *index.Event
	tails [2][]byte

	looked     bool // at the message: whether its sender says who is meant
	limited    bool
	recipients []frame.KeyHash
}

// tail returns the event as JSON without the opening brace, so that what only
// one subscription is told can stand before it, and which of the two it is.
func (c *encoder) tail(asked []frame.KeyHash) (tail []byte, variant int, err error) {
	if c.addressed(asked) {
		variant = 1
	}
	if c.tails[variant] == nil {
		if c.tails[variant], err = tailOf(c.view.event(c.event, asked...)); err != nil {
			return nil, 0, err
		}
	}
	return c.tails[variant], variant, nil
}

func (c *encoder) addressed(asked []frame.KeyHash) bool {
	e := c.event.Entry
	if e == nil || e.Message == nil {
		return true
	}
	if !c.looked {
		_, c.limited = e.Message.To()
		c.looked, c.recipients = true, e.Recipients()
	}
	return !c.limited || c.view.addressed(e, c.recipients, asked)
}

// tailOf writes an event without its opening brace.
func tailOf(e client.Event) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return b[1:], nil
}

// head returns what stands before a tail.
func head(sub, phase string) []byte {
	id, err := json.Marshal(sub)
	if err != nil {
		id = []byte(`""`) // a string is always JSON
	}
	return []byte(`{"type":"event","sub":` + string(id) + `,"phase":"` + phase + `",`)
}

// getEvents reads the log as pages: everything, refused frames and blocks too,
// or with address or name what concerns these.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "after", "limit", "address", "name")
	if err != nil {
		return err
	}
	limit, err := s.limit(q)
	if err != nil {
		return err
	}
	var eq index.EventQuery
	for text := range strings.SplitSeq(q.Get("address"), ",") {
		if text == "" {
			continue
		}
		if len(eq.Addresses) == s.limits.FilterValues {
			return badRequest("too_many", "a request may name %d addresses", s.limits.FilterValues)
		}
		h, err := s.address(text)
		if err != nil {
			return err
		}
		eq.Addresses = append(eq.Addresses, h)
	}
	page := client.EventPage{Items: []client.Event{}}
	err = s.view(r, func(v *view) error {
		if q.Has("name") {
			h, err := v.resolve(q.Get("name"))
			if err != nil {
				return err
			}
			eq.Addresses = append(eq.Addresses, h)
		}
		if q.Has("after") {
			if eq.After, err = parseCursor(q.Get("after"), eventCursor, v.epoch); err != nil {
				return err
			}
		}
		return v.eventPage(&page, eq, limit)
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page)
}

func (v *view) eventPage(page *client.EventPage, q index.EventQuery, limit int) error {
	last, err := v.LastSeq()
	if err != nil {
		return err
	}
	if err := checkAhead(q.After, last); err != nil {
		return err
	}
	page.Tip = v.tipJSON()
	for bytes := 0; len(page.Items) < limit && bytes < pageBytes; {
		q.Limit = min(readAtOnce, limit-len(page.Items))
		events, err := v.Events(q)
		if err != nil {
			return err
		}
		for _, ev := range events {
			page.Items = append(page.Items, v.event(ev, q.Addresses...))
			q.After = ev.Seq
			if ev.Entry != nil {
				bytes += bodyBytes(ev.Entry)
			}
			if bytes >= pageBytes {
				break
			}
		}
		if len(events) < q.Limit && bytes < pageBytes {
			q.After = last
			break
		}
	}
	page.Next, page.Complete = cursor{eventCursor, v.epoch, q.After}.String(), q.After == last
	return nil
}
