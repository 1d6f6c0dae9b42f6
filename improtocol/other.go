package improtocol

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol/frame"
)

// Keys of other information that have a meaning. docs/spec/improtocol.md, "Other
// information".
const (
	OtherTo   = "to"   // the address or addresses meant, joined by ","
	OtherRe   = "re"   // frame id answered, in hexadecimal
	OtherPart = "part" // i/n
	OtherOf   = "of"   // frame id of part 1
	OtherName = "name" // file name
	OtherPub  = "pub"  // the sender's public key, in hexadecimal
)

// A Pair is one key and value of other information, decoded.
type Pair struct{ Key, Value string }

// Other is other information read as a list. The first of equal keys counts.
type Other []Pair

// ParseOther reads other information. ok is false when the text is no list: a
// part between "&" has no key or no "=", or a percent-encoding is wrong or not
// UTF-8. Such a text is kept as it is and has no keys. The empty text is an empty
// list.
func ParseOther(s string) (list Other, ok bool) {
	if s == "" {
		return nil, true
	}
	pairs := 0
	for part := range strings.SplitSeq(s, "&") {
		if strings.IndexByte(part, '=') <= 0 {
			return nil, false // before anything is allocated for the list
		}
		pairs++
	}
	list = make(Other, 0, pairs)
	for part := range strings.SplitSeq(s, "&") {
		k, v, _ := strings.Cut(part, "=")
		key, err := url.PathUnescape(k)
		if err != nil || !utf8.ValidString(key) {
			return nil, false
		}
		value, err := url.PathUnescape(v)
		if err != nil || !utf8.ValidString(value) {
			return nil, false
		}
		list = append(list, Pair{key, value})
	}
	return list, true
}

// Get returns the value of the first pair with the key.
func (o Other) Get(key string) (string, bool) {
	for _, p := range o {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// String writes the list as a field: pairs joined by "&", everything
// percent-encoded but letters, digits, "-", "_", ".", "~" and, for the eye, the
// "," and "/" of addresses and parts.
func (o Other) String() string {
	var b strings.Builder
	for i, p := range o {
		if i > 0 {
			b.WriteByte('&')
		}
		escape(&b, p.Key)
		b.WriteByte('=')
		escape(&b, p.Value)
	}
	return b.String()
}

func escape(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~,/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
}

// To returns the addresses that the message says it is meant for, as written.
// They are under the signature; ok is false when it names none.
func (m *Message) To() (addresses []string, ok bool) {
	list, _ := ParseOther(m.Other)
	to, ok := list.Get(OtherTo)
	if !ok {
		return nil, false
	}
	return strings.Split(to, ","), true
}

// PublicKey returns the public key that other information names in "pub", if it
// has the form of one.
func PublicKey(other string) ([]byte, bool) {
	list, _ := ParseOther(other)
	text, ok := list.Get(OtherPub)
	if !ok {
		return nil, false
	}
	return frame.ParsePublicKey(text)
}
