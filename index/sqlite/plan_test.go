package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A planner asks for the plan of every statement before it is run.
type planner struct {
	querier
	t     *testing.T
	plans []string
}

func (p *planner) explain(query string, args []any) {
	p.t.Helper()
	if strings.Contains(query, "sqlite_sequence") {
		return
	}
	rows, err := p.querier.QueryContext(context.Background(), `EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		p.t.Fatalf("explain %s: %v", query, err)
	}
	defer rows.Close()
	plan := strings.Join(strings.Fields(query), " ")
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			p.t.Fatal(err)
		}
		plan += "\n\t" + detail
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	p.plans = append(p.plans, plan)
}

func (p *planner) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p.explain(query, args)
	return p.querier.QueryContext(ctx, query, args...)
}

func (p *planner) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	p.explain(query, args)
	return p.querier.QueryRowContext(ctx, query, args...)
}

func (p *planner) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	p.explain(query, args)
	return p.querier.ExecContext(ctx, query, args...)
}

var (
	// A scan of a table that grows with the chain, not along an index.
	fullScan = regexp.MustCompile(`SCAN (f|g|e|t|p|s|b|bl|frames|events|txs|parties|bodies|blocks|names|peers|former_sources)( |$)`)
	// The rows of a subquery are a page at most.
	sortOfPage = regexp.MustCompile(`(?m)SCAN \(subquery-\d+\)\n\s*USE TEMP B-TREE FOR ORDER BY$`)
	// The order of the partial index is the order asked for.
	alongIndex = "SCAN txs USING INDEX txs_unconfirmed"
)

func TestPlans(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "index.db"))
	defer s.Close()
	if err := s.Update(t.Context(), func(tx index.Tx) error { return writeBlock(tx, 0) }); err != nil {
		t.Fatal(err)
	}
	a, b := frame.KeyHash{1}, frame.KeyHash{2}
	entries := func(q index.EntryQuery) func(*tx) error {
		return func(t *tx) error {
			q.Limit = 10
			_, err := t.Entries(q)
			return err
		}
	}
	events := func(q index.EventQuery) func(*tx) error {
		return func(t *tx) error {
			q.Limit = 10
			_, err := t.Events(q)
			return err
		}
	}
	asked := `WITH asked (address) AS (VALUES (?))`
	need := index.Need{FrameIDs: []frame.ID{{1}}, ContentIDs: []frame.ID{{1}}, Names: []string{"x"},
		Peers: []nprotocol.PeerKey{{IP: "::1"}}, Subjects: []nprotocol.Subject{{Protocol: frame.N, Text: "x"}, {Protocol: frame.P, Text: "::1"}}, Keys: []frame.KeyHash{a}}
	known := &index.Placed{Row: 1, Tx: &index.Transaction{Frames: []*index.Frame{{}}}, State: index.Dropped, Height: -1, Decisions: []index.Decision{{Verdict: frame.Malformed, Address: &a}}}
	for _, c := range []struct {
		name string
		run  func(*tx) error
		want []string // indexes that must be among those used
		sort bool     // a sort of more than a page is allowed
	}{
		{"entries", entries(index.EntryQuery{}), []string{"f USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"}, false},
		{"entries, newest", entries(index.EntryQuery{Newest: true}), []string{"f USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"}, false},
		{"entries of an address", entries(index.EntryQuery{Address: &a}), []string{"frames_by_address (address=? AND tx>? AND tx<?", "p USING PRIMARY KEY (address=? AND tx>? AND tx<?)", "frames_by_tx (tx=?"}, false},
		{"entries of an address, newest", entries(index.EntryQuery{Address: &a, Newest: true, After: 1, Before: 9, Type: "text", Refused: true}), []string{"frames_by_address (address=? AND tx>? AND tx<?", "p USING PRIMARY KEY (address=? AND tx>? AND tx<?)"}, false},
		{"a conversation", entries(index.EntryQuery{Address: &a, Peer: &b}), []string{"frames_by_address (address=? AND tx>? AND tx<?"}, false},
		{"a conversation by what was received", func(t *tx) error {
			l := &listing{v: &t.view, q: index.EntryQuery{Limit: 10, Before: 9}, order: "ASC"}
			l.filter()
			l.sides = []side{{from: received, tx: "p.tx", condition: condition{`p.address = ? AND f.tx = p.tx AND +f.address = ?`, []any{a[:], b[:]}}}}
			_, err := l.take(10)
			return err
		}, []string{"p USING PRIMARY KEY (address=? AND tx>? AND tx<?)", "frames_by_tx (tx=?"}, false},
		{"the first of copies", func(t *tx) error {
			l := &listing{v: &t.view, q: index.EntryQuery{Address: &a}, first: map[frame.ID]int64{}}
			l.filter()
			_, err := l.shown(rows.Candidate{Again: true})
			if err == index.ErrNotFound {
				return nil
			}
			return err
		}, []string{"frames_by_frame_id (frame_id=?)"}, false},
		{"events", events(index.EventQuery{After: 3}), []string{"e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"}, false},
		{"events of an address", events(index.EventQuery{Addresses: []frame.KeyHash{a}, Blocks: true}), []string{"e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "p USING PRIMARY KEY (address=? AND tx=?)"}, false},
		{"events by address", func(t *tx) error {
			_, err := t.events(asked+byAddress, []any{a[:], 0, 9, 0, 9, true, 10, 10})
			return err
		}, []string{"frames_by_address (address=?)", "frames_by_new_address (new_address=?)", "p USING PRIMARY KEY (address=?)", "events_by_frame (frame=? AND rowid>? AND rowid<?)"}, true},
		{"facts", func(t *tx) error { _, err := t.Facts(need); return err }, []string{"frames_valid_ids (frame_id=?)", "frames_valid_contents (content_id=?)",
			"frames_valid_names (name=? AND holder=?)", "frames_valid_peers (holder=? AND ip=?)", "frames_valid_keys (address=?)", "frames_valid_keys2 (new_address=?)"}, false},
		{"lookup", func(t *tx) error { _, err := t.Lookup([]frame.Hash{frame.HashOf(fmt.Append(nil, 0, 0))}); return err }, []string{"txs_by_txid (txid=?)", "frames_by_tx (tx=?)"}, true},
		{"unconfirmed", func(t *tx) error { _, err := t.Unconfirmed(); return err }, []string{"txs_unconfirmed"}, false},
		{"at a height", func(t *tx) error { _, err := t.AtHeight(0); return err }, []string{"txs_by_height (height=?)"}, true},
		{"a block", func(t *tx) error { _, err := t.BlockAt(0); return err }, []string{"blocks USING INTEGER PRIMARY KEY (rowid=?)"}, false},
		{"occurrences", func(t *tx) error { _, err := t.Occurrences(frame.ID{}); return err }, []string{"frames_by_frame_id (frame_id=?)"}, false},
		{"a transaction", func(t *tx) error { _, err := t.InTransaction(frame.Hash{}); return err }, []string{"txs_by_txid (txid=?)", "frames_by_tx (tx=?)"}, true},
		{"a name's frames", func(t *tx) error { _, err := t.NameEntries("x", 9); return err }, []string{"frames_by_name (name=?)"}, false},
		{"an address's names", func(t *tx) error { _, err := t.NamesOf(a); return err }, []string{"names_by_address (address=?)"}, false},
		{"an address's peers", func(t *tx) error { _, err := t.PeersOf(a); return err }, []string{"peers USING PRIMARY KEY (address=?)"}, false},
		{"valid records", func(t *tx) error {
			return t.ValidRecords([]string{"x"}, []nprotocol.PeerKey{{IP: "::1"}}, func(*nprotocol.Record, nprotocol.Moment) error { return nil })
		}, []string{"frames_valid_names (name=?)", "frames_valid_peers (holder=? AND ip=?)"}, false},
		{"a save of what is known", func(t *tx) error { _, err := t.Save([]*index.Placed{known}); return err },
			[]string{"frames_by_tx (tx=?)", "txs USING INTEGER PRIMARY KEY (rowid=?)", "frames USING INTEGER PRIMARY KEY (rowid=?)"}, true},
		{"cut blocks", func(t *tx) error { return t.CutBlocks(5) }, []string{"blocks USING INTEGER PRIMARY KEY (rowid>?)"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Update(t.Context(), func(u index.Tx) error {
				w := u.(*tx)
				p := &planner{querier: w.q, t: t}
				w.q = p
				err := c.run(w)
				p.check(c.want, c.sort)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func (p *planner) check(want []string, sort bool) {
	p.t.Helper()
	all := strings.Join(p.plans, "\n")
	for _, w := range want {
		if !strings.Contains(all, w) {
			p.t.Errorf("%q isn't used", w)
		}
	}
	if fullScan.MatchString(strings.ReplaceAll(all, alongIndex, "")) {
		p.t.Error("a table is scanned")
	}
	if strings.Contains(all, "AUTOMATIC") {
		p.t.Error("an index is made for one query")
	}
	if !sort && strings.Contains(sortOfPage.ReplaceAllString(all, ""), "USE TEMP B-TREE FOR ORDER BY") {
		p.t.Error("everything is sorted")
	}
	if p.t.Failed() {
		p.t.Log(all)
	}
}
