package interop

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/proof"
)

// TestSDKProofs: @bsv/sdk reads the BEEF and the BUMP of a message, finds the
// transaction, and verifies both against the Merkle root of the block; with
// another root it doesn't.
func TestSDKProofs(t *testing.T) {
	p := newPeer(t)
	person := simchain.NewPerson(6, 0)
	for _, before := range []int{0, 1, 3, 40} { // transactions before the message, beside the coinbase
		m := &improtocol.Message{Source: person.Address(), Type: "text", Encryption: "plain", Body: []byte("prove this"), TimeStamp: "1700000000000"}
		tx := simchain.Tx{
			Inputs:  []simchain.Input{simchain.Spend(simchain.Coin(1), person.Key.PublicKey())},
			Outputs: []simchain.Output{simchain.Data(simchain.Message(m, person.Key, simchain.Compact, simchain.Pushes)), simchain.Pay(person.Hash, 1000)},
		}
		var txs [][]byte
		for i := range before {
			other := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(uint64(i+2)), person.Key.PublicKey())}, Outputs: []simchain.Output{simchain.Pay(person.Hash, 1)}}
			txs = append(txs, other.Bytes())
		}
		tree := simchain.NewTree()
		block := tree.Mine(tree.Genesis, 1_300_000_600, append(txs, tx.Bytes()))
		kept, err := proofIn(block, frame.HashOf(tx.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		made := proof.Of(m.FrameID(), 0, kept)
		root := block.Header.MerkleRoot().String()
		want := strings.Join([]string{made.TxID, made.Raw, made.BUMP, "true"}, " ")
		ask := question{Do: "beefRead", To: root, Cost: 1, Body: made.BEEF}
		if got := p.must(t, ask); got != want {
			t.Errorf("%d before: they read the BEEF as %s, want %s", before, got, want)
		}
		if got := p.must(t, question{Do: "bumpRoot", Key: made.TxID, Body: made.BUMP}); got != root {
			t.Errorf("%d before: they find the root %s, want %s", before, got, root)
		}
		ask.To = block.Hash.String()
		if got, err := p.do(t, ask); err == nil && !strings.HasSuffix(got, " false") {
			t.Errorf("%d before, another root: they read the BEEF as %s", before, got)
		}
	}
}

// proofIn indexes the first block after that of the network, and reads a proof.
func proofIn(block *simchain.Block, txid frame.Hash) (p *index.Proof, err error) {
	scan, err := chainwatch.NewScanner(simchain.Network).Block(bytes.NewReader(block.Bytes()), nil)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	chainwatch.ProveAll(ctx, scan.Transactions, simchain.Network)
	store := memory.New()
	genesis := block.Parent
	err = index.NewWriter(store, index.DefaultRules(simchain.Network), nil).Connect(ctx, []*index.Block{
		{Hash: genesis.Hash, Header: genesis.Header},
		{Height: 1, Hash: block.Hash, Header: block.Header, Transactions: scan.Transactions, Proofs: scan.Proofs},
	})
	if err != nil {
		return nil, fmt.Errorf("index a block: %w", err)
	}
	err = store.View(ctx, func(v index.View) error {
		p, err = v.Proof(txid)
		return err
	})
	return p, err
}
