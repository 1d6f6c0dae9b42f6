package api

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/metaim/metaim/api/client"
)

// TestModAnswersFromWhere changes the filter of a subscription wherever it
// stands: the answer names the last event that the old filter judged, and what
// only the old one has put aside is read again.
func TestModAnswersFromWhere(t *testing.T) {
	for _, test := range []struct {
		name             string
		cursor           int64 // of the hub
		after, sent      int64
		gated            bool
		want             int64
		again, thrownOff bool // the page that is being read; the gate
	}{
		{"live", 20, 5, 5, false, 20, false, false},
		{"live, history having been ahead of the hub", 20, 22, 22, false, 22, false, false},
		{"history, nothing being sent", 20, 5, 5, true, 5, true, true},
		{"history, a page being sent", 20, 5, 9, true, 9, true, true},
		{"history, of the first page", 20, 0, 0, true, 0, true, true},
	} {
		s := &Server{limits: DefaultLimits, log: slog.New(slog.DiscardHandler)}
		h := newHub()
		h.cursor = test.cursor
		c := &conn{server: s, hub: h, stage: taken}
		before := &matcher{rules: []*rule{{given: client.Filter{Type: []string{"a"}}}}}
		sub := &subscription{conn: c, id: "s", voice: h.voice("s"), match: before, after: test.after, sent: test.sent, gated: test.gated,
			gate: []told{{seq: 21}}}
		c.subs = map[string]*subscription{"s": sub}
		h.wanted.enter(sub)
		added := &matcher{rules: []*rule{{given: client.Filter{Type: []string{"b"}}}}}
		if err := c.rematch(client.Request{Sub: "s", Remove: []client.Filter{{Type: []string{"a"}}}}, added); err != nil {
			t.Fatal(err)
		}
		var r client.Reply
		if err := json.Unmarshal(c.queue[0].text[2:], &r); err != nil {
			t.Fatal(err)
		}
		if want := (cursor{eventCursor, "", test.want}).String(); r.Cursor != want {
			t.Errorf("%s: got cursor %q, want that of %d, %q", test.name, r.Cursor, test.want, want)
		}
		if thrownOff := sub.gate == nil && sub.gateFull; thrownOff != test.thrownOff {
			t.Errorf("%s: gate thrown off: got %v, want %v", test.name, thrownOff, test.thrownOff)
		}
		if test.again && sub.telling(before, 30) {
			t.Errorf("%s: a page by the old filter: got it sent, want it read again", test.name)
		}
		if !sub.telling(sub.match, 30) || sub.sent != 30 {
			t.Errorf("%s: a page by the new filter: got it not sent, or %d, want 30", test.name, sub.sent)
		}
		if len(h.wanted.byType) != 1 || len(h.wanted.byType["b"]) != 1 {
			t.Errorf("%s: interests: got %v, want those of the new filter", test.name, h.wanted.byType)
		}
	}
}
