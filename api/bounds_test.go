package api_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// TestBoundsOfFilters asks by height and time, live and from the history. What is
// in no block stands at the height after the tip and at the tip's median time.
func TestBoundsOfFilters(t *testing.T) {
	w := newWorld(t)
	at := func(height int64) int64 { return genesisTime + 600*height }
	w.mine()
	w.mine(w.send(1, 2, "a"))
	w.mine(w.send(1, 2, "b"))
	s := w.serve()
	seen, confirmed := "message.seen ", "message.confirmed "
	tests := []struct {
		name          string
		filters       []client.Filter
		live, history []string
	}{
		{"from a height", []client.Filter{{MinHeight: 3}},
			[]string{seen + "c", confirmed + "c", seen + "d", seen + "e", "message.dropped e"}, []string{seen + "c", confirmed + "c", seen + "d", seen + "e", "message.dropped e"}},
		{"to a height", []client.Filter{{MaxHeight: 3}},
			[]string{seen + "c", confirmed + "c", "message.dropped e"}, []string{confirmed + "a", confirmed + "b", seen + "c", confirmed + "c", seen + "e", "message.dropped e"}},
		{"one height", []client.Filter{{MinHeight: 2, MaxHeight: 2, Type: []string{"text"}}}, []string{"message.dropped e"}, []string{confirmed + "b", seen + "e", "message.dropped e"}},
		{"since a time", []client.Filter{{Since: at(3)}},
			[]string{confirmed + "c", seen + "d", seen + "e", "message.dropped e"}, []string{seen + "c", confirmed + "c", seen + "d", seen + "e", "message.dropped e"}},
		{"until a time", []client.Filter{{Until: at(2)}}, []string{seen + "c", "message.dropped e"}, []string{confirmed + "a", confirmed + "b", seen + "e", "message.dropped e"}},
		{"since and until one second", []client.Filter{{Since: at(1), Until: at(1)}}, []string{"message.dropped e"}, []string{confirmed + "a", seen + "e", "message.dropped e"}},
		{"both kinds, and a state", []client.Filter{{Since: at(1), MaxHeight: 3, State: []string{"confirmed"}}}, []string{confirmed + "c", "message.dropped e"},
			[]string{confirmed + "a", confirmed + "b", confirmed + "c", "message.dropped e"}},
		{"one of two", []client.Filter{{MaxHeight: 1, State: []string{"confirmed"}}, {MinHeight: 4, Address: []string{address(2)}}},
			[]string{seen + "d", seen + "e", "message.dropped e"}, []string{confirmed + "a", seen + "d", seen + "e", "message.dropped e"}},
		{"of another address", []client.Filter{{MinHeight: 1, Address: []string{address(7)}}}, nil, nil},
		{"blocks", []client.Filter{{Blocks: true, MinHeight: 2}}, []string{"block.connected 3"}, []string{"block.connected 2", "block.connected 3"}},
		{"blocks to a height", []client.Filter{{Blocks: true, MaxHeight: 1}}, nil, []string{"block.connected 0", "block.connected 1"}},
	}
	k := s.dial()
	for _, test := range tests {
		k.send(sub(test.name, test.filters...))
		k.expect("ok")
		k.expect("caught_up")
	}
	k.send(sub("end", client.Filter{Type: []string{"end"}}))
	k.expect("ok")
	k.expect("caught_up")
	live := map[string][]string{}
	// An event shows its message as it is when the event is read: each step is told
	// before the next.
	step := func() {
		w.seen(w.tx(8, nil, w.message(8, address(8), "end", func(m *improtocol.Message) { m.Type = "end" })))
		for last := false; !last; { // the subscription "end" was the last: it is told last
			r := k.expect("event")
			if last = r.Sub == "end"; r.Message == nil || r.Message.Type != "end" {
				live[r.Sub] = append(live[r.Sub], show(r.Event))
			}
		}
	}
	c, e := w.send(1, 2, "c"), w.send(1, 2, "e")
	w.seen(c)
	step()
	w.mine(c)
	w.seen(w.send(1, 2, "d"), e)
	step()
	if err := w.writer.Drop(t.Context(), []frame.Hash{e.ID}, "evicted"); err != nil {
		t.Fatal(err)
	}
	step()
	for _, test := range tests {
		equal(t, test.name+", live", live[test.name], test.live)
	}
	for _, test := range tests {
		k.send(from("start", sub("h "+test.name, test.filters...)))
		k.expect("ok")
		var got []string
		for reply := k.next(); reply.Type != "caught_up"; reply = k.next() {
			if reply.Message == nil || reply.Message.Type != "end" {
				got = append(got, show(reply.Event))
			}
		}
		equal(t, test.name+", history", got, test.history)
	}
}

