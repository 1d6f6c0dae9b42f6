package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

func (h *Harness) headers(t *testing.T, s chainwatch.Source) {
	stale := slices.Clone(h.Stale)
	slices.Reverse(stale)
	middle := len(h.Best) / 2
	tests := []struct {
		name    string
		locator []frame.Hash
		from    int // height of the block before the first header
	}{
		{"from genesis", h.locator(0), 0},
		{"from the middle", h.locator(middle), middle},
		{"from the tip", h.locator(len(h.Best)), len(h.Best)},
		{"from before the tip", h.locator(len(h.Best) - 1), len(h.Best) - 1},
		{"from a branch that lost", append(stale, h.locator(h.Base)...), h.Base},
		{"unknown blocks first", append([]frame.Hash{{1}, {2}}, h.locator(middle)...), middle},
		{"unknown blocks only, and genesis", []frame.Hash{{1}, {2}, h.Params.Genesis.Hash()}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := headersOf(t, s, tt.locator)
			want := h.Best[tt.from:]
			if err != nil || !slices.Equal(got, want[:min(len(want), 2000)]) {
				t.Errorf("got %d headers, %v, want the %d after height %d", len(got), err, len(want), tt.from)
			}
		})
	}
}

func (h *Harness) blocks(t *testing.T, s chainwatch.Source) {
	for _, hash := range []frame.Hash{h.Best[0], h.Best[len(h.Best)/2], h.Best[len(h.Best)-1], h.Best[len(h.Best)-1]} {
		h.same(t, s, hash)
	}
	if r, err := h.open(t, within(t), s, frame.Hash{1}); err == nil {
		t.Errorf("a block that nobody knows: got %v, want an error", r.Close())
	}
	h.same(t, s, h.Best[1]) // the refusal cost nothing
}

// same reads a block and compares it with what stands behind the source.
func (h *Harness) same(t testing.TB, s chainwatch.Source, hash frame.Hash) {
	t.Helper()
	r, err := h.open(t, within(t), s, hash)
	if err != nil {
		t.Error(err)
		return
	}
	got, err := io.ReadAll(r)
	want := h.Raw(t, hash)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("block %s: got %d bytes, %v, want %d", hash, len(got), err, len(want))
	}
}

func (h *Harness) closedEarly(t *testing.T, s chainwatch.Source) {
	if _, ok := s.(chainwatch.Selector); ok {
		t.Skip("this source has no blocks to close")
	}
	for _, bytes := range []int{0, 1, 80, 100} {
		hash := h.Best[bytes%len(h.Best)]
		r, err := s.Block(within(t), hash)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, bytes)
		if _, err := io.ReadFull(r, head); err != nil || bytes >= 80 && frame.HashOf(head[:80]) != hash {
			t.Errorf("the first %d bytes: got %x, %v, want those of %s", bytes, head, err, hash)
		}
		_ = r.Close() // what was not read may count as an error
		if n, err := r.Read(make([]byte, 1)); err == nil {
			t.Errorf("closed after %d bytes: got %d more, want an error", bytes, n)
		}
		h.same(t, s, hash)
	}
}

func (h *Harness) parallel(t *testing.T, s chainwatch.Source) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { h.same(t, s, h.Best[i/2]) })
	}
	wg.Wait()
}

func (h *Harness) cancelled(t *testing.T, s chainwatch.Source) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Headers(ctx, h.locator(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("headers: got %v, want %v", err, context.Canceled)
	}
	if _, err := h.open(t, ctx, s, h.Best[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("block: got %v, want %v", err, context.Canceled)
	}
	h.same(t, s, h.Best[0])
}
