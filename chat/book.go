package chat

import (
	"cmp"
	"slices"
)

// A book is the state of all conversations. It does no input or output but
// through its marks, which are saved by who owns it.
type book struct {
	self   Peer
	marks  *Marks
	talks  []*talk // with the newest message first
	open   *talk   // the one that is read; only it holds messages
	tip    int32   // height of the last block, plus one
	online Connection
	gone   map[string]bool // drafts that have left the queue
}

// A talk is one conversation.
type talk struct {
	peer      Peer
	last      *Message
	moved     int64  // grows with each new message: what the list is sorted by
	unread    int    // mostUnread: that many or more
	uncounted bool   // unread is to be counted with the newest page
	changes   int    // grows with each message, so that a count that is old is known
	stale     bool   // the newest page is to be read again when its end is shown
	first     string // key of the first message that was unread when it was opened
	typed     string // what was typed and not sent
	sealed    *bool  // encrypted by choice, or because the other does; nil: neither
	thread
}

// mostUnread is where counting ends.
const mostUnread = pageSize

func newBook(self Peer, marks *Marks) *book {
	self.harmless()
	b := &book{self: self, marks: marks, gone: map[string]bool{}}
	peers := marks.Peers()
	for i, p := range peers {
		t := b.talk(p)
		t.moved = int64(i - len(peers))
	}
	b.sort()
	return b
}

// find returns the conversation with an address, nil when there is none.
func (b *book) find(address string) *talk {
	if i := slices.IndexFunc(b.talks, func(t *talk) bool { return t.peer.Address == address }); i >= 0 {
		return b.talks[i]
	}
	return nil
}

// talk returns the conversation with a peer, made if there was none. What is
// known of the peer's name is taken over.
func (b *book) talk(p Peer) *talk {
	p.harmless()
	t := b.find(p.Address)
	if t == nil {
		t = &talk{peer: p}
		if sealed, chosen := b.marks.Sealed(p.Address); chosen {
			t.sealed = &sealed
		}
		b.talks = append(b.talks, t)
	}
	if p.Name != "" {
		t.peer.Name = p.Name
	}
	if len(p.Warnings) > 0 {
		t.peer.Warnings = p.Warnings
	}
	return t
}

// isSealed tells whether what is sent in the conversation is encrypted: as was
// chosen, else when the other does.
func (t *talk) isSealed() bool {
	if t.sealed != nil {
		return *t.sealed
	}
	return false
}

// hear takes notice that the other encrypts: what is sent then is encrypted too,
// unless something else was chosen.
func (b *book) hear(t *talk, m *Message) {
	if t.sealed == nil && !m.Mine && m.Forged == "" && m.Encryption != "plain" && m.Encryption != "" {
		sealed := true
		t.sealed = &sealed
		b.marks.Choose(t.peer, true)
	}
}

func (b *book) sort() {
	slices.SortStableFunc(b.talks, func(x, y *talk) int { return cmp.Compare(y.moved, x.moved) })
}

// newest returns what is greater than moved of any conversation.
func (b *book) newest() (n int64) {
	for _, t := range b.talks {
		n = max(n, t.moved)
	}
	return n + 1
}

// list takes over what the server says of the conversations, newest first.
func (b *book) list(all []Conversation) {
	base := b.newest()
	for i, c := range all {
		t := b.talk(c.Peer)
		t.moved = base + int64(len(all)-i)
		if c.Last == nil {
			continue
		}
		last := *c.Last
		last.harmless()
		t.last = &last
		b.hear(t, &last)
		if t != b.open && !b.marks.Read(t.peer.Address, last.ID) {
			t.uncounted = true
			t.unread = max(t.unread, 1)
		}
	}
	for _, t := range b.talks { // what waits to be sent stays on top
		if len(t.drafts) > 0 {
			t.moved = b.newest()
		}
	}
	b.sort()
}

// count counts what is unread with the newest page of a conversation.
func (b *book) count(t *talk, changes int, p Page) {
	if t.changes != changes || t == b.open {
		return
	}
	t.uncounted, t.unread = false, 0
	for _, m := range p.Messages {
		if !m.Mine && m.State != Refused && !b.marks.Read(t.peer.Address, hexOnly(m.ID)) {
			t.unread = min(t.unread+1, mostUnread)
		}
	}
}

