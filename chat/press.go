package chat

import (
	"fmt"
	"strings"
	"unicode"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"
)

// longestTyped bounds what is typed or pasted, in bytes. More is sent as a file.
const longestTyped = 64 << 10

func newWriting() textarea.Model {
	w := textarea.New()
	w.ShowLineNumbers = false
	w.CharLimit = longestTyped
	w.MaxHeight = 2000
	w.EndOfBufferCharacter = ' '
	w.SetVirtualCursor(false)
	w.KeyMap.InsertNewline = key.NewBinding(key.WithKeys(newline.keys...))
	w.KeyMap.PageUp, w.KeyMap.PageDown = key.NewBinding(), key.NewBinding()
	w.KeyMap.Paste = key.NewBinding()
	return w
}

// key acts on a key press.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	if m.tooSmall() && k.String() != "ctrl+c" {
		return nil
	}
	m.note = note{}
	switch m.layer {
	case helpLayer:
		return m.inHelp(k)
	case detailLayer:
		if k.String() == "ctrl+c" {
			return tea.Quit
		}
		m.layer = noLayer
		return nil
	case promptLayer:
		return m.inPrompt(k)
	case resultLayer:
		return m.inResults(inResults.find(k.String()), k)
	}
	if a := everywhere.find(k.String()); a != nothing {
		return m.anywhere(a)
	}
	switch m.part {
	case onList:
		return m.inList(inList.find(k.String()))
	case onThread:
		return m.inThread(inThread.find(k.String()))
	}
	return m.inWriting(k)
}

// anywhere does what can be asked for in every part.
func (m *Model) anywhere(a action) tea.Cmd {
	switch a {
	case quit:
		return tea.Quit
	case suspend:
		return tea.Suspend
	case help:
		m.layer, m.helpTop = helpLayer, 0
	case nextPart:
		return m.goTo((m.part + 1) % 3)
	case back:
		if m.part == onCompose && m.re != "" {
			m.re = ""
			m.resize()
			return nil
		}
		return m.goTo(max(m.part-1, onList))
	case seal:
		m.toggleSeal()
	case attach:
		if m.book.open != nil {
			return m.startPrompt(askFile, "", "")
		}
		m.warn("open a conversation first")
	}
	return nil
}

func (m *Model) toggleSeal() {
	t := m.book.open
	if t == nil {
		m.warn("open a conversation first")
		return
	}
	sealed := !t.isSealed()
	t.sealed = &sealed
	m.book.marks.Choose(t.peer, sealed)
	m.dirty = true
	m.writing.SetWidth(m.writing.Width() + promptWidth) // the prompt is made anew
	m.resize()
	if sealed {
		m.say("what you write here is encrypted from now on")
		return
	}
	m.say("what you write here can be read by anyone from now on")
}

// goTo gives the keys to a part.
func (m *Model) goTo(p part) tea.Cmd {
	if p != onList && m.book.open == nil {
		if len(m.book.talks) == 0 {
			return nil
		}
		return m.openTalk(m.book.talks[m.cursor])
	}
	m.part = p
	if p == onCompose {
		m.scroll.cursor = ""
		m.resize()
		return m.writing.Focus()
	}
	m.writing.Blur()
	if p == onThread {
		m.selectNearest()
	}
	m.resize()
	return nil
}

func (m *Model) inList(a action) tea.Cmd {
	last := max(len(m.book.talks)-1, 0)
	page := max(m.listHeight()/listRows, 1)
	switch a {
	case quit:
		return tea.Quit
	case help:
		m.layer, m.helpTop = helpLayer, 0
	case up:
		m.cursor = max(m.cursor-1, 0)
	case down:
		m.cursor = min(m.cursor+1, last)
	case pageUp:
		m.cursor = max(m.cursor-page, 0)
	case pageDown:
		m.cursor = min(m.cursor+page, last)
	case toTop:
		m.cursor = 0
	case toEnd:
		m.cursor = last
	case openTalk:
		if len(m.book.talks) > 0 {
			return m.openTalk(m.book.talks[m.cursor])
		}
	case newTalk:
		return m.startPrompt(askWho, "", "")
	case search:
		return m.startPrompt(askWords, "", "")
	}
	return nil
}

func (m *Model) inThread(a action) tea.Cmd {
	switch a {
	case up:
		m.moveCursor(-1)
	case down:
		m.moveCursor(1)
	case pageUp, pageDown:
		m.scrollPage(a)
	case toTop:
		m.scrollTop()
	case toEnd:
		return m.scrollEnd()
	case compose:
		return m.goTo(onCompose)
	case back:
		return m.goTo(onList)
	case newTalk:
		return m.startPrompt(askWho, "", "")
	case search:
		return m.startPrompt(askWords, "", "")
	case help:
		m.layer, m.helpTop = helpLayer, 0
	case reply, saveFile, details, dropDraft:
		if at := m.selected(); at != nil {
			return m.withMessage(a, at)
		}
	}
	return nil
}

