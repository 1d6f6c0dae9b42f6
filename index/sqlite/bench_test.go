package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
)

func BenchmarkStore(b *testing.B) {
	indextest.Bench(b, func(b *testing.B) index.Store {
		s := openAt(b, filepath.Join(b.TempDir(), "index.db"))
		b.Cleanup(func() { s.Close() })
		return s
	})
}
