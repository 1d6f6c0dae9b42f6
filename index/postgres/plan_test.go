package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/nprotocol"
)

// A planner is a transaction whose server says how it ran each statement.
type planner struct {
	*tx
	conn  *pgx.Conn
	plans []string
}

func newPlanner(t *testing.T, url string) *planner {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	p := &planner{}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.HasPrefix(n.Message, "duration:") {
			p.plans = append(p.plans, n.Message)
		}
	}
	if p.conn, err = pgx.ConnectConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close(context.Background()) })
	p.tx = &tx{view: view{ctx: t.Context(), q: p.conn}, last: numbers{1 << 40, 1 << 40}}
	p.run(t, readerSettings, `LOAD 'auto_explain'`, `SET auto_explain.log_min_duration = 0`, `SET auto_explain.log_level = 'notice'`,
		`SET auto_explain.log_analyze = on`, `SET auto_explain.log_timing = off`)
	return p
}

func (p *planner) run(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := p.conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

var (
	// A table that grows with the chain, read through.
	fullScan = regexp.MustCompile(`Seq Scan on (frames|events|parties|blocks|names|peers|former_sources|search|touched|spends|renamed)\b`)
	// How many rows anything read.
	rowsRead = regexp.MustCompile(`actual rows=(\d{4,})|Removed by Filter: (\d{4,})`)
)

// TestPlans runs on 20,000 messages, with the server's statistics, before it has
// any (an import doesn't wait for them), and with the plans that it made when
// there was nothing: it keeps them.
func TestPlans(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	defer s.Close()
	p := newPlanner(t, url)
	for _, c := range p.cases() {
		p.run(t, `BEGIN`)
		_ = c.run() // there may be nothing to be found
		p.run(t, `ROLLBACK`)
	}
	for h := range int32(20) {
		if err := s.Update(t.Context(), func(tx index.Tx) error { return indextest.Connect(tx, h, indextest.Batch(h, 1_000)) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		statements []string
	}{
		{"plans made before", nil},
		{"no statistics", []string{`DELETE FROM pg_statistic WHERE starelid::regclass::text IN ('frames', 'parties', 'events', 'blocks')`, `DISCARD PLANS`}},
		{"statistics", []string{`ANALYZE`, `DISCARD PLANS`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.run(t, c.statements...)
			p.all(t)
		})
	}
}

// A planned is something asked, and how it is to be answered.
type planned struct {
	name string
	run  func() error
	want []string // indexes that must be among those used
	most bool     // it may read thousands of rows
}

func (p *planner) cases() []planned {
	placed := indextest.Batch(7, 10)
	a, b := *placed[0].Decisions[0].Address, placed[0].Tx.Outputs[0]
	f := placed[0].Tx.Frames[0]
	ask := index.Need{FrameIDs: []frame.ID{f.ID}, ContentIDs: []frame.ID{f.ContentID}, Names: []string{"x"}, Peers: []nprotocol.PeerKey{{IP: "::1"}},
		Subjects: []nprotocol.Subject{{Protocol: frame.N, Text: "x"}, {Protocol: frame.P, Text: "::1"}}, Keys: []frame.KeyHash{a}}
	many, txids := indextest.NeedOf(indextest.Batch(7, 1_000))
	entries := func(q index.EntryQuery) func() error {
		return func() error { q.Limit = 10; _, err := p.Entries(q); return err }
	}
	events := func(q index.EventQuery) func() error {
		return func() error { q.Limit = 10; _, err := p.Events(q); return err }
	}
	listed := func(s shape, q index.EntryQuery) func() error {
		return func() error {
			q.Limit, q.Before = 10, 1<<40
			l := &listing{v: &p.view, shape: s, q: q, limit: 10, first: map[frame.ID]int64{}, read: map[int64]*rows.Found{}, short: map[int64]bool{}}
			if _, err := l.take(10); err != nil || s.refused {
				return err // of refused ones each occurrence is listed
			}
			_, err := l.occurrences([]int64{rows.KeyOf(f.ID)}, 0, 1)
			return err
		}
	}
	words := func(words ...string) func() error {
		return entries(index.EntryQuery{Words: words, Address: &a, Peer: &b, Newest: true})
	}
	plans := []planned{
		{"the head of a view", func() error { v := view{ctx: p.ctx, q: p.conn}; return v.open() }, []string{"blocks_pk", "events_pk"}, false},
		{"entries", entries(index.EntryQuery{}), []string{"frames_pk"}, false},
		{"entries, newest", entries(index.EntryQuery{Newest: true}), []string{"Backward using frames_pk"}, false},
		{"entries of an address", entries(index.EntryQuery{Address: &a}), []string{"frames_by_source", "frames_by_recipient", "parties_pk", "frames_pk", "blocks_pk"}, false},
		{"entries of a recipient, newest", entries(index.EntryQuery{Address: &b, Newest: true, After: 1, Before: 1 << 30, Type: "text"}),
			[]string{"Backward using frames_by_source", "Backward using frames_by_recipient", "Backward using parties_pk", "frames_pk"}, false},
		{"seen ones of an address", entries(index.EntryQuery{Address: &a, States: []index.State{index.Seen}}), []string{"frames_by_source", "frames_by_recipient"}, false},
		{"refused ones of an address", entries(index.EntryQuery{Address: &a, Refused: true}), []string{"frames_refused", "frames_by_recipient"}, false},
		{"a conversation", entries(index.EntryQuery{Address: &a, Peer: &b}), nil, false},
		{"events", events(index.EventQuery{After: 3_000}), []string{"events_pk"}, false},
		{"events of an address", events(index.EventQuery{Addresses: []frame.KeyHash{a}, Blocks: true, After: 19_500}), []string{"events_pk", "frames_pk", "parties_pk", "events_of_blocks"}, false},
		{"events by address", events(index.EventQuery{Addresses: []frame.KeyHash{b}, Blocks: true}), []string{"frames_by_source", "frames_refused", "frames_by_recipient", "parties_pk", "events_of_frame", "events_of_few", "events_of_many", "events_of_blocks", "events_pk"}, false},
		{"facts", func() error { _, err := p.Facts(ask); return err }, []string{"frames_valid_ids", "frames_other_ids", "frames_valid_contents", "frames_by_source", "frames_transfers", "names_pk", "peers_pk"}, false},
		{"many facts", func() error { _, err := p.Facts(many); return err }, []string{"frames_valid_ids", "frames_other_ids", "frames_valid_contents"}, true},
		{"lookup", func() error { _, err := p.Lookup(txids[:1]); return err }, []string{"frames_by_tx"}, false},
		{"many lookups", func() error { _, err := p.Lookup(txids); return err }, []string{"frames_by_tx"}, true},
		{"many repeats", func() error { p.met = nil; _, err := p.repeated(keysOf(many.FrameIDs)); return err }, []string{"frames_valid_ids", "frames_other_ids"}, true},
		{"others of a key", func() error {
			n := &inquiry{v: &p.view, facts: index.NewFacts()}
			return errors.Join(n.proofOf(frame.KeyHash{1}), n.lastOf(5, 0, func(int, *rows.Found) bool { return false }, nil))
		}, []string{"frames_by_source", "frames_transfers", "frames_valid_contents"}, false},
		{"frames of transactions", func() error {
			_, err := p.others(forJudging, []*rows.Found{{Entry: &index.Entry{Arrival: 1}, Frames: 3}})
			return err
		}, []string{"frames_pk"}, false},
		{"all confirmed", func() error {
			_, err := p.conn.Exec(p.ctx, `DECLARE all_confirmed NO SCROLL CURSOR FOR `+confirmed+`; FETCH 500 FROM all_confirmed; CLOSE all_confirmed`)
			return err
		}, []string{"frames_by_height", "Incremental Sort"}, true},
		{"unconfirmed", func() error { _, err := p.Unconfirmed(); return err }, []string{"frames_unconfirmed"}, false},
		{"at a height", func() error { _, err := p.AtHeight(0); return err }, []string{"frames_by_height"}, true},
		{"occurrences", func() error { _, err := p.Occurrences(f.ID); return err }, []string{"frames_valid_ids", "frames_other_ids"}, false},
		{"a transaction", func() error { _, err := p.InTransaction(txids[0]); return err }, []string{"frames_by_tx"}, false},
		{"a name's frames", func() error { _, err := p.NameEntries("x", 9); return err }, []string{"frames_by_name"}, false},
		{"conversations", func() error { _, err := p.Conversations(index.ConversationQuery{Address: a, Limit: 10}); return err },
			[]string{"Index Only Scan using frames_by_source", "Index Only Scan using frames_by_recipient", "parties_pk", "parties_by_lead", "frames_pk"}, true},
		{"key records", func() error { _, err := p.KeyRecords(a, 10); return err }, []string{"Backward using frames_by_source"}, false},
		{"coins", func() error { _, err := p.Coins(index.CoinQuery{Address: b, Limit: 10}); return err },
			[]string{"frames_by_source", "frames_refused", "touched_pk", "former_sources_pk", "frames_by_recipient", "parties_pk", "frames_pk", "spends_pk"}, false},
		{"words that many have", words("0"), []string{"search_pk", "frames_pk", "renamed_pk"}, true},
		{"words that few have", words("13", "7"), []string{"search_pk", "search_words"}, true},
		{"valid records", func() error {
			return p.ValidRecords([]string{"x"}, []nprotocol.PeerKey{{IP: "::1"}}, func(*nprotocol.Record, nprotocol.Moment) error { return nil })
		}, []string{"frames_by_name", "frames_valid_contents"}, false},
		{"a save of what is known", func() error {
			saved, err := p.Lookup(txids[:1])
			if err != nil || len(saved) == 0 {
				return err
			}
			e := saved[txids[0]].Entries[0]
			known := *e.Tx
			known.Frames = []*index.Frame{e.Frame}
			_, err = p.Save([]*index.Placed{{Row: saved[txids[0]].Row, Tx: &known, State: index.Dropped, Height: -1, Decisions: []index.Decision{e.Decision}}})
			return err
		}, []string{"frames_pk"}, false},
	}
	// Every shape of a listing, each of its sides by itself.
	by := map[side]string{everything: "frames_pk", sent: "frames_by_source", sentTo: "frames_by_source", sentBack: "frames_by_source",
		received: "frames_by_recipient", receivedFrom: "frames_by_recipient", receivedBack: "frames_by_recipient",
		receivedToo: "parties_pk", receivedTooFrom: "parties_pk", receivedTooBack: "parties_pk"}
	for one, used := range by {
		q := index.EntryQuery{Type: "text"}
		if one != everything {
			q.Address = &a
		}
		if one >= sentTo {
			q.Peer = &b
		}
		for n := range 4 {
			s := shape{sides: [4]side{one}, newest: n&1 != 0, refused: n&2 != 0, light: n&2 != 0}
			want := used
			if s.refused && used == "frames_by_source" {
				want = "frames_refused"
			}
			if s.newest {
				want = "Backward using " + want
			}
			// What counts of everything is all there is, and nothing was refused: it is looked for.
			used := []string{want, "frames_valid_ids", "frames_other_ids"}
			if s.refused {
				used = used[:1]
			}
			plans = append(plans, planned{fmt.Sprintf("side %d, newest %v, refused %v", one, s.newest, s.refused), listed(s, q), used, one == everything && s.refused})
		}
	}
	return plans
}

func (p *planner) all(t *testing.T) {
	for _, c := range p.cases() {
		t.Run(c.name, func(t *testing.T) {
			p.run(t, `BEGIN`)
			defer p.run(t, `ROLLBACK`)
			p.plans = nil
			if err := c.run(); err != nil {
				t.Fatal(err)
			}
			p.run(t, `SELECT 1`) // a statement is explained when the next one begins
			p.check(t, c.want, c.most)
		})
	}
}

func keysOf(ids []frame.ID) []int64 {
	keys := make([]int64, len(ids))
	for i, id := range ids {
		keys[i] = rows.KeyOf(id)
	}
	return keys
}

func (p *planner) check(t *testing.T, want []string, most bool) {
	t.Helper()
	all := strings.Join(p.plans, "\n")
	if len(p.plans) == 0 {
		t.Fatal("the server explains nothing")
	}
	for _, w := range want {
		if !strings.Contains(all, w+" ") {
			t.Errorf("%q isn't used", w)
		}
	}
	if m := fullScan.FindString(all); m != "" {
		t.Errorf("a table is read through: %s", m)
	}
	if m := rowsRead.FindString(all); m != "" && !most {
		t.Errorf("thousands of rows are read: %s", m)
	}
	if t.Failed() {
		t.Log(all)
	}
}
