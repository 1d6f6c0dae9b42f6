package messenger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// Limits of a message in parts. docs/spec/improtocol.md, "Parts".
const (
	MaxParts  = 10_000
	MaxJoined = 256 << 20 // bytes that this program puts together in memory; the specification allows 1,000,000,000
)

// Parts says of a message in parts how many there are, and which of them are
// here.
type Parts struct {
	First   string // frame id of part 1, which is the id of the whole
	Index   int    // of the message that was looked at, from 1
	Count   int    // all, 2 to MaxParts
	Have    int    // that are here
	Missing []int  // indices of those that aren't
	Bytes   int64  // of the message fields that are here
}

// A MissingError says which parts of a message aren't there.
type MissingError struct{ Parts Parts }

func (e *MissingError) Error() string {
	what, verb := "parts", "are"
	if len(e.Parts.Missing) == 1 {
		what, verb = "part", "is"
	}
	return fmt.Sprintf("%s %s of %d %s missing", what, Ranges(e.Parts.Missing), e.Parts.Count, verb)
}

// Ranges writes rising numbers for people: "1, 3 to 5".
func Ranges(numbers []int) string {
	const most = 20 // pieces, before it says how many more there are
	var pieces []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		if len(pieces) == most {
			return strings.Join(pieces, ", ") + fmt.Sprintf(" and %d more", len(numbers)-i)
		}
		switch end - i {
		case 0:
			pieces = append(pieces, strconv.Itoa(numbers[i]))
		case 1:
			pieces = append(pieces, strconv.Itoa(numbers[i]), strconv.Itoa(numbers[end]))
		default:
			pieces = append(pieces, fmt.Sprintf("%d to %d", numbers[i], numbers[end]))
		}
		i = end + 1
	}
	return strings.Join(pieces, ", ")
}

// PartOf reads which part of a larger message a message says to be; ok is false
// when it stands for itself: also when what it says can't be.
// docs/spec/improtocol.md, "Parts".
func PartOf(m client.Message) (p Parts, ok bool) {
	other := client.ParseOther(m.Other)
	text, ok := other[improtocol.OtherPart]
	if !ok {
		return Parts{}, false
	}
	index, count, ok := parsePart(text)
	of, more := other[improtocol.OtherOf]
	if !ok || (index == 1) == more || more && !isFrameID(of) {
		return Parts{}, false
	}
	if index == 1 {
		of = m.ID
	}
	return Parts{First: of, Index: index, Count: count}, true
}

// parsePart reads "i/n": decimal numbers without a leading zero, i from 1 to n,
// n from 2 to MaxParts.
func parsePart(s string) (index, count int, ok bool) {
	i, n, ok := strings.Cut(s, "/")
	if !ok || len(i) > 5 || len(n) > 5 {
		return 0, 0, false
	}
	index, err := strconv.Atoi(i)
	if err != nil || strconv.Itoa(index) != i {
		return 0, 0, false
	}
	count, err = strconv.Atoi(n)
	if err != nil || strconv.Itoa(count) != n || count < 2 || count > MaxParts || index < 1 || index > count {
		return 0, 0, false
	}
	return index, count, true
}

// A Gathering puts together the parts of one message as they are found, in any
// order. Only what is signed decides: the server that tells them can leave parts
// out, and can't put in, change or exchange any.
type Gathering struct {
	network frame.Network
	first   client.Message
	count   int
	parts   map[int]gathered
	bytes   int64
	slim    bool // no bodies are kept
}

type gathered struct {
	m     client.Message
	bytes int64
}

// Reasons why parts aren't put together.
var (
	ErrNoPart      = errors.New("it is no first part of a message in parts")
	ErrJoinedLarge = fmt.Errorf("the parts are together larger than the %d bytes that this program puts together", MaxJoined)
	errSlim        = errors.New("the parts were only counted")
)

// NewGathering begins with part 1. slim keeps the message fields of no
// other part: it only tells which parts are there. It fails with ErrNoPart, or as [client.Verify] does.
func NewGathering(network frame.Network, first client.Message, slim bool) (*Gathering, error) {
	p, ok := PartOf(first)
	if !ok || p.Index != 1 {
		return nil, ErrNoPart
	}
	if err := client.Verify(first, network); err != nil {
		return nil, err
	}
	g := &Gathering{network: network, first: first, count: p.Count, parts: map[int]gathered{}, slim: slim}
	g.put(1, first)
	return g, nil
}

func (g *Gathering) put(index int, m client.Message) {
	g.bytes += int64(len(m.Body)) - g.parts[index].bytes
	kept := gathered{m, int64(len(m.Body))}
	if g.slim {
		kept.m.Body, kept.m.Text = nil, nil
	}
	g.parts[index] = kept
}

// Add takes a message in if it is a part of this one: signed by the same address
// under the same source, of the same type, encryption and recipients, and it
// names part 1 and the same number of parts. Of two that claim one place the one
// with the lower time stamp counts, then the one with the lower frame id. It fails
// with ErrJoinedLarge, and then takes nothing in.
func (g *Gathering) Add(m client.Message) (taken bool, err error) {
	p, ok := PartOf(m)
	if !ok || p.Index == 1 || p.First != g.first.ID || p.Count != g.count || !g.alike(m) {
		return false, nil
	}
	before, there := g.parts[p.Index]
	if there && !earlier(m, before.m) || client.Verify(m, g.network) != nil {
		return false, nil
	}
	if !g.slim && g.bytes+int64(len(m.Body))-before.bytes > MaxJoined {
		return false, ErrJoinedLarge
	}
	g.put(p.Index, m)
	return true, nil
}

// alike compares what must be the same in all parts.
func (g *Gathering) alike(m client.Message) bool {
	return m.Address == g.first.Address && m.Source == g.first.Source && m.Type == g.first.Type && m.Encryption == g.first.Encryption &&
		client.ParseOther(m.Other)[improtocol.OtherTo] == client.ParseOther(g.first.Other)[improtocol.OtherTo]
}

// earlier orders messages by what is signed.
func earlier(a, b client.Message) bool {
	ta, errA := frame.ParseTimeStamp(a.TimeStamp)
	tb, errB := frame.ParseTimeStamp(b.TimeStamp)
	if errA != nil || errB != nil || ta == tb {
		return a.ID < b.ID
	}
	return ta < tb
}

// Parts says which parts are there.
func (g *Gathering) Parts() Parts {
	p := Parts{First: g.first.ID, Index: 1, Count: g.count, Have: len(g.parts), Bytes: g.bytes}
	for i := 1; i <= g.count && len(g.parts) < g.count; i++ {
		if _, ok := g.parts[i]; !ok {
			p.Missing = append(p.Missing, i)
		}
	}
	return p
}

// Complete tells whether all parts are there.
func (g *Gathering) Complete() bool { return len(g.parts) == g.count }

// First returns part 1, whose time, name and place are those of the whole.
func (g *Gathering) First() client.Message { return g.first }

// Body returns the message field of the whole. It fails with a *MissingError.
func (g *Gathering) Body() ([]byte, error) {
	switch {
	case !g.Complete():
		return nil, &MissingError{g.Parts()}
	case g.slim:
		return nil, errSlim
	}
	body := make([]byte, 0, g.bytes)
	for i := 1; i <= g.count; i++ {
		body = append(body, g.parts[i].m.Body...)
	}
	return body, nil
}
