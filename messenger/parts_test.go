package messenger

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// written returns a message as a server tells it.
func written(key signer.Key, at int, body, other string, edits ...func(*improtocol.Message)) client.Message {
	address := key.Address(frame.Regtest)
	m := &improtocol.Message{Source: address, Type: "text", Encryption: improtocol.Plain, Body: []byte(body), Other: other}
	m.SetTime(uint64(at))
	for _, e := range edits {
		e(m)
	}
	m.Sign(key.Private())
	return client.Message{ID: m.FrameID().String(), Source: m.Source, Address: address, Type: m.Type, Encryption: m.Encryption, Body: m.Body,
		Other: m.Other, OtherMap: client.ParseOther(m.Other), TimeStamp: m.TimeStamp, Signature: m.Signature, Verdict: "valid", State: "seen"}
}

func TestPartOf(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name, other string
		want        Parts // the zero Parts: no part
	}{
		{"nothing", "", Parts{}},
		{"part 1", "part=1/2", Parts{First: "self", Index: 1, Count: 2}},
		{"part 2", "part=2/2&of=" + id, Parts{First: id, Index: 2, Count: 2}},
		{"the largest", "part=10000/10000&of=" + id, Parts{First: id, Index: 10000, Count: 10000}},
		{"the first of equal keys", "part=2/3&part=3/3&of=" + id, Parts{First: id, Index: 2, Count: 3}},
		{"part 1 that names part 1", "part=1/2&of=" + id, Parts{}},
		{"part 2 that doesn't", "part=2/2", Parts{}},
		{"an id that is none", "part=2/2&of=abc", Parts{}},
		{"an id in capitals", "part=2/2&of=" + strings.ToUpper(id), Parts{}},
		{"one of one", "part=1/1", Parts{}},
		{"none of two", "part=0/2&of=" + id, Parts{}},
		{"three of two", "part=3/2&of=" + id, Parts{}},
		{"too many", "part=1/10001", Parts{}},
		{"far too many", "part=1/99999999999999999999", Parts{}},
		{"a leading zero", "part=01/2", Parts{}},
		{"a sign", "part=%2B1/2", Parts{}},
		{"negative", "part=-1/2", Parts{}},
		{"another separator", "part=1%3A2", Parts{}},
		{"of only", "of=" + id, Parts{}},
		{"a text that is no list", "part=1/2&", Parts{}},
	} {
		got, ok := PartOf(client.Message{ID: "self", Other: c.other})
		if ok != (c.want.Count != 0) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %t, want %+v", c.name, got, ok, c.want)
		}
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		in   []int
		want string
	}{
		{nil, ""}, {[]int{3}, "3"}, {[]int{3, 4}, "3, 4"}, {[]int{3, 4, 5}, "3 to 5"}, {[]int{1, 3, 4, 5, 9}, "1, 3 to 5, 9"},
	} {
		if got := Ranges(c.in); got != c.want {
			t.Errorf("%v: got %q, want %q", c.in, got, c.want)
		}
	}
	var odd []int
	for i := range 1000 {
		odd = append(odd, 2*i+1)
	}
	if got := Ranges(odd); len(got) > 200 || !strings.HasSuffix(got, " and 980 more") {
		t.Errorf("a thousand pieces: got %q", got)
	}
}

