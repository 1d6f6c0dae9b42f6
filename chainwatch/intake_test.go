package chainwatch_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
)

// A gate is a sink whose saving of unconfirmed transactions can be watched, held
// up and made to fail.
type gate struct {
	*index.Writer
	saved chan int // how many transactions each call had
	open  chan struct{}

	mu   sync.Mutex
	fail error
}

func (g *gate) Seen(ctx context.Context, txs []*index.Transaction) ([][]index.Decision, error) {
	g.saved <- len(txs)
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return nil, g.fail
	}
	return g.Writer.Seen(ctx, txs)
}

func (g *gate) failing(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
}

// An offering is a follower that runs over a gate.
type offering struct {
	*rig
	gate *gate
	stop func() // ends Run and waits for it
}

func offerTo(t *testing.T, wrap func(*simchain.Source) chainwatch.Source, blocks int, most ...chainwatch.Amount) *offering {
	t.Helper()
	r := &rig{t: t, tree: simchain.NewTree(), store: memory.New(), person: simchain.NewPerson(5, 0)}
	r.source = simchain.NewSource(r.tree)
	r.source.SetTips(r.extend(r.tree.Genesis, blocks))
	var source chainwatch.Source = r.source
	if wrap != nil {
		source = wrap(r.source)
	}
	g := &gate{Writer: index.NewWriter(r.store, index.DefaultRules(frame.Regtest), nil), saved: make(chan int, 100), open: make(chan struct{})}
	config := chainwatch.Config{Params: chainwatch.ParamsOf(frame.Regtest), Poll: time.Hour}
	for _, m := range most {
		config.Unconfirmed = m
	}
	r.follower = chainwatch.NewFollower(source, g, config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.follower.Run(ctx) }()
	o := &offering{rig: r, gate: g}
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(o.stop)
	return o
}

// proved reads and proves a transaction.
func proved(t *testing.T, raw []byte) *index.Transaction {
	t.Helper()
	tx, err := chainwatch.ReadTransaction(raw, frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	chainwatch.Prove(tx, frame.Regtest)
	return tx
}

type outcome struct {
	decisions []index.Decision
	err       error
}

// offer offers a transaction beside what the test does.
func (o *offering) offer(raw []byte) <-chan outcome {
	o.t.Helper()
	tx := proved(o.t, raw)
	out := make(chan outcome, 1)
	go func() {
		decisions, err := o.follower.Offer(context.Background(), tx, len(raw))
		out <- outcome{decisions, err}
	}()
	return out
}

func within[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("after 20 s: no %s", what)
		panic("unreachable")
	}
}

// taken checks that an offer was committed and judged valid.
func (o *offering) taken(name string, raw []byte, out <-chan outcome) {
	o.t.Helper()
	got := within(o.t, name, out)
	if got.err != nil || len(got.decisions) != 1 || got.decisions[0].Verdict != frame.Valid {
		o.t.Errorf("%s: got %+v, want one frame judged valid", name, got)
		return
	}
	if state, _ := o.fate(raw); state != index.Seen {
		o.t.Errorf("%s: the index has it as %s, want seen", name, state)
	}
}

// TestOffer: an offer is answered when it is committed; what waits meanwhile is
// committed together with what the source delivers; what comes back from the
// source isn't saved again.
func TestOffer(t *testing.T) {
	o := offerTo(t, nil, 2)
	first := o.message()
	out := o.offer(first)
	within(t, "first save", o.gate.saved)
	var waiting [][]byte
	var outs []<-chan outcome
	for range 5 {
		raw := o.message()
		waiting, outs = append(waiting, raw), append(outs, o.offer(raw))
	}
	pushed := o.message()
	o.source.Push(pushed, waiting[0], first)
	select {
	case got := <-out:
		t.Fatalf("answered before the save had ended: %+v", got)
	case <-time.After(20 * time.Millisecond):
	}
	close(o.gate.open)
	o.taken("the first", first, out)
	for i, out := range outs {
		o.taken("one that waited", waiting[i], out)
	}
	saved := 0
	for saved < 6 {
		saved += within(t, "saves of what waited", o.gate.saved)
	}
	again := o.offer(first) // known: it has its verdict all the same
	o.taken("offered twice", first, again)
	if got := within(t, "last save", o.gate.saved); saved != 6 || got != 1 {
		t.Errorf("saved %d and then %d, want 6 (five offered, one of the source) and 1", saved, got)
	}
	if state, _ := o.fate(pushed); state != index.Seen {
		t.Errorf("of the source: %s, want seen", state)
	}
}

