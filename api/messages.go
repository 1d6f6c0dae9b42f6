package api

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// pageBytes bounds the bodies in one page: large messages make a page shorter.
const pageBytes = 8 << 20

// readAtOnce is how many entries or events are asked of the store at once, so
// that a page of large messages isn't all in memory before it is cut.
const readAtOnce = 50

// limit reads how many items a page may have. It was checked.
func (s *Server) limit(q url.Values) int {
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil {
		return s.limits.PageDefault
	}
	return n
}

func (s *Server) address(text string) (frame.KeyHash, error) {
	h, err := s.network.ParseAddress(text)
	if err != nil {
		return h, badRequest("bad_address", "%q: %v", text, err)
	}
	return h, nil
}

// resolve returns the address that a name is valid for at the view's tip.
func (v *view) resolve(name string) (frame.KeyHash, error) {
	if err := nprotocol.CheckName(name); err != nil {
		return frame.KeyHash{}, badRequest("bad_name", "%q: %v", name, err)
	}
	n, err := v.Name(name)
	switch {
	case errors.Is(err, index.ErrNotFound):
		return frame.KeyHash{}, notFound("name %q is not registered", name)
	case err != nil:
		return frame.KeyHash{}, err
	case !n.ValidAt(v.tip.MedianTime):
		return frame.KeyHash{}, notFound("name %q is %s", name, standing(false, n.Deleted))
	}
	return n.Address, nil
}

// addressOrName reads either.
func (v *view) addressOrName(text string) (frame.KeyHash, error) {
	if h, err := v.network.ParseAddress(text); err == nil {
		return h, nil
	}
	if frame.IsAddress(text) {
		return frame.KeyHash{}, badRequest("bad_address", "%q: %v", text, frame.ErrAddressNetwork)
	}
	return v.resolve(text)
}

// A listing is a question for a page of messages. Its items stand in the order
// newest first or oldest first; the page is read backwards when what comes
// before a cursor is asked for.
type listing struct {
	index.EntryQuery
	newest    bool
	backwards bool
	from      int64 // arrival that the page begins at, without it
	bounded   bool  // from is given
	limit     int
	notes     bool  // only what the address wrote to itself: peer is the address
	scanned   int64 // arrival up to which notes were looked for, when the page isn't full
}

// mostScanned is how many messages one page of notes is looked for among.
const mostScanned = 5_000

