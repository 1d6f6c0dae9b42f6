package api_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

func bodies(messages []client.Message) []string {
	out := []string{}
	for _, m := range messages {
		out = append(out, string(m.Body))
	}
	return out
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want)
	if g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func TestMessagesArePagedBothWays(t *testing.T) {
	w := newWorld(t)
	w.mine()
	var want []string
	for i := range 7 {
		body := fmt.Sprint("m", i)
		want = append(want, body)
		w.seen(w.send(1, 2, body))
	}
	w.seen(w.send(3, 4, "others'"))
	s := w.serve()
	newest := slices.Clone(want)
	slices.Reverse(newest)
	for _, test := range []struct {
		name string
		q    client.MessageQuery
		want []string
	}{
		{"newest first", client.MessageQuery{Address: address(2), Limit: 3}, newest},
		{"oldest first", client.MessageQuery{Address: address(2), Limit: 3, Oldest: true}, want},
		{"pages that end with the list", client.MessageQuery{Address: address(1), Limit: 7}, newest},
		{"conversation", client.MessageQuery{Address: address(1), Peer: address(2), Limit: 2}, newest},
		{"conversation with nobody", client.MessageQuery{Address: address(1), Peer: address(3)}, nil},
		{"of a type", client.MessageQuery{Address: address(1), Type: "image"}, nil},
		{"confirmed only", client.MessageQuery{Address: address(1), State: "confirmed"}, nil},
		{"everyone's", client.MessageQuery{Limit: 5, Oldest: true}, append(slices.Clone(want), "others'")},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []client.Message
			for m, err := range s.client.AllMessages(t.Context(), test.q) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, m)
			}
			equal(t, "bodies", bodies(got), append([]string{}, test.want...))
		})
	}
	first, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(2), Limit: 3, Oldest: true})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(2), Limit: 3, Oldest: true, After: first.Next})
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(2), Limit: 2, Oldest: true, Before: second.Prev})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "page before the second", bodies(back.Items), want[1:3])
	equal(t, "its completeness", back.Complete, false)
	w.seen(w.send(2, 1, "new"))
	head, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(2)})
	if err != nil {
		t.Fatal(err)
	}
	w.seen(w.send(2, 1, "newer"))
	more, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(2), Before: head.Prev})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what came since", bodies(more.Items), []string{"newer"})
}

func to(address string) edit { return func(m *improtocol.Message) { m.Other = "to=" + address } }

func TestMessageWithOccurrencesVerifies(t *testing.T) {
	w := newWorld(t)
	first := w.send(1, 2, "hello\u0007", to(address(2)))
	copied := w.tx(3, []frame.KeyHash{key(4).KeyHash()}, w.message(1, address(1), "", func(m *improtocol.Message) { *m = *first.Frames[0].Message }))
	w.mine(first)
	w.mine(copied)
	w.mine()
	s := w.serve()
	id := first.Frames[0].ID.String()
	for _, asked := range []string{id, first.ID.String() + ":0"} {
		m, err := s.client.Message(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "id", m.ID, id)
		equal(t, "state", m.State, "confirmed")
		equal(t, "text", *m.Text, "hello\u0007")
		equal(t, "confirmations", m.Confirmations, int32(3))
		equal(t, "recipients", m.Recipients, []string{address(2)})
		equal(t, "other", m.OtherMap, map[string]string{"to": address(2)})
		equal(t, "addressed, paid by source", []bool{m.Addressed, m.PaidBySource}, []bool{true, true})
		equal(t, "tip", m.Tip.Height, int32(2))
		equal(t, "occurrences", len(m.Occurrences), 2)
		equal(t, "verdict of the copy", m.Occurrences[1].Verdict, "duplicate")
		equal(t, "copy paid by source", m.Occurrences[1].PaidBySource, false)
		if err := client.Verify(m.Message, frame.Regtest); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
	page, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(4)})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "copy as its receiver sees it", []any{bodies(page.Items), page.Items[0].Addressed, page.Items[0].State},
		[]any{[]string{"hello\u0007"}, false, "confirmed"})
}

