package indextest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// What people write, and what is then searched for.
var (
	sayings = []string{"Hello", "hello, wörld", "NEAR the \"end\" OR not", "a* (b) -c ^d :e", "'; DROP TABLE frames; --", "x\x00y zero",
		"שלום עולם", "\u202eevil\u202c", "你好世界", "🙂👍 fine", "Ⅷ ﬁsh", "café", "cafe\u0301", "naïve@home", "@1a2b", "@@", strings.Repeat("long", 30),
		"AND", "42", "١٢", "İstanbul", "straße", "%_\\", "words", "1000000000000"}
	asked = []string{"hello", "world", "near", "or", "not", "a", "b", "drop", "x", "y", "שלום", "evil", "你", "界", "fine", "viii", "fish", "cafe", "home",
		"1a2b", "and", "istanbul", "strasse", "straße", "words", "absent", "drop", "hello", "fine", "hel*", "wor*", "caf*", "fi*", "你*", "longlong*", "no*", "an*", "שלו*", "10000*"}
)

// A past is random transactions as they stand, as a reader would know them who looks
// at every one.
type past struct {
	b      bench
	r      *rand.Rand
	people []person
	placed []*index.Placed
	known  []*index.Frame   // messages, to be copied
	coins  []index.Outpoint // paid to
	of     []person
	next   int64
	of0    []int64 // arrivals of the first frames
}

func (p *past) one() person { return p.people[p.r.IntN(len(p.people))] }

// message makes one, or takes one that was there before.
func (p *past) message() *index.Frame {
	if len(p.known) > 0 && p.r.IntN(4) == 0 {
		return p.known[p.r.IntN(len(p.known))]
	}
	m := &improtocol.Message{Source: network.Address(p.one().hash), Type: improtocol.Text, Encryption: improtocol.Plain}
	switch p.r.IntN(8) {
	case 0:
		m.Type = improtocol.KeyRecord
	case 1:
		m.Encryption = improtocol.ECC
	case 2:
		m.Type = "text/plain"
	}
	var said []string
	for range p.r.IntN(4) {
		said = append(said, sayings[p.r.IntN(len(sayings))])
	}
	m.Body = []byte(strings.Join(said, " "))
	switch p.r.IntN(40) {
	case 0:
		m.Body = append(m.Body, 0xff) // not UTF-8
	case 1:
		m.Body = append(m.Body, strings.Repeat(" more", 200)...)
	}
	m.SetTime(uint64(len(p.known)))
	m.Sign(p.one().key)
	f := read(m)
	p.known = append(p.known, f)
	return f
}

// add saves transactions that weren't there before.
func (p *past) add(n int) {
	var fresh []*index.Placed
	for range n {
		label := fmt.Sprint("past ", len(p.placed))
		payer := p.one()
		var to []person
		for range p.r.IntN(4) {
			to = append(to, p.one())
		}
		var frames []*index.Frame
		if p.r.IntN(6) == 0 {
			frames = append(frames, register(label, p.one(), 1))
		}
		for range 1 + p.r.IntN(2) {
			frames = append(frames, p.message())
		}
		tx := transaction(label, payer, to, frames...)
		if p.r.IntN(3) == 0 {
			tx.Outputs = tx.Outputs[:len(tx.Outputs)-1] // no change
		}
		p.spend(tx, payer)
		for i, h := range tx.Outputs {
			tx.Amounts = append(tx.Amounts, index.Amount{Output: uint32(len(frames) + 2*i), Satoshis: uint64(p.r.IntN(1_000_000))})
			p.coins = append(p.coins, index.Outpoint{TxID: tx.ID, Output: tx.Amounts[i].Output})
			p.of = append(p.of, p.people[slices.IndexFunc(p.people, func(o person) bool { return o.hash == h })])
		}
		placed := &index.Placed{Tx: tx}
		p.place(placed)
		p.placed, fresh = append(p.placed, placed), append(fresh, placed)
		p.of0 = append(p.of0, p.next+1)
		p.next += int64(len(frames))
	}
	p.b.save(fresh...)
}

// spend makes the transaction spend coins of its payer: a key of each input is told,
// as it is in a chain, or none.
func (p *past) spend(tx *index.Transaction, payer person) {
	want := 1 + p.r.IntN(2)
	var spent []index.Outpoint
	for i := range p.coins {
		if p.of[i].hash == payer.hash && len(spent) < want && p.r.IntN(3) == 0 {
			spent = append(spent, p.coins[i])
		}
	}
	if len(spent) > 0 {
		tx.Spends = spent
	}
	switch p.r.IntN(12) {
	case 0: // scripts that no key is read from
		tx.InputKeys = nil
	case 1:
		other := p.one()
		if other.hash != payer.hash {
			tx.InputKeys = append(tx.InputKeys, other.public)
			tx.Spends = append(tx.Spends, index.Outpoint{TxID: frame.HashOf(fmt.Append(nil, "of another ", len(p.placed)))})
		}
	}
}