// put adds a page to the conversation that is open. It is let go when another one
// was opened in between.
func (b *book) put(t *talk, at Cursor, p Page) {
	if t != b.open {
		return
	}
	messages := make([]Message, len(p.Messages))
	for i, m := range p.Messages {
		m.harmless()
		messages[i] = m
		b.hear(t, &m)
	}
	p.Messages = messages
	if at == (Cursor{}) {
		t.first = ""
		for i := range messages {
			if m := &messages[i]; !m.Mine && !b.marks.Read(t.peer.Address, m.ID) {
				t.first = m.key()
				break
			}
		}
		if n := len(messages); n > 0 {
			t.last = &messages[n-1]
		}
	}
	t.put(at, p)
}

// show opens a conversation and lets go of what the one before held.
func (b *book) show(t *talk) {
	if b.open == t {
		return
	}
	if b.open != nil {
		b.open.thread = thread{drafts: b.open.drafts}
		b.open.first = ""
	}
	b.open = t
}

// saw marks as read what the window of the open conversation holds up to its end.
// It tells whether that changed anything that is to be saved.
func (b *book) saw() bool {
	t := b.open
	if t == nil || !t.read || !t.end {
		return false
	}
	t.unread, t.uncounted = 0, false
	var ids []string
	for m := range t.all() {
		if m.Draft == "" {
			ids = append(ids, m.ID)
		}
	}
	// More than a page is never compared with, and the marks hold no more than a few.
	return b.marks.Add(t.peer, ids[max(len(ids)-2*pageSize, 0):]...)
}

// take takes over a message that is new or has changed. fresh says that it just
// came; other news may be of messages as old as the chain.
func (b *book) take(m Message, fresh bool) {
	m.harmless()
	for _, address := range m.Peers {
		b.takeIn(line(address), m, fresh)
	}
	b.sort()
}

// takeIn takes a message over into one conversation.
func (b *book) takeIn(address string, m Message, fresh bool) {
	t := b.find(address)
	latest := t != nil && t.last != nil && t.last.key() == m.key()
	held := t != nil && m.Draft == "" && t.held(m.ID) != nil
	if m.State == Refused && !m.Mine && !held && !latest {
		return // nobody is disturbed by what doesn't count
	}
	if t == nil && !fresh && m.Draft == "" {
		return // the list is read again when it is
	}
	t = b.talk(Peer{Address: address})
	if !m.Mine && m.Forged == "" && m.Source != m.Address && m.Address == t.peer.Address && t.peer.Name == "" {
		t.peer.Name = m.Source // it held the name when it wrote
	}
	t.changes++
	switch {
	case m.Draft != "" || held:
		t.stale = t.take(m) || t.stale
	case t == b.open && fresh:
		t.stale = t.take(m) || t.stale
	case t == b.open:
		t.stale = true // it may be new, or older than what is held: the server knows its place
	}
	if latest || fresh && !held || t.last == nil && t != b.open {
		last := m
		t.last = &last
	}
	switch {
	case m.Mine || latest || held || b.marks.Read(address, m.ID):
	case fresh:
		t.unread = min(t.unread+1, mostUnread)
	case t != b.open:
		t.uncounted = true
	}
	if fresh && !latest && !held {
		t.moved = b.newest()
		b.hear(t, &m)
	}
}

// sent forgets a draft that has left the queue.
func (b *book) sent(draft string) {
	if len(b.gone) > 1000 {
		clear(b.gone)
	}
	b.gone[draft] = true
	for _, t := range b.talks {
		t.sent(draft)
		if t.last != nil && t.last.Draft == draft {
			t.last = nil
			for m := range t.all() {
				t.last = m
			}
		}
	}
}

// unread returns how many messages are unread, and whether it is at least that.
func (b *book) unread() (n int, more bool) {
	for _, t := range b.talks {
		n += t.unread
		more = more || t.unread == mostUnread || t.uncounted
	}
	return n, more
}

// depth returns how many blocks confirm a message, 0 when none does.
func (b *book) depth(m *Message) int32 {
	if m.State != Confirmed || m.Height < 0 {
		return 0
	}
	return max(b.tip-m.Height, 1)
}
