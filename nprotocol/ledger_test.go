package nprotocol_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Ledger scripts: a line for each block and each operation in it, then ---- and
// the state that is left.
//
//	block HEIGHT TIME [NOW]                     NOW is TIME where it isn't given
//	register NAME WHO STAMP [VERDICT]           VERDICT is valid where it isn't given
//	delete NAME WHO STAMP [VERDICT]
//	transfer NAME WHO WHO STAMP [VERDICT]
//	peer WHO IP STAMP [VERDICT]
//	unpeer WHO IP STAMP [VERDICT]
//	resolve NAME WHO                            WHO is nobody where it doesn't
//	----
//	NAME WHO since HEIGHT/INDEX time TIME expires TIME [deleted]
//	WHO IP time TIME expires TIME [deleted]
//
// Times are seconds; "year" stands for the 365 days that a record runs.
var ledgerScripts = []struct{ name, script string }{
	{"the first registration wins", `
		block 1 100
		register bob alice 1
		register bob carol 1 taken
		block 2 200
		register bob carol 2 taken
		resolve bob alice
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"first is canonical order, not the time stamp", `
		block 1 100
		register bob alice 999
		register bob carol 1 taken
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"many names may point to one address", `
		block 1 100
		register bob alice 1
		register robert alice 1
		resolve robert alice
		----
		bob alice since 1/0 time 100 expires year+100
		robert alice since 1/1 time 100 expires year+100`},
	{"names are compared byte for byte", `
		block 1 100
		register bob alice 1
		register Bob carol 1
		resolve bob alice
		resolve Bob carol
		resolve BOB nobody
		----
		Bob carol since 1/1 time 100 expires year+100
		bob alice since 1/0 time 100 expires year+100`},
	{"a renewal runs from its own block and keeps since", `
		block 1 100
		register bob alice 1
		block 2 year
		register bob alice 2
		----
		bob alice since 1/0 time year expires 2*year`},
	{"several renewals keep the first since", `
		block 1 0
		register bob alice 1
		block 2 year-1
		register bob alice 2
		block 3 2*year-2
		register bob alice 3
		resolve bob alice
		----
		bob alice since 1/0 time 2*year-2 expires 3*year-2`},
	{"valid until the second before it expires", `
		block 1 100
		register bob alice 1
		block 2 year+99
		resolve bob alice
		register bob carol 1 taken
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"expired at the very second", `
		block 1 100
		register bob alice 1
		block 2 year+100
		resolve bob nobody
		register bob carol 1
		resolve bob carol
		----
		bob carol since 2/0 time year+100 expires 2*year+100`},
	{"registering again at the very second is a break", `
		block 1 100
		register bob alice 1
		block 2 year+100
		register bob alice 2
		----
		bob alice since 2/0 time year+100 expires 2*year+100`},
	{"what counts is the median time, not the block's", `
		block 1 100 50
		register bob alice 1
		block 2 year+500 year+99
		resolve bob alice
		register bob carol 1 taken
		block 3 50 year+100
		resolve bob nobody
		register bob carol 2
		----
		bob carol since 3/0 time 50 expires year+50`},
	{"a registration runs from its block's time even if that is past", `
		block 1 100 year+100
		register bob alice 1
		resolve bob nobody
		register bob carol 1
		----
		bob carol since 1/1 time 100 expires year+100`},
	{"an expired name can be neither transferred nor deleted", `
		block 1 100
		register bob alice 1
		block 2 year+100
		transfer bob alice carol 2 not_holder
		delete bob alice 3 not_holder
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"a transfer gives the name away, from its own block", `
		block 1 100
		register bob alice 1
		block 2 200
		transfer bob alice carol 2
		resolve bob carol
		register bob alice 3 taken
		----
		bob carol since 2/0 time 200 expires year+200`},
	{"who got it may renew it", `
		block 1 100
		register bob alice 1
		transfer bob alice carol 2
		block 2 200
		register bob carol 1
		----
		bob carol since 1/1 time 200 expires year+200`},
	{"back again is another since", `
		block 1 100
		register bob alice 1
		transfer bob alice carol 2
		transfer bob carol alice 1
		resolve bob alice
		----
		bob alice since 1/2 time 100 expires year+100`},
	{"only the holder transfers", `
		block 1 100
		register bob alice 1
		transfer bob carol alice 1 not_holder
		transfer bob carol dave 2 not_holder
		transfer nobody alice carol 1 not_holder
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"only the holder deletes", `
		block 1 100
		register bob alice 1
		delete bob carol 1 not_holder
		delete nobody alice 1 not_holder
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"deleted, a name keeps its last address and times", `
		block 1 100
		register bob alice 1
		block 2 200
		delete bob alice 2
		resolve bob nobody
		delete bob alice 3 not_holder
		transfer bob alice carol 4 not_holder
		----
		bob alice since 1/0 time 100 expires year+100 deleted`},
	{"a deleted name is free", `
		block 1 100
		register bob alice 1
		delete bob alice 2
		register bob carol 1
		resolve bob carol
		----
		bob carol since 1/2 time 100 expires year+100`},
	{"delete and register in one block is a break", `
		block 1 100
		register bob alice 1
		block 2 200
		delete bob alice 2
		register bob alice 3
		----
		bob alice since 2/1 time 200 expires year+200`},
	{"time stamps of a name and address rise: an equal or smaller one is stale", `
		block 1 100
		register bob alice 5
		register bob alice 5 stale_timestamp
		register bob alice 4 stale_timestamp
		register bob alice 6
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"0 is a time stamp", `
		block 1 100
		register bob alice 0
		register bob alice 0 stale_timestamp
		----
		bob alice since 1/0 time 100 expires year+100`},
	{"they run over register, delete and transfer together", `
		block 1 100
		register bob alice 5
		delete bob alice 5 stale_timestamp
		transfer bob alice carol 5 stale_timestamp
		delete bob alice 6
		register bob alice 6 stale_timestamp
		register bob alice 7
		transfer bob alice carol 7 stale_timestamp
		transfer bob alice carol 8
		----
		bob carol since 1/7 time 100 expires year+100`},
	{"another address has its own", `
		block 1 100
		register bob alice 5
		delete bob alice 6
		register bob carol 1
		----
		bob carol since 1/2 time 100 expires year+100`},
	{"another name has its own", `
		block 1 100
		register bob alice 5
		register robert alice 1
		----
		bob alice since 1/0 time 100 expires year+100
		robert alice since 1/1 time 100 expires year+100`},
	{"a transfer counts under the current address only", `
		block 1 100
		register bob alice 5
		transfer bob alice carol 9
		register bob carol 1
		transfer bob carol alice 2
		register bob alice 9 stale_timestamp
		register bob alice 10
		----
		bob alice since 1/3 time 100 expires year+100`},
	{"they outlast expiry", `
		block 1 100
		register bob alice 5
		block 2 year+100
		register bob alice 5 stale_timestamp
		register bob alice 6
		----
		bob alice since 2/1 time year+100 expires 2*year+100`},
	{"the largest time stamp locks the name and address", `
		block 1 100
		register bob alice 18446744073709551615
		register bob alice 18446744073709551615 stale_timestamp
		delete bob alice 18446744073709551614 stale_timestamp
		block 2 year+100
		register bob carol 1
		----
		bob carol since 2/0 time year+100 expires 2*year+100`},
	{"what is refused changes no time stamp", `
		block 1 100
		register bob alice 1
		register bob carol 9 taken
		delete bob carol 9 not_holder
		delete bob alice 2
		register bob carol 1
		----
		bob carol since 1/4 time 100 expires year+100`},
	{"a stale time stamp is seen before taken and not_holder", `
		block 1 100
		register bob carol 5
		transfer bob carol alice 6
		register bob carol 6 stale_timestamp
		delete bob carol 6 stale_timestamp
		register bob carol 7 taken
		delete bob carol 7 not_holder
		----
		bob alice since 1/1 time 100 expires year+100`},
	{"a peer registers, renews and deletes", `
		block 1 100
		peer alice 127.0.0.1 1
		block 2 200
		peer alice 127.0.0.1 2
		block 3 300
		unpeer alice 127.0.0.1 3
		----
		alice 127.0.0.1 time 200 expires year+200 deleted`},
	{"one address has many IPs and one IP many addresses", `
		block 1 100
		peer alice 127.0.0.1 1
		peer alice ::1 1
		peer carol ::1 1
		----
		alice 127.0.0.1 time 100 expires year+100
		alice ::1 time 100 expires year+100
		carol ::1 time 100 expires year+100`},
	{"an IP is compared byte for byte", `
		block 1 100
		peer alice ::1 1
		unpeer alice 0::1 2 not_holder
		unpeer alice 127.0.0.1:1 2 not_holder
		----
		alice ::1 time 100 expires year+100`},
	{"a peer's time stamps rise for the same address and IP", `
		block 1 100
		peer alice ::1 5
		peer alice ::1 5 stale_timestamp
		unpeer alice ::1 5 stale_timestamp
		peer alice ::2 1
		peer carol ::1 1
		unpeer alice ::1 6
		peer alice ::1 6 stale_timestamp
		----
		alice ::1 time 100 expires year+100 deleted
		alice ::2 time 100 expires year+100
		carol ::1 time 100 expires year+100`},
	{"a peer record that isn't there can't be deleted", `
		block 1 100
		unpeer alice ::1 1 not_holder
		peer alice ::1 1
		unpeer carol ::1 1 not_holder
		unpeer alice ::1 2
		unpeer alice ::1 3 not_holder
		----
		alice ::1 time 100 expires year+100 deleted`},
	{"a peer record expires at the very second", `
		block 1 100
		peer alice ::1 1
		peer alice ::2 1
		block 2 year+99
		unpeer alice ::1 2
		block 3 year+100
		unpeer alice ::2 2 not_holder
		----
		alice ::1 time 100 expires year+100 deleted
		alice ::2 time 100 expires year+100`},
	{"a deleted peer registers again", `
		block 1 100
		peer alice ::1 1
		unpeer alice ::1 2
		block 2 200
		peer alice ::1 3
		----
		alice ::1 time 200 expires year+200`},
	{"names and peers of one text are apart", `
		block 1 100
		register 127.0.0.1 alice 5
		peer alice 127.0.0.1 1
		----
		127.0.0.1 alice since 1/0 time 100 expires year+100
		alice 127.0.0.1 time 100 expires year+100`},
}

// TestLedger plays the scripts.
func TestLedger(t *testing.T) {
	for _, c := range ledgerScripts {
		t.Run(c.name, func(t *testing.T) {
			operations, want, ok := strings.Cut(c.script, "----")
			if !ok {
				t.Fatal("the script has no ----")
			}
			p := player{t: t, ledger: nprotocol.NewLedger()}
			for line := range strings.Lines(operations) {
				if f := strings.Fields(line); len(f) > 0 {
					p.play(f)
				}
			}
			got := p.state()
			var lines []string
			for line := range strings.Lines(want) {
				if f := strings.Fields(line); len(f) > 0 {
					lines = append(lines, p.expand(f))
				}
			}
			if !slices.Equal(got, lines) {
				t.Errorf("left is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
			}
		})
	}
}

var who = map[string]frame.KeyHash{"alice": {1}, "carol": {3}, "dave": {4}}

type player struct {
	t      *testing.T
	ledger *nprotocol.Ledger
	at     nprotocol.Moment
}

// number reads a number of seconds: "100", "year", "2*year-1".
func (p *player) number(s string) int64 {
	p.t.Helper()
	factor, rest, ok := strings.Cut(s, "year")
	if !ok {
		rest = s
	}
	n := int64(0)
	if ok {
		n = nprotocol.Lifetime
	}
	if factor = strings.TrimSuffix(factor, "*"); ok && factor != "" {
		times, err := strconv.ParseInt(factor, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		n *= times
	}
	if rest != "" {
		more, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		n += more
	}
	return n
}

func (p *player) play(f []string) {
	p.t.Helper()
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Operation(f[0])}
	args := 0
	switch f[0] {
	case "block":
		height, err := strconv.ParseInt(f[1], 10, 32)
		if err != nil {
			p.t.Fatal(err)
		}
		p.at = nprotocol.Moment{Position: nprotocol.Position{Height: int32(height)}, Time: p.number(f[2]), Now: p.number(f[len(f)-1])}
		return
	case "resolve":
		got, ok := p.ledger.Resolve(f[1], p.at.Now)
		if want, known := who[f[2]]; ok != known || got != want {
			p.t.Errorf("%s resolves to %x %v, want %s", f[1], got, ok, f[2])
		}
		return
	case "register", "delete":
		r.Name, r.Address, r.TimeStamp, args = f[1], who[f[2]], f[3], 4
	case "transfer":
		r.Name, r.Address, r.NewAddress, r.TimeStamp, args = f[1], who[f[2]], who[f[3]], f[4], 5
	case "peer", "unpeer":
		r.Protocol, r.Operation = frame.P, map[string]nprotocol.Operation{"peer": nprotocol.Register, "unpeer": nprotocol.Delete}[f[0]]
		r.Address, r.IP, r.TimeStamp, args = who[f[1]], f[2], f[3], 4
	default:
		p.t.Fatalf("no such operation: %q", f)
	}
	want := frame.Valid
	if len(f) > args {
		want = frame.Verdict(f[args])
	}
	stamp, err := r.Time()
	if err != nil {
		p.t.Fatal(err)
	}
	if got := p.ledger.Decide(r, stamp, p.at); got != want {
		p.t.Errorf("%s: got %s, want %s", strings.Join(f, " "), got, want)
	}
	p.at.Index++
}

// state writes what the ledger holds, names first, sorted.
func (p *player) state() []string {
	called := map[frame.KeyHash]string{}
	for name, h := range who {
		called[h] = name
	}
	mark := map[bool]string{true: " deleted"}
	var names, peers []string
	for _, n := range p.ledger.Names {
		names = append(names, fmt.Sprintf("%s %s since %d/%d time %d expires %d%s",
			n.Name, called[n.Address], n.Since.Height, n.Since.Index, n.RegisteredAt, n.ExpiresAt, mark[n.Deleted]))
	}
	for _, q := range p.ledger.Peers {
		peers = append(peers, fmt.Sprintf("%s %s time %d expires %d%s", called[q.Address], q.IP, q.RegisteredAt, q.ExpiresAt, mark[q.Deleted]))
	}
	slices.Sort(names)
	slices.Sort(peers)
	return append(names, peers...)
}

// expand writes the times of an expected line as numbers.
func (p *player) expand(f []string) string {
	for i, word := range f {
		if i > 0 && (f[i-1] == "time" || f[i-1] == "expires") {
			f[i] = strconv.FormatInt(p.number(word), 10)
		}
	}
	return strings.Join(f, " ")
}

func TestPositionOrder(t *testing.T) {
	order := []nprotocol.Position{{Height: 0, Index: 9, Output: 9}, {Height: 1, Index: 0, Output: 9}, {Height: 1, Index: 1, Output: 0}, {Height: 1, Index: 1, Output: 1}}
	for i, p := range order {
		for j, q := range order {
			if got, want := p.Compare(q), compareInts(i, j); got != want {
				t.Errorf("%v to %v: got %d, want %d", p, q, got, want)
			}
		}
	}
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestDecideIsAFold: the state after some operations depends on those that were
// valid only: folding these with Apply, as is done after a reorganisation, gives
// the same state.
func TestDecideIsAFold(t *testing.T) {
	people := rapid.SampledFrom([]frame.KeyHash{{1}, {2}, {3}})
	rapid.Check(t, func(t *rapid.T) {
		decided, applied := nprotocol.NewLedger(), nprotocol.NewLedger()
		now := int64(0)
		for i := range rapid.IntRange(1, 40).Draw(t, "n") {
			now += rapid.Int64Range(0, nprotocol.Lifetime/2).Draw(t, "pass")
			r := &nprotocol.Record{Protocol: frame.N, Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), Address: people.Draw(t, "who")}
			r.Operation = rapid.SampledFrom([]nprotocol.Operation{nprotocol.Register, nprotocol.Delete, nprotocol.Transfer}).Draw(t, "operation")
			if r.Operation == nprotocol.Transfer {
				r.NewAddress = people.Filter(func(h frame.KeyHash) bool { return h != r.Address }).Draw(t, "new")
			} else if rapid.Bool().Draw(t, "peer") {
				r.Protocol, r.IP, r.Name = frame.P, "::1", ""
			}
			stamp := rapid.Uint64Range(0, 60).Draw(t, "stamp")
			at := nprotocol.Moment{Position: nprotocol.Position{Height: int32(i)}, Time: now + rapid.Int64Range(-10, 10).Draw(t, "skew"), Now: now}
			if decided.Decide(r, stamp, at) == frame.Valid {
				applied.Apply(r, stamp, at)
			}
		}
		if a, b := show(decided), show(applied); a != b {
			t.Fatalf("decided\n%s\napplied\n%s", a, b)
		}
	})
}

func show(l *nprotocol.Ledger) string {
	var lines []string
	for _, n := range l.Names {
		lines = append(lines, fmt.Sprintf("%+v", *n))
	}
	for _, p := range l.Peers {
		lines = append(lines, fmt.Sprintf("%+v", *p))
	}
	for s, n := range l.TimeStamps {
		lines = append(lines, fmt.Sprintf("%+v %d", s, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
