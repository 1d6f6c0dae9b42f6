package api

import (
	"slices"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A rule is a filter as checked and read. It doesn't change.
type rule struct {
	given                    client.Filter
	addresses, peers         []frame.KeyHash
	names, peerNames         []string // followed
	seen, confirmed, refused bool
}

// A matcher says which events a subscription wants: those that one of its rules
// takes. It doesn't change.
type matcher struct{ rules []*rule }

// everything that counts is what a subscription without filters asks for.
var everything = client.Filter{}

func (s *Server) matcher(filters []client.Filter) (*matcher, error) {
	if len(filters) > s.limits.Filters {
		return nil, badRequest("too_many", "a subscription may have %d filters", s.limits.Filters)
	}
	if len(filters) == 0 {
		filters = []client.Filter{everything}
	}
	m := &matcher{}
	for _, f := range filters {
		r, err := s.rule(f)
		if err != nil {
			return nil, err
		}
		m.rules = append(m.rules, r)
	}
	return m, nil
}

func (s *Server) rule(f client.Filter) (*rule, error) {
	if err := s.checkFilter(&f); err != nil {
		return nil, err
	}
	r := &rule{given: f}
	var err error
	for _, text := range f.Address {
		h, err := s.address(text)
		if err != nil {
			return nil, err
		}
		r.addresses = append(r.addresses, h)
	}
	if r.names, err = checkNames(f.Name); err != nil {
		return nil, err
	}
	if len(f.Peer) > 0 && len(f.Address)+len(f.Name) == 0 {
		return nil, badRequest("bad_filter", "peer needs address or name: it asks for what is between the two")
	}
	for _, text := range f.Peer {
		if h, err := s.network.ParseAddress(text); err == nil {
			r.peers = append(r.peers, h)
			continue
		}
		name, err := checkNames([]string{text})
		if err != nil {
			return nil, err
		}
		r.peerNames = append(r.peerNames, name...)
	}
	return r, r.states(f.State)
}

// lists returns the lists of a filter, always in the same order.
func lists(f *client.Filter) [6][]string {
	return [6][]string{f.Address, f.Name, f.Peer, f.Type, f.Encryption, f.State}
}

// values counts the values in the lists of a matcher.
func (m *matcher) values() int {
	n := 0
	for _, r := range m.rules {
		for _, list := range lists(&r.given) {
			n += len(list)
		}
	}
	return n
}

// checkFilter looks at all but what the values say.
func (s *Server) checkFilter(f *client.Filter) error {
	for _, list := range lists(f) {
		if len(list) > s.limits.FilterValues {
			return badRequest("too_many", "a list in a filter may have %d values", s.limits.FilterValues)
		}
		if f.Blocks && len(list) > 0 {
			return badRequest("bad_filter", "blocks stands alone in its filter: events of blocks have no address, type or state")
		}
		for _, value := range list {
			if len(value) > s.limits.ValueBytes {
				return badRequest("bad_filter", "a value in a filter may have %d bytes", s.limits.ValueBytes)
			}
		}
	}
	switch {
	case f.Since < 0 || f.Until < 0 || f.MinHeight < 0 || f.MaxHeight < 0:
		return badRequest("bad_filter", "times and heights in a filter can't be negative")
	case f.Until != 0 && f.Until < f.Since:
		return badRequest("bad_filter", "until lies before since")
	case f.MaxHeight != 0 && f.MaxHeight < f.MinHeight:
		return badRequest("bad_filter", "max_height lies below min_height")
	case f.Blocks && (f.Since != 0 || f.Until != 0):
		return badRequest("bad_filter", "events of blocks are bounded by min_height and max_height, not by time")
	}
	return nil
}

func checkNames(names []string) ([]string, error) {
	for _, name := range names {
		if err := nprotocol.CheckName(name); err != nil {
			return nil, badRequest("bad_name", "%q: %v", name, err)
		}
	}
	return names, nil
}

func (r *rule) states(list []string) error {
	if len(list) == 0 {
		list = []string{"seen", "confirmed"}
	}
	for _, state := range list {
		switch state {
		case "seen":
			r.seen = true
		case "confirmed":
			r.confirmed = true
		case "refused":
			r.refused = true
		default:
			return badRequest("bad_state", "state %q is none of seen, confirmed, refused", state)
		}
	}
	return nil
}

// names returns the names that the matcher follows, each once.
func (m *matcher) names() []string {
	var all []string
	for _, r := range m.rules {
		all = append(all, r.names...)
		all = append(all, r.peerNames...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// wants tells whether events of blocks are wanted, and whether messages or
// records of any address.
func (m *matcher) wants() (blocks, any bool) {
	for _, r := range m.rules {
		blocks = blocks || r.given.Blocks
		any = any || r.ofAnyone()
	}
	return blocks, any
}

// ofAnyone tells whether a rule wants events whatever address they concern.
func (r *rule) ofAnyone() bool { return !r.given.Blocks && len(r.addresses)+len(r.names) == 0 }

// addresses returns the addresses that the rules name themselves.
func (m *matcher) addresses() []frame.KeyHash {
	var all []frame.KeyHash
	for _, r := range m.rules {
		all = append(all, r.addresses...)
	}
	return all
}

// without returns the matcher less the filters given.
func (m *matcher) without(filters []client.Filter) (*matcher, error) {
	left := slices.Clone(m.rules)
	for _, f := range filters {
		i := slices.IndexFunc(left, func(r *rule) bool { return equalFilters(r.given, f) })
		if i < 0 {
			return nil, badRequest("no_such_filter", "the subscription has no filter like one of those to remove")
		}
		left = slices.Delete(left, i, i+1)
	}
	return &matcher{left}, nil
}

// equalFilters tells whether two filters ask for the same by the same values, in
// whatever order.
func equalFilters(a, b client.Filter) bool {
	if a.Blocks != b.Blocks || a.Since != b.Since || a.Until != b.Until || a.MinHeight != b.MinHeight || a.MaxHeight != b.MaxHeight {
		return false
	}
	of, and := lists(&a), lists(&b)
	for i := range of {
		if !slices.Equal(distinct(of[i]), distinct(and[i])) {
			return false
		}
	}
	return true
}

// distinct returns the values of a list in order, each once.
func distinct(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// A resolver tells whose a name is for an entry.
type resolver func(name string, e *index.Entry) (frame.KeyHash, bool)

// An occasion is an event with what every rule asks about it, found out once.
type occasion struct {
	*index.Event
	counts, counted bool // its frame does now; did before
	seen, confirmed bool // it says that the frame was
	rejudged        bool
	concerned       []frame.KeyHash
	place
}

// A place is where on the chain an event's frame or block stands.
type place struct {
	height int32
	time   int64 // Unix seconds; of frames only
	none   bool  // it was dropped
}

// occasion looks at an event at the view's tip: what is in no block stands where
// it is judged, in the block after it.
func (v *view) occasion(ev *index.Event) *occasion {
	o := occasionOf(ev)
	e := ev.Entry
	switch {
	case e == nil:
		o.place = place{height: ev.Height}
	case e.State == index.Confirmed:
		o.place = place{height: e.Height, time: e.Time}
	case e.State == index.Seen:
		o.place = place{height: v.tip.Height + 1, time: v.tip.MedianTime}
	default:
		o.place = place{none: true}
	}
	return o
}

func occasionOf(ev *index.Event) *occasion {
	o := &occasion{Event: ev}
	if ev.Entry == nil {
		return o
	}
	o.counts, o.counted = counts(ev.Verdict), counts(ev.From)
	o.seen = ev.Kind == index.KindOf(ev.Entry.Protocol, index.EventSeen)
	o.confirmed = ev.Kind == index.KindOf(ev.Entry.Protocol, index.EventConfirmed)
	o.rejudged = ev.Kind == index.KindOf(ev.Entry.Protocol, index.EventRejudged)
	o.concerned = concerned(ev.Entry)
	return o
}

// match tells whether an event is wanted, and appends to asked which of the
// addresses asked for it concerns.
func (m *matcher) match(o *occasion, resolve resolver, asked []frame.KeyHash) (_ []frame.KeyHash, ok bool) {
	for _, r := range m.rules {
		var takes bool
		asked, takes = r.match(o, resolve, asked)
		ok = ok || takes
	}
	return asked, ok
}

func (r *rule) match(o *occasion, resolve resolver, asked []frame.KeyHash) ([]frame.KeyHash, bool) {
	e := o.Entry
	if e == nil || r.given.Blocks {
		return asked, e == nil && r.given.Blocks && r.reaches(o.place)
	}
	if !r.admits(o) || !r.reaches(o.place) {
		return asked, false
	}
	if e.Message == nil {
		return asked, r.matchRecord(o, resolve)
	}
	if !oneOf(r.given.Type, e.Message.Type) || !oneOf(r.given.Encryption, e.Message.Encryption) {
		return asked, false
	}
	if len(r.addresses)+len(r.names) == 0 {
		return asked, true
	}
	before := len(asked)
	for _, h := range o.concerned {
		if !includes(h, r.addresses, r.names, e, resolve) {
			continue
		}
		if len(r.given.Peer) == 0 || r.between(e, h, resolve) {
			asked = append(asked, h)
		}
	}
	return asked, len(asked) > before
}

func oneOf(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }

// includes tells whether an address is one of those fixed or one that a name
// stands for.
func includes(h frame.KeyHash, fixed []frame.KeyHash, names []string, e *index.Entry, resolve resolver) bool {
	return slices.Contains(fixed, h) || slices.ContainsFunc(names, func(name string) bool {
		is, ok := resolve(name, e)
		return ok && is == h
	})
}

// between tells whether a message went from own to a peer or from a peer to own.
func (r *rule) between(e *index.Entry, own frame.KeyHash, resolve resolver) bool {
	peer := func(h frame.KeyHash) bool { return includes(h, r.peers, r.peerNames, e, resolve) }
	switch {
	case e.Address == nil:
		return false
	case *e.Address == own:
		return slices.ContainsFunc(e.Recipients(), peer)
	}
	return peer(*e.Address)
}

func (r *rule) matchRecord(o *occasion, resolve resolver) bool {
	if len(r.given.Type)+len(r.given.Encryption)+len(r.given.Peer) > 0 {
		return false // asks for messages
	}
	if len(r.addresses)+len(r.names) == 0 {
		return true
	}
	if o.Entry.Protocol == frame.N && slices.Contains(r.names, o.Entry.Record.Name) {
		return true
	}
	return slices.ContainsFunc(o.concerned, func(h frame.KeyHash) bool {
		return includes(h, r.addresses, r.names, o.Entry, resolve)
	})
}

// reaches tells whether a place is within the bounds of a rule.
func (r *rule) reaches(p place) bool {
	f := &r.given
	return p.none || p.height >= f.MinHeight && (f.MaxHeight == 0 || p.height <= f.MaxHeight) &&
		p.time >= f.Since && (f.Until == 0 || p.time <= f.Until)
}

// admits compares the state wanted with what happened. What was refused isn't
// told of unasked, unless it counted before: who was told must hear of it.
func (r *rule) admits(o *occasion) bool {
	switch {
	case o.rejudged:
		return r.refused && !(o.counts && o.counted) || (r.seen || r.confirmed) && (o.counts || o.counted)
	case !o.counts:
		return r.refused
	case o.seen:
		return r.seen
	case o.confirmed:
		return r.confirmed
	}
	return r.seen || r.confirmed
}

// concerned returns the addresses that an entry concerns: who sent and who
// receives a message; who holds, gives and gets a name. That a registration
// address was paid concerns nobody.
func concerned(e *index.Entry) []frame.KeyHash {
	switch {
	case e.Message != nil:
		all := e.Tx.Reached()
		if e.Address != nil && !slices.Contains(all, *e.Address) {
			all = append(all, *e.Address)
		}
		return all
	case e.Record != nil && e.Record.Operation == nprotocol.Transfer:
		return []frame.KeyHash{e.Record.Address, e.Record.NewAddress}
	case e.Record != nil:
		return []frame.KeyHash{e.Record.Address}
	}
	return nil
}

// addressesAtOnce is up to how many addresses the store is asked by; for more,
// all events are read.
const addressesAtOnce = 1000

// historyQuery returns the query for the events that a matcher may want.
func (m *matcher) historyQuery(t *timeline) index.EventQuery {
	blocks, any := m.wants()
	if any || t.unknown {
		return index.EventQuery{}
	}
	q := index.EventQuery{Addresses: append(m.addresses(), t.involved...), Blocks: blocks}
	slices.SortFunc(q.Addresses, func(a, b frame.KeyHash) int { return slices.Compare(a[:], b[:]) })
	q.Addresses = slices.Compact(q.Addresses)
	if len(q.Addresses) > addressesAtOnce {
		return index.EventQuery{}
	}
	if len(q.Addresses) == 0 {
		// none would mean all: an address that nobody has keeps frames out
		q.Addresses = []frame.KeyHash{{}}
	}
	return q
}
