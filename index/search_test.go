package index_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/index"
)

func TestWords(t *testing.T) {
	many := make([]string, 6_000)
	for i := range many {
		many[i] = fmt.Sprint("w", i)
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"no letters", " .,;-\x00\n\t🙂👍", nil},
		{"case and signs", "Hello, World! hello", []string{"hello", "world"}},
		{"accents, composed or not", "Café cafe\u0301 ÅNGSTRÖM", []string{"cafe", "angstrom"}},
		{"compatibility", "Ⅷ ﬁsh ①② ｆｕｌｌ", []string{"viii", "fish", "12", "full"}},
		{"what databases take for syntax", `"a" OR b* NEAR(c, 2) -d ^e : f'; DROP TABLE`, []string{"a", "or", "b", "near", "c", "2", "d", "e", "f", "drop", "table"}},
		{"marks of the index", "@ @@ @abc a@b", []string{"abc", "a", "b"}},
		{"a NUL parts words", "a\x00b", []string{"a", "b"}},
		{"right to left, with signs of direction", "שלום \u202eעו\u200fלם\u202c", []string{"שלום", "עולם"}},
		{"points and vowels", "שָׁלוֹם", []string{"שלום"}},
		{"no spaces between words", "你好 とaカb", []string{"你", "好", "と", "a", "カ", "b"}},
		{"digits of others", "١٢ ४२", []string{"١٢", "४२"}},
		{"not UTF-8", "a\xffb\xc3", []string{"a", "b"}},
		{"sharp s stays", "Straße STRASSE", []string{"straße", "strasse"}},
		{"long words are cut", strings.Repeat("a", 70) + " " + strings.Repeat("é", 70) + " " + strings.Repeat("ж", 33),
			[]string{strings.Repeat("a", 64), strings.Repeat("e", 64), strings.Repeat("ж", 32)}},
		{"many words", strings.Join(many, " "), many[:5_000]},
		{"many words, not of ASCII", "é " + strings.Join(many, " "), append([]string{"e"}, many[:4_999]...)},
		{"a long text", "first " + strings.Repeat("x ", 64<<10) + "last", []string{"first", "x"}},
		{"a cut in a letter", strings.Repeat(".", 64<<10-1) + "é", nil},
		{"a cut in a word", strings.Repeat(".", 64<<10-2) + "éa", []string{"e"}},
	} {
		if got := index.Words(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTerms(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"Hello wor* ", []string{"hello", "wor*"}},
		{"a* é*", []string{"a", "e"}},
		{"well-kno* * \"x\"", []string{"well", "kno*", "x"}},
		{"你*", []string{"你*"}},
		{"a*b ab ab", []string{"a", "b", "ab"}},
	} {
		got := index.Terms(c.text)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
		if err := (&index.EntryQuery{Limit: 1, Words: got}).Check(); err != nil {
			t.Errorf("%q: a query of its terms is refused: %v", c.text, err)
		}
	}
}

func TestQueryOfWords(t *testing.T) {
	for _, c := range []struct {
		name  string
		words []string
		ok    bool
	}{
		{"none", nil, true},
		{"words", []string{"hello", "wor*", "你"}, true},
		{"upper case", []string{"Hello"}, false},
		{"two in one", []string{"a b"}, false},
		{"empty", []string{""}, false},
		{"only a star", []string{"*"}, false},
		{"a short prefix", []string{"a*"}, false},
		{"a star inside", []string{"a*b"}, false},
		{"a quote", []string{`"a"`}, false},
		{"a mark of the index", []string{"@a"}, false},
		{"not composed", []string{"é"}, false},
		{"not UTF-8", []string{"a\xff"}, false},
		{"too long", []string{strings.Repeat("a", 65)}, false},
		{"32", slices.Repeat([]string{"a"}, 32), true},
		{"33", slices.Repeat([]string{"a"}, 33), false},
	} {
		if err := (&index.EntryQuery{Limit: 1, Words: c.words}).Check(); (err == nil) != c.ok {
			t.Errorf("%s: got %v, want it taken: %v", c.name, err, c.ok)
		}
	}
}

func TestHasWords(t *testing.T) {
	message := func(change func(*improtocol.Message)) *improtocol.Message {
		m := &improtocol.Message{Type: "text", Encryption: "plain", Body: []byte("Hello, wide world")}
		change(m)
		return m
	}
	for _, c := range []struct {
		name  string
		m     *improtocol.Message
		words []string
		want  bool
	}{
		{"all there", message(func(*improtocol.Message) {}), []string{"hello", "wor*"}, true},
		{"one missing", message(func(*improtocol.Message) {}), []string{"hello", "word"}, false},
		{"no such prefix", message(func(*improtocol.Message) {}), []string{"worr*"}, false},
		{"encrypted", message(func(m *improtocol.Message) { m.Encryption = "ECC" }), []string{"hello"}, false},
		{"another type", message(func(m *improtocol.Message) { m.Type = "text/plain" }), []string{"hello"}, false},
		{"not UTF-8", message(func(m *improtocol.Message) { m.Body = append(m.Body, 0xff) }), []string{"hello"}, false},
		{"no message", nil, []string{"hello"}, false},
	} {
		if got := index.HasWords(c.m, c.words); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzWords: every word is one that a query may ask for, so that the words of words
// are the words, and bounds hold whatever the text.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "Hello, wörld", "\xff\x00", "İﬁⅧ你好", strings.Repeat("é", 100), "ẞ ﷺ \u0345"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := index.Words(text)
		if len(words) > 5_000 {
			t.Fatalf("%d words", len(words))
		}
		for _, w := range words {
			if again := index.Words(w); len(w) > 64 || !utf8.ValidString(w) || len(again) != 1 || again[0] != w {
				t.Fatalf("the word %q of %q: its words are %q", w, text, again)
			}
			if strings.ContainsAny(w, " @\"'*\x00") {
				t.Fatalf("the word %q of %q holds what engines read as syntax", w, text)
			}
		}
	})
}

// TestWordsOfLetters asks every character what FuzzWords asks texts.
func TestWordsOfLetters(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		for _, w := range index.Words(string(r)) {
			if again := index.Words(w); len(again) != 1 || again[0] != w {
				t.Errorf("%U: the words of its word %q are %q", r, w, again)
			}
		}
	}
}
