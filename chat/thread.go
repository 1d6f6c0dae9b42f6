package chat

import (
	"iter"
	"slices"
)

// Sizes of what is held of one conversation, in messages. Pages are let go at the
// other end when more is read, so that history without end takes bounded memory.
const (
	pageSize = 50
	mostHeld = 8 * pageSize
)

// A thread is the window that is held of one conversation: pages in a row, then
// what came since the newest of them was read, then what waits to be sent.
type thread struct {
	pages   []segment // oldest first
	start   bool      // nothing is older than the first page
	end     bool      // nothing is newer than the last page but what came since
	loading bool      // a page was asked for
	missed  int       // messages that came while the window didn't reach the end
	read    bool      // the first page has come
	drafts  []Message // in the queue, oldest first
}

// A segment is one page in a window, or (without cursors) what came since.
type segment struct {
	messages     []Message // oldest first
	older, newer string
}

// all yields the messages of the window, oldest first.
func (t *thread) all() iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		for i := range t.pages {
			for j := range t.pages[i].messages {
				if !yield(&t.pages[i].messages[j]) {
					return
				}
			}
		}
		if !t.end && t.read {
			return
		}
		for i := range t.drafts {
			if d := &t.drafts[i]; d.ID == "" || t.held(d.ID) == nil {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// held returns the message with a frame id, nil when the window doesn't hold it.
func (t *thread) held(id string) *Message {
	for i := range t.pages {
		for j := range t.pages[i].messages {
			if t.pages[i].messages[j].ID == id {
				return &t.pages[i].messages[j]
			}
		}
	}
	return nil
}

// size returns how many messages the window holds, drafts not counted.
func (t *thread) size() (n int) {
	for _, s := range t.pages {
		n += len(s.messages)
	}
	return n
}

// put adds a page that was read at a cursor: the newest one replaces the window.
func (t *thread) put(at Cursor, p Page) {
	t.loading = false
	s := segment{older: p.Older, newer: p.Newer}
	if at == (Cursor{}) {
		s.messages = p.Messages
		t.pages, t.start, t.end, t.missed, t.read = []segment{s}, p.Start, true, 0, true
		return
	}
	for _, m := range p.Messages {
		if held := t.held(m.ID); held != nil {
			*held = m // it has moved since: told once, where it stood
			continue
		}
		s.messages = append(s.messages, m)
	}
	if at.Older != "" {
		t.start = p.Start
		t.pages = slices.Insert(t.pages, 0, s)
		for t.size() > mostHeld && len(t.pages) > 1 {
			t.pages = slices.Delete(t.pages, len(t.pages)-1, len(t.pages))
			t.end = false
		}
		return
	}
	t.end = p.End
	if p.End {
		t.missed = 0
	}
	t.pages = append(t.pages, s)
	t.dropOldest()
}

// dropOldest lets pages go at the old end until the window is small enough.
func (t *thread) dropOldest() {
	for t.size() > mostHeld && len(t.pages) > 1 {
		t.pages = slices.Delete(t.pages, 0, 1)
		t.start = false
	}
}

// older and newer return where to read on, ok false when there is nothing or
// nothing may be asked now.
func (t *thread) older() (Cursor, bool) {
	if !t.read || t.start || t.loading || len(t.pages) == 0 || t.pages[0].older == "" {
		return Cursor{}, false
	}
	return Cursor{Older: t.pages[0].older}, true
}

func (t *thread) newer() (Cursor, bool) {
	if !t.read || t.end || t.loading {
		return Cursor{}, false
	}
	if n := len(t.pages); n > 0 && t.pages[n-1].newer != "" {
		return Cursor{Newer: t.pages[n-1].newer}, true
	}
	return Cursor{}, true // from the newest again
}

// take adds or changes a message that was told of, and says whether the window
// must be read again from its end: what came since is too much to be held.
func (t *thread) take(m Message) (again bool) {
	if m.Draft != "" {
		t.takeDraft(m)
		return false
	}
	if held := t.held(m.ID); held != nil {
		*held = m
		return false
	}
	if !t.read {
		return false // the first page will have it
	}
	if !t.end {
		t.missed++
		return false
	}
	last := len(t.pages) - 1
	if last < 0 || t.pages[last].older != "" || t.pages[last].newer != "" || last == 0 {
		t.pages = append(t.pages, segment{})
		last++
	}
	t.pages[last].messages = append(t.pages[last].messages, m)
	return len(t.pages[last].messages) > mostHeld/2
}

func (t *thread) takeDraft(m Message) {
	if i := slices.IndexFunc(t.drafts, func(d Message) bool { return d.Draft == m.Draft }); i >= 0 {
		t.drafts[i] = m
		return
	}
	t.drafts = append(t.drafts, m)
}

// sent forgets a draft.
func (t *thread) sent(draft string) {
	t.drafts = slices.DeleteFunc(t.drafts, func(d Message) bool { return d.Draft == draft })
}