// TestModAmidHistory changes a filter while history is told and messages come:
// from the cursor of the answer on, all that the new filter wants is told, once.
func TestModAmidHistory(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	const last = 120
	var wg sync.WaitGroup
	for i := range 8 {
		k := s.dial()
		wg.Go(func() {
			time.Sleep(rand.N(100 * time.Millisecond)) // joins at any time
			k.send(from([]string{"start", "now"}[i%2], sub("s", client.Filter{Type: []string{"none"}})))
			k.send(client.Request{Type: "mod", ID: "m", Sub: "s", Add: []client.Filter{{Address: []string{address(2)}}}})
			first := -1
			var got []int
			for len(got) == 0 || got[len(got)-1] < last {
				r := k.next()
				switch {
				case r.Type == "ok" && r.ID == "m":
					first = s.after(t, r.Cursor)
				case r.Type == "event":
					got = append(got, number(t, r.Message))
				}
			}
			sequence(t, fmt.Sprintf("subscriber %d", i), got, first, last)
		})
	}
	for n := 1; n <= last; n++ {
		w.seen(w.send(1, 2, fmt.Sprint(n)))
	}
	wg.Wait()
}

// after returns the number of the first message after a cursor; there may be none
// yet.
func (s *served) after(t *testing.T, cursor string) (n int) {
	eventually(t, "something follows the cursor", func() bool {
		page, err := s.client.Events(t.Context(), cursor, 1)
		if err != nil || len(page.Items) == 0 {
			return err != nil
		}
		if page.Items[0].Message == nil { // the first event of all is a block's
			n = 1
		} else {
			n = number(t, page.Items[0].Message)
		}
		return true
	})
	return n
}

// TestModInPlace adds and removes filters: a filter to remove is known by its
// values, whatever their order; a name that is added is followed, and shown.
func TestModInPlace(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 2, 0))
	s := w.serve(func(c *api.Config) { c.Limits.Filters, c.Limits.Values = 3, 6 })
	k := s.dial()
	two := client.Filter{Address: []string{address(3), address(4)}, Type: []string{"text"}, MinHeight: 1, Until: 1 << 40}
	k.send(sub("s", two))
	k.expect("ok")
	k.expect("caught_up")
	mod := func(add, remove []client.Filter) client.Reply {
		k.send(client.Request{Type: "mod", ID: "m", Sub: "s", Add: add, Remove: remove})
		return k.next()
	}
	r := mod([]client.Filter{{Name: []string{"bob", "carol"}}}, nil)
	equal(t, "names shown", []any{r.Type, r.Names}, []any{"ok", map[string]string{"bob": address(2), "carol": ""}})
	w.seen(w.send(1, 2, "to bob"), w.send(1, 4, "to 4"))
	equal(t, "with both", k.told("to 4"), []string{"message.seen to bob", "message.seen to 4"})
	for _, test := range []struct {
		name   string
		filter client.Filter
		want   string
	}{
		{"other values", client.Filter{Address: []string{address(3)}, Type: []string{"text"}, MinHeight: 1, Until: 1 << 40}, "err no_such_filter"},
		{"other height", client.Filter{Address: []string{address(3), address(4)}, Type: []string{"text"}, MinHeight: 2, Until: 1 << 40}, "err no_such_filter"},
		{"without the time", client.Filter{Address: []string{address(3), address(4)}, Type: []string{"text"}, MinHeight: 1}, "err no_such_filter"},
		{"another order, one twice", client.Filter{Address: []string{address(4), address(3), address(4)}, Type: []string{"text"}, MinHeight: 1, Until: 1 << 40}, "ok "},
		{"once more", two, "err no_such_filter"},
	} {
		got := mod(nil, []client.Filter{test.filter})
		equal(t, test.name, got.Type+" "+got.Code, test.want)
	}
	w.seen(w.send(1, 4, "not told"), w.send(1, 2, "still to bob"))
	equal(t, "with bob only", k.told("still to bob"), []string{"message.seen still to bob"})
	equal(t, "nothing to do", mod(nil, nil).Detail, "mod needs filters to add or to remove")
	equal(t, "too many values", mod([]client.Filter{{Type: []string{"a", "b", "c", "d", "e"}}}, nil).Detail, "the filters of a connection may have 6 values together")
	equal(t, "refused as a whole", mod([]client.Filter{{State: []string{"gone"}}}, []client.Filter{{Name: []string{"bob", "carol"}}}).Code, "bad_state")
	w.mine(w.operate(nprotocol.Transfer, "bob", 2, 3))
	for r = k.next(); r.Kind != client.SubscriptionMoved; r = k.next() {
		equal(t, "type", r.Type, "event")
	}
	equal(t, "still follows", show(r.Event), "moved bob "+address(2)+">"+address(3))
}
