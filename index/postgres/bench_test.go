package postgres

import (
	"testing"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/internal/testpg"
)

// BenchmarkStore measures on servers that wait for the disk.
func BenchmarkStore(b *testing.B) {
	indextest.Bench(b, func(b *testing.B) index.Store {
		s := openAt(b, testpg.Start(b, testpg.Durable()).URL(b))
		b.Cleanup(func() { s.Close() })
		return s
	})
}
