package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/proof"
)

// full connects a block whose transactions are written in full.
func (w *world) full(b *simchain.Block) {
	w.t.Helper()
	block := &index.Block{Height: b.Height, Hash: b.Hash, Header: b.Header, MedianTime: b.Header.Time()}
	if b.Height > 0 {
		scan, err := chainwatch.NewScanner(simchain.Network).Block(bytes.NewReader(b.Bytes()), nil)
		if err != nil {
			w.t.Fatal(err)
		}
		chainwatch.ProveAll(context.Background(), scan.Transactions, simchain.Network)
		block.Transactions, block.Proofs = scan.Transactions, scan.Proofs
	}
	if err := w.writer.Connect(context.Background(), []*index.Block{block}); err != nil {
		w.t.Fatal(err)
	}
}

// posted is a transaction that carries a message.
func posted(from simchain.Person, body string, fill int) (raw []byte, id string) {
	m := &improtocol.Message{Source: from.Address(), Type: "text", Encryption: "plain", Body: []byte(body), TimeStamp: "1700000000000"}
	tx := simchain.Tx{
		Inputs:  []simchain.Input{simchain.Spend(simchain.Coin(uint64(len(body))), from.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(simchain.Message(m, from.Key, simchain.Compact, simchain.Pushes)), simchain.Pay(from.Hash, 1000)},
	}
	if fill > 0 {
		tx.Outputs = append(tx.Outputs, simchain.Output{Script: make([]byte, fill)})
	}
	return tx.Bytes(), m.FrameID().String()
}

func TestProofs(t *testing.T) {
	w := newWorld(t)
	alice := simchain.NewPerson(2, 0)
	tree := simchain.NewTree()
	raw, id := posted(alice, "hello", 0)
	_, unseen := posted(alice, "never sent", 0)
	large, largeID := posted(alice, "in a large transaction", index.MaxProved)
	waiting, waitingID := posted(alice, "still waiting", 0)
	first := tree.Mine(tree.Genesis, 1_300_000_600, [][]byte{raw})
	second := tree.Mine(first, 1_300_001_200, [][]byte{large})
	for _, b := range []*simchain.Block{tree.Genesis, first, second} {
		w.full(b)
	}
	w.mineAtHeight(3, second.Hash)
	tx, err := chainwatch.ReadTransaction(waiting, frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	chainwatch.Prove(tx, frame.Regtest)
	w.seen(tx)
	s := w.serve()

	page, err := s.client.Headers(t.Context(), 0)
	if err != nil || len(page) != 4*client.HeaderBytes {
		t.Fatalf("headers: %d bytes, %v", len(page), err)
	}
	headers, err := proof.ReadHeaders(bytes.NewReader(page[:3*client.HeaderBytes]))
	if err != nil {
		t.Fatal(err)
	}
	for name, asked := range map[string]string{"by its id": id, "by its output": frame.HashOf(raw).String() + ":0"} {
		p, err := s.client.Proof(t.Context(), asked)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := proof.Verify(p, headers)
		if err != nil || r.ID != id || r.Address != alice.Address() || r.Height != 1 {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	for _, c := range []struct{ name, id, code string }{
		{"not there", unseen, client.CodeNotFound},
		{"no id", "x", "bad_id"},
		{"unconfirmed", waitingID, client.CodeNotConfirmed},
		{"too large to be kept", largeID, client.CodeNotProvable},
	} {
		var refused *client.Problem
		p, err := s.client.Proof(t.Context(), c.id)
		if !errors.As(err, &refused) || refused.Code != c.code {
			t.Errorf("%s: got %+v, %v; want the code %s", c.name, p, err, c.code)
		}
	}
}

// mineAtHeight connects a block without proofs, as an index may have them whose
// blocks weren't read by a follower.
func (w *world) mineAtHeight(height int32, prev frame.Hash) {
	w.t.Helper()
	b := &index.Block{Height: height}
	copy(b.Header[4:36], prev[:])
	b.Hash = frame.HashOf(b.Header[:])
	if err := w.writer.Connect(context.Background(), []*index.Block{b}); err != nil {
		w.t.Fatal(err)
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	for range 12 {
		w.mine()
	}
	s := w.serve()
	for _, c := range []struct {
		query  string
		status int
		from   int
		count  int
	}{
		{"", 200, 0, 12},
		{"?from=0&count=5", 200, 0, 5},
		{"?from=3", 200, 3, 9},
		{"?from=11&count=2000", 200, 11, 1},
		{"?from=12", 200, 12, 0},
		{"?from=2147483647", 200, 12, 0},
		{"?from=2147483648", 400, 0, 0},
		{"?from=-1", 400, 0, 0},
		{"?count=0", 400, 0, 0},
		{"?count=2001", 400, 0, 0},
		{"?count=x", 400, 0, 0},
	} {
		resp, err := http.Get(s.http.URL + "/v1/headers" + c.query)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%q: status %d, %v; want %d", c.query, resp.StatusCode, err, c.status)
			continue
		}
		if c.status != 200 {
			if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/problem+json") {
				t.Errorf("%q: a refusal as %s", c.query, kind)
			}
			continue
		}
		var want []byte
		for _, b := range w.blocks[c.from : c.from+c.count] {
			want = append(want, b.Header[:]...)
		}
		if !bytes.Equal(body, want) {
			t.Errorf("%q: %d bytes, want the %d headers from %d", c.query, len(body), c.count, c.from)
		}
	}
}
