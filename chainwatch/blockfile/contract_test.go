package blockfile_test

import (
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/blockfile"
	"github.com/metaim/metaim/chainwatch/sourcetest"
)

// TestContract is what every source must do, as far as it applies to files.
func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness {
		return sourcetest.Files(t, func(t testing.TB, path string) chainwatch.Source {
			t.Helper()
			s, err := blockfile.Open(t.Context(), []string{path}, chainwatch.ParamsOf("regtest"), blockfile.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
}