func TestGathering(t *testing.T) {
	own, other := signer.NewKey(), signer.NewKey()
	to := "&to=" + other.Address(frame.Regtest)
	first := written(own, 10, "one ", "part=1/3"+to)
	of := "&of=" + first.ID + to
	two, three := written(own, 11, "two ", "part=2/3"+of), written(own, 12, "three", "part=3/3"+of)
	tampered := two
	tampered.Body = []byte("2222")
	same := written(own, 12, "tree ", "part=3/3"+of)
	lower := "three"
	if same.ID < three.ID {
		lower = "tree "
	}
	for _, c := range []struct {
		name    string
		add     []client.Message
		want    string
		missing []int
	}{
		{"in order", []client.Message{two, three}, "one two three", nil},
		{"backwards", []client.Message{three, two}, "one two three", nil},
		{"each twice", []client.Message{two, two, three, three}, "one two three", nil},
		{"with part 1 again", []client.Message{first, two, three}, "one two three", nil},
		{"only part 1", nil, "", []int{2, 3}},
		{"without part 2", []client.Message{three}, "", []int{2}},
		{"a part that was changed on the way", []client.Message{tampered, three}, "", []int{2}},
		{"a later frame for the same place", []client.Message{written(own, 50, "later", "part=2/3"+of), two, three}, "one two three", nil},
		{"a later frame that comes after", []client.Message{two, written(own, 50, "later", "part=2/3"+of), three}, "one two three", nil},
		{"an earlier frame for the same place", []client.Message{two, three, written(own, 5, "2nd ", "part=2/3"+of)}, "one 2nd three", nil},
		{"two of one time: the lower id", []client.Message{two, three, same}, "one two " + lower, nil},
		{"somebody else's part", []client.Message{written(other, 11, "evil", "part=2/3"+of), three}, "", []int{2}},
		{"another message's part", []client.Message{written(own, 11, "two ", "part=2/3&of="+two.ID+to), three}, "", []int{2}},
		{"of another number", []client.Message{written(own, 11, "two ", "part=2/4"+of), three}, "", []int{2}},
		{"to somebody else", []client.Message{written(own, 11, "two ", "part=2/3&of="+first.ID), three}, "", []int{2}},
		{"of another type", []client.Message{written(own, 11, "two ", "part=2/3"+of, func(m *improtocol.Message) { m.Type = "html" }), three}, "", []int{2}},
		{"encrypted otherwise", []client.Message{written(own, 11, "two ", "part=2/3"+of, func(m *improtocol.Message) { m.Encryption = "AES" }), three}, "", []int{2}},
		{"under a name", []client.Message{written(own, 11, "two ", "part=2/3"+of, func(m *improtocol.Message) { m.Source = "alice" }), three}, "", []int{2}},
	} {
		for _, slim := range []bool{false, true} {
			g, err := NewGathering(frame.Regtest, first, slim)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range c.add {
				if _, err := g.Add(m); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			if p := g.Parts(); !slices.Equal(p.Missing, c.missing) || g.Complete() != (len(c.missing) == 0) || p.Have != 3-len(c.missing) {
				t.Errorf("%s: got %+v, want %v missing", c.name, p, c.missing)
			}
			body, err := g.Body()
			var missing *MissingError
			switch {
			case c.missing != nil:
				if !errors.As(err, &missing) || body != nil {
					t.Errorf("%s: got %q, %v, want a MissingError", c.name, body, err)
				}
			case slim && err == nil, !slim && string(body) != c.want:
				t.Errorf("%s, slim %t: got %q, %v, want %q", c.name, slim, body, err, c.want)
			}
		}
	}
	if _, err := NewGathering(frame.Regtest, two, false); !errors.Is(err, ErrNoPart) {
		t.Errorf("begun with part 2: got %v, want %v", err, ErrNoPart)
	}
	forged := first
	forged.Body = []byte("uno ")
	if _, err := NewGathering(frame.Regtest, forged, false); !errors.Is(err, client.ErrFrameID) {
		t.Errorf("begun with a forged part 1: got %v, want %v", err, client.ErrFrameID)
	}
}

// TestGatherMissing: a server that lacks parts is found out, and says which.
func TestGatherMissing(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user(), w.user()
	a := alice.login()
	defer alice.logout(a)
	d := Draft{Body: noise(450_000), Type: "application/x-noise", To: []string{bob.address()}, Encryption: improtocol.Plain}
	p, err := a.plan(t.Context(), &d)
	if err != nil {
		t.Fatal(err)
	}
	var first frame.ID
	for k := range p.frames(&d) {
		m, to := p.frame(&d, k)
		if k == 0 {
			first = m.FrameID()
		}
		if k == 2 || k == 3 {
			continue
		}
		signed, err := a.build(&d, m, to)
		if err == nil {
			err = a.hand(t.Context(), m.FrameID(), signed.TxID, signed.Raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := bob.whole(t, first.String())
	if got.Err == nil || got.Err.Error() != "parts 3, 4 of 5 are missing" || got.Body != nil || got.Text != "" {
		t.Errorf("got %v with %d bytes, want that parts 3, 4 of 5 are missing", got.Err, len(got.Body))
	}
}

// TestPlans: a plan gives the same frames whenever it is asked, and their bodies
// are the draft's.
func TestPlans(t *testing.T) {
	for _, size := range []int{0, 1, 99, 100, 101, 1000, 1001} {
		d := Draft{Body: noise(size), Type: "text", To: []string{"a", "b"}, FileName: "x y.txt", Re: strings.Repeat("cd", 32)}
		p := &plan{Source: "alice", From: "me", Encryption: improtocol.Plain, PartBytes: 100, TimeStamp: 7, Letters: []letter{{To: d.To}}}
		want := max(1, (size+99)/100)
		ids := p.ids(&d)
		if len(ids) != want || p.check(&d) != nil || p.bytes(&d) != int64(size) {
			t.Errorf("%d bytes: got %d frames, want %d", size, len(ids), want)
		}
		var joined []byte
		for k, id := range ids {
			m, _ := p.frame(&d, k)
			joined = append(joined, m.Body...)
			other := client.ParseOther(m.Other)
			ok := m.FrameID() == id && m.TimeStamp == strconv.Itoa(7+k) && other["to"] == "a,b" && int64(len(m.Body)) == p.frameBytes(&d, k)
			if want > 1 {
				ok = ok && other["part"] == fmt.Sprintf("%d/%d", k+1, want)
			}
			if k == 0 {
				ok = ok && other["name"] == d.FileName && other["re"] == d.Re && other["of"] == ""
			} else {
				ok = ok && other["name"] == "" && other["re"] == "" && other["of"] == ids[0].String()
			}
			if !ok {
				t.Errorf("%d bytes, frame %d: got %q", size, k, m.Other)
			}
		}
		if !bytes.Equal(joined, d.Body) {
			t.Errorf("%d bytes: joined they are %d others", size, len(joined))
		}
	}
}
