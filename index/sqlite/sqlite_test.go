package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
)

func TestConformance(t *testing.T) {
	paths := map[*testing.T]string{}
	indextest.Run(t, func(t *testing.T) index.Store {
		if paths[t] == "" {
			paths[t] = filepath.Join(t.TempDir(), "index.db")
		}
		return openAt(t, paths[t])
	})
}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, Config{Network: frame.Regtest})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
