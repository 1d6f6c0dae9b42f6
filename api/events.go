package api

import (
	"encoding/json"

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
	packs [2][]byte // the tails deflated
	tried [2]bool   // to deflate them

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

// pack returns a tail deflated, if it is for a connection that inflates and worth
// it. That is done once, and only when it is asked for.
func (c *encoder) pack(to *conn, variant int) []byte {
	if !to.packs {
		return nil
	}
	if !c.tried[variant] {
		c.tried[variant], c.packs[variant] = true, deflate(c.tails[variant])
	}
	return c.packs[variant]
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
