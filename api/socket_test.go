package api_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer/broadcast"
)

// A socket is a WebSocket client that sends and expects frames one by one.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
}

func (s *served) dial() *socket {
	s.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{client.Subprotocol}}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(s.http.URL, "http")+"/v1/ws", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	k := &socket{s.t, ws}
	s.t.Cleanup(func() { _ = ws.Close() })
	k.expect("welcome")
	return k
}

func (k *socket) send(r any) {
	k.t.Helper()
	if err := k.ws.WriteJSON(r); err != nil {
		k.t.Fatal(err)
	}
}

func (k *socket) next() client.Reply {
	k.t.Helper()
	_ = k.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, data, err := k.ws.ReadMessage()
	if err != nil {
		k.t.Fatal(err)
	}
	var r client.Reply
	if err := json.Unmarshal(data, &r); err != nil {
		k.t.Fatalf("%v in %s", err, data)
	}
	return r
}

func (k *socket) expect(kind string) client.Reply {
	k.t.Helper()
	r := k.next()
	if r.Type != kind {
		k.t.Fatalf("got frame %+v, want type %s", r, kind)
	}
	return r
}

// told reads events up to the one of a message with the body, and shows them.
func (k *socket) told(last string) []string {
	k.t.Helper()
	var out []string
	for {
		r := k.expect("event")
		out = append(out, show(r.Event))
		if r.Message != nil && string(r.Message.Body) == last {
			return out
		}
	}
}

func show(e client.Event) string {
	switch {
	case e.Kind == client.SubscriptionMoved:
		return fmt.Sprintf("moved %s %s>%s", e.Name, e.From, e.To)
	case e.Message != nil && e.From != "":
		return fmt.Sprintf("%s %s %s>%s", e.Kind, e.Message.Body, e.From, e.To)
	case e.Message != nil:
		return e.Kind + " " + string(e.Message.Body)
	case e.Record != nil:
		return e.Kind + " " + e.Record.Operation + " " + e.Record.Name
	}
	return fmt.Sprint(e.Kind, " ", e.Block.Height)
}

func sub(id string, filters ...client.Filter) client.Request {
	return client.Request{Type: "sub", ID: id, Filter: filters}
}

func from(where string, r client.Request) client.Request {
	r.From = where
	return r
}

func TestFiltersInBothPhases(t *testing.T) {
	w := newWorld(t)
	w.mine()
	s := w.serve()
	filters := []struct {
		name   string
		filter client.Filter
		want   []string
	}{
		{"all that counts", client.Filter{}, []string{"message.seen a", "message.seen pic", "message.seen secret", "name.seen register bob", "message.confirmed a", "message.seen end"}},
		{"address", client.Filter{Address: []string{address(2)}}, []string{"message.seen a", "message.seen pic", "message.confirmed a", "message.seen end"}},
		{"one of two addresses", client.Filter{Address: []string{address(3), address(1)}}, []string{"message.seen a", "message.seen pic", "message.seen secret", "name.seen register bob", "message.confirmed a", "message.seen end"}},
		{"type", client.Filter{Type: []string{"image/png"}}, []string{"message.seen pic"}},
		{"encryption", client.Filter{Encryption: []string{"ECC"}}, []string{"message.seen secret"}},
		{"conversation", client.Filter{Address: []string{address(3)}, Peer: []string{address(1)}}, []string{"message.seen secret"}},
		{"confirmed only", client.Filter{State: []string{"confirmed"}}, []string{"message.confirmed a"}},
		{"refused", client.Filter{State: []string{"refused"}}, []string{"message.seen forged"}},
		{"name nobody holds", client.Filter{Name: []string{"bob"}}, []string{"name.seen register bob"}},
		{"blocks", client.Filter{Blocks: true}, []string{"block.connected 1"}},
	}
	k := s.dial()
	start, err := s.client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range filters {
		k.send(sub(f.name, f.filter))
		k.expect("ok")
		k.expect("caught_up")
	}
	a := w.send(1, 2, "a")
	w.seen(a, w.send(1, 2, "pic", func(m *improtocol.Message) { m.Type = "image/png" }),
		w.send(3, 1, "secret", func(m *improtocol.Message) { m.Encryption = "ECC" }),
		w.tx(1, []frame.KeyHash{key(2).KeyHash()}, w.message(3, address(1), "forged")), w.operate(nprotocol.Register, "bob", 1, 0))
	w.mine(a)
	w.seen(w.send(1, 2, "end"))
	live := map[string][]string{}
	total := 0
	for _, f := range filters {
		total += len(f.want)
	}
	for range total {
		r := k.expect("event")
		equal(t, "phase", r.Phase, client.PhaseLive)
		live[r.Sub] = append(live[r.Sub], show(r.Event))
	}
	for _, f := range filters {
		equal(t, f.name+", live", live[f.name], f.want)
	}
	for _, f := range filters {
		r := sub("h", f.filter)
		r.Cursor = start.Cursor
		k.send(r)
		k.expect("ok")
		var got []string
		for reply := k.next(); reply.Type != "caught_up"; reply = k.next() {
			equal(t, "phase", reply.Phase, client.PhaseHistory)
			got = append(got, show(reply.Event))
		}
		equal(t, f.name+", history", got, f.want)
		k.send(client.Request{Type: "unsub", ID: "u", Sub: "h"})
		k.expect("ok")
	}
}

