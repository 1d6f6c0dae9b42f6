package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// TestBadFrames asks for what can't be, in every way: code and sentence are
// right, nothing changes, and the connection goes on.
func TestBadFrames(t *testing.T) {
	w := newWorld(t)
	w.mine()
	before := runtime.NumGoroutine()
	s := w.serve(func(c *api.Config) {
		c.Limits.Subscriptions, c.Limits.Filters, c.Limits.FilterValues, c.Limits.Values = 2, 3, 4, 8
		c.Timing.Fault = time.Millisecond
		c.Submit = func(_ context.Context, raw []byte) (frame.Hash, error) { return frame.HashOf(raw), nil }
	})
	info, err := s.client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	epoch := info.Cursor
	ahead := encodeCursor(strings.Replace(decodeCursor(t, epoch), "e1:", "e999999999:", 1))
	messages := encodeCursor(strings.Replace(decodeCursor(t, epoch), "e", "m", 1))
	filter := func(text string) string { return `{"type":"sub","id":"x","filter":[` + text + `]}` }
	values := func(n int) string { return `["a"` + strings.Repeat(`,"a"`, n-1) + `]` }
	long := strings.Repeat("n", 300)
	const noRequest = "the frame is no request: "
	k := s.open(t)
	k.write(f(opText, `{"type":"sub","id":"had"}`))
	equal(t, "first subscription", []string{k.shown(), k.shown()}, []string{"ok had", "caught_up"})
	for _, test := range []struct{ name, frame, code, detail string }{
		{"nothing", ``, "bad_frame", noRequest + "EOF"},
		{"only spaces", ` `, "bad_frame", noRequest + "EOF"},
		{"null", `null`, "bad_frame", `the type "" is none of hello, sub, mod, unsub, pub, ping`},
		{"no type", `{}`, "bad_frame", `the type "" is none of hello, sub, mod, unsub, pub, ping`},
		{"a list", `[]`, "bad_frame", noRequest + `"" can't be a JSON array`},
		{"a number", `1`, "bad_frame", noRequest + `"" can't be a JSON number`},
		{"a text", `"sub"`, "bad_frame", noRequest + `"" can't be a JSON string`},
		{"cut off", `{"type":"ping"`, "bad_frame", noRequest + "unexpected EOF"},
		{"something behind", `{"type":"ping"} x`, "bad_frame", noRequest + "something follows the JSON value"},
		{"nested deep", strings.Repeat("[", 100_000), "bad_frame", noRequest + "invalid character '[' exceeded max depth"},
		{"a type that is a number", `{"type":1,"id":"i"}`, "bad_frame", noRequest + `"type" can't be a JSON number`},
		{"a type that nobody knows", `{"type":"dance"}`, "bad_frame", `the type "dance" is none of hello, sub, mod, unsub, pub, ping`},
		{"a long type", `{"type":"` + long + `"}`, "bad_frame", `the type "` + long[:200] + `..." is none of hello, sub, mod, unsub, pub, ping`},
		{"a field of no request", `{"type":"ping","pong":true}`, "bad_frame", noRequest + `json: unknown field "pong"`},
		{"a long field", `{"type":"ping","` + long + `":true}`, "bad_frame", noRequest + `json: unknown field "` + long[:179] + "..."},
		{"an id that is a number", `{"type":"ping","id":7}`, "bad_frame", noRequest + `"id" can't be a JSON number`},
		{"an id too long", `{"type":"ping","id":"` + long[:65] + `"}`, "bad_id", "an id may have 64 bytes"},
		{"sub: no id", `{"type":"sub"}`, "bad_id", "a sub needs an id of 1 to 64 bytes"},
		{"sub: an id too long", `{"type":"sub","id":"` + long[:65] + `"}`, "bad_id", "an id may have 64 bytes"},
		{"sub: an id in use", `{"type":"sub","id":"had"}`, "sub_exists", `there is a subscription "had" on this connection already`},
		{"sub: filter no list", `{"type":"sub","id":"x","filter":{}}`, "bad_frame", noRequest + `"filter" can't be a JSON object`},
		{"sub: filter of texts", filter(`"a"`), "bad_frame", noRequest + `"filter" can't be a JSON string`},
		{"sub: unknown field", filter(`{"colour":["red"]}`), "bad_frame", noRequest + `json: unknown field "colour"`},
		{"sub: address no list", filter(`{"address":"a"}`), "bad_frame", noRequest + `"filter.address" can't be a JSON string`},
		{"sub: blocks a text", filter(`{"blocks":"yes"}`), "bad_frame", noRequest + `"filter.blocks" can't be a JSON string`},
		{"sub: a height too large", filter(`{"min_height":2147483648}`), "bad_frame", noRequest + `"filter.min_height" can't be a JSON number 2147483648`},
		{"sub: half a second", filter(`{"until":1.5}`), "bad_frame", noRequest + `"filter.until" can't be a JSON number 1.5`},
		{"sub: no address", filter(`{"address":["bob"]}`), "bad_address", `"bob": not an address`},
		{"sub: an empty address", filter(`{"address":[""]}`), "bad_address", `"": not an address`},
		{"sub: an address of the main network", filter(`{"address":["` + frame.Main.Address(key(1).KeyHash()) + `"]}`), "bad_address", `"` + frame.Main.Address(key(1).KeyHash()) + `": an address of another network`},
		{"sub: no name", filter(`{"name":[""]}`), "bad_name", `"": not a valid name: 0 bytes, not 1 to 64`},
		{"sub: peer no name", filter(`{"address":["` + address(1) + `"],"peer":["a@b"]}`), "bad_name", `"a@b": not a valid name: it holds one of [ ] | @ : /`},
		{"sub: peer alone", filter(`{"peer":["bob"]}`), "bad_filter", "peer needs address or name: it asks for what is between the two"},
		{"sub: unknown state", filter(`{"state":["dropped"]}`), "bad_state", `state "dropped" is none of seen, confirmed, refused`},
		{"sub: blocks with a name", filter(`{"blocks":true,"name":["bob"]}`), "bad_filter", "blocks stands alone in its filter: events of blocks have no address, type or state"},
		{"sub: blocks with a time", filter(`{"blocks":true,"since":1}`), "bad_filter", "events of blocks are bounded by min_height and max_height, not by time"},
		{"sub: a negative time", filter(`{"since":-1}`), "bad_filter", "times and heights in a filter can't be negative"},
		{"sub: a negative height", filter(`{"max_height":-1}`), "bad_filter", "times and heights in a filter can't be negative"},
		{"sub: times the wrong way", filter(`{"since":2,"until":1}`), "bad_filter", "until lies before since"},
		{"sub: heights the wrong way", filter(`{"min_height":2,"max_height":1}`), "bad_filter", "max_height lies below min_height"},
		{"sub: a long value", filter(`{"type":["` + long + `"]}`), "bad_filter", "a value in a filter may have 255 bytes"},
		{"sub: too many values in a list", filter(`{"type":` + values(5) + `}`), "too_many", "a list in a filter may have 4 values"},
		{"sub: too many values", filter(`{"type":` + values(4) + `},{"type":` + values(4) + `},{"type":["a"]}`), "too_many", "the filters of a connection may have 8 values together"},
		{"sub: too many filters", filter(`{},{},{},{}`), "too_many", "a subscription may have 3 filters"},
		{"sub: unknown beginning", `{"type":"sub","id":"x","from":"here"}`, "bad_frame", `from "here" is neither now nor start`},
		{"sub: a long beginning", `{"type":"sub","id":"x","from":"` + long + `"}`, "bad_frame", `from "` + long[:200] + `..." is neither now nor start`},
		{"sub: two beginnings", `{"type":"sub","id":"x","cursor":"a","since":1}`, "bad_frame", "only one of cursor, since and from can be given"},
		{"sub: since a text", `{"type":"sub","id":"x","since":"now"}`, "bad_frame", noRequest + `"since" can't be a JSON string`},
		{"sub: since a negative time", `{"type":"sub","id":"x","since":-1}`, "bad_since", "since can't be negative: it counts seconds from 1970"},
		{"sub: negative limit", `{"type":"sub","id":"x","limit":-1}`, "bad_limit", "limit can't be negative"},
		{"sub: a limit beyond numbers", `{"type":"sub","id":"x","limit":1e99}`, "bad_frame", noRequest + `"limit" can't be a JSON number 1e99`},
		{"sub: cursor of no base64", `{"type":"sub","id":"x","cursor":"!"}`, "bad_cursor", "the cursor isn't one that this server gave"},
		{"sub: cursor too long", `{"type":"sub","id":"x","cursor":"` + strings.Repeat("A", 1000) + `"}`, "bad_cursor", "the cursor isn't one that this server gave"},
		{"sub: cursor with a negative place", `{"type":"sub","id":"x","cursor":"` + encodeCursor("e-1:") + `"}`, "bad_cursor", "the cursor isn't one that this server gave"},
		{"sub: cursor of messages", `{"type":"sub","id":"x","cursor":"` + messages + `"}`, "bad_cursor", "the cursor is of another list: each has its own"},
		{"sub: cursor of another history", `{"type":"sub","id":"x","cursor":"` + encodeCursor("e1:another") + `"}`, "cursor_expired", "the index was made anew since this cursor was given; start again at the cursor in this answer, or without one"},
		{"sub: cursor ahead", `{"type":"sub","id":"x","cursor":"` + ahead + `"}`, "unavailable", "the cursor is ahead of this index, which hasn't caught up yet"},
		{"mod: no sub", `{"type":"mod","add":[{}]}`, "no_such_sub", `there is no subscription "" on this connection`},
		{"mod: unknown sub", `{"type":"mod","sub":"` + long + `","add":[{}]}`, "no_such_sub", `there is no subscription "` + long[:200] + `..." on this connection`},
		{"mod: nothing to do", `{"type":"mod","sub":"had"}`, "bad_frame", "mod needs filters to add or to remove"},
		{"mod: filter it hasn't", `{"type":"mod","sub":"had","remove":[{"type":["text"]}]}`, "no_such_filter", "the subscription has no filter like one of those to remove"},
		{"mod: nothing would be left", `{"type":"mod","sub":"had","remove":[{}]}`, "bad_filter", "no filter would be left: end the subscription with unsub"},
		{"mod: too many filters", `{"type":"mod","sub":"had","add":[{},{},{}]}`, "too_many", "a subscription may have 3 filters"},
		{"mod: a bad name beside a good one", `{"type":"mod","sub":"had","add":[{"name":["bob","a:b"]}]}`, "bad_name", `"a:b": not a valid name: it holds one of [ ] | @ : /`},
		{"unsub: unknown sub", `{"type":"unsub","sub":"x"}`, "no_such_sub", `there is no subscription "x" on this connection`},
		{"pub: no transaction", `{"type":"pub"}`, "bad_frame", "pub needs tx: a raw transaction in hexadecimal"},
		{"pub: half a byte", `{"type":"pub","tx":"0"}`, "bad_body", "the transaction is not in hexadecimal: encoding/hex: odd length hex string"},
	} {
		k.write(f(opText, test.frame))
		_, _, payload := k.next()
		var got client.Reply
		if err := json.Unmarshal(payload, &got); err != nil || got.Type != "err" {
			t.Errorf("%s: got %.200s, want an err", test.name, payload)
			continue
		}
		equal(t, test.name, got.Code+": "+got.Detail, test.code+": "+test.detail)
		equal(t, test.name+": retryable, and after how long", []any{got.Retryable, got.RetryAfterMS > 0}, []any{test.code == "unavailable", test.code == "unavailable"})
		equal(t, test.name+": where to start", got.Cursor != "", test.code == "cursor_expired")
	}
	for _, id := range []string{"x", "y"} {
		k.write(f(opText, `{"type":"sub","id":"`+id+`"}`))
		if id == "y" {
			equal(t, "third subscription", k.shown(), "err ytoo_many")
			continue
		}
		equal(t, "second subscription: nothing that failed is left", []string{k.shown(), k.shown()}, []string{"ok x", "caught_up"})
	}
	k.write(closing(1000, ""))
	equal(t, "close", k.shown(), "close 1000 ")
	k.ended("close")
	s.nothingLeft(before)
}

