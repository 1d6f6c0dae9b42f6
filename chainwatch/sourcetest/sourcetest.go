// Package sourcetest is what every [chainwatch.Source] must do, as tests: call
// [Run] with a function that makes one of a kind. [BSVD] and [SVNode] start real
// nodes for that, [Files] writes the blocks of one to a file.
package sourcetest

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

// patience is how long anything may take that must happen.
const patience = 30 * time.Second

// A Harness is a source and what is behind it. Open may be called again and
// again; what it returns is run once.
type Harness struct {
	Open   func(t testing.TB) chainwatch.Source
	Params *chainwatch.Params
	Best   []frame.Hash // the best chain from height 1 on
	Base   int          // blocks of it that the stale branch shares, at least one
	Stale  []frame.Hash // a branch that lost, which is known behind the source; oldest first
	Raw    func(t testing.TB, hash frame.Hash) []byte
	Live   *Live // nil when nothing ever happens behind the source
}

// Live makes something happen.
type Live struct {
	Mine func(t testing.TB, blocks int) []frame.Hash
	Pay  func(t testing.TB) []byte // puts a transaction into the mempool
	// Reorganise replaces the newest blocks; both lists are oldest first.
	Reorganise func(t testing.TB) (gone, come []frame.Hash)
	// Restart stops what is behind the source, calls meanwhile, and starts it
	// again with the same chain.
	Restart func(t testing.TB, meanwhile func())
	// Redelivers says that RequestMempool has transactions delivered again.
	Redelivers bool
	// Silent says that the source delivers no transactions, and says so in its docs.
	Silent bool
}

// Run runs all tests that apply.
func Run(t *testing.T, start func(t *testing.T) *Harness) {
	t.Run("headers and blocks", func(t *testing.T) {
		h := start(t)
		s := h.follow(t)
		t.Run("headers", func(t *testing.T) { h.headers(t, s) })
		t.Run("blocks", func(t *testing.T) { h.blocks(t, s) })
		t.Run("blocks closed early", func(t *testing.T) { h.closedEarly(t, s) })
		t.Run("blocks in parallel", func(t *testing.T) { h.parallel(t, s) })
		t.Run("contexts that have ended", func(t *testing.T) { h.cancelled(t, s) })
	})
	t.Run("end", func(t *testing.T) { start(t).end(t) })
	t.Run("news", func(t *testing.T) {
		h := start(t)
		if h.Live == nil {
			t.Skip("nothing ever happens behind this source")
		}
		s := h.follow(t)
		t.Run("a block", func(t *testing.T) { h.newBlock(t, s) })
		t.Run("transactions", func(t *testing.T) { h.transactions(t, s) })
		t.Run("the list of the mempool", func(t *testing.T) { h.mempool(t, s) })
		t.Run("a reorganisation", func(t *testing.T) { h.reorganisation(t, s) })
		t.Run("a restart", func(t *testing.T) { h.restart(t, s) })
	})
}

// follow runs a source until the test ends, and waits until it is connected.
func (h *Harness) follow(t *testing.T) chainwatch.Source {
	t.Helper()
	s := h.Open(t)
	stop := h.run(t, s)
	t.Cleanup(stop)
	return s
}

// run runs a source; the function returned ends it and checks that it ends well.
func (h *Harness) run(t *testing.T, s chainwatch.Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run ended with %v, want nil", err)
			}
		case <-time.After(patience):
			t.Errorf("Run doesn't end with its context")
		}
	}
	testnode.Await(t, "the source is connected", func() bool { return s.Status().Connected > 0 })
	return stop
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// end has a source read and deliver, ends it, and looks for goroutines that it
// left.
func (h *Harness) end(t *testing.T) {
	before := goroutines()
	s := h.Open(t)
	stop := h.run(t, s)
	if _, err := s.Headers(within(t), h.locator(0)); err != nil {
		t.Error(err)
	}
	r, err := h.open(t, within(t), s, h.Best[0])
	if err != nil {
		t.Fatal(err)
	}
	if h.Live != nil {
		h.Live.Pay(t)
	}
	stop()
	_ = r.Close() // of a source that has ended: whatever it says
	var left []string
	defer func() {
		if len(left) > 0 {
			t.Errorf("%d goroutines are left, the first: %s", len(left), left[0])
		}
	}()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		for id, stack := range goroutines() {
			if _, old := before[id]; !old && ofSource(stack) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
	}
}

// ofSource tells whether a goroutine is of a source or of a connection that one
// opened.
func ofSource(stack string) bool {
	const ours = "github.com/metaim/metaim/chainwatch/"
	client := strings.Contains(stack, "net/http.(*persistConn)") || strings.Contains(stack, "zmq4.")
	return client || strings.Contains(strings.ReplaceAll(stack, ours+"sourcetest", ""), ours)
}

// goroutines returns the stacks of all goroutines but this one, by their number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for n := runtime.Stack(buf, true); n == len(buf); n = runtime.Stack(buf, true) {
		buf = make([]byte, 2*len(buf))
	}
	stacks := map[string]string{}
	all := strings.Split(strings.TrimRight(string(buf), "\x00"), "\n\n")
	for _, stack := range all[1:] {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		stacks[id] = stack
	}
	return stacks
}

// locator begins with the block at a height of the best chain.
func (h *Harness) locator(height int) []frame.Hash {
	var hashes []frame.Hash
	for i := height; i > 0; i -= 10 {
		hashes = append(hashes, h.Best[i-1])
	}
	return append(hashes, h.Params.Genesis.Hash())
}

// ask asks for headers again and again until they are as they should be: news
// may be a moment old.
func ask(t testing.TB, s chainwatch.Source, locator, want []frame.Hash) {
	t.Helper()
	var got []frame.Hash
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, err = headersOf(t, s, locator); err == nil && slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("got %d headers %v, %v, want %d %v", len(got), got, err, len(want), want)
}

func headersOf(t testing.TB, s chainwatch.Source, locator []frame.Hash) (got []frame.Hash, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	headers, err := s.Headers(ctx, locator)
	for i := range headers {
		got = append(got, headers[i].Hash())
	}
	return got, err
}
