package memory_test

import (
	"testing"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/index/memory"
)

// TestStore runs the suite of all stores. A closed store that is opened again
// holds what it held, as a database would.
func TestStore(t *testing.T) {
	kept := map[*testing.T]*memory.Store{}
	indextest.Run(t, func(t *testing.T) index.Store {
		s := kept[t]
		if s == nil {
			s = memory.New()
		} else {
			s = s.Reopen()
		}
		kept[t] = s
		return s
	})
}
