package chat

import (
	"context"
	"errors"
	"time"

	"charm.land/bubbles/v2/textarea"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// A part of the window has the keys.
type part int

const (
	onList part = iota
	onThread
	onCompose
)

// A layer lies over the window until it is closed.
type layer int

const (
	noLayer layer = iota
	helpLayer
	detailLayer
	promptLayer
	resultLayer
)

// A Model is the application: what is shown and which keys do what. It is a
// function of the messages that it is given; what takes time is asked of the
// backend by commands. Only bubbletea's loop may call it.
type Model struct {
	ctx     context.Context
	backend Backend
	book    *book
	now     func() time.Time

	width, height int
	measure       measure
	look          look
	colours       bool // pictures can be painted
	mouse         bool
	blurred       bool // somebody looks at another window

	begin   string // address of the conversation that is opened at the start
	part    part
	layer   layer
	cursor  int // in the list
	listTop int
	scroll  scroll
	writing textarea.Model
	re      string // key of the message that is answered

	prompt  prompt
	results results
	helpTop int
	note    note
	seek    string // frame id that is looked for in the open conversation
	seeking int    // pages that may still be read for it

	quotes    map[string]*Message // answered messages that no window holds
	cache     map[string]rendered
	listing   bool // the list was asked for
	counting  bool
	dirty     bool          // marks are to be saved
	saveAfter time.Duration // how long they may wait for more
	saving    bool
}

// A note is one line of news for the person, shown until the next key.
type note struct {
	text string
	bad  bool
}

// A prompt asks for one line.
type prompt struct {
	asks  promptKind
	input textinput.Model
	about string // id of a message
}

type promptKind int

const (
	askWho promptKind = iota
	askWords
	askSave
	askFile
)

// Results are what a search found.
type results struct {
	words  string
	busy   bool
	found  []Message
	cursor int
	top    int
}

// NewModel returns the application over a backend. now tells the time, in the
// zone that times are shown in.
func NewModel(ctx context.Context, backend Backend, marks *Marks, now func() time.Time) *Model {
	m := &Model{
		ctx: ctx, backend: backend, book: newBook(backend.Self(), marks), now: now,
		look: newLook(true), quotes: map[string]*Message{}, cache: map[string]rendered{},
		scroll: scroll{follow: true}, colours: true, saveAfter: 2 * time.Second,
	}
	m.writing = newWriting()
	for _, d := range backend.Queue() {
		m.book.take(d, true)
	}
	return m
}

// Results of what was asked of the backend.
type (
	listMsg struct {
		all []Conversation
		err error
	}
	pageMsg struct {
		peer string
		at   Cursor
		page Page
		err  error
	}
	countMsg struct {
		peer    string
		changes int // of the conversation when it was asked
		page    Page
		err     error
	}
	foundMsg struct {
		words string
		found []Message
		err   error
	}
	resolvedMsg struct {
		peer Peer
		err  error
	}
	quotedMsg struct {
		id      string
		message Message
		err     error
	}
	sentMsg struct {
		draft   Draft
		message Message
		err     error
	}
	doneMsg struct { // saved a file, dropped a draft
		text string
		err  error
	}
	marksMsg struct{ err error }
	newsMsg  News
)

// Init asks the terminal for its background and the server for conversations.
func (m *Model) Init() tea.Cmd {
	cmds := []tea.Cmd{tea.RequestBackgroundColor, m.fetchList()}
	if t := m.book.find(m.begin); t != nil {
		cmds = append(cmds, m.openTalk(t))
	}
	return tea.Batch(cmds...)
}

// Update takes over one message.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.update(msg)
	return m, tea.Batch(cmd, m.settle())
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.resize()
	case tea.BackgroundColorMsg:
		m.look = newLook(msg.IsDark())
		m.restyle()
	case tea.ColorProfileMsg:
		m.colours = msg.Profile >= colorprofile.ANSI256
		clear(m.cache)
	case tea.ModeReportMsg:
		if msg.Mode == ansi.ModeUnicodeCore && msg.Value != ansi.ModeNotRecognized && msg.Value != ansi.ModePermanentlyReset {
			m.measure = ansi.GraphemeWidth
			clear(m.cache)
		}
	case tea.FocusMsg:
		m.blurred = false
	case tea.BlurMsg:
		m.blurred = true
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		return m.paste(msg)
	case tea.MouseWheelMsg:
		return m.wheel(msg)
	default:
		return m.answer(msg)
	}
	return nil
}

// answer takes over what the backend said.
func (m *Model) answer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case newsMsg:
		return m.news(News(msg))
	case listMsg:
		m.listing = false
		if msg.err != nil {
			return m.miss(msg.err)
		}
		m.keepCursor(func() { m.book.list(msg.all) })
		return m.countNext()
	case countMsg:
		t := m.book.find(msg.peer)
		m.counting = false
		if msg.err != nil || t == nil {
			return nil // the next list asks again
		}
		m.book.count(t, msg.changes, msg.page)
		return m.countNext()
	case pageMsg:
		return m.paged(msg)
	case foundMsg:
		m.found(msg)
	case resolvedMsg:
		if msg.err != nil {
			return m.fail(msg.err)
		}
		var cmd tea.Cmd
		m.keepCursor(func() { cmd = m.openTalk(m.book.talk(msg.peer)) })
		return cmd
	case quotedMsg:
		if q, asked := m.quotes[msg.id]; msg.err == nil && asked && q == nil {
			msg.message.harmless()
			m.quotes[msg.id] = &msg.message
			clear(m.cache)
		}
	case sentMsg:
		return m.queued(msg)
	case doneMsg:
		if msg.err != nil {
			return m.fail(msg.err)
		}
		m.say(msg.text)
	case marksMsg:
		m.saving = false
		if msg.err != nil {
			return m.fail(msg.err)
		}
	default:
		return m.forward(msg)
	}
	return nil
}

