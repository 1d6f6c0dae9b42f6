package chainwatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
)

const firstTime = 1_700_000_000 // of the first block, Unix seconds

// A rig is a follower over a made-up chain.
type rig struct {
	t        *testing.T
	tree     *simchain.Tree
	source   *simchain.Source
	store    *memory.Store
	follower *chainwatch.Follower
	person   simchain.Person
	coin     uint64
}

func newRig(t *testing.T, wrap func(*simchain.Source) chainwatch.Source, config chainwatch.Config) *rig {
	t.Helper()
	r := &rig{t: t, tree: simchain.NewTree(), store: memory.New(), person: simchain.NewPerson(5, 0)}
	r.source = simchain.NewSource(r.tree)
	var source chainwatch.Source = r.source
	if wrap != nil {
		source = wrap(r.source)
	}
	config.Params = chainwatch.ParamsOf(frame.Regtest)
	r.follower = chainwatch.NewFollower(source, index.NewWriter(r.store, index.DefaultRules(frame.Regtest), nil), config)
	if err := r.follower.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// extend mines empty blocks after a block.
func (r *rig) extend(parent *simchain.Block, blocks int) *simchain.Block {
	for range blocks {
		parent = r.tree.Mine(parent, uint32(firstTime+600*(parent.Height+1)), nil)
	}
	return parent
}

func (r *rig) sync(tip *simchain.Block) {
	r.t.Helper()
	r.source.SetTips(tip)
	if err := r.follower.Sync(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// message makes a transaction with a message to oneself.
func (r *rig) message() []byte {
	r.coin++
	// Of a text of its own: in whatever order messages arrive, none is stale.
	m := improtocol.Message{Source: r.person.Address(), Type: "text", Encryption: "plain", Body: fmt.Appendf(nil, "message %d", r.coin)}
	m.SetTime(r.coin)
	script := simchain.Message(&m, r.person.Key, simchain.Compact, simchain.Pushes)
	tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(r.coin), r.person.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(script), simchain.Pay(r.person.Hash, 1000)}}
	return tx.Bytes()
}

func (r *rig) tip() index.Tip {
	r.t.Helper()
	var tip index.Tip
	err := r.store.View(context.Background(), func(v index.View) (err error) {
		tip, err = v.Tip()
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return tip
}

// fate returns the state of a transaction and the reason of its last event.
func (r *rig) fate(raw []byte) (state index.State, reason string) {
	r.t.Helper()
	err := r.store.View(context.Background(), func(v index.View) error {
		entries, err := v.InTransaction(frame.HashOf(raw))
		if err != nil || len(entries) == 0 {
			return errors.Join(err, errors.New("the transaction isn't there"))
		}
		state = entries[0].State
		events, err := v.Events(index.EventQuery{Limit: 10_000})
		for _, e := range events {
			if e.Arrival == entries[0].Arrival {
				reason = e.Reason
			}
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return state, reason
}

// TestShorterChain: a node whose chain got shorter, or that was wiped, changes
// nothing; it is said so; and a longer rival is followed.
func TestShorterChain(t *testing.T) {
	r := newRig(t, nil, chainwatch.Config{})
	long := r.extend(r.tree.Genesis, 10)
	r.sync(long)
	for _, c := range []struct {
		name string
		tip  *simchain.Block
	}{
		{"shorter by three blocks", long.Ancestor(7)},
		{"wiped", r.tree.Genesis},
		{"another chain that is shorter", r.extend(r.tree.Genesis, 4)},
	} {
		r.sync(c.tip)
		if got := r.tip(); got.Height != 10 || got.Hash != long.Hash {
			t.Errorf("%s: the index ends with %d %s, want it unchanged at 10", c.name, got.Height, got.Hash)
		}
		if got := r.follower.Health().Trouble; !strings.Contains(got, "no node has block 10") {
			t.Errorf("%s: trouble %q, want it to say that no node has block 10", c.name, got)
		}
	}
	rival := r.extend(long.Ancestor(7), 4)
	r.sync(rival)
	if got := r.tip(); got.Hash != rival.Hash {
		t.Errorf("the index ends with %d, want the rival's 11", got.Height)
	}
	if got := r.follower.Health().Trouble; got != "" {
		t.Errorf("trouble %q, want none", got)
	}
}

// A withholder has headers of blocks that it doesn't give.
type withholder struct {
	*simchain.Source
	mu   sync.Mutex
	gone frame.Hash
}

func (w *withholder) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if hash == w.gone {
		return nil, errors.New("withheld")
	}
	return w.Source.Block(ctx, hash)
}

// TestWithheldBlock: the heaviest branch has a block that nobody gives; after a
// few tries the best of the others is followed.
func TestWithheldBlock(t *testing.T) {
	w := &withholder{}
	r := newRig(t, func(s *simchain.Source) chainwatch.Source {
		w.Source = s
		return w
	}, chainwatch.Config{})
	honest := r.extend(r.tree.Genesis, 6)
	heavy := r.extend(honest.Ancestor(3), 5)
	w.gone = heavy.Ancestor(5).Hash
	r.source.SetTips(honest, heavy)
	for try := 1; r.follower.Sync(context.Background()) != nil; try++ {
		if try > 10 {
			t.Fatal("the withheld block still holds up the chain after ten tries")
		}
	}
	if got := r.tip(); got.Hash != honest.Hash {
		t.Errorf("the index ends with %d %s, want the branch whose blocks can be had", got.Height, got.Hash)
	}
}

// A lister is a source that can tell what is in its mempool.
type lister struct {
	*simchain.Source
	mu   sync.Mutex
	list []frame.Hash
}

func (l *lister) Mempool(context.Context) ([]frame.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list), nil
}

// TestEvicted: what a node's mempool no longer holds, and no block took, is
// dropped, and so is what spends it; what is still there stays.
func TestEvicted(t *testing.T) {
	l := &lister{}
	r := newRig(t, func(s *simchain.Source) chainwatch.Source {
		l.Source = s
		return l
	}, chainwatch.Config{Poll: 5 * time.Millisecond})
	r.source.SetTips(r.extend(r.tree.Genesis, 2))
	kept, gone := r.message(), r.message()
	l.list = []frame.Hash{frame.HashOf(kept)}
	if err := r.follower.Take(context.Background(), [][]byte{kept, gone}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.follower.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if state, _ := r.fate(gone); state == index.Dropped || time.Now().After(deadline) {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		raw    []byte
		state  index.State
		reason string
	}{{"still in the list", kept, index.Seen, ""}, {"no longer in the list", gone, index.Dropped, index.ReasonEvicted}} {
		if state, reason := r.fate(c.raw); state != c.state || reason != c.reason {
			t.Errorf("%s: %s %q, want %s %q", c.name, state, reason, c.state, c.reason)
		}
	}
}

// TestExpired: what no block took for so many blocks is dropped.
func TestExpired(t *testing.T) {
	r := newRig(t, nil, chainwatch.Config{Poll: 5 * time.Millisecond, Expire: 4})
	tip := r.extend(r.tree.Genesis, 2)
	r.sync(tip)
	old := r.message()
	if err := r.follower.Take(context.Background(), [][]byte{old}); err != nil {
		t.Fatal(err)
	}
	tip = r.extend(tip, 3)
	r.sync(tip)
	young := r.message()
	if err := r.follower.Take(context.Background(), [][]byte{young}); err != nil {
		t.Fatal(err)
	}
	r.source.SetTips(r.extend(tip, 1))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.follower.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if state, _ := r.fate(old); state == index.Dropped || time.Now().After(deadline) {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if state, reason := r.fate(old); state != index.Dropped || reason != index.ReasonExpired {
		t.Errorf("after four blocks: %s %q, want dropped, expired", state, reason)
	}
	if state, _ := r.fate(young); state != index.Seen {
		t.Errorf("after one block: %s, want seen", state)
	}
}
