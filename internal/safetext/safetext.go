// Package safetext makes strangers' text harmless where people see it: on a
// terminal, in a log line, in an error.
package safetext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line makes a text safe to print: control characters, escape sequences, text
// that changes its direction and what is no character are shown as what they
// are.
func Line(s string) string { return escape(s, false) }

// Lines is Line that leaves line breaks and tabs.
func Lines(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			fmt.Fprintf(&b, "\\x%02x", s[i])
		case !unicode.IsPrint(r), unicode.Is(unicode.Bidi_Control, r):
			fmt.Fprintf(&b, "\\u{%x}", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// JSON makes the text of a JSON value safe to print, and leaves it the same value:
// what Line would show as what it is becomes an escape of JSON.
func JSON(encoded []byte) []byte {
	var b []byte
	for _, r := range string(encoded) {
		switch {
		case r < utf8.RuneSelf && r != 0x7f, unicode.IsPrint(r) && !unicode.Is(unicode.Bidi_Control, r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
