package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

func TestConversations(t *testing.T) {
	w := newWorld(t)
	w.mine(w.operate(nprotocol.Register, "bob", 2, 0))
	for i := range 3 {
		w.seen(w.send(1, 2, fmt.Sprint("to bob ", i)), w.send(3, 1, fmt.Sprint("from carol ", i)))
	}
	w.seen(w.send(2, 1, "from bob"), w.send(4, 5, "others'"))
	s := w.serve()
	for _, limit := range []int{0, 1} {
		var got []string
		for c, err := range s.client.AllConversations(t.Context(), client.ConversationQuery{Address: address(1), Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(c.Peer, " ", c.PeerName, " ", string(c.Last.Body), " ", c.Sent, " ", c.Received))
			if err := client.Verify(c.Last, frame.Regtest); err != nil {
				t.Errorf("verify: %v", err)
			}
		}
		equal(t, fmt.Sprint("with limit ", limit), got, []string{address(2) + " bob from bob 3 1", address(3) + "  from carol 2 0 3"})
	}
	page, err := s.client.Conversations(t.Context(), client.ConversationQuery{Name: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "by name", fmt.Sprint(page.Address, len(page.Items), page.Complete), fmt.Sprint(address(2), 1, true))
	page, err = s.client.Conversations(t.Context(), client.ConversationQuery{Address: address(9)})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "of nobody", fmt.Sprint(len(page.Items), page.Complete, page.Next), "0 true")
}

func TestNotes(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 7 {
		w.seen(w.send(1, 2, fmt.Sprint("to bob ", i)), w.send(3, 1, fmt.Sprint("from carol ", i)))
		if i%3 == 0 {
			w.seen(w.tx(1, nil, w.message(1, address(1), fmt.Sprint("note ", i))))
			want = append(want, fmt.Sprint("note ", i))
		}
	}
	s := w.serve()
	for _, limit := range []int{1, 2, 3, 50} {
		var got []string
		for m, err := range s.client.AllMessages(t.Context(), client.MessageQuery{Address: address(1), Peer: address(1), Oldest: true, Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Body))
		}
		equal(t, fmt.Sprint("with limit ", limit), got, want)
	}
}

func amounts(tx *index.Transaction, satoshis ...uint64) *index.Transaction {
	for i, n := range satoshis {
		tx.Amounts = append(tx.Amounts, index.Amount{Output: uint32(i + 1), Satoshis: n})
	}
	return tx
}