func decodeCursor(t *testing.T, text string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || !strings.HasPrefix(string(b), "e1:") {
		t.Fatalf("cursor of the first event: got %q, %v, want e1: and the epoch", b, err)
	}
	return string(b)
}

// nothingLeft waits until the server keeps nothing of any connection.
func (s *served) nothingLeft(goroutines int) {
	s.t.Helper()
	s.http.Client().CloseIdleConnections()
	s.client.HTTP.CloseIdleConnections()
	eventually(s.t, "nothing is left of connections", func() bool { return s.server.Left() == "" })
	s.stop()
	eventually(s.t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// TestNothingStays ends connections that hold subscriptions of every kind, in
// every way.
func TestNothingStays(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 2, 0))
	for n := range 20 {
		w.seen(w.send(1, 2, fmt.Sprint(n)+strings.Repeat(" x", 10_000)))
	}
	before := runtime.NumGoroutine()
	s := w.serve(func(c *api.Config) {
		c.Timing.Fault, c.Timing.Slow, c.Timing.Write = time.Millisecond, 50*time.Millisecond, 100*time.Millisecond
		c.Timing.Ping, c.Timing.Dead = 200*time.Millisecond, 300*time.Millisecond
		c.Limits.QueueBytes = 1000
	})
	subscribe := cat(
		f(opText, asJSON(t, from("start", sub("a", client.Filter{Name: []string{"bob"}, Peer: []string{"carol", address(1)}})))),
		f(opText, asJSON(t, from("start", sub("b", client.Filter{Type: []string{"text"}}, client.Filter{Encryption: []string{"plain"}})))),
		f(opText, asJSON(t, sub("c", client.Filter{Blocks: true}, client.Filter{}, client.Filter{Address: []string{address(2)}}))),
		f(opText, asJSON(t, client.Request{Type: "mod", Sub: "c", Add: []client.Filter{{Name: []string{"dora"}}}, Remove: []client.Filter{{Blocks: true}}})),
	)
	ways := map[string]func(k *wire){
		"close":              func(k *wire) { k.write(closing(1000, "")) },
		"end without a word": func(k *wire) { _ = k.conn.Close() },
		"reset": func(k *wire) {
			_ = k.conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it is TCP
			_ = k.conn.Close()
		},
		"break the protocol":      func(k *wire) { k.write(f(3, "")) },
		"send garbage for ever":   func(k *wire) { k.write(repeat(200, f(opText, "{}"))) },
		"never read, never write": func(*wire) {},
		"half a frame":            func(k *wire) { k.write(f(opText, ask)[:5]) },
		"unsub first": func(k *wire) {
			k.write(cat(f(opText, `{"type":"unsub","sub":"a"}`), f(opText, `{"type":"unsub","sub":"b"}`), closing(1000, "")))
		},
	}
	for _, extension := range []string{"x", "permessage-deflate"} {
		for _, end := range ways {
			k := s.open(t, extension)
			k.write(subscribe)
			end(k)
		}
	}
	for n := range 5 {
		w.seen(w.send(1, 2, fmt.Sprint(n)+strings.Repeat(" y", 10_000)))
	}
	s.nothingLeft(before)
}
