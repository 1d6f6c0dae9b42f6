package chat

import (
	"slices"

	tea "charm.land/bubbletea/v2"
)

// A scroll says which part of a conversation is shown: its end, or what begins
// with a row of a message. A message, not a number, holds the place, so that
// nothing moves under the reader when pages come and go.
type scroll struct {
	follow bool   // the end, also when more comes
	top    string // key of the first message shown
	skip   int    // rows of it that are above
	cursor string // key of the message under the cursor; empty: none
}

// items returns the messages of the open conversation.
func (m *Model) items() []*Message {
	if m.book.open == nil {
		return nil
	}
	return slices.Collect(m.book.open.all())
}

func indexOf(items []*Message, key string) int {
	return slices.IndexFunc(items, func(i *Message) bool { return i.key() == key })
}

// place returns the first message that is shown and how many of its rows are
// above, for a window of so many rows.
func (m *Model) place(items []*Message) (first, skip int) {
	if at := indexOf(items, m.scroll.top); !m.scroll.follow && at >= 0 {
		return at, min(m.scroll.skip, max(m.rowsOf(items, at)-1, 0))
	}
	rows := 0
	for at := len(items) - 1; at >= 0; at-- {
		if rows += m.rowsOf(items, at); rows >= m.threadHeight() {
			return at, rows - m.threadHeight()
		}
	}
	return 0, 0
}

// pin holds the place as it is shown now, before the window changes.
func (m *Model) pin(t *talk) {
	if m.scroll.follow || !t.thread.read {
		return
	}
	items := m.items()
	if len(items) == 0 {
		return
	}
	at, skip := m.place(items)
	m.scroll.top, m.scroll.skip = items[at].key(), skip
}

// scrollBy moves by rows, down where they are positive.
func (m *Model) scrollBy(rows int) {
	items := m.items()
	if len(items) == 0 {
		return
	}
	at, skip := m.place(items)
	skip += rows
	for skip < 0 && at > 0 {
		at--
		skip += m.rowsOf(items, at)
	}
	skip = max(skip, 0)
	for at < len(items)-1 && skip >= m.rowsOf(items, at) {
		skip -= m.rowsOf(items, at)
		at++
	}
	m.scroll.top, m.scroll.skip, m.scroll.follow = items[at].key(), skip, false
	if t := m.book.open; m.below(items, at, skip) <= m.threadHeight() {
		m.scroll.follow = t.end || !t.thread.read
	}
}

// below counts rows from a place to the end, no further than matters.
func (m *Model) below(items []*Message, at, skip int) int {
	rows := -skip
	for ; at < len(items) && rows <= 4*m.threadHeight(); at++ {
		rows += m.rowsOf(items, at)
	}
	return rows
}

// around returns how many rows are above and below what is shown, no further than
// matters.
func (m *Model) around() (above, below int) {
	items := m.items()
	if len(items) == 0 {
		return 0, 0
	}
	at, skip := m.place(items)
	below = max(m.below(items, at, skip)-m.threadHeight(), 0)
	above = skip
	for at--; at >= 0 && above <= 4*m.threadHeight(); at-- {
		above += m.rowsOf(items, at)
	}
	return above, below
}

func (m *Model) scrollPage(a action) {
	rows := max(m.threadHeight()-1, 1)
	if a == pageUp {
		rows = -rows
	}
	m.scrollBy(rows)
	if m.part == onThread {
		m.selectNearest()
	}
}

func (m *Model) scrollTop() {
	if items := m.items(); len(items) > 0 {
		m.scroll = scroll{top: items[0].key(), cursor: items[0].key()}
		m.scrollBy(0)
	}
}

// scrollEnd goes to the newest message, which may have to be read again.
func (m *Model) scrollEnd() tea.Cmd {
	t := m.book.open
	if t == nil {
		return nil
	}
	m.scroll = scroll{follow: true}
	if items := m.items(); len(items) > 0 {
		m.scroll.cursor = items[len(items)-1].key()
	}
	if _, ok := t.newer(); ok {
		m.scroll.cursor = ""
		return m.fetch(t, Cursor{})
	}
	return nil
}

// selected returns the message under the cursor, nil when there is none.
func (m *Model) selected() *Message {
	items := m.items()
	if at := indexOf(items, m.scroll.cursor); at >= 0 {
		return items[at]
	}
	return nil
}

// selectNearest puts the cursor on a message that is shown: the last one whose
// first row is, so that it is where the eye is.
func (m *Model) selectNearest() {
	items := m.items()
	if len(items) == 0 {
		return
	}
	at, skip := m.place(items)
	rows := -skip
	best := at
	for i := at; i < len(items) && rows < m.threadHeight(); i++ {
		if m.scroll.cursor == items[i].key() && rows >= 0 {
			return // it is shown already
		}
		best = i
		rows += m.rowsOf(items, i)
	}
	m.scroll.cursor = items[best].key()
}

// moveCursor moves to the message before or after. One that is taller than the
// window is scrolled through first.
func (m *Model) moveCursor(by int) {
	items := m.items()
	at := indexOf(items, m.scroll.cursor)
	if at < 0 {
		m.selectNearest()
		return
	}
	start, end := m.span(items, at)
	height := m.threadHeight()
	switch {
	case by < 0 && start < 0:
		m.scrollBy(-min(-start, max(height-1, 1)))
		return
	case by > 0 && end > height:
		m.scrollBy(min(end-height, max(height-1, 1)))
		return
	}
	if at+by < 0 || at+by >= len(items) {
		return
	}
	at += by
	m.scroll.cursor = items[at].key()
	start, end = m.span(items, at)
	switch {
	case end-start > height && by > 0: // its beginning first
		m.scrollBy(start)
	case end-start > height: // its end first
		m.scrollBy(end - height)
	case start < 0:
		m.scrollBy(start)
	case end > height:
		m.scrollBy(end - height)
	}
}

// span returns where a message begins and ends, in rows from the top of the
// window.
func (m *Model) span(items []*Message, at int) (start, end int) {
	first, skip := m.place(items)
	start = -skip
	for i := first; i < at; i++ {
		start += m.rowsOf(items, i)
	}
	for i := at; i < first; i++ {
		start -= m.rowsOf(items, i)
	}
	return start, start + m.rowsOf(items, at)
}