// place puts a transaction anywhere, with any decisions.
func (p *past) place(t *index.Placed) {
	t.State, t.Height, t.Decisions = index.Seen, -1, nil
	t.Tx.Index = 0
	switch p.r.IntN(5) {
	case 0:
		t.State = index.Dropped
	case 1, 2:
		t.State, t.Height, t.Tx.Index = index.Confirmed, int32(p.r.IntN(4)), uint32(p.r.IntN(100))
	}
	for _, f := range t.Tx.Frames {
		d := index.Decision{Verdict: []frame.Verdict{frame.Valid, frame.Valid, frame.Duplicate, frame.BadSignature}[p.r.IntN(4)]}
		if p.r.IntN(8) > 0 || f.Record != nil {
			d.Address = &p.people[p.r.IntN(len(p.people))].hash
		}
		t.Decisions = append(t.Decisions, d)
	}
}

// move puts some of the transactions elsewhere, attributed to others.
func (p *past) move(n int) {
	for range n {
		i := p.r.IntN(len(p.placed))
		tx := *p.placed[i].Tx
		moved := &index.Placed{Row: p.placed[i].Row, Tx: &tx}
		p.place(moved)
		p.placed[i] = moved
		p.b.save(moved)
	}
}

// pad saves messages of nobody here, so that what came before is indexed.
func (p *past) pad(height int32, n int) {
	placed := Batch(height, n)
	for _, t := range placed {
		t.State, t.Height = index.Seen, -1
	}
	p.b.save(placed...)
	p.next += int64(n)
}

func (p *past) entries() (all []*index.Entry) {
	for i, t := range p.placed {
		var arrivals []int64
		for j := range t.Tx.Frames {
			arrivals = append(arrivals, p.of0[i]+int64(j))
		}
		all = append(all, entriesOf(t, arrivals)...)
	}
	return all
}

// found compares what is searched for, conversations, coins and key records with a
// reader who looks at everything: before the words are indexed and after, after
// transactions went elsewhere and were attributed to others, and after more arrived.
func found(b bench, _ func() bench) {
	b.blocks(4)
	p := &past{b: b, r: rand.New(rand.NewPCG(3, 4)), people: []person{alice, bob, carol, dave}}
	p.add(150)
	p.check("new")
	p.pad(100, 2_000)
	p.check("indexed")
	p.move(60)
	p.check("moved")
	p.add(100)
	p.move(40)
	p.check("more")
	p.pad(102, 1_990)
	p.move(20)
	p.check("all indexed")
}

func (p *past) check(when string) {
	p.b.Helper()
	all := p.entries()
	messages := slices.DeleteFunc(slices.Clone(all), func(e *index.Entry) bool { return e.Protocol != frame.IM })
	p.searches(when, messages)
	for _, who := range append(slices.Clone(p.people), stranger(1)) {
		p.talks(when, messages, who.hash)
		p.pays(when, who.hash)
		p.keys(when, messages, who.hash)
	}
}

func (p *past) searches(when string, all []*index.Entry) {
	p.b.Helper()
	hits := 0
	for n := range 80 {
		q := index.EntryQuery{Limit: 1 + p.r.IntN(20), Newest: p.r.IntN(2) == 0, Repeats: p.r.IntN(3) == 0, Refused: p.r.IntN(6) == 0,
			After: int64(p.r.IntN(3) * p.r.IntN(200)), Before: int64(p.r.IntN(2)) * (1 + p.r.Int64N(p.next+10))}
		for range 1 + p.r.IntN(4)/3 {
			q.Words = append(q.Words, asked[p.r.IntN(len(asked))])
		}
		if p.r.IntN(4) > 0 {
			q.Address = &p.people[p.r.IntN(4)].hash
			if p.r.IntN(3) == 0 {
				q.Peer = &p.people[p.r.IntN(4)].hash
			}
		}
		if p.r.IntN(3) == 0 {
			q.States = []index.State{index.Seen, index.Confirmed, index.Dropped}[p.r.IntN(3):]
		}
		got, want := list(p.b, q), naiveEntries(all, q)
		if hits += len(want); !slices.Equal(got, want) {
			p.b.Fatalf("%s, query %d %+v (address %v, peer %v):\n got %v\nwant %v", when, n, q, q.Address, q.Peer, got, want)
		}
	}
	if hits < 30 {
		p.b.Errorf("%s: the queries find %d messages, want at least 30 to compare", when, hits)
	}
}

