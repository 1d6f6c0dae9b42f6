package sourcetest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

func (h *Harness) newBlock(t *testing.T, s chainwatch.Source) {
	quiet(s)
	tip := h.Best[len(h.Best)-1]
	mined := h.Live.Mine(t, 1)
	awaitWake(t, s)
	ask(t, s, []frame.Hash{tip}, mined)
	h.same(t, s, mined[0])
	h.Best = append(h.Best, mined...)
}

// quiet takes a wake-up that is there already.
func quiet(s chainwatch.Source) {
	select {
	case <-s.Wake():
	default:
	}
}

func awaitWake(t testing.TB, s chainwatch.Source) {
	t.Helper()
	select {
	case <-s.Wake():
	case <-time.After(patience):
		t.Fatal("nothing wakes")
	}
}

// receive takes transactions until the one wanted comes.
func receive(t testing.TB, s chainwatch.Source, want []byte) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-s.Transactions():
			if bytes.Equal(got, want) {
				return
			}
		case <-deadline:
			t.Fatalf("transaction %s doesn't arrive", frame.HashOf(want))
		}
	}
}

// transactions must come within a second; on a machine that does other things,
// one of three.
func (h *Harness) transactions(t *testing.T, s chainwatch.Source) {
	if h.Live.Silent {
		t.Skip("this source delivers no transactions")
	}
	var took []time.Duration
	var all [][]byte
	for range 3 {
		raw := h.Live.Pay(t)
		all = append(all, raw)
		paid := time.Now()
		receive(t, s, raw)
		took = append(took, time.Since(paid))
	}
	if slices.Min(took) > time.Second {
		t.Errorf("transactions took %v, want at most a second", took)
	}
	again, ok := s.(interface{ RequestMempool() })
	if !ok || !h.Live.Redelivers {
		return
	}
	again.RequestMempool()
	missing := map[string]bool{}
	for _, raw := range all {
		missing[string(raw)] = true
	}
	deadline := time.After(patience)
	for len(missing) > 0 {
		select {
		case raw := <-s.Transactions():
			delete(missing, string(raw))
		case <-deadline:
			t.Fatalf("%d of %d transactions don't come again", len(missing), len(all))
		}
	}
}

func (h *Harness) mempool(t *testing.T, s chainwatch.Source) {
	watcher, ok := s.(chainwatch.MempoolWatcher)
	if !ok {
		t.Skip("this source doesn't tell what is in the mempool")
	}
	txid := frame.HashOf(h.Live.Pay(t))
	list, err := watcher.Mempool(within(t))
	if err != nil || !slices.Contains(list, txid) {
		t.Errorf("got %v, %v, want %s in it", list, err, txid)
	}
	h.Best = append(h.Best, h.Live.Mine(t, 1)...)
	if list, err = watcher.Mempool(within(t)); err != nil || len(list) != 0 {
		t.Errorf("after a block: got %v, %v, want none", list, err)
	}
}

func (h *Harness) reorganisation(t *testing.T, s chainwatch.Source) {
	h.Live.Mine(t, 1) // one that goes
	ask(t, s, []frame.Hash{h.Best[len(h.Best)-1]}, h.tail(t, s))
	quiet(s)
	gone, come := h.Live.Reorganise(t)
	awaitWake(t, s)
	locator := slices.Clone(gone)
	slices.Reverse(locator)
	first := chainwatch.Header(h.Raw(t, come[0])[:chainwatch.HeaderSize])
	ask(t, s, append(locator, first.Prev(), h.Params.Genesis.Hash()), come)
	for _, hash := range come {
		h.same(t, s, hash)
	}
}

// tail returns what follows the best chain as it is known here.
func (h *Harness) tail(t testing.TB, s chainwatch.Source) []frame.Hash {
	t.Helper()
	var got []frame.Hash
	testnode.Await(t, "the last block is told of", func() bool {
		list, err := headersOf(t, s, h.locator(len(h.Best)))
		got = list
		return err == nil && len(list) > 0
	})
	return got
}

func (h *Harness) restart(t *testing.T, s chainwatch.Source) {
	var tip []frame.Hash
	testnode.Await(t, "headers come before", func() bool {
		list, err := headersOf(t, s, h.locator(0))
		tip = list
		return err == nil && len(list) > 0
	})
	quiet(s)
	h.Live.Restart(t, func() {
		testnode.Await(t, "the loss is told", func() bool {
			st := s.Status()
			return st.Connected == 0 && st.Trouble != ""
		})
		quiet(s)
	})
	awaitWake(t, s)
	testnode.Await(t, "all is well again", func() bool {
		st := s.Status()
		return st.Connected > 0 && st.Trouble == ""
	})
	ask(t, s, h.locator(0), tip)
	mined := h.Live.Mine(t, 1)
	ask(t, s, []frame.Hash{tip[len(tip)-1]}, mined)
	if !h.Live.Silent {
		receive(t, s, h.Live.Pay(t))
	}
}
