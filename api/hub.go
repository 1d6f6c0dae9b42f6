package api

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// gateEvents bounds what is kept for a subscription while it reads history. More
// is read from the store.
const gateEvents = 256

// A hub knows who wants which events. Its lock guards all of it and the state of
// every subscription; it is taken before a connection's.
type hub struct {
	mu     sync.Mutex
	ctx    context.Context // of Run; nil while it doesn't run
	epoch  string
	cursor int64 // of the last event handed out
	tip    index.Tip
	marks  int64 // numbers the hand-outs

	conns  map[*conn]struct{}
	joined sync.WaitGroup // connections, and those of their writers that block; listeners

	listeners map[*listener]struct{} // streams over HTTP
	crew      *crew
	touched   []*conn // have something to be written since the last hand-out
	wanted    interests
	voices    map[string]*voice // by the id of their subscriptions
	spoken    []*voice          // since the last hand-out
	bytes     int               // of the events told since then, each once
	counts    hubCounts
	names     map[string]*followed
	namesAt   map[frame.KeyHash]map[string]struct{} // names followed, by their address
	asked     []frame.KeyHash                       // of the candidate looked at
}

// A followed name is one that subscriptions name, with its present address.
type followed struct {
	users   int
	address frame.KeyHash
	held    bool
	known   bool // address and held are
}

func newHub() *hub {
	return &hub{
		conns: map[*conn]struct{}{}, listeners: map[*listener]struct{}{}, crew: newCrew(), wanted: newInterests(), voices: map[string]*voice{},
		names: map[string]*followed{}, namesAt: map[frame.KeyHash]map[string]struct{}{},
	}
}

func (h *hub) running() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ctx != nil
}

// follow begins to keep track of names. Until learn, those that are new have no
// known address.
func (h *hub) follow(names []string) {
	for _, name := range names {
		if h.names[name] == nil {
			h.names[name] = &followed{}
		}
		h.names[name].users++
	}
}

func (h *hub) unfollow(names []string) {
	for _, name := range names {
		f := h.names[name]
		if f.users--; f.users > 0 {
			continue
		}
		h.place(name, f, false)
		delete(h.names, name)
	}
}

// followed returns the names that are.
func (h *hub) followed() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.names))
}

// learn sets the addresses of names that aren't known yet. An event that came in
// the meantime knows better.
func (h *hub) learn(names []string, found map[string]frame.KeyHash) {
	for _, name := range names {
		f := h.names[name]
		if f == nil || f.known {
			continue
		}
		f.known = true
		f.address, f.held = found[name]
		h.place(name, f, true)
	}
}

// place enters a name at its address, or takes it away from there.
func (h *hub) place(name string, f *followed, there bool) {
	switch {
	case !f.held:
	case there:
		if h.namesAt[f.address] == nil {
			h.namesAt[f.address] = map[string]struct{}{}
		}
		h.namesAt[f.address][name] = struct{}{}
	default:
		delete(h.namesAt[f.address], name)
		if len(h.namesAt[f.address]) == 0 {
			delete(h.namesAt, f.address)
		}
	}
}

// resolve is the resolver of live events.
func (h *hub) resolve(name string, _ *index.Entry) (frame.KeyHash, bool) {
	f := h.names[name]
	if f == nil || !f.held {
		return frame.KeyHash{}, false
	}
	return f.address, true
}

// resolved shows the addresses of names for clients; of those that nobody holds,
// an empty one.
func (h *hub) resolved(network frame.Network, names []string) map[string]string {
	if len(names) == 0 {
		return nil
	}
	shown := make(map[string]string, len(names))
	for _, name := range names {
		shown[name] = ""
		if a, ok := h.resolve(name, nil); ok {
			shown[name] = network.Address(a)
		}
	}
	return shown
}