func TestRejudgedReachesThoseWhoWereTold(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 1, 0))
	s := w.serve()
	k := s.dial()
	k.send(sub("s", client.Filter{Address: []string{address(2)}}))
	k.expect("ok")
	k.expect("caught_up")
	tx := w.tx(1, []frame.KeyHash{key(2).KeyHash()}, w.message(1, "bob", "as bob"))
	w.seen(tx)
	w.mine(w.operate(nprotocol.Transfer, "bob", 1, 3))
	w.unmine()
	w.seen(w.send(3, 2, "end"))
	equal(t, "events", k.told("end"), []string{"message.seen as bob", "message.rejudged as bob valid>bad_signature",
		"message.rejudged as bob bad_signature>valid", "message.seen end"})
}

func TestSubscriptionFollowsItsName(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 2, 0))
	s := w.serve()
	bob := client.Filter{Name: []string{"bob"}}
	k := s.dial()
	k.send(sub("s", bob))
	k.expect("ok")
	equal(t, "address at first", k.expect("caught_up").Names, map[string]string{"bob": address(2)})
	w.mine(w.send(1, 2, "to the first"), w.send(1, 3, "not to bob"))
	w.mine(w.operate(nprotocol.Transfer, "bob", 2, 3))
	w.mine(w.send(1, 2, "no longer to bob"), w.send(1, 3, "to the second"))
	equal(t, "live", k.told("to the second"), []string{"message.confirmed to the first", "name.confirmed transfer bob",
		"moved bob " + address(2) + ">" + address(3), "message.confirmed to the second"})

	h := s.dial()
	h.send(from("start", sub("s", bob)))
	h.expect("ok")
	equal(t, "history", h.told("to the second"), []string{"name.confirmed register bob", "message.confirmed to the first",
		"name.confirmed transfer bob", "message.confirmed to the second"})
	equal(t, "address after history", h.expect("caught_up").Names, map[string]string{"bob": address(3)})

	w.unmine()
	w.unmine() // the transfer is undone
	moved := k.next()
	for moved.Kind != client.SubscriptionMoved {
		moved = k.next()
	}
	equal(t, "moved back", show(moved.Event), "moved bob "+address(3)+">"+address(2))
	w.mineAt(genesisTime + nprotocol.Lifetime)
	for moved = k.next(); moved.Kind != client.SubscriptionMoved; moved = k.next() {
		equal(t, "type", moved.Type, "event")
	}
	equal(t, "expired", show(moved.Event), "moved bob "+address(2)+">")
	equal(t, "sub", moved.Sub, "s")
}

