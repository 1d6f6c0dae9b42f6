package chat

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/metaim/metaim/internal/safetext"
)

// Bounds of what one field of a message may hold in memory, in bytes.
const (
	longestText  = 16 << 10
	longestField = 300
)

// line makes one field of a stranger's harmless: a line without control
// characters, at most longestField bytes.
func line(s string) string {
	s, cut := shorten(s, longestField)
	if cut {
		s += "..."
	}
	return safetext.Line(plainEmoji(s))
}

// lines does the same for a text of many lines. Tabs become spaces: what they
// move the cursor by is the terminal's secret.
func lines(s string) string {
	s, _ = shorten(s, longestText)
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.ReplaceAll(safetext.Lines(plainEmoji(s)), "\t", "    ")
}

// shorten cuts a text to so many bytes, between characters.
func shorten(s string, most int) (string, bool) {
	if len(s) <= most {
		return s, false
	}
	at := most
	for at > most-4 && s[at]&0xc0 == 0x80 {
		at--
	}
	return s[:at], true
}

// plainEmoji takes the invisible characters out of emoji: joiners between two
// pictures, and the choice between a picture and a letter. Terminals disagree on
// how wide the joined ones are, which would break columns; apart, they agree.
// Between letters such characters stay, and are shown as what they are.
func plainEmoji(s string) string {
	const joiner, textForm, pictureForm = '\u200d', '\ufe0e', '\ufe0f'
	if !strings.ContainsAny(s, "\u200d\ufe0e\ufe0f") {
		return s
	}
	var b strings.Builder
	last := ' '
	for i, r := range s {
		switch {
		case r == textForm, r == pictureForm:
			continue
		case r == joiner && pictorial(last) && pictorialNext(s[i+len("\u200d"):]):
			continue
		}
		if r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\ufffd") {
			b.WriteByte(s[i]) // not UTF-8: safetext shows it
		} else {
			b.WriteRune(r)
		}
		last = r
	}
	return b.String()
}

func pictorialNext(s string) bool {
	for _, r := range s {
		return pictorial(r)
	}
	return false
}

// pictorial tells the characters that emoji are made of.
func pictorial(r rune) bool {
	return r >= 0x1f000 && r <= 0x1faff || r >= 0x2190 && r <= 0x2bff && unicode.IsSymbol(r) || unicode.Is(unicode.Variation_Selector, r)
}

// A measure tells how wide text is on the terminal: by characters, as most count,
// or by what is seen as one, as some can be asked to.
type measure = ansi.Method

// stacked bounds the marks on one letter: a tower of them would paint over the
// lines above.
const stacked = 4

// unstack takes away what is over that many marks in a row.
func unstack(s string) string {
	marks := 0
	return strings.Map(func(r rune) rune {
		if !unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Me, r) {
			marks = 0
			return r
		}
		if marks++; marks > stacked {
			return -1
		}
		return r
	}, s)
}

// harmless makes all that strangers wrote in a message printable. It is called
// where a message enters a book, and nowhere else.
func (m *Message) harmless() {
	for _, s := range []*string{&m.Source, &m.Address, &m.Reason, &m.Forged, &m.Encryption, &m.Locked, &m.Type, &m.FileName, &m.Parts} {
		*s = unstack(line(*s))
	}
	for _, s := range []*string{&m.ID, &m.TxID, &m.Re} {
		*s = hexOnly(*s)
	}
	m.State = State(line(string(m.State)))
	m.Cut = m.Cut || len(m.Text) > longestText
	m.Text = unstack(lines(m.Text))
}

// hexOnly returns an id, or nothing when the text is none.
func hexOnly(s string) string {
	if len(s) > 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

// harmless does for a peer what Message.harmless does.
func (p *Peer) harmless() {
	p.Address, p.Name = line(p.Address), unstack(line(p.Name))
	warnings := make([]string, len(p.Warnings))
	for i, w := range p.Warnings {
		warnings[i] = line(w)
	}
	p.Warnings = warnings
}

// wrapped breaks a text into rows that are at most so wide, and gives up after
// most rows.
func wrapped(how measure, text string, width, most int) []string {
	width = max(width, 1)
	var rows []string
	for part := range strings.SplitSeq(text, "\n") {
		for row := range strings.SplitSeq(wrapLine(how, part, width), "\n") {
			if len(rows) == most {
				return append(rows, "...")
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func wrapLine(how measure, s string, width int) string {
	if how.StringWidth(s) <= width {
		return s
	}
	return how.Wrap(s, width, " -/")
}

// fit cuts or fills a line so that it is exactly so wide. It may hold colours.
func fit(how measure, s string, width int) string {
	w := how.StringWidth(s)
	if w > width {
		s = how.Truncate(s, width, "…")
		w = how.StringWidth(s)
	}
	return s + strings.Repeat(" ", max(width-w, 0))
}

// cut shortens a line that is wider.
func cut(how measure, s string, width int) string {
	if how.StringWidth(s) <= width {
		return s
	}
	return how.Truncate(s, max(width, 0), "…")
}

// short abbreviates an address: its beginning and its end.
func short(address string) string {
	if len(address) < 16 {
		return address
	}
	return address[:6] + "…" + address[len(address)-4:]
}
