package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	lib "modernc.org/sqlite/lib"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// plans says how the statements that a connection has compiled are run.
func plans(t *testing.T, c *conn) (list []string) {
	t.Helper()
	var texts []string
	for text := range c.statements {
		if strings.Contains(text, "SELECT") || strings.Contains(text, "UPDATE") || strings.Contains(text, "DELETE") {
			texts = append(texts, text)
		}
	}
	for _, text := range texts {
		plan := strings.Join(strings.Fields(text), " ")
		err := c.each(`EXPLAIN QUERY PLAN `+text, func(s *statement) error {
			plan += "\n\t" + s.ColumnText(3)
			return nil
		})
		if err != nil {
			t.Fatalf("explain %s: %v", text, err)
		}
		list = append(list, plan)
		if n := recompiled(t, c, text); n > 0 {
			t.Errorf("it is compiled anew for other values: %s", text)
		}
	}
	c.forget()
	return list
}

// recompiled binds one value after the other to a statement and tells how often
// SQLite compiled it again because of that.
func recompiled(t *testing.T, c *conn, text string) int32 {
	t.Helper()
	if !strings.HasPrefix(text, "SELECT") {
		return 0 // it would write
	}
	s, err := c.take(text)
	if err != nil {
		t.Fatal(err)
	}
	defer c.give(s)
	for value := range int64(4) {
		for i := range s.BindParamCount() {
			s.BindInt64(i+1, value)
		}
		if _, err := s.Step(); err != nil {
			return 0 // no value for it
		}
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	stmt := reflect.ValueOf(s.Stmt).Elem()
	tls := stmt.FieldByName("conn").Elem().FieldByName("tls")
	tls = reflect.NewAt(tls.Type(), unsafe.Pointer(tls.UnsafeAddr())).Elem()
	status := reflect.ValueOf(lib.Xsqlite3_stmt_status)
	return int32(status.Call([]reflect.Value{tls, reflect.ValueOf(uintptr(stmt.FieldByName("stmt").Uint())),
		reflect.ValueOf(int32(lib.SQLITE_STMTSTATUS_REPREPARE)), reflect.ValueOf(int32(0))})[0].Int())
}

var (
	// A scan of a table that grows with the chain, not along an index.
	fullScan = regexp.MustCompile(`SCAN (f|e|p|b|t|r|frames|events|parties|blocks|names|peers|former_sources|touched|spends|renamed)( |$)`)
	// An index that holds nothing but what is asked for, in the order asked for.
	alongIndex = regexp.MustCompile(`SCAN (blocks|names|peers|f USING INDEX frames_place|meta)\b`)
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
	need := index.Need{FrameIDs: []frame.ID{{1}}, ContentIDs: []frame.ID{{1}}, Names: []string{"x"},
		Peers: []nprotocol.PeerKey{{IP: "::1"}}, Subjects: []nprotocol.Subject{{Protocol: frame.N, Text: "x"}, {Protocol: frame.P, Text: "::1"}}, Keys: []frame.KeyHash{a}}
	fresh := indextest.Batch(0, 1)[0]
	known := &index.Placed{Row: 1, Tx: &index.Transaction{Frames: []*index.Frame{{}}}, State: index.Dropped, Height: -1, Decisions: []index.Decision{{Verdict: frame.Malformed, Address: &a}}}
	one := func(q index.EntryQuery, sides func(*listing) []side) func(*tx) error {
		return func(t *tx) error {
			l := &listing{v: &t.view, q: q, txs: map[int64]*index.Transaction{}}
			l.filter()
			l.sides = sides(l)
			return l.merge(func(*rows.Found) error { return nil })
		}
	}
	const byID = "f USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
	reached := []string{"f USING INDEX frames_reached (to_key=? AND id>? AND id<?)", "p USING PRIMARY KEY (key=? AND lead>? AND lead<?)", byID}
	for _, c := range []struct {
		name string
		run  func(*tx) error
		want []string // indexes that must be among those used
	}{
		{"entries", entries(index.EntryQuery{}), []string{byID}},
		{"entries, newest", entries(index.EntryQuery{Newest: true}), []string{byID}},
		{"entries of an address", entries(index.EntryQuery{Address: &a}), append(reached, "f USING INDEX frames_sent (address_key=? AND id>? AND id<?)")},
		{"entries of an address, newest", entries(index.EntryQuery{Address: &a, Newest: true, After: 1, Before: 9, Type: "text", Refused: true}),
			append(reached, "f USING INDEX frames_refused (address_key=? AND rowid>? AND rowid<?)")},
		{"a conversation", entries(index.EntryQuery{Address: &a, Peer: &b}), []string{"f USING INDEX frames_sent (address_key=? AND id>? AND id<?)"}},
		{"a conversation by what was received", one(index.EntryQuery{Before: 9}, func(l *listing) []side { return l.reached(a) }), reached},
		{"the length of the sides", func(t *tx) error {
			_, err := (&listing{v: &t.view}).between(a, b)
			return err
		}, []string{"f USING COVERING INDEX frames_sent (address_key=?)", "f USING COVERING INDEX frames_reached (to_key=?)", "p USING PRIMARY KEY (key=?)"}},
		{"the first of copies", func(t *tx) error {
			l := &listing{v: &t.view, q: index.EntryQuery{Address: &a}, txs: map[int64]*index.Transaction{}}
			l.filter()
			_, err := l.firstOf(frame.ID{1})
			return err
		}, []string{"frames_facts (frame_key=? AND rowid<?)", "frames_others (frame_key=? AND rowid<?)"}},
		{"events", events(index.EventQuery{After: 3}), []string{"e USING INTEGER PRIMARY KEY (rowid>?)"}},
		{"events of an address", events(index.EventQuery{Addresses: []frame.KeyHash{a}, Blocks: true}), []string{"e USING INTEGER PRIMARY KEY (rowid>?)"}},
		{"events by address", func(t *tx) error {
			a := &asking{view: &t.view, q: index.EventQuery{Addresses: []frame.KeyHash{a}, Upto: 9, Blocks: true, Limit: 9}, former: map[int64]bool{1: true}}
			return a.readAmong()
		}, []string{"frames_sent (address_key=?)", "frames_refused (address_key=?)", "frames_reached (to_key=?)", "p USING PRIMARY KEY (key=?)",
			"events_of_frame (frame=? AND rowid>?)", "events_of_few (frame>? AND frame<?)", "events_of_many (frame>? AND frame<?)", "e USING INTEGER PRIMARY KEY (rowid>?)", "events_blocks (last>? AND last<?)"}},
		{"facts", func(t *tx) error { _, err := t.Facts(need); return err }, []string{"frames_facts (frame_key=?)", "frames_contents (content_key=?)",
			"names USING PRIMARY KEY (name=?)", "peers USING PRIMARY KEY (address=? AND ip=?)", "frames_sent (address_key=?)", "frames_transfers (to_key=?)"}},
		{"lookup", func(t *tx) error { _, err := t.Lookup([]frame.Hash{frame.HashOf(fmt.Append(nil, 0, 0))}); return err }, []string{"frames_tx (tx_key=?)"}},
		{"unconfirmed", func(t *tx) error { _, err := t.Unconfirmed(); return err }, []string{"frames_unconfirmed (height=?)"}},
		{"at a height", func(t *tx) error { _, err := t.AtHeight(0); return err }, []string{"frames_place (height=?)"}},
		{"confirmed", func(t *tx) error { return t.Confirmed(func(*index.Entry) error { return nil }) }, []string{"f USING INDEX frames_place"}},
		{"a block", func(t *tx) error { _, err := t.BlockAt(0); return err }, []string{"blocks USING INTEGER PRIMARY KEY (rowid=?)"}},
		{"occurrences", func(t *tx) error { _, err := t.Occurrences(frame.ID{}); return err }, []string{"frames_facts (frame_key=?)", "frames_others (frame_key=?)"}},
		{"a transaction", func(t *tx) error { _, err := t.InTransaction(frame.Hash{}); return err }, []string{"frames_tx (tx_key=?)"}},
		{"a name's frames", func(t *tx) error { _, err := t.NameEntries("x", 9); return err }, []string{"frames_names (name_key=?)"}},
		{"an address's names", func(t *tx) error { _, err := t.NamesOf(a); return err }, []string{"names_by_address (address=?)"}},
		{"an address's peers", func(t *tx) error { _, err := t.PeersOf(a); return err }, []string{"peers USING PRIMARY KEY (address=?)"}},
		{"words", entries(index.EntryQuery{Words: []string{"hello", "wor*"}, Address: &a, Peer: &b}), []string{"s VIRTUAL TABLE INDEX 64:M1><", byID,
			"r USING PRIMARY KEY (key=? AND frame>? AND frame<?)"}},
		{"words, newest", entries(index.EntryQuery{Words: []string{"hello"}, Newest: true}), []string{"s VIRTUAL TABLE INDEX 192:M1><", byID}},
		{"conversations", func(t *tx) error {
			_, err := t.Conversations(index.ConversationQuery{Address: a, Limit: 9})
			return err
		},
			[]string{"f USING COVERING INDEX frames_sent (address_key=?)", "f USING COVERING INDEX frames_reached (to_key=?)", "p USING PRIMARY KEY (key=?)",
				"frames_dropped_from (address_key=?)", "frames_dropped_to (to_key=?)"}},
		{"who a message reaches", func(t *tx) error { return t.each(partiesOf, func(*statement) error { return nil }, number(1)) },
			[]string{"p USING INDEX parties_leads (lead=?)", "b USING COVERING INDEX parties_leads (lead<?)"}},
		{"key records", func(t *tx) error { _, err := t.KeyRecords(a, 9); return err }, []string{"f USING INDEX frames_sent (address_key=?)"}},
		{"coins", func(t *tx) error {
			_, err := t.Coins(index.CoinQuery{Address: a, Limit: 9})
			_, none := t.Spenders([]int64{1})
			_, nothing := t.Light([]int64{1})
			return errors.Join(err, none, nothing)
		},
			[]string{"f USING COVERING INDEX frames_sent (address_key=?)", "frames_refused (address_key=?)", "t USING PRIMARY KEY (key=?)", "s USING PRIMARY KEY (address=?)",
				"frames_reached (to_key=? AND id>?)", "p USING PRIMARY KEY (key=? AND lead>?)", "s USING PRIMARY KEY (key=?)", "f USING INTEGER PRIMARY KEY (rowid=?)"}},
		{"valid records", func(t *tx) error {
			return t.ValidRecords([]string{"x"}, []nprotocol.PeerKey{{IP: "::1"}}, func(*nprotocol.Record, nprotocol.Moment) error { return nil })
		}, []string{"frames_names (name_key=?)", "frames_contents (content_key=?)"}},
		{"a save of what is known", func(t *tx) error { _, err := t.Save([]*index.Placed{known}); return err },
			[]string{"frames USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "frames USING INTEGER PRIMARY KEY (rowid=?)"}},
		{"a save of what is new", func(t *tx) error { _, err := t.Save([]*index.Placed{fresh}); return err },
			[]string{"f USING INDEX frames_facts (frame_key=?)", "f USING INDEX frames_others (frame_key=?)"}},
		{"what commit asks", func(t *tx) error { t.moved = true; return t.check() }, []string{"f USING COVERING INDEX frames_place"}},
		{"cut blocks", func(t *tx) error { return t.CutBlocks(5) }, []string{"blocks USING INTEGER PRIMARY KEY (rowid>?)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Update(t.Context(), func(u index.Tx) error {
				w := u.(*tx)
				w.forget()
				err := c.run(w)
				checkPlans(t, plans(t, w.conn), c.want)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func checkPlans(t *testing.T, plans, want []string) {
	t.Helper()
	all := strings.Join(plans, "\n")
	for _, w := range want {
		if !strings.Contains(all, w) {
			t.Errorf("%q isn't used", w)
		}
	}
	if found := fullScan.FindString(alongIndex.ReplaceAllString(all, "")); found != "" {
		t.Errorf("a table is scanned: %s", found)
	}
	for _, bad := range []string{"AUTOMATIC", "USE TEMP B-TREE", "MULTI-INDEX OR"} {
		if strings.Contains(all, bad) {
			t.Errorf("a plan says %s", bad)
		}
	}
	if t.Failed() {
		t.Log(all)
	}
}
