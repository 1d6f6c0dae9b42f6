package node_test

import (
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/node"
	"github.com/metaim/metaim/chainwatch/sourcetest"
)

// TestContract is what every source must do.
func TestContract(t *testing.T) {
	open := func(t testing.TB, n sourcetest.Node) chainwatch.Source {
		t.Helper()
		s, err := node.New(node.Config{Params: chainwatch.ParamsOf("regtest"), RPC: n.RPC, ZMQ: n.ZMQ})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("bsvd", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness { return sourcetest.BSVD(t, open) })
	})
	t.Run("svnode", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness { return sourcetest.SVNode(t, true, open) })
	})
}