func TestOfferFails(t *testing.T) {
	o := offerTo(t, nil, 2)
	close(o.gate.open)
	broken := errors.New("the database is down")
	o.gate.failing(broken)
	raw := o.message()
	if got := within(t, "answer", o.offer(raw)); !errors.Is(got.err, broken) {
		t.Errorf("a sink that fails: got %v, want its error", got.err)
	}
	o.gate.failing(nil)
	o.taken("the sink is back", raw, o.offer(raw))
	if _, err := o.follower.Offer(context.Background(), proved(t, raw), 1<<30); !errors.Is(err, chainwatch.ErrBusy) {
		t.Errorf("more than may wait: got %v, want %v", err, chainwatch.ErrBusy)
	}
	o.taken("after one that was too large", raw, o.offer(raw))
	o.stop()
	if got := within(t, "answer", o.offer(raw)); !errors.Is(got.err, chainwatch.ErrStopped) {
		t.Errorf("a follower that has ended: got %v, want %v", got.err, chainwatch.ErrStopped)
	}
}

// TestOfferFull: nobody takes offers in, so they wait, and those who offered
// don't; there is an end to how many may.
func TestOfferFull(t *testing.T) {
	r := newRig(t, nil, chainwatch.Config{})
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	tx := proved(t, r.message())
	for n := 0; ; n++ {
		_, err := r.follower.Offer(gone, tx, 100)
		if errors.Is(err, chainwatch.ErrBusy) && n > 1000 {
			return
		}
		if !errors.Is(err, context.Canceled) || n > 100_000 {
			t.Fatalf("offer %d: got %v, want %v, and after some thousands %v", n, err, context.Canceled, chainwatch.ErrBusy)
		}
	}
}

// A slow source answers when it is let.
type slow struct {
	*simchain.Source
	headers, blocks chan struct{} // closed: answers at once
	asked           chan string
}

func (s *slow) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	s.asked <- "headers"
	select {
	case <-s.headers:
		return s.Source.Headers(ctx, locator)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slow) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	s.asked <- "block"
	select {
	case <-s.blocks:
		return s.Source.Block(ctx, hash)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestOfferMeanwhile: while a node is asked for headers, offers are taken in;
// while many blocks are fetched, who offers isn't kept waiting.
func TestOfferMeanwhile(t *testing.T) {
	s := &slow{headers: make(chan struct{}), blocks: make(chan struct{}), asked: make(chan string, 1000)}
	o := offerTo(t, func(source *simchain.Source) chainwatch.Source {
		s.Source = source
		return s
	}, 30)
	close(o.gate.open)
	within(t, "question for headers", s.asked)
	raw := o.message()
	o.taken("while headers are asked for", raw, o.offer(raw))
	close(s.headers)
	for within(t, "question for a block", s.asked) != "block" {
	}
	if got := within(t, "answer", o.offer(o.message())); !errors.Is(got.err, chainwatch.ErrBusy) {
		t.Errorf("while 30 blocks are fetched: got %v, want %v", got.err, chainwatch.ErrBusy)
	}
	close(s.blocks)
	for deadline := time.Now().Add(20 * time.Second); o.tip().Height < 30; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s the index is at %d, want 30", o.tip().Height)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		raw := o.message()
		got := within(t, "answer", o.offer(raw))
		if got.err == nil {
			return // it may have been busy a moment longer
		}
		if !errors.Is(got.err, chainwatch.ErrBusy) || time.Now().After(deadline) {
			t.Fatalf("when the blocks are there: got %v, want it taken", got.err)
		}
	}
}