func TestCoins(t *testing.T) {
	w := newWorld(t)
	first := amounts(w.send(1, 2, "first"), 500, 900)
	second := amounts(w.send(3, 2, "second"), 700, 100)
	w.seen(first, second)
	w.mine(first)
	spent := w.send(2, 4, "third")
	spent.Spends = []index.Outpoint{{TxID: first.ID, Output: 1}}
	s := w.serve()
	list := func(limit int) (got []string) {
		for after := ""; ; {
			page, err := s.client.Coins(t.Context(), address(2), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page.Items {
				got = append(got, fmt.Sprintf("%s:%d %d at %d", c.TxID, c.Output, c.Satoshis, c.Height))
			}
			if after = page.Next; page.Complete {
				return got
			}
		}
	}
	want := []string{first.ID.String() + ":1 500 at 0", second.ID.String() + ":1 700 at -1"}
	equal(t, "coins", list(0), want)
	equal(t, "one by one", list(1), want)
	w.seen(amounts(spent, 300, 100))
	equal(t, "after one is spent", list(0), []string{want[1], spent.ID.String() + ":2 100 at -1"})
	var n int
	for _, err := range s.client.AllCoins(t.Context(), address(2)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	equal(t, "all", n, 2)
}

func TestPublishedKeys(t *testing.T) {
	w := newWorld(t)
	publish := func(from byte, body string, edits ...edit) *index.Transaction {
		edits = append([]edit{func(m *improtocol.Message) { m.Type = improtocol.KeyRecord }}, edits...)
		tx := w.tx(from, nil, w.message(from, address(from), body, edits...))
		return tx
	}
	w.seen(publish(1, "old"), publish(1, "new"), publish(2, "another's"), w.send(1, 2, "no key"),
		publish(1, strings.Repeat("x", 20_000)), publish(1, "locked", func(m *improtocol.Message) { m.Encryption = "ECC" }))
	s := w.serve()
	a, err := s.client.Address(t.Context(), address(1))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "keys", bodies(a.Keys), []string{"new", "old"})
	for _, m := range a.Keys {
		if err := client.Verify(m, frame.Regtest); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
	a, err = s.client.Address(t.Context(), address(9))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "of nobody", a.Keys != nil && len(a.Keys) == 0, true)
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	w.mine()
	w.seen(w.send(1, 2, "Hello, World"), w.send(1, 3, "hello there"), w.send(2, 1, "wörldly things"), w.send(1, 2, "hello world", func(m *improtocol.Message) { m.Encryption = "ECC" }))
	s := w.serve()
	for _, test := range []struct {
		name string
		q    client.MessageQuery
		want []string
	}{
		{"one word", client.MessageQuery{Text: "hello"}, []string{"Hello, World", "hello there"}},
		{"all words", client.MessageQuery{Text: "WORLD hello"}, []string{"Hello, World"}},
		{"a beginning", client.MessageQuery{Text: "worl*"}, []string{"Hello, World", "wörldly things"}},
		{"with signs", client.MessageQuery{Text: "hello-world!"}, []string{"Hello, World"}},
		{"of an address", client.MessageQuery{Text: "hello", Address: address(3)}, []string{"hello there"}},
		{"not there", client.MessageQuery{Text: "absent"}, nil},
		{"only a part of a word", client.MessageQuery{Text: "ello"}, nil},
	} {
		test.q.Oldest, test.q.Limit = true, 1
		var got []client.Message
		for m, err := range s.client.AllMessages(t.Context(), test.q) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		equal(t, test.name, bodies(got), append([]string{}, test.want...))
	}
}

func TestDocsPage(t *testing.T) {
	s := newWorld(t).serve()
	resp, page := s.get(t, "/docs")
	equal(t, "type", resp.Header.Get("Content-Type"), "text/html; charset=utf-8")
	policy := resp.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy: got %q, want one that allows only the page's own style", policy)
	}
	for _, none := range []string{"<script", "javascript:", "http://", "https://", "style=", "onclick=", "onload=", "onerror=", "ZgotmplZ"} {
		if strings.Contains(page, none) {
			t.Errorf("the page has %q", none)
		}
	}
	contract := newContract(t, s.document(t))
	for _, o := range contract.operations() {
		if o[0] != "HEAD" && !strings.Contains(page, "<code>"+o[1]+"</code>") {
			t.Errorf("the page doesn't have %s %s", o[0], o[1])
		}
	}
	for _, part := range strings.Split(page, `href="#`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		if !strings.Contains(page, `id="`+id+`"`) {
			t.Errorf("a link leads to #%s, which isn't there", id)
		}
	}
	for _, part := range strings.Split(page, `class="try" href="`)[1:] {
		path, _, _ := strings.Cut(part, `"`)
		if resp, _ := s.get(t, path); resp.StatusCode != 200 {
			t.Errorf("try %s: got %d, want 200", path, resp.StatusCode)
		}
	}
}

// Content that no reorganisation is to be expected of may be kept for good.
func TestContentThatIsSettled(t *testing.T) {
	w := newWorld(t)
	tx := w.send(1, 2, "hello")
	w.mine(tx)
	for range 98 {
		w.mine()
	}
	s := w.serve()
	path := "/v1/messages/" + tx.Frames[0].ID.String() + "/content"
	resp, _ := s.get(t, path)
	equal(t, "99 blocks deep", resp.Header.Get("Cache-Control"), "no-cache")
	w.mine()
	resp, _ = s.get(t, path)
	equal(t, "100 blocks deep", resp.Header.Get("Cache-Control"), "public, max-age=31536000, immutable")
	tag := resp.Header.Get("ETag")
	resp, body := s.get(t, path, "If-None-Match", tag)
	equal(t, "again", fmt.Sprint(resp.StatusCode, " ", body), "304 ")
	resp, body = s.get(t, path, "Range", "bytes=1-2", "If-Range", `"another"`)
	equal(t, "a range of another", fmt.Sprint(resp.StatusCode, " ", body), "200 hello")
	resp, body = s.get(t, path, "Range", "bytes=-2", "If-Range", tag)
	equal(t, "a range of the same", fmt.Sprint(resp.StatusCode, " ", body), "206 lo")
	resp, body = s.get(t, path, "Range", "bytes=99-", "If-Range", tag)
	equal(t, "a range that isn't there, if it is the same", fmt.Sprint(resp.StatusCode, " ", body), "200 hello")
}
