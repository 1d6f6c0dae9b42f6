package simchain_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/nprotocol"
)

var alice, bob = simchain.NewPerson(1, 0), simchain.NewPerson(1, 3)

func hello(n int) []byte {
	m := &improtocol.Message{Source: alice.Address(), Type: "text", Encryption: "plain", Body: []byte{'h', byte(n)}, TimeStamp: "1"}
	return simchain.Message(m, alice.Key, simchain.Compact, simchain.Pushes)
}

func carry(n int, script []byte) []byte {
	tx := simchain.Tx{
		Inputs:  []simchain.Input{simchain.Spend(simchain.Coin(uint64(n)), alice.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(script), simchain.Pay(bob.Hash, 1), simchain.Pay(alice.Hash, 100)},
	}
	return tx.Bytes()
}

// TestForms reads back every form of script under every form of signature.
func TestForms(t *testing.T) {
	for form := range simchain.ScriptForm(simchain.ScriptForms) {
		for signature := range simchain.SignatureForm(simchain.SignatureForms) {
			for _, p := range []simchain.Person{alice, bob} {
				m := &improtocol.Message{Source: p.Address(), Type: "text", Encryption: "plain", Body: []byte("hi"), TimeStamp: "7"}
				r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: "n", Address: p.Hash, NewAddress: alice.Hash, TimeStamp: "7"}
				keys := []frame.PrivateKey{p.Key, alice.Key}
				if p == alice {
					r.NewAddress, keys[1] = bob.Hash, bob.Key
				}
				check(t, simchain.Message(m, p.Key, signature, form), p)
				check(t, simchain.Record(r, signature, form, keys...), p)
			}
		}
	}
}

func check(t *testing.T, script []byte, p simchain.Person) {
	t.Helper()
	f, err := frame.Read(script)
	if err != nil {
		t.Fatalf("script %x: %v", script, err)
	}
	field := f.Fields[len(f.Fields)-f.Signatures()]
	key := func(yield func([]byte) bool) { yield(p.Key.PublicKey()) }
	if _, v := frame.Prove(f.Preimage(), field).Check(f.Preimage(), p.Hash, key); v != frame.Valid {
		t.Errorf("signature %q of script %x: got %s, want valid", field, script, v)
	}
}

// TestMerkle scans blocks of many sizes: the scanner checks the root its own way.
func TestMerkle(t *testing.T) {
	tree := simchain.NewTree()
	parent := tree.Genesis
	var txs [][]byte
	for n := range 40 {
		parent = tree.Mine(parent, uint32(1_600_000_000+n), txs)
		scan, err := chainwatch.NewScanner(simchain.Network).Block(bytes.NewReader(parent.Bytes()), nil)
		if err != nil {
			t.Fatalf("block of %d transactions: %v", n+1, err)
		}
		if len(scan.Transactions) != n {
			t.Errorf("got %d of ours, want %d", len(scan.Transactions), n)
		}
		txs = append(txs, carry(n, hello(n)))
	}
	chain := chainwatch.NewChain(chainwatch.ParamsOf(simchain.Network))
	for _, b := range parent.Branch()[1:] {
		if _, err := chain.Add(b.Header); err != nil {
			t.Fatalf("header %d: %v", b.Height, err)
		}
	}
}

// TestBig scans a block that was written as a stream, and compares its length.
func TestBig(t *testing.T) {
	tree := simchain.NewTree()
	for _, c := range []struct {
		name    string
		size    int64
		foreign int
		ours    []uint64
	}{
		{"small", 10_000, 100, []uint64{1, 50}},
		{"round", 1_000_000, 250, []uint64{1, 2, 77}},
		{"large transactions", 5_000_003, 1_000_000, []uint64{3}},
		{"least transactions", 100_001, 76, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours := map[uint64][]byte{}
			for _, i := range c.ours {
				ours[i] = carry(int(i), hello(int(i)))
			}
			b, err := simchain.NewBig(tree.Genesis, 1_600_000_000, c.size, c.foreign, ours)
			if err != nil {
				t.Fatal(err)
			}
			var raw bytes.Buffer
			if err := b.WriteFile(&raw); err != nil {
				t.Fatal(err)
			}
			if got := int64(raw.Len()) - 8; got != c.size {
				t.Errorf("got %d bytes, want %d", got, c.size)
			}
			scan, err := chainwatch.NewScanner(simchain.Network).Block(bytes.NewReader(raw.Bytes()[8:]), nil)
			if err != nil {
				t.Fatal(err)
			}
			if scan.Count != b.Count || len(scan.Transactions) != len(c.ours) || scan.Header.Hash() != b.Hash {
				t.Errorf("got %d transactions, %d of ours, want %d and %d", scan.Count, len(scan.Transactions), b.Count, len(c.ours))
			}
		})
	}
	for _, size := range []int64{0, 300, 1 << 40} {
		foreign := 200
		if size > 1<<32 {
			foreign = 1 << 31
		}
		if _, err := simchain.NewBig(tree.Genesis, 1, size, foreign, nil); err == nil {
			t.Errorf("a block of %d bytes: no error", size)
		}
	}
	if err := (&simchain.Big{Size: 1 << 32}).WriteFile(io.Discard); err == nil {
		t.Error("a file record of 4 GiB: no error")
	}
}

