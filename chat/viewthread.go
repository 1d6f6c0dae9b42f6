package chat

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
)

// mostRows bounds the rows of one message: the rest is in the file that s saves.
const mostRows = 200

// rendered is a message as painted, and what it was painted from.
type rendered struct {
	rows []string
	from paintedFrom
}

type paintedFrom struct {
	state   State
	reason  string
	depth   int32
	day     bool // a date stands above
	first   bool // the beginning of the conversation stands above
	fresh   bool // "new" stands above
	picture bool
	quoted  bool // what it answers is known
	hasID   bool
}

// conversation paints the open conversation, from a column on.
func (m *Model) conversation(left int) ([]string, *tea.Cursor) {
	if m.book.open == nil {
		return []string{"", "  " + m.look.dim.Render("Choose a conversation, or begin one with n.")}, nil
	}
	rows := m.heading()
	items := m.items()
	shown := m.shownRows(items)
	if len(items) == 0 {
		text := "nothing yet: write the first message"
		if !m.book.open.thread.read {
			text = "reading..."
			if !m.book.online.Up {
				text = "what was said is read when the server answers"
			}
		}
		shown = []string{"  " + m.look.dim.Render(text)}
	}
	for range m.threadHeight() - len(shown) {
		rows = append(rows, "") // messages stand at the bottom
	}
	rows = append(rows, shown...)
	rows = append(rows, m.rule())
	top := len(rows)
	rows = append(rows, strings.Split(visible(m.writing.View()), "\n")...)
	if m.part != onCompose || m.layer != noLayer {
		return rows, nil
	}
	cursor := m.writing.Cursor()
	if cursor != nil {
		cursor.X += left
		cursor.Y += top + 1 // the title
	}
	return rows, cursor
}

// visible leaves out of what is typed the characters that nobody sees: they are
// sent, and would only disturb how wide a row is.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, s)
}

// mostWarnings is how many warnings about a peer a small window has rows for.
const mostWarnings = 2

// headingRows is how many rows the heading has.
func (m *Model) headingRows() int {
	if m.book.open == nil {
		return 0
	}
	return 1 + min(len(m.book.open.peer.Warnings), mostWarnings)
}

// heading says whose conversation it is: name and whole address, then what is to
// be known.
func (m *Model) heading() []string {
	t := m.book.open
	if t == nil {
		return nil
	}
	width := m.threadWidth()
	head := " " + t.peer.Label()
	if t.peer.Address == m.book.self.Address {
		head = " notes to yourself"
	}
	if t.peer.Name != "" {
		head += "  " + t.peer.Address
		if m.measure.StringWidth(head) > width {
			head = " " + t.peer.Name + "  " + short(t.peer.Address)
		}
	}
	rows := []string{m.look.bold.Render(cut(m.measure, head, width))}
	for i, w := range t.peer.Warnings {
		if i == mostWarnings {
			break
		}
		rows = append(rows, m.look.bad.Render(cut(m.measure, " ! "+w, width)))
	}
	return rows
}

// rule is the line between messages and writing; it says what is answered and
// what is further down.
func (m *Model) rule() string {
	t, text, end := m.book.open, "", "G"
	if m.part == onCompose {
		end = "pgdn"
	}
	switch {
	case m.re != "":
		if a := t.held(m.re); a != nil {
			text = " answering: " + oneLine(a) + " "
		}
	case t.thread.loading:
		text = " reading... "
	case t.missed > 0:
		text = fmt.Sprintf(" %d newer below: %s ", t.missed, end)
	case !m.scroll.follow:
		text = " more below: " + end + " "
	}
	if m.part != onCompose && m.re == "" {
		text += map[bool]string{true: " tab: write ", false: " enter: write "}[m.part == onList]
	}
	width := m.threadWidth()
	text = cut(m.measure, text, width-4)
	line := "──" + text
	return m.look.dim.Render(line + strings.Repeat("─", max(width-m.measure.StringWidth(line), 0)))
}

