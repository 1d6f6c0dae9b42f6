package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// scannedMost is how many events one page is picked from. With a filter that few
// of them match, a page may hold fewer than its limit, or none, and not be the
// last.
const scannedMost = 5000

// A logReader reads from the log what somebody wants, page by page.
type logReader struct {
	match *matcher
	after int64  // all up to here has been read
	epoch string // of the history that is read; "" before the first page
	now   bool   // begins with the end of the log
	text  string // of the cursor to begin after
	trail trail
}

// read calls take with what is wanted after l.after, until it has got so many, or
// pageBytes, or enough events were looked at. take returns how many bytes an event
// has. end says that the log has no more.
func (l *logReader) read(v *view, limit int, take func(*index.Event, []frame.KeyHash) (int, error)) (end bool, err error) {
	last, err := l.begin(v)
	if err != nil {
		return false, err
	}
	t, err := v.timeline(l.match.names())
	if err != nil {
		return false, err
	}
	q := l.match.historyQuery(t)
	for taken, bytes, scanned := 0, 0, 0; scanned < scannedMost && taken < limit && bytes < pageBytes; {
		q.After = l.after
		events, upto, err := l.trail.next(v, q, last)
		if err != nil {
			return false, err
		}
		if scanned += max(len(events), 1); l.trail.through {
			scanned += int(upto - q.After)
		}
		for _, ev := range events {
			if taken == limit || bytes >= pageBytes {
				return false, nil
			}
			l.after = ev.Seq
			asked, ok := l.match.match(v.occasion(ev), t.resolve, nil)
			if !ok {
				continue
			}
			n, err := take(ev, asked)
			if err != nil {
				return false, err
			}
			taken, bytes = taken+1, bytes+n
		}
		if l.after = upto; l.after >= last {
			return true, nil
		}
	}
	return false, nil
}

// begin reads the cursor where the first page begins, and sees to it that the
// history of later ones is the same. It returns the last seq of the log.
func (l *logReader) begin(v *view) (last int64, err error) {
	if last, err = v.LastSeq(); err != nil {
		return 0, err
	}
	switch {
	case l.epoch != "" && l.epoch != v.epoch:
		return 0, expired(eventCursor, v.epoch)
	case l.epoch == "" && l.text != "":
		if l.after, err = parseCursor(l.text, eventCursor, v.epoch); err != nil {
			return 0, err
		}
	case l.epoch == "" && l.now:
		l.after = last
	}
	l.epoch = v.epoch
	return last, checkAhead(l.after, last)
}

func (l *logReader) cursor() string { return cursor{eventCursor, l.epoch, l.after}.String() }

// filtering are the parameters of /v1/events that make a filter.
var filtering = []string{"address", "name", "peer", "type", "encryption", "state", "since", "until", "min_height", "max_height"}

// logReader reads which events a request wants: without a filter all that the log
// has.
func (s *Server) logReader(q url.Values) (*logReader, error) {
	l := &logReader{text: q.Get("after"), now: q.Get("from") == "now"}
	if q.Has("after") && q.Has("from") {
		return nil, badRequest("bad_query", "after and from can't stand together")
	}
	split := func(name string) []string {
		if !q.Has(name) {
			return nil
		}
		return strings.Split(q.Get(name), ",")
	}
	one := func(name string) []string {
		if !q.Has(name) {
			return nil
		}
		return []string{q.Get(name)}
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(q.Get(name), 10, 64) // it was checked
		return n
	}
	f := client.Filter{
		Address: split("address"), Name: split("name"), Peer: split("peer"), Type: one("type"), Encryption: one("encryption"), State: split("state"),
		Since: number("since"), Until: number("until"), MinHeight: int32(number("min_height")), MaxHeight: int32(number("max_height")),
	}
	if f.State == nil {
		f.State = []string{"seen", "confirmed", "refused"}
	}
	filtered := false
	for _, name := range filtering {
		filtered = filtered || q.Has(name)
	}
	var filters []client.Filter
	blocks := q.Get("blocks")
	if blocks != "only" {
		filters = append(filters, f)
	}
	if blocks == "only" || blocks == "true" || blocks == "" && !filtered {
		filters = append(filters, client.Filter{Blocks: true, MinHeight: f.MinHeight, MaxHeight: f.MaxHeight})
	}
	var err error
	l.match, err = s.matcher(filters)
	return l, err
}

// getEvents reads the log: as a page, as lines or as a stream.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	q := query(r)
	l, err := s.logReader(q)
	if err != nil {
		return err
	}
	w.Header().Add("Vary", "Accept")
	switch accepted(r, kindJSON, kindLines, kindSSE) {
	case kindLines:
		return s.streamEvents(w, r, l, lines, q.Get("follow") == "true")
	case kindSSE:
		if last := r.Header.Get("Last-Event-ID"); last != "" {
			l.text, l.now = last, false
		}
		return s.streamEvents(w, r, l, sse, true)
	}
	if q.Has("follow") {
		return badRequest("bad_query", "follow is for NDJSON: send Accept: %s", kindLines)
	}
	page := client.EventPage{Items: []client.Event{}}
	err = s.view(r, func(v *view) error {
		var err error
		page.Tip = v.tipJSON()
		page.Complete, err = l.read(v, s.limit(q), func(ev *index.Event, asked []frame.KeyHash) (int, error) {
			page.Items = append(page.Items, v.event(ev, asked...))
			if ev.Entry == nil {
				return 0, nil
			}
			return bodyBytes(ev.Entry), nil
		})
		return err
	})
	if err != nil {
		return err
	}
	page.Next = l.cursor()
	return writeJSON(w, r, http.StatusOK, page)
}
