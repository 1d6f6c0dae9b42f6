package proof_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/proof"
)

const genesisTime = 1_300_000_000

var alice, bob = simchain.NewPerson(5, 0), simchain.NewPerson(5, 3)

// A world is a chain and an index of it.
type world struct {
	tree  *simchain.Tree
	tip   *simchain.Block
	coins uint64
}

func newWorld() *world {
	tree := simchain.NewTree()
	return &world{tree: tree, tip: tree.Genesis}
}

func (w *world) mine(txs ...[]byte) *simchain.Block {
	w.tip = w.tree.Mine(w.tip, uint32(genesisTime+600*(w.tip.Height+1)), txs)
	return w.tip
}

func (w *world) message(body string, signature simchain.SignatureForm, form simchain.ScriptForm, edits ...func(*improtocol.Message)) []byte {
	w.coins++
	m := &improtocol.Message{Source: alice.Address(), Type: "text", Encryption: "plain", Body: []byte(body), TimeStamp: "1700000000000"}
	for _, e := range edits {
		e(m)
	}
	tx := simchain.Tx{
		Inputs: []simchain.Input{simchain.Spend(simchain.Coin(w.coins), alice.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(simchain.Message(m, alice.Key, signature, form)),
			simchain.Pay(bob.Hash, 1), simchain.Pay(alice.Hash, 1000+w.coins)},
	}
	return tx.Bytes()
}

func (w *world) foreign(n int) (txs [][]byte) {
	for range n {
		w.coins++
		tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(w.coins), bob.Key.PublicKey())}, Outputs: []simchain.Output{simchain.Pay(bob.Hash, w.coins)}}
		txs = append(txs, tx.Bytes())
	}
	return txs
}

// headers are those of the branch that ends with a block.
func headers(tip *simchain.Block) []byte {
	if tip == nil {
		return nil
	}
	var b []byte
	for _, block := range tip.Branch() {
		b = append(b, block.Header[:]...)
	}
	return b
}

func mustHeaders(t testing.TB, b []byte) *proof.Headers {
	t.Helper()
	h, err := proof.ReadHeaders(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// proofs follows the branch and returns the proof of the message in each of the
// transactions.
func (w *world) proofs(t testing.TB, txs ...[]byte) (list []client.Proof) {
	t.Helper()
	store := memory.New()
	source := simchain.NewSource(w.tree)
	source.SetTips(w.tip)
	writer := index.NewWriter(store, index.DefaultRules(frame.Regtest), nil)
	follower := chainwatch.NewFollower(source, writer, chainwatch.Config{Params: chainwatch.ParamsOf(frame.Regtest)})
	if err := follower.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := follower.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	err := store.View(context.Background(), func(v index.View) error {
		for _, raw := range txs {
			entries, err := v.InTransaction(frame.HashOf(raw))
			if err != nil {
				return err
			}
			p, err := v.Proof(frame.HashOf(raw))
			if err != nil {
				return err
			}
			list = append(list, proof.Of(entries[0].ID, entries[0].Output, p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sample is a proof of a message in the middle of a block of five, in the middle
// of a chain, with the headers.
func sample(t testing.TB) (client.Proof, []byte) {
	t.Helper()
	w := newWorld()
	w.mine()
	raw := w.message("hello", simchain.Compact, simchain.Pushes)
	w.mine(slices.Concat(w.foreign(1), [][]byte{raw}, w.foreign(2))...)
	w.mine()
	return w.proofs(t, raw)[0], headers(w.tip)
}
