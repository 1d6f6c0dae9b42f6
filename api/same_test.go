package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/index"
)

// The same messages come by pages of any size, as lines, as server-sent events and
// over WebSocket: the same set, byte for byte, while more are being written.
func TestEveryWayTellsTheSame(t *testing.T) {
	const before, during = 200, 100
	w := newWorld(t)
	w.mine()
	for i := range before / 10 {
		var txs []*index.Transaction
		for j := range 10 {
			txs = append(txs, w.send(byte(1+j%3), 9, fmt.Sprint("m", 10*i+j, "\u2028<&>")))
		}
		w.seen(txs...)
	}
	var more []*index.Transaction
	for i := range during {
		more = append(more, w.send(1, 9, fmt.Sprint("n", i)))
	}
	s := w.serve()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, tx := range more {
			if _, err := w.writer.Seen(context.Background(), []*index.Transaction{tx}); err != nil {
				t.Error(err)
			}
		}
	}()
	ways := map[string]func() []string{
		"server-sent events": func() (got []string) {
			for e, err := range s.client.Follow(t.Context(), &client.Filter{Address: []string{address(9)}}, client.SubscribeOptions{From: "start"}) {
				if err != nil {
					t.Error(err)
					return got
				}
				if got = append(got, inJSON(t, e.Message)); len(got) == before+during {
					return got
				}
			}
			return got
		},
		"WebSocket": func() (got []string) {
			for e, err := range s.client.Subscribe(t.Context(), []client.Filter{{Address: []string{address(9)}}}, client.SubscribeOptions{From: "start"}) {
				if err != nil {
					t.Error(err)
					return got
				}
				if got = append(got, inJSON(t, e.Message)); len(got) == before+during {
					return got
				}
			}
			return got
		},
	}
	for _, limit := range []int{3, 50, 1000} {
		ways[fmt.Sprint("pages of ", limit)] = func() []string { return s.polled(t, limit) }
	}
	type told struct {
		way string
		got []string
	}
	results := make(chan told)
	for way, ask := range ways {
		go func() { results <- told{way, ask()} }()
	}
	got := map[string][]string{}
	for range ways {
		r := <-results
		got[r.way] = r.got
	}
	<-written
	_, body := s.get(t, "/v1/messages?order=oldest&address="+address(9), "Accept", "application/x-ndjson")
	want := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	equal(t, "lines", len(want), before+during)
	for way, list := range got {
		if !slices.Equal(list, want) {
			t.Errorf("%s: got %d messages that aren't those of the %d lines", way, len(list), len(want))
		}
	}
}

func inJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// polled reads pages, oldest first, until all that is written has come.
func (s *served) polled(t *testing.T, limit int) (got []string) {
	for after := ""; len(got) < 300; {
		page, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(9), Limit: limit, Oldest: true, After: after})
		if err != nil {
			t.Error(err)
			return got
		}
		for _, m := range page.Items {
			got = append(got, inJSON(t, m))
		}
		after = page.Next
	}
	return got
}
