package postgres

import (
	"database/sql"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/migrations"
)

// An index of the first form is emptied, so that it is read from the chain again:
// it gets another epoch, and what was given numbers starts anew.
func TestOpenFirstForm(t *testing.T) {
	url := testpg.URL(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files, err := fs.Sub(migrations.FS, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	testpg.Exec(t, url, `INSERT INTO meta (key, value) VALUES ('network', 'regtest'), ('epoch', 'of the first form')`,
		`INSERT INTO blocks VALUES (0, decode(repeat('00', 32), 'hex'), decode(repeat('00', 80), 'hex'), 0, decode(repeat('00', 32), 'hex'))`,
		`INSERT INTO txs VALUES (1, decode(repeat('00', 32), 'hex'), 'confirmed', 0, 0, false, '', '', '')`,
		`INSERT INTO names VALUES ('old', '', 0, 0, 0, 0, 0, false)`, `INSERT INTO verdicts VALUES ('valid', 5)`,
		`INSERT INTO events VALUES (1, 'block.connected', null, 0, null, '', '', '')`, `UPDATE writer SET last_tx = 1, last_frame = 1, last_event = 1, fence = 7`)
	if _, err := Open(t.Context(), url, Config{Network: frame.Regtest, ReadOnly: true}); !errors.Is(err, ErrOlder) {
		t.Errorf("to read: got %v, want ErrOlder", err)
	}
	s := openAt(t, url)
	defer s.Close()
	check := func(height int32, frames, seq int64) {
		t.Helper()
		err := s.View(t.Context(), func(v index.View) error {
			tip, err := v.Tip()
			if err != nil {
				return err
			}
			counts, err := v.Counts()
			if err != nil {
				return err
			}
			last, err := v.LastSeq()
			if tip.Height != height || counts[frame.Valid] != frames || last != seq {
				t.Errorf("got tip %d, %d frames, last event %d, want %d, %d, %d", tip.Height, counts[frame.Valid], last, height, frames, seq)
			}
			if epoch, err := v.Epoch(); err != nil || epoch == "of the first form" {
				t.Errorf("got the epoch %q, %v, want another", epoch, err)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	check(-1, 0, 0)
	if got := names(t, s); got != "" {
		t.Errorf("got names %q, want none", got)
	}
	if err := s.Update(t.Context(), func(tx index.Tx) error { return indextest.Connect(tx, 0, indextest.Batch(0, 50)) }); err != nil {
		t.Fatal(err)
	}
	check(0, 50, 51)
}

// Nothing is committed that is confirmed where there is no block.
func TestConfirmedWithoutBlock(t *testing.T) {
	s := openAt(t, testpg.URL(t))
	defer s.Close()
	if err := s.Update(t.Context(), func(tx index.Tx) error { return indextest.Connect(tx, 0, indextest.Batch(0, 2)) }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		write func(tx index.Tx) error
	}{
		{"above the tip", func(tx index.Tx) error { _, err := tx.Save(indextest.Batch(1, 2)); return err }},
		{"in a block that was cut", func(tx index.Tx) error { return tx.CutBlocks(-1) }},
	} {
		if err := s.Update(t.Context(), c.write); err == nil || !strings.Contains(err.Error(), "above the last block") {
			t.Errorf("%s: got %v, want that it is above the last block", c.name, err)
		}
	}
	err := s.View(t.Context(), func(v index.View) error {
		tip, err := v.Tip()
		if tip.Height != 0 {
			t.Errorf("got tip %d, want 0", tip.Height)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