func TestRefusedSaysWhy(t *testing.T) {
	w := newWorld(t)
	wrongKey := w.tx(1, []frame.KeyHash{key(2).KeyHash()}, w.message(3, address(1), "forged"))
	nobody := w.tx(1, []frame.KeyHash{key(2).KeyHash()}, w.message(1, "nobody", "from nobody"))
	w.seen(wrongKey, nobody)
	s := w.serve()
	page, err := s.client.Messages(t.Context(), client.MessageQuery{Address: address(2), State: "refused", Oldest: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"refused bad_signature the signature isn't by the key of " + address(1),
		`refused unknown_name the source "nobody" is neither an address of this network nor a name that was valid there`,
	} {
		if i >= len(page.Items) {
			t.Fatalf("got %d refused messages, want 2", len(page.Items))
		}
		m := page.Items[i]
		equal(t, "refusal", m.State+" "+m.Verdict+" "+m.Reason, want)
		if err := client.Verify(m, frame.Regtest); err == nil {
			t.Errorf("%s: verifies", m.Verdict)
		}
	}
}

func TestContentIsServedHarmlessly(t *testing.T) {
	w := newWorld(t)
	typed := func(kind, other string) edit {
		return func(m *improtocol.Message) { m.Type, m.Other = kind, other }
	}
	png := "\x89PNG\r\n\x1a\n..."
	for _, test := range []struct {
		name, body  string
		edit        edit
		kind, place string
	}{
		{"text", "hello", typed("text", ""), "text/plain; charset=utf-8", "inline"},
		{"html", "<script>", typed("html", ""), "text/html; charset=utf-8", "attachment"},
		{"html as media type", "<script>", typed("text/html", ""), "text/html", "attachment"},
		{"svg", "<svg onload=x>", typed("image/svg+xml", ""), "image/svg+xml", "attachment"},
		{"svg under another case", "<svg onload=x>", typed("IMAGE/SVG+XML", ""), "image/svg+xml", "attachment"},
		{"svg with parameters", "<svg onload=x>", typed("image/svg+xml; charset=utf-8", ""), "image/svg+xml; charset=utf-8", "attachment"},
		{"svg as image", "<svg onload=x>", typed("image", ""), "application/octet-stream", "attachment"},
		{"svg as png", "<svg onload=x>", typed("image/png", ""), "image/png", "inline"}, // nosniff: a broken picture
		{"html as plain text", "<script>", typed("text/plain", ""), "text/plain", "inline"},
		{"html as video", "<script>", typed("video", ""), "application/octet-stream", "attachment"},
		{"xhtml", "<html xmlns='http://www.w3.org/1999/xhtml'/>", typed("application/xhtml+xml", ""), "application/xhtml+xml", "attachment"},
		{"xml", "<?xml-stylesheet href='x'?>", typed("text/xml", ""), "text/xml", "attachment"},
		{"xml of an application", "<x/>", typed("application/xml", ""), "application/xml", "attachment"},
		{"pdf", "%PDF-1.7", typed("application/pdf", ""), "application/pdf", "attachment"},
		{"javascript", "alert(1)", typed("text/javascript", ""), "text/javascript", "attachment"},
		{"javascript of an application", "alert(1)", typed("application/javascript", ""), "application/javascript", "attachment"},
		{"module", "export {}", typed("application/ecmascript", ""), "application/ecmascript", "attachment"},
		{"wasm", "\x00asm", typed("application/wasm", ""), "application/wasm", "attachment"},
		{"style", "x{}", typed("text/css", ""), "text/css", "attachment"},
		{"manifest", "CACHE MANIFEST", typed("text/cache-manifest", ""), "text/cache-manifest", "attachment"},
		{"events", "data: x", typed("text/event-stream", ""), "text/event-stream", "attachment"},
		{"many parts", "--x", typed("multipart/x-mixed-replace; boundary=x", ""), "multipart/x-mixed-replace; boundary=x", "attachment"},
		{"a page that is many", "From:", typed("message/rfc822", ""), "message/rfc822", "attachment"},
		{"image", png, typed("image", "name=..%2Fa%20b.png"), "image/png", `inline; filename="a b.png"`},
		{"image that is none", "<html>", typed("image", ""), "application/octet-stream", "attachment"},
		{"name with a line break", png, typed("image/png", "name=a%0D%0Ab"), "image/png", "inline"},
		{"type with a line break", "x", typed("text/plain\r\nx: y", ""), "application/octet-stream", "attachment"},
		{"encrypted", "xxx", func(m *improtocol.Message) { m.Encryption = "ECC" }, "application/octet-stream", "attachment"},
		{"unknown type", "x", typed("", ""), "application/octet-stream", "attachment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tx := w.send(1, 2, test.body, test.edit)
			w.seen(tx)
			s := w.serve()
			defer s.stop()
			resp, body := s.get(t, "/v1/messages/"+tx.Frames[0].ID.String()+"/content", "Range", "bytes=0-1")
			equal(t, "status", resp.StatusCode, http.StatusPartialContent)
			equal(t, "bytes", body, test.body[:min(2, len(test.body))])
			equal(t, "type", resp.Header.Get("Content-Type"), test.kind)
			equal(t, "disposition", resp.Header.Get("Content-Disposition"), test.place)
			equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), "nosniff")
			if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "sandbox;") {
				t.Errorf("policy: got %q, want a sandbox", policy)
			}
		})
	}
}

