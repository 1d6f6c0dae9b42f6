package api_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

// A counting index counts how often addresses were looked up.
type counting struct {
	api.Index
	looks atomic.Int64
}

func (c *counting) View(ctx context.Context, read func(index.View) error) error {
	return c.Index.View(ctx, func(v index.View) error { return read(countedView{v, c}) })
}

type countedView struct {
	index.View
	by *counting
}

func (v countedView) Seqs(q index.EventQuery) ([]int64, bool, error) {
	v.by.looks.Add(1)
	return v.View.Seqs(q)
}

func (v countedView) Events(q index.EventQuery) ([]*index.Event, error) {
	if len(q.Addresses) > 0 && q.Among == nil && q.Upto-q.After > 2048 {
		return nil, fmt.Errorf("events of addresses are looked for from %d to %d", q.After, q.Upto)
	}
	return v.View.Events(q)
}

// TestLongHistory: a long history of an address is told whole by every way to read
// it, whether nearly all of the log is of the address or little, and its pages
// don't look the address up each time.
func TestLongHistory(t *testing.T) {
	w := newWorld(t)
	w.mine()
	const messages = 3150 // 1 sends them; two of three go to 2
	var all []*index.Transaction
	for i := range messages {
		all = append(all, w.send(1, byte(2+i%3/2), fmt.Sprint("m", i)))
	}
	for some := range slices.Chunk(all, 21) {
		w.seen(some...)
	}
	for some := range slices.Chunk(all, 1000) {
		w.mine(some...)
	}
	c := &counting{Index: w.store}
	s := w.serve(func(cfg *api.Config) { cfg.Index = c })
	for _, of := range []struct {
		name   string
		n      byte
		events int
		looks  int64 // 4,096 events are found at once, or 20,480 read through
	}{
		{"who sent all", 1, 2 * messages, 2},
		{"two of three", 2, 2 * messages * 2 / 3, 2},
		{"nobody", 9, 0, 1},
	} {
		f := client.Filter{Address: []string{address(of.n)}}
		want := []string{}
		for e, err := range s.client.AllEvents(t.Context(), nil, "") {
			if err != nil {
				t.Fatal(err)
			}
			if e.Message != nil && (of.n == 1 || slices.Contains(e.Message.Recipients, address(of.n))) {
				want = append(want, e.Cursor)
			}
		}
		equal(t, of.name+": events", len(want), of.events)
		for _, way := range []struct {
			name   string
			most   int64
			events func(yield func(client.Event, error) bool)
		}{
			{"WebSocket", of.looks, s.client.Subscribe(t.Context(), []client.Filter{f}, client.SubscribeOptions{From: "start", Limit: max(1, of.events)})},
			{"SSE", of.looks, s.client.Follow(t.Context(), &f, client.SubscribeOptions{From: "start"})},
			{"pages", of.looks * int64(1+of.events/1000), s.client.AllEvents(t.Context(), &f, "")},
		} {
			if of.events == 0 && way.name != "pages" {
				continue // they would go on
			}
			before := c.looks.Load()
			got := []string{}
			for e, err := range way.events {
				if err != nil {
					t.Fatalf("%s, %s: %v", of.name, way.name, err)
				}
				if got = append(got, e.Cursor); len(got) == of.events {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %d events, want %d, or others", of.name, way.name, len(got), len(want))
			}
			if n := c.looks.Load() - before; n < 1 || n > way.most {
				t.Errorf("%s, %s: the address was looked up %d times, want 1 to %d", of.name, way.name, n, way.most)
			}
		}
	}
}