// forward gives a message to the field that is written in.
func (m *Model) forward(msg tea.Msg) (cmd tea.Cmd) {
	switch {
	case m.layer == promptLayer:
		m.prompt.input, cmd = m.prompt.input.Update(msg)
	case m.layer == noLayer && m.part == onCompose:
		m.writing.SetHeight(m.mostWriting()) // so that it doesn't scroll before it has grown
		m.writing, cmd = m.writing.Update(msg)
		m.grow()
	}
	return cmd
}

// news takes over what happened.
func (m *Model) news(n News) tea.Cmd {
	switch {
	case n.Connection != nil:
		was := m.book.online
		m.book.online = *n.Connection
		if n.Connection.Up && !was.Up {
			return m.again(false)
		}
	case n.Tip > 0:
		m.book.tip = n.Tip
	case n.Message != nil:
		m.keepCursor(func() { m.book.take(*n.Message, n.Fresh) })
		return m.countNext()
	case n.Trouble != "":
		m.warn(n.Trouble)
	case n.Sent != "":
		m.book.sent(n.Sent)
	case n.Stale:
		return m.again(true)
	}
	return nil
}

// again reads the list again, and the conversation that is open where that is
// needed.
func (m *Model) again(open bool) tea.Cmd {
	cmds := []tea.Cmd{m.fetchList()}
	if t := m.book.open; t != nil && (open || !t.thread.read) {
		t.loading = false
		cmds = append(cmds, m.fetch(t, Cursor{}))
	}
	return tea.Batch(cmds...)
}

// paged takes over a page of messages.
func (m *Model) paged(msg pageMsg) tea.Cmd {
	t := m.book.find(msg.peer)
	if t == nil || t != m.book.open {
		return nil
	}
	if errors.Is(msg.err, ErrStale) {
		t.loading = false
		return m.again(true)
	}
	if msg.err != nil {
		t.loading = false
		return m.miss(msg.err)
	}
	m.pin(t)
	m.book.put(t, msg.at, msg.page)
	if len(m.cache) > 2*mostHeld {
		clear(m.cache)
	}
	return m.sought(t)
}

// sought goes on looking for a message in older pages.
func (m *Model) sought(t *talk) tea.Cmd {
	if m.seek == "" {
		return nil
	}
	if held := t.held(m.seek); held != nil {
		m.scroll = scroll{top: held.key(), cursor: held.key()}
		m.seek, m.part = "", onThread
		return nil
	}
	at, ok := t.older()
	if m.seeking == 0 || !ok {
		m.seek = ""
		m.warn("it stands further back than is looked for")
		return nil
	}
	m.seeking--
	return m.fetch(t, at)
}

// settle does what follows from any change: marks what is seen as read, and reads
// older and newer pages when their place is near.
func (m *Model) settle() tea.Cmd {
	var cmds []tea.Cmd
	t := m.book.open
	if t != nil && m.visibleThread() && !m.blurred && m.scroll.follow && m.layer == noLayer && m.book.saw() {
		m.dirty = true
	}
	if t != nil && m.width > 0 && !t.loading && t.thread.read {
		cmds = append(cmds, m.more(t))
	}
	if t != nil {
		cmds = append(cmds, m.quotesShown())
	}
	if m.dirty && !m.saving {
		m.dirty, m.saving = false, true
		marks, after := m.book.marks, m.saveAfter
		cmds = append(cmds, func() tea.Msg {
			time.Sleep(after) // so that a flood of messages isn't one of files
			return marksMsg{marks.Save()}
		})
	}
	return tea.Batch(cmds...)
}

// more reads the next page where what is shown comes near an end of the window.
func (m *Model) more(t *talk) tea.Cmd {
	if t.stale && m.scroll.follow {
		t.stale = false
		return m.fetch(t, Cursor{})
	}
	above, below := m.around()
	if at, ok := t.older(); ok && above < 2*m.threadHeight() {
		return m.fetch(t, at)
	}
	if at, ok := t.newer(); ok && below < 2*m.threadHeight() {
		return m.fetch(t, at)
	}
	return nil
}

// quotesShown asks for what the messages on the window answer.
func (m *Model) quotesShown() tea.Cmd {
	if m.tooSmall() {
		return nil
	}
	items := m.items()
	if len(items) == 0 {
		return nil
	}
	var cmds []tea.Cmd
	at, skip := m.place(items)
	for rows := -skip; at < len(items) && rows < m.threadHeight(); at++ {
		rows += m.rowsOf(items, at)
		if items[at].Re != "" && m.answered(items[at]) == nil {
			cmds = append(cmds, m.quote(items[at].Re))
		}
	}
	return tea.Batch(cmds...)
}

// keepCursor keeps the list's cursor on its conversation while the list changes
// its order.
func (m *Model) keepCursor(change func()) {
	var at *talk
	if m.cursor < len(m.book.talks) {
		at = m.book.talks[m.cursor]
	}
	change()
	for i, t := range m.book.talks {
		if t == at {
			m.cursor = i
		}
	}
}

func (m *Model) say(text string)  { m.note = note{text: lineOf(text)} }
func (m *Model) warn(text string) { m.note = note{text: lineOf(text), bad: true} }

// fail shows why something that was asked for wasn't done.
func (m *Model) fail(err error) tea.Cmd {
	m.warn(err.Error())
	return nil
}

// miss shows why something couldn't be read that nobody asked for; while the
// server doesn't answer the status line says so.
func (m *Model) miss(err error) tea.Cmd {
	if m.book.online.Up {
		m.warn(err.Error())
	}
	return nil
}

// lineOf makes an error or another sentence printable.
func lineOf(s string) string { return unstack(line(s)) }