// candidates yields the subscriptions that may want an event, each once.
func (h *hub) candidates(o *occasion, yield func(*subscription)) {
	h.marks++
	each := func(s set) {
		for sub := range s {
			if sub.mark != h.marks {
				sub.mark = h.marks
				yield(sub)
			}
		}
	}
	e := o.Entry
	if e == nil {
		each(h.wanted.blocks)
		return
	}
	each(h.wanted.any)
	if e.Message != nil {
		each(h.wanted.byType[e.Message.Type])
		each(h.wanted.byEncryption[e.Message.Encryption])
	}
	for _, a := range o.concerned {
		each(h.wanted.byAddress[a])
		for name := range h.namesAt[a] {
			each(h.wanted.byName[name])
		}
	}
	if e.Record != nil && e.Protocol == frame.N {
		each(h.wanted.byName[e.Record.Name])
	}
}

// A told event is ready to be sent.
type told struct {
	seq    int64
	text   []byte // the frame, or what stands in it after the subscription's head
	whole  bool   // it is the frame
	packed bool   // it is deflated
	move   bool   // says that a name moved: it isn't in the store's log
}

// tell hands one event, after which so many are in the log, to whom it concerns.
// It waits for nobody.
func (h *hub) tell(v *view, ev *index.Event, left int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := v.occasion(ev)
	c := encoder{view: v, event: ev}
	var failed error
	h.candidates(o, func(sub *subscription) {
		asked, ok := sub.match.match(o, h.resolve, h.asked[:0])
		h.asked = asked
		if !ok {
			return
		}
		if sub.bell != nil {
			sub.ring()
			return
		}
		tail, variant, err := c.tail(asked)
		if err != nil {
			failed = err
			return
		}
		t := told{seq: ev.Seq, text: tail}
		if packed := c.pack(sub.conn, variant); packed != nil {
			t.text, t.packed = packed, true
		} else {
			t = h.say(sub.voice, t, variant, left)
		}
		sub.hand(t)
	})
	for _, tail := range c.tails {
		h.bytes += len(tail)
	}
	h.moveBy(v, ev)
	h.cursor = ev.Seq
	return failed
}

// said is how many bytes of events wait for being handed out.
func (h *hub) said() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes
}

// handOut has everything written that was told since the last time, and tells
// whether there was something. It waits until the crew has come to all of it, so
// that the log isn't read faster than its events can be sent; it doesn't wait for
// who reads too slowly.
func (h *hub) handOut() bool {
	h.mu.Lock()
	h.hush()
	h.bytes = 0
	any := len(h.touched) > 0
	h.crew.add(h.touched...)
	clear(h.touched)
	h.touched = h.touched[:0]
	h.mu.Unlock()
	if any {
		h.crew.settle()
	}
	return any
}

// moveBy moves a followed name as a confirmed operation on it says.
func (h *hub) moveBy(v *view, ev *index.Event) {
	e := ev.Entry
	if ev.Kind != index.KindOf(frame.N, index.EventConfirmed) || ev.Verdict != frame.Valid || e.Record == nil {
		return
	}
	if h.names[e.Record.Name] == nil {
		return
	}
	to := held(e)
	h.move(v, e.Record.Name, to.address, to.expires != 0, ev.Seq)
}

// move gives a name another address and tells those who follow it.
func (h *hub) move(v *view, name string, to frame.KeyHash, held bool, seq int64) {
	f := h.names[name]
	if f.known && f.held == held && (!held || f.address == to) {
		return
	}
	ev := client.Event{Cursor: cursor{eventCursor, v.epoch, seq}.String(), Kind: client.SubscriptionMoved, Name: name}
	if f.held {
		ev.From = v.network.Address(f.address)
	}
	known := f.known
	h.place(name, f, false)
	f.address, f.held, f.known = to, held, true
	h.place(name, f, true)
	if held {
		ev.To = v.network.Address(to)
	}
	if !known {
		return // who subscribes right now hears of the address itself
	}
	tail, err := tailOf(ev)
	if err != nil {
		return // a struct of texts always has a JSON form
	}
	for sub := range h.wanted.byName[name] {
		sub.hand(told{seq: seq, text: tail, move: true})
	}
}

// reconcile sets followed names to what a snapshot says once its last event is
// handed out: names expire without an event, and a reorganisation moves them
// back.
func (h *hub) reconcile(v *view, names []string, found map[string]frame.KeyHash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		if f := h.names[name]; f != nil && f.known {
			to, held := found[name]
			h.move(v, name, to, held, h.cursor)
		}
	}
	h.tip = v.tip
}
