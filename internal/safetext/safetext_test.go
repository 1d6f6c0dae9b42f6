package safetext

import (
	"encoding/json"
	"testing"
)

func TestLine(t *testing.T) {
	for _, c := range []struct{ name, in, line, lines string }{
		{"plain", "hello", "hello", "hello"},
		{"line break and tab", "a\n\tb", `a\u{a}\u{9}b`, "a\n\tb"},
		{"carriage return", "safe\rfake", `safe\u{d}fake`, `safe\u{d}fake`},
		{"escape sequence", "\x1b[31mred", `\u{1b}[31mred`, `\u{1b}[31mred`},
		{"one-byte CSI of C1", "\u009b31m", `\u{9b}31m`, `\u{9b}31m`},
		{"title of the window", "\x1b]0;mine\a", `\u{1b}]0;mine\u{7}`, `\u{1b}]0;mine\u{7}`},
		{"direction", "a\u202eb\u2066c", `a\u{202e}b\u{2066}c`, `a\u{202e}b\u{2066}c`},
		{"not UTF-8", "a\xffb", `a\xffb`, `a\xffb`},
		{"the replacement character itself", "\ufffd", "\ufffd", "\ufffd"},
		{"accents and emoji", "ñ 😀", "ñ 😀", "ñ 😀"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Line(c.in); got != c.line {
				t.Errorf("Line: got %q, want %q", got, c.line)
			}
			if got := Lines(c.in); got != c.lines {
				t.Errorf("Lines: got %q, want %q", got, c.lines)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "hello ñ 😀", `"hello ñ 😀"`},
		{"escape sequence", "\x1b[31m", `"\u001b[31m"`},
		{"one-byte CSI of C1", "\u009b31m", `"\u009b31m"`},
		{"delete", "\x7f", `"\u007f"`},
		{"direction", "a\u202eb", `"a\u202eb"`},
		{"beyond 16 bits", "\U000e0001", `"\udb40\udc01"`},
	} {
		encoded, err := json.Marshal(c.in)
		if err != nil {
			t.Fatal(err)
		}
		got := JSON(encoded)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || string(got) != c.want || back != c.in {
			t.Errorf("%s: got %s, which is %q (%v), want %s", c.name, got, back, err, c.want)
		}
	}
}
