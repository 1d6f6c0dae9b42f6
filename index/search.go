package index

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/metaim/metaim/improtocol"
)

// What a search knows of a text, and what it may ask for. docs/spec/index.md,
// "Search".
const (
	searchedBytes = 64 << 10 // of a text, from its beginning
	mostWords     = 5_000    // of a text
	longestWord   = 64       // bytes; longer ones are cut
	mostTerms     = 32       // of a query
	leastPrefix   = 2        // bytes before the *
)

// Words splits text into the words that search finds it by: lower case, NFKD
// without marks, letters and digits; each at most 64 bytes; at most 5,000 from the
// first 64 KiB. Each is there once, in the order of the text. Of scripts that put
// no spaces between words (Han, Hiragana, Katakana) each letter is a word.
func Words(text string) []string {
	if len(text) > searchedBytes {
		text = whole(text[:searchedBytes])
	}
	var s splitter
	i := strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	if i < 0 {
		s.ascii(text)
		return s.list
	}
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(text, " ")) {
		if s.full() {
			return s.list
		}
		s.add(r)
	}
	s.end()
	return s.list
}

// whole takes off the part of a character that a cut has left at the end.
func whole(text string) string {
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if b := text[len(text)-i]; utf8.RuneStart(b) {
			if !utf8.FullRuneInString(text[len(text)-i:]) {
				return text[:len(text)-i]
			}
			break
		}
	}
	return text
}

// A splitter gathers words letter by letter.
type splitter struct {
	word []byte
	list []string
	met  map[string]struct{} // once there are many
}

const fewWords = 24 // are looked through one by one

// ascii gathers the words of a text of ASCII.
func (s *splitter) ascii(text string) {
	for i := 0; i < len(text) && !s.full(); i++ {
		switch b := text[i]; {
		case 'a' <= b && b <= 'z' || '0' <= b && b <= '9':
			if len(s.word) < longestWord {
				s.word = append(s.word, b)
			}
		case 'A' <= b && b <= 'Z':
			if len(s.word) < longestWord {
				s.word = append(s.word, b+'a'-'A')
			}
		case len(s.word) > 0:
			s.end()
		}
	}
	s.end()
}

func (s *splitter) full() bool { return len(s.list) == mostWords }

func (s *splitter) add(r rune) {
	switch {
	case r < utf8.RuneSelf:
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			s.append(r)
		case 'A' <= r && r <= 'Z':
			s.append(r + 'a' - 'A')
		default:
			s.end()
		}
	case unicode.Is(unicode.M, r) || unicode.Is(unicode.Cf, r):
		// An accent, or what says how to write the letters beside it.
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) && unicode.IsLetter(r):
		s.end()
		s.append(r)
		s.end()
	case unicode.IsLetter(r) || unicode.IsDigit(r):
		s.append(unicode.ToLower(r))
	default:
		s.end()
	}
}

func (s *splitter) append(r rune) {
	if len(s.word)+utf8.RuneLen(r) > longestWord {
		return
	}
	s.word = utf8.AppendRune(s.word, r)
}

func (s *splitter) end() {
	if len(s.word) == 0 {
		return
	}
	if !s.has() && !s.full() {
		word := string(s.word)
		if s.list = append(s.list, word); s.met != nil {
			s.met[word] = struct{}{}
		}
	}
	s.word = s.word[:0]
}

// has tells whether the word was met before.
func (s *splitter) has() bool {
	if len(s.list) < fewWords {
		return slices.ContainsFunc(s.list, func(w string) bool { return w == string(s.word) })
	}
	if s.met == nil {
		s.met = make(map[string]struct{}, 4*fewWords)
		for _, w := range s.list {
			s.met[w] = struct{}{}
		}
	}
	_, there := s.met[string(s.word)]
	return there
}

// Terms splits what somebody searches for into the words of an [EntryQuery]: a *
// right behind a word makes it a prefix.
func Terms(text string) []string {
	var terms []string
	for part := range strings.FieldsSeq(text) {
		words := Words(part)
		if n := len(words); n > 0 && strings.HasSuffix(part, "*") && len(words[n-1]) >= leastPrefix {
			words[n-1] += "*"
		}
		for _, word := range words {
			if !slices.Contains(terms, word) {
				terms = append(terms, word)
			}
		}
	}
	return terms
}

// Searchable tells whether a message can be found by its words: a text, not
// encrypted, in UTF-8.
func Searchable(m *improtocol.Message) bool {
	return m != nil && m.Type == improtocol.Text && m.Encryption == improtocol.Plain && utf8.Valid(m.Body)
}

// WordsOf returns the words of a message's text.
func WordsOf(m *improtocol.Message) []string {
	return Words(string(m.Body[:min(len(m.Body), searchedBytes+utf8.UTFMax)]))
}

// HasWords tells whether a message can be found by all of the terms of a query.
func HasWords(m *improtocol.Message, terms []string) bool {
	if !Searchable(m) {
		return false
	}
	words := WordsOf(m)
	for _, term := range terms {
		prefix, isPrefix := strings.CutSuffix(term, "*")
		if isPrefix && !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, prefix) }) ||
			!isPrefix && !slices.Contains(words, term) {
			return false
		}
	}
	return true
}

// checkTerms refuses terms that no word is equal to or begins with.
func checkTerms(terms []string) error {
	if len(terms) > mostTerms {
		return fmt.Errorf("%d words, not up to %d", len(terms), mostTerms)
	}
	for _, term := range terms {
		word, isPrefix := strings.CutSuffix(term, "*")
		if words := Words(word); len(words) != 1 || words[0] != word {
			return errors.New("a word that isn't in the form of words")
		}
		if isPrefix && len(word) < leastPrefix {
			return fmt.Errorf("a prefix of less than %d bytes", leastPrefix)
		}
	}
	return nil
}
