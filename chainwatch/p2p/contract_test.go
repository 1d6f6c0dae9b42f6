package p2p_test

import (
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/chainwatch/sourcetest"
)

// TestContract is what every source must do. svnode is never asked for its
// mempool (package comment), so there nothing comes twice.
func TestContract(t *testing.T) {
	open := func(_ testing.TB, n sourcetest.Node) chainwatch.Source {
		return p2p.New(p2p.Config{Params: chainwatch.ParamsOf("regtest"), Peers: []string{n.P2P}})
	}
	t.Run("bsvd", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness { return sourcetest.BSVD(t, open) })
	})
	t.Run("svnode", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness { return sourcetest.SVNode(t, false, open) })
	})
}
