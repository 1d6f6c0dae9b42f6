package api_test

import (
	"context"
	"fmt"
	"iter"
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
// it, from the start and from its last third on, where it is shorter to read the log
// through; and its pages don't look the address up each time.
func TestLongHistory(t *testing.T) {
	w := newWorld(t)
	w.mine()
	const messages = 300 // each is seen, then confirmed
	api.KnowSeqs(t, 256)
	var all []*index.Transaction
	for i := range messages {
		all = append(all, w.send(1, 2, fmt.Sprint("m", i)))
	}
	for some := range slices.Chunk(all, 40) {
		w.seen(some...)
	}
	w.mine(all...)
	c := &counting{Index: w.store}
	s := w.serve(func(cfg *api.Config) { cfg.Index = c })
	var whole []string
	for e, err := range s.client.AllEvents(t.Context(), nil, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Message != nil {
			whole = append(whole, e.Cursor)
		}
	}
	equal(t, "events", len(whole), 2*messages)
	third := len(whole) * 2 / 3
	f := client.Filter{Address: []string{address(2)}}
	for _, of := range []struct {
		name  string
		after string
		want  []string
		looks int64 // 256 events are found at once, or 20,480 read through
	}{
		{"all", "", whole, 3},
		{"the last third", whole[third-1], whole[third:], 1},
	} {
		options := client.SubscribeOptions{Cursor: of.after}
		if of.after == "" {
			options.From = "start"
		}
		for _, way := range []struct {
			name   string
			most   int64
			events iter.Seq2[client.Event, error]
		}{
			{"WebSocket", of.looks, s.client.Subscribe(t.Context(), []client.Filter{f}, options)},
			{"SSE", of.looks, s.client.Follow(t.Context(), &f, options)},
			{"pages", of.looks, s.client.AllEvents(t.Context(), &f, of.after)},
		} {
			before := c.looks.Load()
			var got []string
			for e, err := range way.events {
				if err != nil {
					t.Fatalf("%s, %s: %v", of.name, way.name, err)
				}
				if got = append(got, e.Cursor); len(got) == len(of.want) {
					break
				}
			}
			if !slices.Equal(got, of.want) {
				t.Errorf("%s, %s: got %d events, want %d, or others", of.name, way.name, len(got), len(of.want))
			}
			if n := c.looks.Load() - before; n < 1 || n > way.most {
				t.Errorf("%s, %s: the address was looked up %d times, want 1 to %d", of.name, way.name, n, way.most)
			}
		}
	}
}

// TestHistoryCosts: pages of history over a WebSocket are paid for; who has used up
// the quota waits for more history, not for news.
func TestHistoryCosts(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var all []*index.Transaction
	for i := range 180 {
		all = append(all, w.send(1, 2, fmt.Sprint("m", i)))
	}
	w.seen(all...)
	s := w.serve(func(c *api.Config) {
		c.LimitLoopback = true
		c.Limits.Quota = client.Quota{Units: 9, Seconds: 36_000}
	})
	k := s.dial() // five units
	k.send(sub("news", client.Filter{Address: []string{address(3)}}))
	k.expect("ok")
	k.expect("caught_up")
	k.send(from("start", sub("history", client.Filter{Address: []string{address(2)}})))
	k.expect("ok")
	for i := range 100 { // two pages
		if r := k.expect("event"); r.Sub != "history" || string(r.Message.Body) != fmt.Sprint("m", i) {
			t.Fatalf("event %d: got %q of %s", i, r.Message.Body, r.Sub)
		}
	}
	for _, req := range []client.Request{from("start", sub("more")), {Type: "mod", ID: "more", Sub: "news", Remove: []client.Filter{{Address: []string{address(3)}}}}} {
		k.send(req)
		if r := k.expect("err"); r.Code != client.CodeQuota || !r.Retryable || r.RetryAfterMS < 1000 {
			t.Errorf("%s without a quota: got %+v, want a retryable %s", req.Type, r, client.CodeQuota)
		}
	}
	w.seen(w.send(1, 3, "news"))
	if r := k.expect("event"); r.Sub != "news" || string(r.Message.Body) != "news" {
		t.Errorf("got %q of %s, want the news", r.Message.Body, r.Sub)
	}
	k.send(client.Request{Type: "unsub", ID: "u", Sub: "history"})
	k.expect("ok")
}
