package postgres

import (
	"context"
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
	p.tx = &tx{view: view{ctx: t.Context(), q: p.conn}, last: numbers{1 << 40, 1 << 40, 1 << 40}}
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
	fullScan = regexp.MustCompile(`Seq Scan on (frames|events|txs|parties|blocks|names|peers|former_sources)\b`)
	// How many rows anything read.
	rowsRead = regexp.MustCompile(`actual rows=(\d{4,})|Removed by Filter: (\d{4,})`)
)

// TestPlans runs on 20,000 messages, with the server's statistics and before it
// has any: an import doesn't wait for them.
func TestPlans(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	defer s.Close()
	for h := range int32(20) {
		if err := s.Update(t.Context(), func(tx index.Tx) error { return indextest.Connect(tx, h, indextest.Batch(h, 1_000)) }); err != nil {
			t.Fatal(err)
		}
	}
	p := newPlanner(t, url)
	for _, c := range []struct{ name, statement string }{
		{"no statistics", `DELETE FROM pg_statistic WHERE starelid::regclass::text IN ('frames', 'txs', 'parties', 'events', 'blocks')`},
		{"statistics", `ANALYZE`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.run(t, c.statement)
			p.all(t)
		})
	}
}

func (p *planner) all(t *testing.T) {
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
	through := func(s side) func() error {
		return func() error {
			l := &listing{v: &p.view, q: index.EntryQuery{Limit: 10, Before: 1 << 40}, order: "ASC", sides: []side{s}}
			_, err := l.take(10)
			return err
		}
	}
	for _, c := range []struct {
		name string
		run  func() error
		want []string // indexes that must be among those used
		most bool     // it may read thousands of rows
	}{
		{"entries", entries(index.EntryQuery{}), []string{"frames_pk"}, false},
		{"entries, newest", entries(index.EntryQuery{Newest: true}), []string{"Backward using frames_pk"}, false},
		{"entries of an address", entries(index.EntryQuery{Address: &a}), []string{"frames_by_address", "parties_pk", "frames_by_tx"}, false},
		{"entries of a recipient, newest", entries(index.EntryQuery{Address: &b, Newest: true, After: 1, Before: 1 << 30, Type: "text"}), []string{"frames_by_address", "Backward using parties_pk", "frames_by_tx"}, false},
		{"a conversation", entries(index.EntryQuery{Address: &a, Peer: &b}), nil, false},
		{"a conversation by what was sent", through(side{from: sent + ` AND ` + reaches, args: []any{a[:], b[:]}, by: "f.id"}), []string{"frames_by_address", "parties_pk"}, false},
		{"a conversation by what was received", through(side{from: received + ` AND f.address = ?`, args: []any{b[:], a[:]}, by: "p.tx", tx: true}), []string{"parties_pk", "frames_by_tx"}, false},
		{"the first of copies", func() error {
			l := &listing{v: &p.view, q: index.EntryQuery{Address: &a}, first: map[frame.ID]int64{}}
			return l.firsts([]rows.Candidate{{ID: f.ID, Again: true}})
		}, []string{"frames_by_frame_id"}, false},
		{"events", events(index.EventQuery{After: 3_000}), []string{"events_pk"}, false},
		{"events of an address", events(index.EventQuery{Addresses: []frame.KeyHash{a}, Blocks: true, After: 19_000}), []string{"events_pk", "frames_pk", "parties_pk"}, false},
		{"events by address", events(index.EventQuery{Addresses: []frame.KeyHash{b}, Blocks: true}), []string{"frames_by_address", "frames_by_new_address", "parties_pk", "events_by_frame", "events_of_blocks"}, false},
		{"facts", func() error { _, err := p.Facts(ask); return err }, []string{"frames_valid_ids", "frames_valid_contents",
			"frames_valid_names", "frames_valid_peers", "frames_valid_keys", "frames_valid_keys2", "names_pk"}, false},
		{"many facts", func() error { _, err := p.Facts(many); return err }, []string{"frames_valid_ids", "frames_valid_contents"}, true},
		{"lookup", func() error { _, err := p.Lookup(txids[:1]); return err }, []string{"txs_by_txid", "frames_by_tx"}, false},
		{"unconfirmed", func() error { _, err := p.Unconfirmed(); return err }, []string{"txs_unconfirmed"}, false},
		{"at a height", func() error { _, err := p.AtHeight(0); return err }, []string{"txs_by_height", "frames_by_tx"}, true},
		{"occurrences", func() error { _, err := p.Occurrences(f.ID); return err }, []string{"frames_by_frame_id"}, false},
		{"a transaction", func() error { _, err := p.InTransaction(txids[0]); return err }, []string{"txs_by_txid", "frames_by_tx"}, false},
		{"a name's frames", func() error { _, err := p.NameEntries("x", 9); return err }, []string{"frames_by_name"}, false},
		{"valid records", func() error {
			return p.ValidRecords([]string{"x"}, []nprotocol.PeerKey{{IP: "::1"}}, func(*nprotocol.Record, nprotocol.Moment) error { return nil })
		}, []string{"frames_valid_names", "frames_valid_peers"}, false},
		{"a save of what is known", func() error {
			saved, err := p.Lookup(txids[:1])
			if err != nil {
				return err
			}
			e := saved[txids[0]].Entries[0]
			known := *e.Tx
			known.Frames = []*index.Frame{e.Frame}
			_, err = p.Save([]*index.Placed{{Row: saved[txids[0]].Row, Tx: &known, State: index.Dropped, Height: -1, Decisions: []index.Decision{e.Decision}}})
			return err
		}, []string{"frames_pk", "txs_pk"}, false},
	} {
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