func (s *served) get(t *testing.T, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	return s.ask(t, http.MethodGet, path, "", headers...)
}

func (s *served) ask(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.http.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestNamesAndAddresses(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 1, 0), w.operate(nprotocol.Register, "old", 2, 0))
	w.mine(w.operate(nprotocol.Register, "gone", 1, 0), w.operate(nprotocol.Register, "second", 1, 0))
	w.mine(w.operate(nprotocol.Delete, "gone", 1, 0), w.operate(nprotocol.Register, "bob", 3, 0))
	w.mineAt(genesisTime+nprotocol.Lifetime-1, w.operate(nprotocol.Register, "bob", 1, 0)) // renewed
	w.mineAt(genesisTime + nprotocol.Lifetime)
	w.seen(w.operate(nprotocol.Transfer, "bob", 1, 2), w.operate(nprotocol.Register, "new", 4, 0))
	s := w.serve()
	for _, test := range []struct {
		name, state, holder string
		primary             bool
		pending             int
	}{
		{"bob", client.NameValid, address(1), true, 1},
		{"old", client.NameExpired, address(2), false, 0},
		{"gone", client.NameDeleted, address(1), false, 0},
		{"second", client.NameValid, address(1), false, 0},
		{"new", client.NameFree, "", false, 1},
	} {
		n, err := s.client.Name(t.Context(), test.name)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, test.name, []any{n.State, n.Address, n.Primary, len(n.Pending)}, []any{test.state, test.holder, test.primary, test.pending})
	}
	h, err := s.client.NameHistory(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []string
	for _, r := range h.Items {
		verdicts = append(verdicts, r.Operation+" "+r.Verdict+" "+r.State)
	}
	equal(t, "history", verdicts, []string{"register valid confirmed", "register taken refused", "register valid confirmed", "transfer valid seen"})
	a, err := s.client.Address(t.Context(), address(1))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "address", []any{a.PrimaryName, len(a.Names), a.PublicKey, a.Tip.MedianTime},
		[]any{"bob", 3, hex.EncodeToString(key(1).PublicKey()), int64(genesisTime + nprotocol.Lifetime)})
	if _, err := s.client.Messages(t.Context(), client.MessageQuery{Name: "old"}); err == nil || err.Error() != `name "old" is expired` {
		t.Errorf("messages of an expired name: got %v", err)
	}
}

func checkProblem(t *testing.T, name string, resp *http.Response, body, code string) {
	t.Helper()
	var p client.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%s: %v in %q", name, err, body)
	}
	equal(t, name+": media type", resp.Header.Get("Content-Type"), "application/problem+json")
	equal(t, name+": code", p.Code, code)
	equal(t, name+": status", p.Status, resp.StatusCode)
	if p.Type != "urn:metaim:problem:"+code || p.Title == "" || p.Detail == "" || p.RequestID == "" || p.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("%s: incomplete problem %+v", name, p)
	}
}

