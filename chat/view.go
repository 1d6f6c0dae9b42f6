package chat

import (
	"fmt"
	"strings"

	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// Sizes in cells.
const (
	leastWidth  = 40
	leastHeight = 10
	twoPanes    = 72 // columns from which on list and messages stand side by side
	promptWidth = 8
	listRows    = 2 // of one conversation
)

func (m *Model) tooSmall() bool { return m.width < leastWidth || m.height < leastHeight }

// narrow tells whether only the list or the messages are shown.
func (m *Model) narrow() bool { return m.width < twoPanes }

func (m *Model) listWidth() int {
	if m.narrow() {
		return m.width
	}
	return min(max(m.width/3, 24), 40)
}

func (m *Model) threadWidth() int {
	if m.narrow() {
		return m.width
	}
	return m.width - m.listWidth() - 1
}

// visibleThread tells whether the open conversation can be seen.
func (m *Model) visibleThread() bool {
	return m.width > 0 && !m.tooSmall() && (!m.narrow() || m.part != onList)
}

// listHeight is the rows that the list has: all but title and status.
func (m *Model) listHeight() int { return max(m.height-2, 1) }

// threadHeight is the rows that messages have: less the conversation's heading,
// the line above the field that is written in, and the field.
func (m *Model) threadHeight() int {
	used := m.headingRows() + 1 + m.writing.Height()
	return max(m.listHeight()-used, 1)
}

// resize fits the fields that are written in to the window.
func (m *Model) resize() {
	if m.tooSmall() {
		return
	}
	m.writing.SetPromptFunc(promptWidth, m.writingPrompt)
	m.writing.SetWidth(m.threadWidth())
	m.grow()
	m.prompt.input.SetWidth(max(m.width-30, 10))
	clear(m.cache)
}

// grow makes the field as high as what is in it, up to a third of the window.
func (m *Model) grow() {
	if m.tooSmall() {
		return
	}
	rows := 0
	width := max(m.writing.Width(), 1)
	for l := range strings.SplitSeq(m.writing.Value(), "\n") {
		rows += 1 + m.measure.StringWidth(l)/width
		if rows > m.height {
			break
		}
	}
	m.writing.SetHeight(min(max(rows, 1), m.mostWriting()))
}

// mostWriting is how many rows the field that is written in has at most.
func (m *Model) mostWriting() int { return max((m.height-4)/3, 1) }

// write puts a text into the field.
func (m *Model) write(text string) {
	m.writing.SetHeight(m.mostWriting())
	m.writing.SetValue(text)
	m.grow()
}

func (m *Model) writingPrompt(p textarea.PromptInfo) string {
	switch {
	case p.LineNumber > 0:
		return strings.Repeat(" ", promptWidth)
	case m.book.open != nil && m.book.open.isSealed():
		return "sealed> "
	}
	return "public> "
}

func (m *Model) restyle() {
	s := textarea.DefaultDarkStyles()
	plain := lipgloss.NewStyle()
	for _, state := range []*textarea.StyleState{&s.Focused, &s.Blurred} {
		state.CursorLine, state.Text, state.EndOfBuffer, state.Base = plain, plain, plain, plain
		state.Prompt, state.Placeholder = m.look.dim, m.look.dim
	}
	s.Focused.Prompt = m.look.bold
	s.Cursor.Color = nil
	m.writing.SetStyles(s)
	clear(m.cache)
}

// View paints the window.
func (m *Model) View() tea.View {
	if m.width == 0 || m.height == 0 {
		return m.window("", nil)
	}
	if m.tooSmall() {
		text := fmt.Sprintf("The window is %d by %d: chat needs %d by %d at least. Ctrl-C ends.", m.width, m.height, leastWidth, leastHeight)
		rows := wrapped(m.measure, text, m.width, m.height)
		return m.window(strings.Join(rows[:min(len(rows), m.height)], "\n"), nil)
	}
	var rows []string
	var cursor *tea.Cursor
	switch m.layer {
	case helpLayer:
		rows = m.helpRows()
	case detailLayer:
		rows = m.detailRows()
	case resultLayer:
		rows = m.resultRows()
	default:
		rows, cursor = m.mainRows()
	}
	rows = append([]string{m.title()}, rows...)
	for len(rows) < m.height-1 {
		rows = append(rows, "")
	}
	rows = rows[:m.height-1]
	status, at := m.status()
	if at >= 0 {
		cursor = tea.NewCursor(at, m.height-1)
	}
	rows = append(rows, status)
	for i, r := range rows {
		rows[i] = fit(m.measure, r, m.width)
	}
	return m.window(strings.Join(rows, "\n"), cursor)
}

func (m *Model) window(content string, cursor *tea.Cursor) tea.View {
	v := tea.NewView(content)
	v.AltScreen, v.ReportFocus, v.Cursor = true, true, cursor
	v.WindowTitle = "metaim"
	if n, _ := m.book.unread(); n > 0 {
		v.WindowTitle = fmt.Sprintf("metaim (%d)", n)
	}
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	return v
}

// title is the first row.
func (m *Model) title() string {
	left := " metaim  " + m.book.self.Label()
	if m.book.self.Name != "" {
		left += " " + short(m.book.self.Address)
	}
	right := ""
	if n, more := m.book.unread(); n > 0 {
		right = fmt.Sprintf("%d unread ", n)
		if more {
			right = fmt.Sprintf("%d+ unread ", n)
		}
	}
	return m.look.bar.Render(m.spread(left, right, m.width))
}

// spread writes two texts at both ends of a row.
func (m *Model) spread(left, right string, width int) string {
	room := width - m.measure.StringWidth(right)
	if room < 8 {
		return fit(m.measure, left, width)
	}
	return fit(m.measure, left, room) + right
}

// mainRows paints list and conversation.
func (m *Model) mainRows() ([]string, *tea.Cursor) {
	switch {
	case m.narrow() && m.part == onList:
		return m.list(), nil
	case m.narrow():
		return m.conversation(0)
	}
	list := m.list()
	right, cursor := m.conversation(m.listWidth() + 1)
	rows := make([]string, m.listHeight())
	bar := m.look.dim.Render("│")
	for i := range rows {
		var l, r string
		if i < len(list) {
			l = list[i]
		}
		if i < len(right) {
			r = right[i]
		}
		rows[i] = fit(m.measure, l, m.listWidth()) + bar + fit(m.measure, r, m.threadWidth())
	}
	return rows, cursor
}

// list paints the conversations.
func (m *Model) list() []string {
	width := m.listWidth()
	if len(m.book.talks) == 0 {
		text := "No conversations yet. n begins one with a name or an address."
		if !m.book.online.Up {
			text = "No conversations are known here yet, and the server doesn't answer."
		}
		rows := []string{""}
		for _, r := range wrapped(m.measure, text, width-2, 10) {
			rows = append(rows, " "+m.look.dim.Render(r))
		}
		return rows
	}
	fits := max(m.listHeight()/listRows, 1)
	m.cursor = min(m.cursor, len(m.book.talks)-1)
	if m.cursor < m.listTop {
		m.listTop = m.cursor
	}
	if m.cursor >= m.listTop+fits {
		m.listTop = m.cursor - fits + 1
	}
	m.listTop = max(min(m.listTop, len(m.book.talks)-fits), 0)
	var rows []string
	for i := m.listTop; i < len(m.book.talks) && len(rows)+listRows <= m.listHeight(); i++ {
		rows = append(rows, m.listItem(m.book.talks[i], i == m.cursor, width)...)
	}
	return rows
}

// listItem paints one conversation: who and when, then the beginning of the last
// message.
func (m *Model) listItem(t *talk, here bool, width int) []string {
	gutter, label := " ", m.look.bold.Render
	switch {
	case here && m.part == onList:
		gutter, label = ">", m.look.mine.Render
	case t == m.book.open:
		gutter = "│"
	}
	right := ""
	switch {
	case t.unread >= mostUnread:
		right = fmt.Sprintf("(%d+) ", mostUnread)
	case t.uncounted:
		right = "(new) "
	case t.unread > 0:
		right = fmt.Sprintf("(%d) ", t.unread)
	}
	when := ""
	if t.last != nil {
		when = m.when(t.last.Time)
	}
	mark := ""
	if len(t.peer.Warnings) > 0 {
		mark = "! "
	}
	room := width - 1 - len(mark) - len(right) - m.measure.StringWidth(when) - 2
	name := t.peer.Label()
	if t.peer.Name == "" {
		name = short(t.peer.Address)
	} else if m.measure.StringWidth(name)+14 < room {
		name += " " + short(t.peer.Address)
	}
	if t.peer.Address == m.book.self.Address {
		name = "notes to yourself"
	}
	name = cut(m.measure, name, room)
	head := gutter + m.look.bad.Render(mark) + label(name)
	pad := width - m.measure.StringWidth(head) - len(right) - m.measure.StringWidth(when) - 1
	head += strings.Repeat(" ", max(pad, 1)) + m.look.wait.Render(right) + m.look.dim.Render(when)
	return []string{head, gutter + m.look.dim.Render(cut(m.measure, previewOf(t), width-3))}
}

// previewOf is the last message of a conversation in one line.
func previewOf(t *talk) string {
	if n := len(t.drafts); n > 0 {
		return fmt.Sprintf("%s: %s", t.drafts[n-1].State, oneLine(&t.drafts[n-1]))
	}
	if t.last == nil {
		return "nothing yet"
	}
	if t.last.Mine {
		return "you: " + oneLine(t.last)
	}
	return oneLine(t.last)
}

// oneLine is what a message says in one line.
func oneLine(m *Message) string {
	switch {
	case m.Forged != "":
		return "(NOT VERIFIED)"
	case m.Locked != "":
		return "(" + m.Locked + ")"
	case m.Text != "":
		text, _, _ := strings.Cut(m.Text, "\n")
		text, _ = shorten(text, 400)
		return text
	case m.FileName != "":
		return "(" + m.FileName + ")"
	}
	return "(" + m.Type + ")"
}

// status is the last row, and where the cursor stands in it, -1 when it doesn't.
func (m *Model) status() (string, int) {
	if m.layer == promptLayer {
		asks := map[promptKind]string{askWho: "To whom (name or address): ", askWords: "Search for: ",
			askSave: "Save as: ", askFile: "Send the file: "}[m.prompt.asks]
		at := len(asks)
		if c := m.prompt.input.Cursor(); c != nil {
			at += c.X
		}
		return m.look.note.Render(asks) + visible(m.prompt.input.View()), at
	}
	if m.note.text != "" {
		paint := m.look.note
		if m.note.bad {
			paint = m.look.bad
		}
		return paint.Render(cut(m.measure, m.note.text, m.width)), -1
	}
	left, paint := m.connection()
	hint := "f1 keys "
	if m.part != onCompose {
		hint = "? keys "
	}
	room := m.width - len(hint)
	return paint.Render(fit(m.measure, " "+left, room)) + m.look.dim.Render(hint), -1
}

// connection says how things stand with the server.
func (m *Model) connection() (string, lookStyle) {
	waiting := 0
	for _, t := range m.book.talks {
		for i := range t.drafts {
			if s := t.drafts[i].State; s == Queued || s == Sending {
				waiting++
			}
		}
	}
	queue := ""
	if waiting > 0 {
		queue = fmt.Sprintf(", %d to send", waiting)
	}
	c := m.book.online
	switch {
	case c.Up:
		return fmt.Sprintf("connected%s, block %d", queue, m.book.tip-1), m.look.good
	case c.Err == "":
		return "connecting" + queue, m.look.wait
	}
	return fmt.Sprintf("offline%s: %s", queue, lineOf(c.Err)), m.look.wait
}
