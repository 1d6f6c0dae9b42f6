package api

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

// TestQueueJoinsFrames pushes events to a connection: those of a shared voice are
// one piece of memory, which is what the same frames one by one would be.
func TestQueueJoinsFrames(t *testing.T) {
	type push struct {
		id     string
		tail   string
		anew   bool // a hand-out ends before
		reply  bool // instead: an answer
		others int  // who listen with the same id
	}
	for _, test := range []struct {
		name   string
		pushes []push
		items  int
	}{
		{"alone: put together by who writes", []push{{id: "a", tail: "1"}, {id: "a", tail: "2"}}, 2},
		{"shared: one piece", []push{{id: "a", tail: "1", others: 1}, {id: "a", tail: "22"}, {id: "a", tail: "3"}}, 1},
		{"shared, two hand-outs", []push{{id: "a", tail: "1", others: 1}, {id: "a", tail: "2", anew: true}}, 2},
		{"an answer between", []push{{id: "a", tail: "1", others: 1}, {reply: true}, {id: "a", tail: "2"}}, 3},
		{"two subscriptions in turn", []push{{id: "a", tail: "1", others: 1}, {id: "b", tail: "2", others: 1}, {id: "a", tail: "3"}}, 3},
		{"one larger than a chunk", []push{{id: "a", tail: "1", others: 1}, {id: "a", tail: string(make([]byte, 2*chunkBytes))}}, 2},
	} {
		h := newHub()
		c := &conn{server: &Server{limits: DefaultLimits}, hub: h, stage: taken}
		subs := map[string]*subscription{}
		var want []byte
		size := 0
		for n, p := range test.pushes {
			if p.anew {
				h.hush()
			}
			if p.reply {
				i := item{told: told{text: appendFrame(nil, websocket.TextMessage, []byte("{}")), whole: true}}
				c.add(i)
				want = append(want, i.text...)
				continue
			}
			if subs[p.id] == nil {
				subs[p.id] = &subscription{conn: c, id: p.id, voice: h.voice(p.id)}
			}
			for range p.others {
				h.voice(p.id)
			}
			h.marks++
			frame := appendFrame(nil, websocket.TextMessage, head(p.id, client.PhaseLive), []byte(p.tail))
			want = append(want, frame...)
			size += len(frame)
			c.push(subs[p.id], h.say(subs[p.id].voice, told{seq: int64(n), text: []byte(p.tail)}, 0, 9))
		}
		if len(c.queue) != test.items {
			t.Errorf("%s: got %d items, want %d", test.name, len(c.queue), test.items)
		}
		if c.bytes > size || c.bytes < size-mostHeader*len(test.pushes) {
			t.Errorf("%s: got %d bytes counted, want %d or little less", test.name, c.bytes, size)
		}
		if got := new(pen).gather(c.queue); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%.300q, want\n%.300q", test.name, got, want)
		}
	}
}

func TestAdjoin(t *testing.T) {
	memory := []byte("abcdef")
	for _, test := range []struct {
		name string
		a, b []byte
		want string
	}{
		{"behind each other", memory[1:3], memory[3:5], "bcde"},
		{"a gap", memory[1:3], memory[4:5], ""},
		{"the wrong way round", memory[3:5], memory[1:3], ""},
		{"the same", memory[1:3], memory[1:3], ""},
		{"elsewhere", memory[1:3], []byte("de"), ""},
		{"nothing behind", memory[1:3:3], memory[3:5], ""},
		{"nothing", memory[1:3], nil, ""},
	} {
		got, ok := adjoin(test.a, test.b)
		if string(got) != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, ok, test.want)
		}
	}
}

func TestAllowance(t *testing.T) {
	const every = 10 * time.Millisecond
	for _, test := range []struct {
		name   string
		pauses []time.Duration // before each use
		want   []time.Duration
	}{
		{"at once up to three", []time.Duration{0, 0, 0, 0, 0}, []time.Duration{0, 0, 0, every, 2 * every}},
		{"at the pace", []time.Duration{0, every, every, every, every}, []time.Duration{0, 0, 0, 0, 0}},
		{"after a pause three again", []time.Duration{0, 0, 0, time.Hour, 0, 0, 0}, []time.Duration{0, 0, 0, 0, 0, 0, every}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var a allowance
			var got []time.Duration
			for _, p := range test.pauses {
				time.Sleep(p)
				got = append(got, a.take(every, 3))
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("%s: got waits %v, want %v", test.name, got, test.want)
			}
		})
	}
}