// withMessage does something with the message under the cursor.
func (m *Model) withMessage(a action, at *Message) tea.Cmd {
	switch a {
	case reply:
		if at.Draft != "" || at.ID == "" {
			m.warn("it can be answered when it is sent")
			return nil
		}
		m.re = at.key()
		return m.goTo(onCompose)
	case saveFile:
		if at.ID == "" {
			m.warn("it can be saved when it is sent")
			return nil
		}
		return m.startPrompt(askSave, saveName(at), at.ID)
	case details:
		m.layer = detailLayer
	case dropDraft:
		return m.drop(at)
	}
	return nil
}

// drop takes a draft out of the queue. Its text can be written on.
func (m *Model) drop(at *Message) tea.Cmd {
	if at.Draft == "" || at.State == Sending {
		m.warn("only what is queued or refused can be dropped")
		return nil
	}
	if m.writing.Value() == "" && at.Text != "" && !at.Cut {
		m.write(at.Text)
	}
	draft := at.Draft
	return func() tea.Msg { return doneMsg{"dropped; nothing was sent", m.backend.Drop(draft)} }
}

func (m *Model) inWriting(k tea.KeyPressMsg) tea.Cmd {
	switch a := inCompose.find(k.String()); a {
	case send:
		return m.sendWritten()
	case pageUp, pageDown:
		m.scrollPage(a)
		return nil
	}
	if k.String() == "up" && m.writing.Line() == 0 && m.writing.LineInfo().RowOffset == 0 {
		return m.goTo(onThread)
	}
	return m.forward(k)
}

func (m *Model) inPrompt(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "ctrl+c":
		return tea.Quit
	case "esc":
		m.layer = noLayer
		return nil
	case "enter":
		return m.answerPrompt()
	}
	return m.forward(k)
}

func (m *Model) inHelp(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "ctrl+c":
		return tea.Quit
	case "up", "k":
		m.helpTop = max(m.helpTop-1, 0)
	case "down", "j":
		m.helpTop++
	case "pgup":
		m.helpTop = max(m.helpTop-m.height, 0)
	case "pgdown", "space":
		m.helpTop += m.height / 2
	default:
		m.layer = noLayer
	}
	return nil
}

func (m *Model) inResults(a action, k tea.KeyPressMsg) tea.Cmd {
	if everywhere.find(k.String()) == quit {
		return tea.Quit
	}
	r := &m.results
	last := max(len(r.found)-1, 0)
	page := max(m.height/3, 1)
	switch a {
	case up:
		r.cursor = max(r.cursor-1, 0)
	case down:
		r.cursor = min(r.cursor+1, last)
	case pageUp:
		r.cursor = max(r.cursor-page, 0)
	case pageDown:
		r.cursor = min(r.cursor+page, last)
	case openTalk:
		return m.showResult()
	case search:
		return m.startPrompt(askWords, "", "")
	case back:
		m.layer = noLayer
	}
	if k.String() == "esc" {
		m.layer = noLayer
	}
	return nil
}

// paste writes what was pasted, line breaks and all. It may come from a stranger:
// control characters and those that turn the direction of text are left out.
func (m *Model) paste(p tea.PasteMsg) tea.Cmd {
	text := strings.ReplaceAll(strings.ReplaceAll(p.Content, "\r\n", "\n"), "\r", "\n")
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if m.layer == promptLayer {
		first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		return m.forward(tea.PasteMsg{Content: first})
	}
	if m.layer != noLayer || m.book.open == nil {
		return nil
	}
	if m.writing.Length()+len(text) > longestTyped {
		m.warn(fmt.Sprintf("that is over %d bytes: send it as a file with ctrl+o", longestTyped))
		return nil
	}
	var cmd tea.Cmd
	if m.part != onCompose {
		cmd = m.goTo(onCompose)
	}
	return tea.Batch(cmd, m.forward(tea.PasteMsg{Content: text}))
}

func (m *Model) wheel(w tea.MouseWheelMsg) tea.Cmd {
	step := 0
	switch w.Button {
	case tea.MouseWheelUp:
		step = -3
	case tea.MouseWheelDown:
		step = 3
	}
	switch {
	case step == 0 || m.layer != noLayer:
	case m.part == onList && (m.narrow() || w.X < m.listWidth()):
		m.cursor = min(max(m.cursor+step/3, 0), max(len(m.book.talks)-1, 0))
	case m.book.open != nil:
		m.scrollBy(step)
	}
	return nil
}
