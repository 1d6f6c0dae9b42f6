package chat

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// hostile are texts that would do something to a terminal or to who reads it.
var hostile = []struct{ name, text string }{
	{"colours and cursor", "\x1b[31mred\x1b[2J\x1b[H"},
	{"title of the window", "\x1b]0;mine\a"},
	{"clipboard", "\x1b]52;c;ZXZpbA==\x1b\\"},
	{"link", "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\"},
	{"Kitty graphics", "\x1b_Gf=100;AAAA\x1b\\"},
	{"device control", "\x1bP+q544e\x1b\\"},
	{"C1 in UTF-8", "\u009b31m\u009d0;mine\u009c\u0090q\u009c"},
	{"C1 in bytes", "\x9b31mraw\x9d0;x\x07"},
	{"carriage return and backspace", "safe\rfake\b\b\b\bgone\v\f"},
	{"NUL and bell", "a\x00b\ac\x7fd"},
	{"direction", "abc\u202eevil\u202c \u2066x\u2069 \u200f\u200e\u061c"},
	{"zero width", "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00ad"},
	{"joined emoji", "👨\u200d👩\u200d👧 👍🏽 ❤\ufe0f 🇩🇪 1\ufe0f\u20e3"},
	{"tower of marks", "Z" + strings.Repeat("\u0315\u0489\u0300", 500)},
	{"marks alone", strings.Repeat("\u0301", 300)},
	{"tag characters", "x\U000e0041\U000e007f"},
	{"line separators", "a\u2028b\u2029c\u0085d"},
	{"not UTF-8", "\xff\xfe\xc3\x28\xf0\x9f"},
	{"surrogates in UTF-8", "\xed\xa0\x80"},
	{"private use", "\ue000\uf8ff\U0010fffd"},
	{"wide", strings.Repeat("世", 1000)},
	{"one long line", strings.Repeat("x", 1<<20)},
	{"many lines", strings.Repeat("y\n", 1<<19)},
	{"many tabs", strings.Repeat("\t", 10_000)},
	{"Arabic and Hebrew", "مرحبا שלום"},
	{"styled marks", "\x1b[38;2;1;2;3m\u0301\x1b[m"},
	{"half a sequence", "\x1b["},
}

// everywhere puts a text into all fields that strangers write.
func hostileMessage(n int, text string) Message {
	m := written(n, text)
	m.Source, m.FileName, m.Reason, m.Forged = text, text, text, text
	return m
}

func TestHostileTextInWindows(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			locked, typed, parts, refused := written(5, ""), written(4, ""), written(3, ""), answer(2, h.text)
			locked.Locked, typed.Type, typed.Encryption, parts.Parts = h.text, h.text, h.text, h.text
			refused.State, refused.Reason = Refused, h.text
			f.talks[bobAddress] = []Message{hostileMessage(9, h.text), locked, typed, parts, refused}
			f.order = []string{bobAddress}
			evil := Peer{Address: bobAddress, Name: h.text, Warnings: []string{h.text, h.text}}
			f.names[bobAddress], f.names["bob"] = evil, evil
			s := newScreen(t, f, 80, 24)
			s.press("enter")
			s.tell(newsMsg{Connection: &Connection{Err: h.text}})
			s.tell(newsMsg{Trouble: h.text})
			re := written(1, h.text)
			re.Re = f.talks[bobAddress][0].ID
			s.tell(newsMsg{Message: &re, Fresh: true})
			s.press("esc", "v", "esc", "r", "esc", "esc", "up", "up", "v", "esc", "s", "esc", "/", "x", "enter")
			s.tell(foundMsg{words: "x", found: f.talks[bobAddress]})
			s.press("esc", "home", "pgdown", "end")
			s.tell(tea.PasteMsg{Content: h.text})
			s.tell(tea.WindowSizeMsg{Width: 40, Height: 12})
			s.tell(tea.WindowSizeMsg{Width: 41, Height: 10})
			s.measure = ansi.GraphemeWidth
			clear(s.cache)
			s.tell(tea.WindowSizeMsg{Width: 200, Height: 50})
			// Only colours may be left of escape sequences.
			for _, part := range strings.Split(s.View().Content, "\x1b")[1:] {
				if !strings.HasPrefix(part, "[") || strings.Trim(part[1:strings.IndexAny(part, "m")], "0123456789;:") != "" {
					t.Fatalf("the window holds the sequence ESC %q", part[:min(len(part), 20)])
				}
			}
		})
	}
}

func TestHarmless(t *testing.T) {
	for _, c := range []struct{ name, in, line, lines string }{
		{"plain", "hello", "hello", "hello"},
		{"lines", "a\nb\r\nc", `a\u{a}b\u{d}\u{a}c`, "a\nb\nc"},
		{"a tab", "a\tb", `a\u{9}b`, "a    b"},
		{"escape", "\x1b[1m", `\u{1b}[1m`, `\u{1b}[1m`},
		{"family", "👨\u200d👩\u200d👧", "👨👩👧", "👨👩👧"},
		{"heart", "❤\ufe0f", "❤", "❤"},
		{"joiner between letters", "a\u200db", `a\u{200d}b`, `a\u{200d}b`},
		{"joiner in front of nothing", "👨\u200d", `👨\u{200d}`, `👨\u{200d}`},
		{"not UTF-8 beside a joiner", "👨\u200d👩\xff", `👨👩\xff`, `👨👩\xff`},
		{"direction", "a\u202eb", `a\u{202e}b`, `a\u{202e}b`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := line(c.in); got != c.line {
				t.Errorf("line: got %q, want %q", got, c.line)
			}
			if got := lines(c.in); got != c.lines {
				t.Errorf("lines: got %q, want %q", got, c.lines)
			}
		})
	}
}

func TestLongFieldsAreCut(t *testing.T) {
	m := hostileMessage(1, strings.Repeat("é", 1<<20))
	m.harmless()
	if len(m.Text) > longestText || !m.Cut {
		t.Errorf("text: got %d bytes (cut %t), want %d at most", len(m.Text), m.Cut, longestText)
	}
	for _, s := range []string{m.Source, m.FileName, m.Reason, m.Forged} {
		if len(s) > longestField+3 {
			t.Errorf("a field has %d bytes, want %d at most", len(s), longestField+3)
		}
	}
	m.ID = "../../x"
	m.harmless()
	if m.ID != "" {
		t.Errorf("id: got %q, want none", m.ID)
	}
}

// FuzzWindow: whatever a message says, the window has its size and holds no
// control character.
func FuzzWindow(f *testing.F) {
	for _, h := range hostile {
		if len(h.text) < 1000 {
			f.Add(h.text, 80, 24)
		}
	}
	f.Fuzz(func(t *testing.T, text string, width, height int) {
		b := newFake()
		b.talks[bobAddress] = []Message{hostileMessage(1, text), answer(2, text)}
		b.order = []string{bobAddress}
		s := newScreen(t, b, max(min(width, 300), 1), max(min(height, 100), 1))
		s.press("enter", "esc", "v")
	})
}
