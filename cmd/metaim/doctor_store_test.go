package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testpg"
)

// TestDoctorOfPostgres: a database that is empty, one with an index, and the same
// asked for another network.
func TestDoctorOfPostgres(t *testing.T) {
	url := testpg.URL(t)
	ask := func(network string, status int, want ...string) {
		t.Helper()
		p, out, errs := testProgram(map[string]string{"METAIM_STORE": url, "METAIM_NETWORK": network, "METAIM_HOME": t.TempDir()})
		if got := run(t.Context(), []string{"doctor", "store"}, p); got != status {
			t.Errorf("on %s: status %d, want %d: %s", network, got, status, errs)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("on %s: got %q, want %q in it", network, out, w)
			}
		}
		if strings.Contains(out.String()+errs.String(), url) {
			t.Errorf("on %s: the database's URL is printed: %q %q", network, out, errs)
		}
	}
	ask("regtest", exitFailed, "ok   store     PostgreSQL 1", "fail store     the index can't be opened: ")
	store, err := openStore(t.Context(), url, frame.Regtest, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	// The tests' own database is set up to be fast, not safe: that is told.
	ask("regtest", exitFailed, "fail store     PostgreSQL may lose or break the index when the machine fails: fsync is off", "ok   store     the index of regtest ends at height -1, and this program reads its version")
	ask("main", exitFailed, "fail store     the index can't be opened: ")
}
