package junglebus

import (
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/sourcetest"
	"github.com/metaim/metaim/internal/noderpc"
)

// TestContract is what every source must do, with a service in front of a real
// node.
func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness {
		var f *fake // one for each harness: it stays when the source is opened again
		h := sourcetest.BSVD(t, func(_ testing.TB, n sourcetest.Node) chainwatch.Source {
			if f == nil {
				rpc, err := noderpc.New(n.RPC)
				if err != nil {
					t.Fatal(err)
				}
				node := remote{rpc, new(sync.Mutex)}
				f = newFake(t, node)
				node.watch(t, f)
				if _, err := node.height(); err != nil { // the connection is there
					t.Fatal(err)
				}
			}
			return open(t, f)
		})
		h.Open(t)
		return h
	})
}

// open makes a source of a fake service.
func open(t testing.TB, f *fake) *Source {
	t.Helper()
	s, err := New(Config{Params: chainwatch.ParamsOf("regtest"), URL: f.url(), Poll: 50 * time.Millisecond, Backoff: 20 * time.Millisecond,
		Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