// TestSource asks a source under every fault, and again when it is over.
func TestSource(t *testing.T) {
	ctx := context.Background()
	tree := simchain.NewTree()
	first := tree.Mine(tree.Genesis, 1_600_000_000, nil)
	second := tree.Mine(first, 1_600_000_600, [][]byte{carry(1, hello(1)), carry(2, hello(2))})
	source := simchain.NewSource(tree)
	source.SetTips(second)
	scanner := chainwatch.NewScanner(simchain.Network)
	read := func() error {
		r, err := source.Block(ctx, second.Hash)
		if err != nil {
			return err
		}
		defer r.Close()
		scan, err := scanner.Block(r, nil)
		if err == nil && scan.Header != second.Header {
			err = errors.New("another block")
		}
		return err
	}
	headers := func() (int, error) {
		h, err := source.Headers(ctx, []frame.Hash{{9}, tree.Genesis.Hash})
		return len(h), err
	}
	for fault, want := range map[simchain.Fault]int{simchain.NoFault: 2, simchain.HeadersFail: -1, simchain.HeadersLate: 0,
		simchain.HeadersFew: 1, simchain.HeadersWrong: 4} {
		source.Arm(fault, 0)
		n, err := headers()
		if want < 0 && err == nil || want >= 0 && (err != nil || n != want) {
			t.Errorf("headers under fault %d: got %d, %v, want %d", fault, n, err, want)
		}
		source.Disarm()
		if n, err := headers(); n != 2 || err != nil {
			t.Errorf("headers after fault %d: got %d, %v, want 2", fault, n, err)
		}
	}
	for fault := simchain.BlockFails; fault < simchain.Faults; fault++ {
		source.Arm(fault, 1)
		if err := read(); err != nil {
			t.Errorf("a block before fault %d: %v", fault, err)
		}
		if err := read(); err == nil {
			t.Errorf("a block under fault %d: no error", fault)
		}
		if err := read(); err != nil {
			t.Errorf("a block after fault %d: %v", fault, err)
		}
	}
}

// TestFollower lets a follower run against a source: what was pushed is seen.
func TestFollower(t *testing.T) {
	tree := simchain.NewTree()
	source := simchain.NewSource(tree)
	source.SetTips(tree.Mine(tree.Genesis, 1_600_000_000, [][]byte{carry(1, hello(1))}))
	source.Push(carry(2, hello(2)))
	ctx, cancel := context.WithCancel(context.Background())
	sink := &sink{done: cancel}
	f := chainwatch.NewFollower(source, sink, chainwatch.Config{Params: chainwatch.ParamsOf(simchain.Network)})
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if sink.blocks != 2 || sink.seen != 1 {
		t.Errorf("got %d blocks and %d transactions, want 2 and 1", sink.blocks, sink.seen)
	}
}

// A sink counts what a follower hands over.
type sink struct {
	tip    index.Tip
	blocks int
	seen   int
	done   context.CancelFunc
}

func (s *sink) Tip(context.Context) (index.Tip, error) {
	if s.blocks == 0 {
		return index.Tip{Height: -1}, nil
	}
	return s.tip, nil
}
func (s *sink) Headers(context.Context, func(int32, [80]byte) error) error { return nil }
func (s *sink) Drop(context.Context, []frame.Hash, string) error           { return nil }
func (s *sink) Unconfirmed(context.Context) ([]*index.Transaction, error)  { return nil, nil }
func (s *sink) Disconnect(context.Context, int32) error                    { return errors.New("no") }
func (s *sink) Connect(_ context.Context, blocks []*index.Block) error {
	s.blocks += len(blocks)
	last := blocks[len(blocks)-1]
	s.tip = index.Tip{Height: last.Height, Hash: last.Hash, Header: last.Header}
	return nil
}
func (s *sink) Seen(_ context.Context, txs []*index.Transaction) ([][]index.Decision, error) {
	s.seen += len(txs)
	s.done()
	return make([][]index.Decision, len(txs)), nil
}