func (s *Server) getMessages(w http.ResponseWriter, r *http.Request) error {
	q := query(r)
	l, err := s.listing(q)
	if err != nil {
		return err
	}
	w.Header().Add("Vary", "Accept")
	if accepted(r, kindJSON, kindLines) == kindLines {
		return s.writeMessages(w, r, l)
	}
	var page client.MessagePage
	err = s.view(r, func(v *view) error {
		if err := l.resolve(v, q); err != nil {
			return err
		}
		page, err = l.read(v)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, page)
}

func (s *Server) listing(q url.Values) (*listing, error) {
	l := &listing{limit: s.limit(q), newest: q.Get("order") != "oldest", backwards: q.Has("before")}
	switch state := q.Get("state"); state {
	case "":
	case "refused":
		l.Refused = true
	default:
		l.States = []index.State{index.State(state)}
	}
	switch {
	case q.Has("after") && q.Has("before"):
		return nil, badRequest("bad_query", "after and before can't stand together")
	case q.Has("address") && q.Has("name"):
		return nil, badRequest("bad_query", "address and name can't stand together")
	case q.Has("peer") && !q.Has("address") && !q.Has("name"):
		return nil, badRequest("bad_query", "peer needs address or name: it asks for what is between the two")
	}
	l.Type = q.Get("type")
	var err error
	l.Words, err = search(q)
	return l, err
}

// wordsMost is how many words one search may have.
const wordsMost = 16

// search reads the words that are searched for. A * at the end of one makes it
// stand for all words that begin so.
func search(q url.Values) ([]string, error) {
	if !q.Has("q") {
		return nil, nil
	}
	words := index.Terms(q.Get("q"))
	switch {
	case len(words) == 0:
		return nil, badRequest("bad_search", "there is no word in q: words are letters and digits")
	case len(words) > wordsMost:
		return nil, badRequest("bad_search", "q may have %d words", wordsMost)
	}
	return words, nil
}

// resolve reads the parameters whose meaning depends on the index.
func (l *listing) resolve(v *view, q url.Values) error {
	if q.Has("address") {
		h, err := v.network.ParseAddress(q.Get("address"))
		if err != nil {
			return badRequest("bad_address", "%q: %v", q.Get("address"), err)
		}
		l.Address = &h
	}
	if q.Has("name") {
		h, err := v.resolve(q.Get("name"))
		if err != nil {
			return err
		}
		l.Address = &h
	}
	if q.Has("peer") {
		h, err := v.addressOrName(q.Get("peer"))
		if err != nil {
			return err
		}
		if l.notes = h == *l.Address; !l.notes {
			l.Peer = &h
		}
	}
	text := q.Get("after") + q.Get("before")
	if !q.Has("after") && !q.Has("before") {
		return nil
	}
	var err error
	l.bounded = true
	l.from, err = parseCursor(text, messageCursor, v.epoch)
	return err
}

// read reads the page, with the cursors to go on from.
func (l *listing) read(v *view) (client.MessagePage, error) {
	entries, complete, err := l.entries(v)
	if err != nil {
		return client.MessagePage{}, err
	}
	page := client.MessagePage{Items: make([]client.Message, 0, len(entries)), Complete: complete, Tip: v.tipJSON()}
	if l.backwards {
		slices.Reverse(entries)
	}
	for _, e := range entries {
		page.Items = append(page.Items, v.message(e, l.asked()...))
	}
	first, last := l.from, l.from
	if n := len(entries); n > 0 {
		first, last = entries[0].Arrival, entries[n-1].Arrival
	} else if !l.bounded && l.newest && l.scanned == 0 {
		return page, nil // nothing to go on from
	}
	if l.scanned != 0 && l.backwards {
		first = l.scanned
	} else if l.scanned != 0 {
		last = l.scanned
	}
	page.Prev, page.Next = cursor{messageCursor, v.epoch, first}.String(), cursor{messageCursor, v.epoch, last}.String()
	return page, nil
}

// asked returns the address that the list is shown to, if it is that of one.
func (l *listing) asked() []frame.KeyHash {
	if l.Address == nil {
		return nil
	}
	return []frame.KeyHash{*l.Address}
}

// entries reads in the direction asked until the page is full, and tells whether
// nothing follows.
func (l *listing) entries(v *view) (entries []*index.Entry, complete bool, err error) {
	q := l.EntryQuery
	q.Newest = l.newest != l.backwards
	at := l.from
	if !l.bounded && q.Newest {
		at = math.MaxInt64
	}
	bytes, looked := 0, 0
	for {
		if q.Newest && at <= 1 {
			return entries, true, nil
		}
		if looked >= mostScanned {
			l.scanned = at
			return entries, false, nil
		}
		if q.Newest {
			q.Before = at
		} else {
			q.After = at
		}
		if q.Limit = max(min(readAtOnce, l.limit-len(entries)), 1); l.notes {
			q.Limit = readAtOnce
			looked += readAtOnce
		}
		more, err := v.Entries(q)
		if err != nil || len(more) == 0 {
			return entries, true, err
		}
		for _, e := range more {
			if len(entries) == l.limit || bytes >= pageBytes {
				return entries, false, nil
			}
			if l.notes && !l.isNote(e) {
				continue
			}
			entries = append(entries, e)
			bytes += bodyBytes(e)
		}
		at = more[len(more)-1].Arrival
	}
}

// isNote tells whether the address wrote an entry to itself.
func (l *listing) isNote(e *index.Entry) bool {
	return e.Address != nil && *e.Address == *l.Address && len(e.Recipients()) == 0
}

func bodyBytes(e *index.Entry) int {
	if e.Frame == nil || e.Message == nil {
		return 0
	}
	return len(e.Message.Body) + len(e.Message.Other)
}

// find returns the entry that an id names (a frame id, or txid:vout), and all
// occurrences of its message.
func (v *view) find(id string) (*index.Entry, []*index.Entry, error) {
	txid, vout, ok := strings.Cut(id, ":")
	h, err := frame.ParseHash(txid)
	if err != nil {
		return nil, nil, badRequest("bad_id", "%q is neither a frame id nor txid:vout", id)
	}
	if !ok {
		slices.Reverse(h[:]) // a frame id is written first byte first
		all, err := v.Occurrences(frame.ID(h))
		if err != nil {
			return nil, nil, err
		}
		return foremost(all, id)
	}
	output, err := strconv.ParseUint(vout, 10, 32)
	if err != nil {
		return nil, nil, badRequest("bad_id", "%q is no number of an output", vout)
	}
	entries, err := v.InTransaction(h)
	if err != nil {
		return nil, nil, err
	}
	entries = slices.DeleteFunc(entries, func(e *index.Entry) bool { return e.Output != uint32(output) })
	e, all, err := foremost(entries, id)
	if err != nil || e.Malformed != "" {
		return e, all, err
	}
	all, err = v.Occurrences(e.ID)
	return e, all, err
}

// foremost picks the entry that stands for a message: the valid one, else the
// first that is still there.
func foremost(entries []*index.Entry, id string) (*index.Entry, []*index.Entry, error) {
	if len(entries) == 0 {
		return nil, nil, notFound("no message %s is in the index", id)
	}
	if p := entries[0].Protocol; p != frame.IM {
		return nil, nil, notFound("%s is a record of the %s protocol, not a message: ask for its transaction", id, strings.ToUpper(string(p)))
	}
	best := entries[0]
	for _, e := range entries[1:] {
		if rank(e) > rank(best) {
			best = e
		}
	}
	return best, entries, nil
}

func rank(e *index.Entry) int {
	switch {
	case e.State == index.Dropped:
		return 0
	case e.Verdict == frame.Valid:
		return 3
	case counts(e.Verdict):
		return 2
	}
	return 1
}

func (s *Server) getMessage(w http.ResponseWriter, r *http.Request) error {
	var reply client.MessageReply
	err := s.view(r, func(v *view) error {
		e, all, err := v.find(r.PathValue("id"))
		if err != nil {
			return err
		}
		reply = client.MessageReply{Message: v.message(e), Tip: v.tipJSON()}
		for _, e := range all {
			reply.Occurrences = append(reply.Occurrences, v.occurrence(e))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, reply)
}
