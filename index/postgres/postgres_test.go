package postgres

import (
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/internal/testpg"
)

func TestConformance(t *testing.T) {
	urls := map[*testing.T]string{}
	indextest.Run(t, func(t *testing.T) index.Store {
		if urls[t] == "" {
			urls[t] = testpg.URL(t)
		}
		return openAt(t, urls[t])
	})
}

func openAt(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, Config{Network: frame.Regtest})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