// shownRows paints the messages that the window shows.
func (m *Model) shownRows(items []*Message) []string {
	if len(items) == 0 {
		return nil
	}
	at, skip := m.place(items)
	var rows []string
	for ; at < len(items) && len(rows) < m.threadHeight()+skip; at++ {
		gutter := " "
		if m.part == onThread && items[at].key() == m.scroll.cursor {
			gutter = m.look.mine.Render("▌")
		}
		for _, r := range m.paint(items, at) {
			rows = append(rows, gutter+r)
		}
	}
	rows = rows[min(skip, len(rows)):]
	return rows[:min(len(rows), m.threadHeight())]
}

// rowsOf returns how many rows a message takes.
func (m *Model) rowsOf(items []*Message, at int) int { return len(m.paint(items, at)) }

// paint returns the rows of a message, less the column of the cursor.
func (m *Model) paint(items []*Message, at int) []string {
	i, t := items[at], m.book.open
	from := paintedFrom{state: i.State, reason: i.Reason, depth: m.book.depth(i), picture: i.Picture != nil && m.colours, hasID: i.ID != "",
		first: at == 0 && t.start, fresh: t.first != "" && t.first == i.key(), day: at == 0 || m.day(items[at-1].Time) != m.day(i.Time)}
	answered := m.answered(i)
	from.quoted = answered != nil
	key := i.key()
	if c, ok := m.cache[key]; ok && c.from == from {
		return c.rows
	}
	width := max(m.threadWidth()-1, 1)
	var rows []string
	if from.first {
		rows = append(rows, m.middle("the beginning", width))
	}
	if from.day && i.Time > 0 {
		rows = append(rows, m.middle(m.day(i.Time), width))
	}
	if from.fresh {
		rows = append(rows, m.look.wait.Render(m.middleText("new", width)))
	}
	rows = append(rows, m.head(i, width))
	rows = append(rows, m.warnings(i, width)...)
	if i.Re != "" {
		rows = append(rows, m.quoteRow(answered, width))
	}
	for _, r := range m.bodyRows(i, width-2) {
		rows = append(rows, "  "+r)
	}
	m.cache[key] = rendered{rows, from}
	return rows
}

func (m *Model) day(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return time.UnixMilli(ms).In(m.now().Location()).Format("Monday 2 January 2006")
}

// when writes a time as shortly as it is clear.
func (m *Model) when(ms int64) string {
	if ms <= 0 {
		return ""
	}
	at, now := time.UnixMilli(ms).In(m.now().Location()), m.now()
	switch {
	case at.Year() == now.Year() && at.YearDay() == now.YearDay():
		return at.Format("15:04")
	case at.Year() == now.Year():
		return at.Format("2 Jan")
	}
	return at.Format("2006-01-02")
}

func (m *Model) middle(text string, width int) string {
	return m.look.dim.Render(m.middleText(text, width))
}

func (m *Model) middleText(text string, width int) string {
	text = " " + text + " "
	side := max((width-m.measure.StringWidth(text))/2, 0)
	return strings.Repeat("─", side) + text + strings.Repeat("─", max(width-side-m.measure.StringWidth(text), 0))
}

// head says who, when, by which key and what became of it.
func (m *Model) head(i *Message, width int) string {
	who, paint := i.Source, m.look.theirs
	if i.Mine {
		who, paint = "you", m.look.mine
	}
	if who == i.Address {
		who = short(who)
	}
	clock := ""
	if i.Time > 0 {
		clock = time.UnixMilli(i.Time).In(m.now().Location()).Format(" 15:04")
	}
	state, colour := m.state(i)
	room := width - m.measure.StringWidth(state) - 1
	sealed := ""
	if i.Encryption != "plain" && i.Encryption != "" {
		sealed = "  " + i.Encryption
	}
	left := paint.Render(cut(m.measure, who, max(room-14-len(sealed), 8))) + m.look.dim.Render(clock)
	signed := "  signed by " + short(i.Address)
	switch {
	case i.Draft != "" && i.ID == "", i.Forged != "":
		signed = ""
	case m.measure.StringWidth(left+signed+sealed) > room:
		signed = "  signed"
	}
	return fit(m.measure, left+m.look.dim.Render(signed+sealed), room+1) + colour.Render(state)
}

