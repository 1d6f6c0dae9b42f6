package reliability

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

// TestSubscribers lets subscribers join, be cut off and come back while messages
// are published, blocks come, chains turn around and the server is killed: each
// must be told exactly what the log says, once and in order.
func TestSubscribers(t *testing.T) {
	trials := int64(pick(60, 5000)) // for each store
	eachBackend(t, func(t *testing.T, b backend) {
		store := b.open(t, b.spec(t))
		defer closeStore(t, store)
		p := newPublisher(t, store)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { p.publish(ctx) })
		group.Go(func() { p.killServers(ctx) })
		var done, events atomic.Int64
		var workers sync.WaitGroup
		for range pick(6, 12) {
			workers.Go(func() {
				for done.Add(1) <= trials && !t.Failed() {
					events.Add(int64(p.trial(t)))
				}
			})
		}
		workers.Wait()
		cancel()
		group.Wait()
		t.Logf("%d trials, %d events told, %d kills of the server, %d connections cut, %d reorganisations: 0 lost, 0 told twice",
			trials, events.Load(), p.killed.Load(), p.cut.Load(), p.turned.Load())
	})
}

// A publisher writes an index and runs the server that tells of it.
type publisher struct {
	t      *testing.T
	store  index.Store
	town   *town
	tree   *simchain.Tree
	source *simchain.Source
	follow *chainwatch.Follower
	wake   chan struct{}
	url    string

	mu    sync.Mutex
	conns map[net.Conn]bool

	killed, cut, turned atomic.Int64
}

func newPublisher(t *testing.T, store index.Store) *publisher {
	t.Helper()
	tree := simchain.NewTree()
	p := &publisher{t: t, store: store, town: newTown(11), tree: tree, source: simchain.NewSource(tree),
		wake: make(chan struct{}, 1), conns: map[net.Conn]bool{}}
	writer := index.NewWriter(store, index.DefaultRules(frame.Regtest), func() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	})
	p.follow = chainwatch.NewFollower(p.source, writer, chainwatch.Config{Params: chainwatch.ParamsOf(frame.Regtest)})
	if err := p.follow.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

// publish sees messages, mines some of them and turns the chain around, until
// ctx ends.
func (p *publisher) publish(ctx context.Context) {
	random := rand.New(rand.NewPCG(12, 12))
	tip := p.tree.Genesis
	var pool [][]byte
	for ctx.Err() == nil {
		switch dice := random.IntN(12); {
		case dice < 8:
			tx := p.town.transaction()
			pool = append(pool, tx)
			p.do(p.follow.Take(context.WithoutCancel(ctx), [][]byte{tx}))
		case dice < 11 || tip.Height < 4:
			n := random.IntN(len(pool) + 1)
			tip = p.tree.Mine(tip, uint32(startTime+600*(tip.Height+1)), pool[:n])
			pool = slices.Clone(pool[n:])
			p.to(ctx, tip)
		default:
			fork := tip.Ancestor(tip.Height - int32(1+random.IntN(3)))
			branch := p.town.extend(p.tree, fork, int(tip.Height-fork.Height)+1, 1)
			tip = branch
			p.to(ctx, tip)
			p.turned.Add(1)
		}
		time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond) // a pace, nothing hangs on it
	}
}

func (p *publisher) to(ctx context.Context, tip *simchain.Block) {
	p.source.SetTips(tip)
	p.do(p.follow.Sync(context.WithoutCancel(ctx)))
}

func (p *publisher) do(err error) {
	if err != nil {
		p.t.Errorf("publish: %v", err)
	}
}

// killServers runs one server after the other on the same address; each ends at a
// random instant, half of them without a word.
func (p *publisher) killServers(ctx context.Context) {
	random := rand.New(rand.NewPCG(13, 13))
	for ctx.Err() == nil {
		life, end := context.WithTimeout(ctx, time.Duration(300+random.IntN(2500))*time.Millisecond)
		p.serve(life, random.IntN(2) == 0)
		end()
		p.killed.Add(1)
	}
}

func (p *publisher) serve(ctx context.Context, silent bool) {
	listener, err := net.Listen("tcp", p.url[len("http://"):])
	if err != nil {
		p.t.Errorf("listen: %v", err)
		return
	}
	server := api.New(api.Config{Index: p.store, Rules: index.DefaultRules(frame.Regtest), Wake: p.wake,
		Timing: api.Timing{ByeAfter: 20 * time.Millisecond, ByeWait: 50 * time.Millisecond, Poll: 100 * time.Millisecond}})
	web := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: time.Second, ConnState: p.track}
	var group sync.WaitGroup
	group.Go(func() { _ = web.Serve(listener) }) // ends with Close
	group.Go(func() {
		<-ctx.Done()
		if silent {
			p.cutAll()
		}
	})
	if err := server.Run(ctx); err != nil && ctx.Err() == nil {
		p.t.Errorf("serve: %v", err)
	}
	_ = web.Close() // the rest is cut
	p.cutAll()
	group.Wait()
}

// track notes connections, those taken over by WebSocket too.
func (p *publisher) track(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.conns[c] = true
	case http.StateClosed:
		delete(p.conns, c)
	}
}

func (p *publisher) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // as if the network had failed
	}
	p.cut.Add(int64(len(p.conns)))
	clear(p.conns)
}

// trial subscribes to everything at a point of the log, reads on beyond what is
// there now, and tells how many events came. The log has no gaps: what is told
// must be every seq after the start, one after the other.
func (p *publisher) trial(t *testing.T) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(p.url)
	if err != nil {
		t.Error(err)
		return 0
	}
	var start, target int64
	var epoch string
	err = p.store.View(ctx, func(v index.View) error {
		last, err := v.LastSeq()
		start = max(0, last-rand.Int64N(300))
		target = last + 1 + rand.Int64N(60)
		name, err2 := v.Epoch()
		epoch = name
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Error(err)
		return 0
	}
	told := 0
	everything := []client.Filter{{State: []string{"seen", "confirmed", "refused"}}, {Blocks: true}}
	options := client.SubscribeOptions{Cursor: eventCursor(epoch, start), MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}
	for e, err := range c.Subscribe(ctx, everything, options) {
		if err != nil {
			t.Errorf("subscribed after %d up to %d: %v", start, target, err)
			return 0
		}
		seq, err := eventSeq(e.Cursor)
		if err != nil {
			t.Error(err)
			return 0
		}
		if seq != start+1 {
			t.Errorf("told %d (%s, %s) after %d", seq, e.Kind, e.Phase, start)
			return 0
		}
		told++
		if start = seq; seq == target {
			return told
		}
	}
	t.Errorf("the subscription ended after %d, before %d: %v", start, target, ctx.Err())
	return 0
}

// eventCursor and eventSeq know what cursors are made of, which is nobody else's
// business: api/cursor.go.
func eventCursor(epoch string, seq int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "e%d:%s", seq, epoch))
}

func eventSeq(cursor string) (int64, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, err
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(string(b), "e"), ":")
	return strconv.ParseInt(number, 10, 64)
}
