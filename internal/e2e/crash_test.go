package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/internal/testpg"
)

// TestKilledInABurst: a server that is killed again and again, while messages and
// blocks come, loses nothing and tells its subscriber nothing twice.
func TestKilledInABurst(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killInABurst(t, "sqlite:"+filepath.Join(t.TempDir(), "index.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		killInABurst(t, testpg.URL(t))
	})
}

func killInABurst(t *testing.T, store string) {
	kills := rounds(4, 200)
	node := testnode.Start(t)
	s := serveOn(t, store, following(node)...)
	alice, bob := newAuthor(t), newAuthor(t)
	alice.fund(node)
	submit(t, alice.register("alice").raw, node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	u := subscribe(t, s, client.Filter{Address: []string{bob.address()}})
	stopMining := mineAlong(t, node, 150*time.Millisecond)

	// Messages are handed to the node: that the server is away is its own matter.
	var texts []string
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil && !t.Failed() {
			text := fmt.Sprintf("message %d", len(texts)+1)
			source := ""
			if len(texts)%2 == 0 {
				source = "alice"
			}
			m := alice.message(source, text, bob.hash())
			if _, err := node.RPC().SendRawTransaction(t.Context(), m.raw); err != nil {
				t.Errorf("send %q: %v", text, err)
				return
			}
			texts = append(texts, text)
			time.Sleep(5 * time.Millisecond) // a pace, nothing is waited for
		}
	})
	for range kills {
		heard := len(u.all())
		// Some kills come while it starts, some when it has caught up.
		if rand.N(2) == 0 {
			await(t, func() string {
				if len(u.all()) > heard {
					return ""
				}
				return "the subscriber hears of the server again"
			})
		}
		time.Sleep(rand.N(300 * time.Millisecond)) // the moment is chance's
		s.kill()
		s.start()
	}
	stop()
	sending.Wait()
	stopMining()
	s.awaitMined(node)
	s.awaitTip(node)
	u.awaitCount("message.confirmed", len(texts))
	u.checkTexts("message.confirmed", texts)
	// A mempool that is asked for has no order: what waited in it while the server
	// was away may be told in any, until it is in a block.
	for _, id := range u.ids() {
		if got := u.kinds(id); !slices.Equal(got, []string{"seen", "confirmed"}) && !slices.Equal(got, []string{"confirmed"}) {
			t.Errorf("message %s was told of as %q, want seen and confirmed, each once", id, got)
		}
	}
	u.mu.Lock()
	lost := u.lost
	u.mu.Unlock()
	if lost < kills/2 {
		t.Errorf("%d kills cost the subscriber %d connections: were they kills?", kills, lost)
	}
	t.Logf("%d messages, %d kills, %d connections lost", len(texts), kills, lost)
	s.checkFresh(node)
}