// talks compares conversations with the listings of each two.
func (p *past) talks(when string, all []*index.Entry, who frame.KeyHash) {
	p.b.Helper()
	var want []index.Conversation
	byArrival := map[int64]*index.Entry{}
	for _, e := range all {
		byArrival[e.Arrival] = e
	}
	for _, other := range p.people {
		c := index.Conversation{Peer: other.hash}
		arrivals := naiveEntries(all, index.EntryQuery{Address: &who, Peer: &other.hash, Limit: 1_000_000})
		if other.hash == who {
			arrivals = notes(all, who)
		}
		for _, a := range arrivals {
			if c.Last = byArrival[a]; *c.Last.Address == who {
				c.Sent++
			} else {
				c.Received++
			}
		}
		if c.Last != nil {
			want = append(want, c)
		}
	}
	slices.SortFunc(want, index.ByLast)
	show := func(list []index.Conversation) (lines []string) {
		for _, c := range list {
			lines = append(lines, fmt.Sprintf("%x %d %d %d", c.Peer, c.Last.Arrival, c.Sent, c.Received))
		}
		return lines
	}
	var got, paged []index.Conversation
	p.b.view(func(v index.View) {
		got = must[[]index.Conversation](p.b)(v.Conversations(index.ConversationQuery{Address: who, Limit: 100}))
		q := index.ConversationQuery{Address: who, Limit: 1}
		for {
			page := must[[]index.Conversation](p.b)(v.Conversations(q))
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			q.Before = page[len(page)-1].Last.Arrival
		}
	})
	equal(p.b, when+": conversations", show(got), show(want))
	equal(p.b, when+": pages of conversations", show(paged), show(want))
	for i, c := range got {
		sameEntry(p.b, when, c.Last, want[i].Last)
	}
}

// sameEntry compares what a conversation shows of its last message.
func sameEntry(b bench, when string, got, want *index.Entry) {
	b.Helper()
	if string(got.Message.Body) != string(want.Message.Body) || got.Height != want.Height || got.State != want.State || !slices.Equal(got.Tx.Outputs, want.Tx.Outputs) {
		b.Errorf("%s: last message:\n got %+v\nwant %+v", when, got, want)
	}
}

// notes lists the messages without a recipient.
func notes(all []*index.Entry, who frame.KeyHash) (list []int64) {
	met := map[frame.ID]bool{}
	for _, e := range all {
		counts := (e.Verdict == frame.Valid || e.Verdict == frame.Duplicate) && e.State != index.Dropped
		if counts && e.Address != nil && *e.Address == who && len(e.Recipients()) == 0 && !met[e.ID] {
			met[e.ID] = true
			list = append(list, e.Arrival)
		}
	}
	return list
}

func (p *past) pays(when string, who frame.KeyHash) {
	p.b.Helper()
	spent := map[index.Outpoint]bool{}
	for _, t := range p.placed {
		for _, o := range t.Tx.Spends {
			spent[o] = spent[o] || t.State != index.Dropped
		}
	}
	want := []index.Coin{}
	for i, t := range p.placed {
		for j, h := range t.Tx.Outputs {
			a := t.Tx.Amounts[j]
			if h == who && t.State != index.Dropped && !spent[index.Outpoint{TxID: t.Tx.ID, Output: a.Output}] {
				want = append(want, index.Coin{Lead: p.of0[i], TxID: t.Tx.ID, Output: a.Output, Satoshis: a.Satoshis, Height: t.Height})
			}
		}
	}
	for _, limit := range []int{1, 7, 1_000} {
		got := []index.Coin{}
		p.b.view(func(v index.View) {
			q := index.CoinQuery{Address: who, Limit: limit}
			for {
				page := must[[]index.Coin](p.b)(v.Coins(q))
				if len(page) == 0 {
					return
				}
				got = append(got, page...)
				q.After = page[len(page)-1].Lead
			}
		})
		equal(p.b, fmt.Sprintf("%s: coins of %x by %d", when, who[:2], limit), got, want)
	}
}

func (p *past) keys(when string, all []*index.Entry, who frame.KeyHash) {
	p.b.Helper()
	want := []int64{}
	for _, e := range slices.Backward(all) {
		if e.Verdict == frame.Valid && e.State != index.Dropped && e.Message.Type == "application/key" && e.Message.Encryption == "plain" &&
			e.Address != nil && *e.Address == who && len(e.Recipients()) == 0 {
			want = append(want, e.Arrival)
		}
	}
	for _, limit := range []int{1, 2, 100} {
		var got []int64
		p.b.view(func(v index.View) { got = arrivalsOf(must[[]*index.Entry](p.b)(v.KeyRecords(who, limit))) })
		equal(p.b, when+": key records", got, want[:min(limit, len(want))])
	}
}