// state says what became of a message.
func (m *Model) state(i *Message) (string, lookStyle) {
	switch i.State {
	case Confirmed:
		return fmt.Sprintf("confirmed %d", m.book.depth(i)), m.look.good
	case Seen:
		return "seen", m.look.wait
	case Unconfirmed:
		return "unconfirmed again", m.look.wait
	case Queued:
		if m.book.online.Up {
			return "queued", m.look.wait
		}
		return "queued (offline)", m.look.wait
	case Sending:
		return "sending", m.look.wait
	}
	return string(i.State), m.look.bad
}

// warnings say what is wrong with a message.
func (m *Model) warnings(i *Message, width int) (rows []string) {
	add := func(text string) {
		for _, r := range wrapped(m.measure, text, width-2, 4) {
			rows = append(rows, "  "+m.look.bad.Render(r))
		}
	}
	if i.Forged != "" {
		add("NOT VERIFIED: " + i.Forged)
	}
	if i.State == Refused || i.State == Dropped {
		reason := i.Reason
		if reason == "" {
			reason = "no reason was given"
		}
		add(string(i.State) + ": " + reason)
	}
	if i.Copied {
		add("copied here: its sender meant somebody else")
	}
	return rows
}

// answered returns the message that another answers, nil when it isn't known
// (yet).
func (m *Model) answered(i *Message) *Message {
	if i.Re == "" {
		return nil
	}
	if a := m.book.open.held(i.Re); a != nil {
		return a
	}
	return m.quotes[i.Re]
}

func (m *Model) quoteRow(a *Message, width int) string {
	text := "answers a message that isn't here"
	if a != nil {
		who := a.Source
		if a.Mine {
			who = "you"
		} else if who == a.Address {
			who = short(who)
		}
		text = who + ": " + oneLine(a)
	}
	return "  " + m.look.dim.Render(cut(m.measure, "│ "+text, width-2))
}

// bodyRows paints what a message says.
func (m *Model) bodyRows(i *Message, width int) []string {
	switch {
	case i.Locked != "":
		return m.dimRows(fmt.Sprintf("(%s; %s)", i.Locked, size(i.Size)), width)
	case i.Parts != "":
		return m.dimRows("("+i.Parts+")", width)
	case i.Picture != nil && m.colours:
		rows := i.Picture.rows(min(width, 48), max(min(m.threadHeight()/2, 16), 3))
		return append(rows, m.dimRows(fmt.Sprintf("%s %d x %d, %s", named(i), i.Picture.Width, i.Picture.Height, size(i.Size)), width)...)
	case i.Text != "" || i.Type == "text" && i.Size == 0:
		rows := wrapped(m.measure, i.Text, width, mostRows)
		if i.Cut {
			rows = append(rows, m.dimRows(fmt.Sprintf("(cut here; s saves all %s)", size(i.Size)), width)...)
		}
		return rows
	}
	return m.dimRows(fmt.Sprintf("(%s, %s: s saves it)", named(i), size(i.Size)), width)
}

func (m *Model) dimRows(text string, width int) []string {
	rows := wrapped(m.measure, text, width, 6)
	for i, r := range rows {
		rows[i] = m.look.dim.Render(r)
	}
	return rows
}

// named is what a message that isn't text is called.
func named(i *Message) string {
	if i.FileName != "" {
		return i.FileName + ", " + i.Type
	}
	return i.Type
}

// size writes a number of bytes for people.
func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
