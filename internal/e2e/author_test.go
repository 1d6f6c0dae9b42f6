package e2e

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
)

// An author signs frames and pays for them with coins of its own. It knows
// nothing of servers: what it makes is handed to nodes.
type author struct {
	t      testing.TB
	key    signer.Key
	wallet *signer.Wallet
	stamp  uint64 // of the last frame
}

func newAuthor(t testing.TB) *author {
	t.Helper()
	return authorOf(t, signer.NewKey())
}

func authorOf(t testing.TB, key signer.Key) *author {
	t.Helper()
	wallet, err := signer.OpenWallet(context.Background(), signer.Options{Network: frame.Regtest, Keys: []signer.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	return &author{t: t, key: key, wallet: wallet}
}

func (a *author) hash() frame.KeyHash { return a.key.KeyHash() }
func (a *author) address() string     { return a.key.Address(frame.Regtest) }

// fund gets coins of a node's faucet and returns the transaction.
func (a *author) fund(n *devnet.Node) []byte {
	a.t.Helper()
	raw, err := n.Fund(within(a.t), a.hash(), 10_000_000)
	if err != nil {
		a.t.Fatal(err)
	}
	a.receive(raw)
	return raw
}

// receive tells the author of coins.
func (a *author) receive(raw []byte) {
	a.t.Helper()
	if _, err := a.wallet.Add(raw); err != nil {
		a.t.Fatal(err)
	}
}

// A signed frame is in a transaction, ready to be sent.
type signedFrame struct {
	id  frame.ID
	raw []byte
}

func (a *author) time() uint64 {
	a.stamp = max(a.stamp+1, uint64(time.Now().UnixMilli()))
	return a.stamp
}

// message signs a text. The source is a name, or the author's address when it is
// empty.
func (a *author) message(source, text string, to frame.KeyHash) signedFrame {
	a.t.Helper()
	if source == "" {
		source = a.address()
	}
	m := &improtocol.Message{Source: source, Type: improtocol.Text, Encryption: improtocol.Plain, Body: []byte(text),
		Other: improtocol.Other{{Key: improtocol.OtherTo, Value: frame.Regtest.Address(to)}}.String()}
	m.SetTime(a.time())
	m.Sign(a.key.Private())
	script, err := m.AppendScript(nil, frame.Pushes)
	if err != nil {
		a.t.Fatal(err)
	}
	return signedFrame{m.FrameID(), a.build(signer.Request{Script: script, Recipients: []frame.KeyHash{to}})}
}

// register signs a registration of a name.
func (a *author) register(name string) signedFrame {
	a.t.Helper()
	return a.record(&nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: a.hash()}, a.key)
}

// transfer signs a transfer of a name to another key.
func (a *author) transfer(name string, to signer.Key) signedFrame {
	a.t.Helper()
	return a.record(&nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: name,
		Address: a.hash(), NewAddress: to.KeyHash()}, a.key, to)
}

func (a *author) record(r *nprotocol.Record, keys ...signer.Key) signedFrame {
	a.t.Helper()
	r.TimeStamp = strconv.FormatUint(a.time(), 10)
	var private []frame.PrivateKey
	for _, k := range keys {
		private = append(private, k.Private())
	}
	if err := r.Sign(frame.Regtest, private...); err != nil {
		a.t.Fatal(err)
	}
	script, err := r.AppendScript(nil, frame.Regtest, frame.Pushes)
	if err != nil {
		a.t.Fatal(err)
	}
	// The registration address is by default the identifier itself, as its hash.
	to, err := frame.Main.ParseAddress(frame.NPI)
	if err != nil {
		a.t.Fatal(err)
	}
	raw := a.build(signer.Request{Script: script, Pay: []signer.Output{{KeyHash: to, Satoshis: 1}}})
	return signedFrame{frame.IDOf(r.Preimage(frame.Regtest)), raw}
}

func (a *author) build(q signer.Request) []byte {
	a.t.Helper()
	signed, err := a.wallet.Build(q)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.wallet.Accept(signed.TxID); err != nil {
		a.t.Fatal(err)
	}
	return signed.Raw
}

// submit hands a transaction to nodes, as sendrawtransaction does.
func submit(t testing.TB, raw []byte, nodes ...*devnet.Node) {
	t.Helper()
	for _, n := range nodes {
		if _, err := n.RPC().SendRawTransaction(within(t), raw); err != nil {
			t.Fatal(err)
		}
	}
}