func encodeCursor(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	register := w.operate(nprotocol.Register, "bob", 1, 0)
	w.mine(register)
	s := w.serve()
	info, err := s.client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mainnet := frame.Main.Address(key(1).KeyHash())
	zeros := strings.Repeat("0", 64)
	for _, test := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/v1/nothing", 404, "not_found"},
		{"GET", "/", 404, "not_found"},
		{"DELETE", "/v1/info", 405, "method_not_allowed"},
		{"POST", "/v1/transactions", 501, "no_submit"},
		{"GET", "/v1/messages?limit=0", 400, "bad_limit"},
		{"GET", "/v1/messages?limit=1001", 400, "bad_limit"},
		{"GET", "/v1/messages?limit=99999999999999999999", 400, "bad_limit"},
		{"GET", "/v1/messages?limit=1&limit=2", 400, "bad_query"},
		{"GET", "/v1/messages?adress=x", 400, "bad_query"},
		{"GET", "/v1/messages?x=%zz", 400, "bad_query"},
		{"GET", "/v1/messages?address=x", 400, "bad_address"},
		{"GET", "/v1/messages?address=" + mainnet, 400, "bad_address"},
		{"GET", "/v1/messages?name=a%2Fb", 400, "bad_name"},
		{"GET", "/v1/messages?name=nobody", 404, "not_found"},
		{"GET", "/v1/messages?name=bob&address=" + address(1), 400, "bad_query"},
		{"GET", "/v1/messages?peer=bob", 400, "bad_query"},
		{"GET", "/v1/messages?name=bob&peer=" + mainnet, 400, "bad_address"},
		{"GET", "/v1/messages?state=dropped", 400, "bad_state"},
		{"GET", "/v1/messages?order=random", 400, "bad_order"},
		{"GET", "/v1/messages?after=a&before=b", 400, "bad_query"},
		{"GET", "/v1/messages?after=!!", 400, "bad_cursor"},
		{"GET", "/v1/messages?after=" + strings.Repeat("A", 600), 400, "bad_cursor"},
		{"GET", "/v1/messages?after=" + encodeCursor("m-1:x"), 400, "bad_cursor"},
		{"GET", "/v1/messages?after=" + encodeCursor("m1"), 400, "bad_cursor"},
		{"GET", "/v1/messages?after=" + info.Cursor, 400, "bad_cursor"},
		{"GET", "/v1/messages?after=" + encodeCursor("m1:another"), 410, "cursor_expired"},
		{"GET", "/v1/events?after=" + encodeCursor("e1:another"), 410, "cursor_expired"},
		{"GET", "/v1/events?address=x", 400, "bad_address"},
		{"GET", "/v1/messages/xyz", 400, "bad_id"},
		{"GET", "/v1/messages/" + zeros, 404, "not_found"},
		{"GET", "/v1/messages/" + zeros + ":x", 400, "bad_id"},
		{"GET", "/v1/messages/" + zeros + ":4294967296", 400, "bad_id"},
		{"GET", "/v1/messages/" + zeros + ":0", 404, "not_found"},
		{"GET", "/v1/messages/" + register.ID.String() + ":0", 404, "not_found"},
		{"GET", "/v1/messages/" + zeros + "/content", 404, "not_found"},
		{"GET", "/v1/names/nobody", 404, "not_found"},
		{"GET", "/v1/names/nobody/history", 404, "not_found"},
		{"GET", "/v1/names/%01", 400, "bad_name"},
		{"GET", "/v1/addresses/bob", 400, "bad_address"},
		{"GET", "/v1/transactions/1", 400, "bad_id"},
		{"GET", "/v1/transactions/" + zeros, 404, "not_found"},
		{"GET", "/v1/ws", 400, "bad_handshake"},
	} {
		resp, body := s.ask(t, test.method, test.path, "")
		equal(t, test.path+": status", resp.StatusCode, test.status)
		checkProblem(t, test.path, resp, body, test.code)
	}
	resp, body := s.ask(t, "POST", "/v1/transactions", "00", "Origin", "https://evil.example", "Content-Type", "text/plain")
	equal(t, "foreign page: status", resp.StatusCode, 403)
	checkProblem(t, "foreign page", resp, body, "origin_refused")
	resp, _ = s.get(t, "/v1/info", "Origin", "https://evil.example")
	equal(t, "foreign page may read the answer", resp.Header.Get("Access-Control-Allow-Origin"), "")
}

func TestInfoEventsAndTransaction(t *testing.T) {
	w := newWorld(t)
	tx := w.send(1, 2, "hello")
	w.seen(tx)
	w.mine(tx, w.operate(nprotocol.Register, "bob", 1, 0))
	s := w.serve()
	info, err := s.client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "info", []any{info.Network, info.Version, info.Tip.Height, info.Submits, len(info.StateHash)},
		[]any{"regtest", "test", int32(0), false, 64})
	got, err := s.client.Transaction(t.Context(), tx.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "transaction", []any{got.State, got.Height, string(got.Frames[0].Message.Body)}, []any{"confirmed", int32(0), "hello"})
	var kinds []string
	after := ""
	for range 10 {
		page, err := s.client.Events(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			kinds = append(kinds, e.Kind)
		}
		after = page.Next
		if page.Complete {
			break
		}
	}
	equal(t, "events", kinds, []string{"message.seen", "block.connected", "message.confirmed", "name.confirmed"})
	equal(t, "last cursor", after, info.Cursor)
}
