package sqlite

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/migrations"
)

// An index of the first schema is read from the chain anew: it opens empty, under
// another epoch, and fills.
func TestMigrateFromFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	db, err := sql.Open("sqlite", source(path))
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations.FS, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		`INSERT INTO meta VALUES ('network', 'regtest'), ('epoch', 'old')`,
		`INSERT INTO blocks VALUES (0, zeroblob(32), zeroblob(80), 0, zeroblob(32))`,
		`INSERT INTO txs VALUES (1, zeroblob(32), 'confirmed', 0, 0, 0, '', '', '')`,
		`INSERT INTO frames (tx, output, state, height, position, verdict, protocol, operation, malformed, needs_body) VALUES (1, 0, 'confirmed', 0, 0, 'malformed', 'im', '', 'x', 0)`,
		`INSERT INTO bodies VALUES (1, 'x')`,
		`INSERT INTO parties VALUES (zeroblob(20), 1)`,
		`INSERT INTO names VALUES ('old', zeroblob(20), 0, 0, 0, 0, 0, 0)`,
		`INSERT INTO peers VALUES (zeroblob(20), '::1', 0, 0, 0)`,
		`INSERT INTO verdicts VALUES ('malformed', 1)`,
		`INSERT INTO events (kind, frame, verdict, from_verdict, reason) VALUES ('block.connected', 1, '', '', '')`,
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path)
	defer s.Close()
	if s.epoch == "" || s.epoch == "old" {
		t.Errorf("the epoch is %q, want another than %q", s.epoch, "old")
	}
	tip, frames, events := state(t, s)
	if tip != -1 || frames != 0 || events != 0 {
		t.Errorf("tip %d with %d frames and %d events, want nothing", tip, frames, events)
	}
	err = s.View(t.Context(), func(v index.View) error {
		counts, err := v.Counts()
		if len(counts) > 0 {
			t.Errorf("counts %v, want none", counts)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); got != "" {
		t.Errorf("names %q, want none", got)
	}
	if err := s.Update(t.Context(), func(tx index.Tx) error { return writeBlock(tx, 0) }); err != nil {
		t.Fatal(err)
	}
	if tip, frames, events = state(t, s); tip != 0 || frames != 20 || events != 1 {
		t.Errorf("tip %d with %d frames and %d events, want 0, 20, 1", tip, frames, events)
	}
}

// The numbers that statements have in them are those of package rows.
func TestCodes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"a duplicate", int64(rows.Duplicate), 7},
		{"valid", int64(rows.Valid), 11},
		{"the protocol's bits", int64(rows.ProtocolMask), 3},
		{"the operation's bits", int64(rows.OperationOf), 12},
		{"a transfer", int64(rows.KindTransfer), 12},
		{"judged by its body", int64(rows.NeedsBody), 16},
		{"a type's bits", int64(rows.TypeMask), 16776960},
		{"a type's and the protocol's bits", int64(rows.TypeMask | rows.ProtocolMask), 16776963},
		{"reaches several", int64(rows.Many), 64},
		{"came before", int64(rows.Again), 32},
		{"a short body", rows.ShortBody, 512},
		{"the start of data", rows.HeadBytes, 6},
		{"seen", rows.SeenHeight, -1},
		{"dropped", rows.DroppedHeight, -2},
		{"frames of a run", rows.MostRun, 256},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, c.got, c.want)
		}
	}
}
