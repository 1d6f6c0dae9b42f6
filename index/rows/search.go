package rows

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// What a full-text engine is given of a message: its words, and besides words of
// the addresses concerned, which no text has, so that the engine itself finds what
// has a word and concerns an address. What it finds is looked at whole: it may say
// too much. The words of addresses are of when the message was indexed; one that is
// attributed to another later is in the store's list of such.
const (
	addressMark = "@"  // before the key of an address
	manyMark    = "@@" // reaches more than mostMarks addresses

	mostMarks = 64
)

// SearchBatch is how many frames may have arrived since the engine was last given
// some: a search looks at these one by one. Engines take a batch at once with far
// less work than one by one. SearchBytes is how many bytes of bodies may wait.
const (
	SearchBatch = 2_000
	SearchBytes = 4 << 20
)

func addressWord(h frame.KeyHash) string {
	return addressMark + strconv.FormatUint(uint64(AddressKey(h)), 36)
}

// Document returns what the engine is given of a message from an address, nil if
// unknown, whose transaction reaches others: words of letters, digits and the mark
// @, with a space between. Of what can't be searched it is empty.
func Document(m *improtocol.Message, address *frame.KeyHash, reached []frame.KeyHash) string {
	if !index.Searchable(m) {
		return ""
	}
	words := index.WordsOf(m)
	if len(words) == 0 {
		return ""
	}
	if address != nil {
		words = append(words, addressWord(*address))
	}
	if len(reached) > mostMarks {
		words = append(words, manyMark)
	} else {
		for _, h := range reached {
			words = append(words, addressWord(h))
		}
	}
	return strings.Join(words, " ")
}

// Document returns what the engine is given of a new frame.
func (f *Frame) Document() string { return Document(f.Frame.Message, f.Decision.Address, f.Reached) }

// Document returns what the engine is given of a frame that is joined to its
// transaction.
func (f *Found) Document() string {
	if !index.Searchable(f.Message) {
		return ""
	}
	return Document(f.Message, f.Address, f.Tx.Reached())
}

// ASCII writes a document so that it is of ASCII, and that words begin alike which
// did before: a byte beyond is a capital letter and a small one, which documents
// don't have side by side.
func ASCII(document string) string {
	i := strings.IndexFunc(document, func(r rune) bool { return r >= utf8.RuneSelf })
	if i < 0 {
		return document
	}
	b := append(make([]byte, 0, 2*len(document)), document[:i]...)
	for _, c := range []byte(document[i:]) {
		if c < utf8.RuneSelf {
			b = append(b, c)
		} else {
			b = append(b, 'A'+(c>>4)&7, 'a'+c&15)
		}
	}
	return string(b)
}

// A Syntax is how an engine writes a question.
type Syntax struct {
	Quote, Prefix, And, Or string
	Word                   func(string) string // nil: as they are
}

// Question asks for messages that have the query's words and concern its addresses.
func (s Syntax) Question(q *index.EntryQuery) string {
	parts := make([]string, 0, len(q.Words)+2)
	for _, term := range q.Words {
		word, isPrefix := strings.CutSuffix(term, "*")
		if s.Word != nil {
			word = s.Word(word)
		}
		if word = s.Quote + word + s.Quote; isPrefix {
			word += s.Prefix
		}
		parts = append(parts, word)
	}
	for _, h := range []*frame.KeyHash{q.Address, q.Peer} {
		if h != nil {
			parts = append(parts, "("+s.Quote+addressWord(*h)+s.Quote+s.Or+s.Quote+manyMark+s.Quote+")")
		}
	}
	return strings.Join(parts, s.And)
}
