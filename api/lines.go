package api

import (
	"bytes"
	"errors"
	"net/http"
)

// linesAtOnce is how many messages of a stream are read in one snapshot.
const linesAtOnce = 200

// writeMessages writes a list of messages as lines, to its end or its limit.
func (s *Server) writeMessages(w http.ResponseWriter, r *http.Request, l *listing) error {
	q := query(r)
	if q.Has("before") {
		return badRequest("bad_query", "before is for pages: lines go on after a cursor")
	}
	release, err := s.hold(r)
	if err != nil {
		return err
	}
	defer release()
	o := &outlet{s: s, w: patientOf(w), r: r, form: lines, left: -1}
	if q.Has("limit") {
		o.left = l.limit
	}
	err = o.list(l)
	switch {
	case err == nil || errors.Is(err, errGone) || r.Context().Err() != nil:
		return nil
	case !o.begun:
		return err
	}
	o.sayBye(s.byeOf(err, r))
	return nil
}

func (o *outlet) list(l *listing) error {
	for epoch := ""; ; {
		l.limit = linesAtOnce
		if o.left >= 0 {
			l.limit = min(l.limit, o.left)
		}
		var out bytes.Buffer
		complete := false
		err := o.s.view(o.r, func(v *view) error {
			if epoch == "" {
				epoch = v.epoch
				if err := l.resolve(v, query(o.r)); err != nil {
					return err
				}
			}
			if epoch != v.epoch {
				return expired(messageCursor, v.epoch)
			}
			entries, end, err := l.entries(v)
			for _, e := range entries {
				o.say(&out, sayMessage, "", v.message(e, l.asked()...))
				l.from, l.bounded = e.Arrival, true
			}
			if complete = end; l.scanned != 0 {
				l.from, l.bounded, l.scanned = l.scanned, true, 0
			}
			if o.left >= 0 {
				o.left -= len(entries)
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := o.put(out.Bytes()); err != nil {
			return err
		}
		if complete || o.left == 0 || o.r.Method == http.MethodHead {
			return nil
		}
		if err := o.pay(); err != nil {
			return err
		}
	}
}