func TestRequestsOnASocket(t *testing.T) {
	w := newWorld(t)
	w.mine()
	for i := range 5 {
		w.seen(w.send(1, 2, fmt.Sprint(i)))
	}
	s := w.serve(func(c *api.Config) {
		c.Limits.Subscriptions, c.Limits.Filters = 2, 3
		c.Submit = func(_ context.Context, raw []byte) (frame.Hash, error) {
			if string(raw) == "bad" {
				return frame.Hash{}, &broadcast.Refused{Reason: "fee too low"}
			}
			return frame.HashOf(raw), nil
		}
	})
	k := s.dial()
	k.send(client.Request{Type: "hello", ID: "h", Client: "test/1"})
	equal(t, "hello", k.expect("ok").ID, "h")
	r := from("start", sub("s", client.Filter{Address: []string{address(2)}}))
	r.Limit = 2
	k.send(r)
	k.expect("ok")
	equal(t, "first", k.told("1"), []string{"message.seen 0", "message.seen 1"})
	stopped := k.expect("caught_up")
	equal(t, "complete", stopped.Complete, false)
	closed := k.expect("closed")
	equal(t, "closed", []string{closed.Sub, closed.Code, closed.Cursor}, []string{"s", client.CodeLimit, stopped.Cursor})
	r.Limit, r.From, r.Cursor = 0, "", stopped.Cursor
	k.send(r)
	k.expect("ok")
	equal(t, "rest", k.told("4"), []string{"message.seen 2", "message.seen 3", "message.seen 4"})
	equal(t, "complete", k.expect("caught_up").Complete, true)

	k.send(client.Request{Type: "mod", ID: "m", Sub: "s", Add: []client.Filter{{Address: []string{address(4)}}}, Remove: r.Filter})
	if changed := k.expect("ok"); changed.ID != "m" || changed.Cursor == "" {
		t.Errorf("mod: got %+v, want the id and from which cursor on", changed)
	}
	w.seen(w.send(1, 2, "to 2"), w.send(1, 4, "to 4"))
	equal(t, "after mod", k.told("to 4"), []string{"message.seen to 4"})
	k.send(client.Request{Type: "unsub", ID: "u", Sub: "s"})
	k.expect("ok")
	w.seen(w.send(1, 4, "unheard"))
	k.send(client.Request{Type: "pub", ID: "p", Tx: hex.EncodeToString([]byte("good"))})
	equal(t, "pub", k.expect("ok").TxID, frame.HashOf([]byte("good")).String())

	since := sub("since", client.Filter{})
	since.Since = genesisTime + 600
	w.mine(w.send(1, 2, "in block 1"))
	k.send(since)
	k.expect("ok")
	got := k.told("in block 1")
	if last := got[len(got)-1]; last != "message.confirmed in block 1" {
		t.Errorf("since: got %v, want the message of block 1 last", got)
	}
	k.expect("caught_up")

	many := make([]client.Filter, 4)
	for _, test := range []struct {
		name   string
		frame  string
		code   string
		detail string
	}{
		{"not json", `{`, "bad_frame", "the frame is no request: unexpected EOF"},
		{"unknown field", `{"type":"ping","colour":1}`, "bad_frame", `the frame is no request: json: unknown field "colour"`},
		{"two values", `{"type":"ping"}{}`, "bad_frame", "the frame is no request: something follows the JSON value"},
		{"unknown type", `{"type":"dance"}`, "bad_frame", `the type "dance" is none of hello, sub, mod, unsub, pub, ping`},
		{"sub without id", `{"type":"sub"}`, "bad_id", "a sub needs an id of 1 to 64 bytes"},
		{"sub twice", `{"type":"sub","id":"since"}`, "sub_exists", `there is a subscription "since" on this connection already`},
		{"two beginnings", `{"type":"sub","id":"x","from":"now","since":1}`, "bad_frame", "only one of cursor, since and from can be given"},
		{"unknown beginning", `{"type":"sub","id":"x","from":"then"}`, "bad_frame", `from "then" is neither now nor start`},
		{"bad cursor", `{"type":"sub","id":"x","cursor":"zz"}`, "bad_cursor", "the cursor isn't one that this server gave"},
		{"old cursor", `{"type":"sub","id":"x","cursor":"` + encodeCursor("e1:another") + `"}`, "cursor_expired", "the index was made anew since this cursor was given; start again at the cursor in this answer, or without one"},
		{"negative limit", `{"type":"sub","id":"x","limit":-1}`, "bad_limit", "limit can't be negative"},
		{"bad address", `{"type":"sub","id":"x","filter":[{"address":["bob"]}]}`, "bad_address", `"bob": not an address`},
		{"bad name", `{"type":"sub","id":"x","filter":[{"name":["a/b"]}]}`, "bad_name", `"a/b": not a valid name: it holds one of [ ] | @ : /`},
		{"bad state", `{"type":"sub","id":"x","filter":[{"state":["gone"]}]}`, "bad_state", `state "gone" is none of seen, confirmed, refused`},
		{"peer alone", `{"type":"sub","id":"x","filter":[{"peer":["bob"]}]}`, "bad_filter", "peer needs address or name: it asks for what is between the two"},
		{"blocks with a type", `{"type":"sub","id":"x","filter":[{"blocks":true,"type":["text"]}]}`, "bad_filter", "blocks stands alone in its filter: events of blocks have no address, type or state"},
		{"too many filters", asJSON(t, sub("x", many...)), "too_many", "a subscription may have 3 filters"},
		{"unsub of nothing", `{"type":"unsub","id":"x","sub":"y"}`, "no_such_sub", `there is no subscription "y" on this connection`},
		{"mod of nothing", `{"type":"mod","id":"x","sub":"y","add":[{}]}`, "no_such_sub", `there is no subscription "y" on this connection`},
		{"mod that leaves nothing", `{"type":"mod","id":"x","sub":"since","remove":[{}]}`, "bad_filter", "no filter would be left: end the subscription with unsub"},
		{"mod of another filter", `{"type":"mod","id":"x","sub":"since","remove":[{"type":["a"]}]}`, "no_such_filter", "the subscription has no filter like one of those to remove"},
		{"pub of nothing", `{"type":"pub","id":"x"}`, "bad_frame", "pub needs tx: a raw transaction in hexadecimal"},
		{"pub of no hexadecimal", `{"type":"pub","id":"x","tx":"zz"}`, "bad_body", "the transaction is not in hexadecimal: encoding/hex: invalid byte: U+007A 'z'"},
		{"pub refused", `{"type":"pub","id":"x","tx":"626164"}`, "node_refused", "the transaction is refused: fee too low"},
	} {
		if err := k.ws.WriteMessage(websocket.TextMessage, []byte(test.frame)); err != nil {
			t.Fatal(err)
		}
		got := k.expect("err")
		equal(t, test.name, got.Code+": "+got.Detail, test.code+": "+test.detail)
		equal(t, test.name+": names where to start", got.Cursor != "", test.code == "cursor_expired")
	}
	k.send(sub("second"))
	k.expect("ok")
	k.expect("caught_up")
	k.send(sub("third"))
	equal(t, "third of two subscriptions", k.expect("err").Code, "too_many")
	if err := k.ws.WriteMessage(websocket.BinaryMessage, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	equal(t, "binary", k.expect("err").Detail, "frames are JSON text, not binary")
	// The server closes without reading it: the write may fail already.
	_ = k.ws.WriteMessage(websocket.TextMessage, make([]byte, 200<<10))
	_ = k.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	var err error
	for err == nil { // what was on its way before
		_, _, err = k.ws.ReadMessage()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("frame over the limit: got %v, want the connection closed", err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
