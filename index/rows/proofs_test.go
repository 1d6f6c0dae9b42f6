package rows_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/nprotocol"
)

var alice, bob = simchain.NewPerson(8, 0), simchain.NewPerson(8, 3)

// A blockView is what a store knows of one block.
type blockView struct {
	index.View
	block *index.Block
}

func (v blockView) InTransaction(txid frame.Hash) (list []*index.Entry, err error) {
	for _, tx := range v.block.Transactions {
		if tx.ID != txid {
			continue
		}
		kept := *tx
		kept.Frames = nil
		for _, f := range tx.Frames {
			list = append(list, &index.Entry{State: index.Confirmed, Height: v.block.Height, Tx: &kept, Frame: f})
		}
	}
	return list, nil
}

func (v blockView) BlockAt(int32) (index.Tip, error) {
	return index.Tip{Height: v.block.Height, Hash: v.block.Hash, Header: v.block.Header}, nil
}

// proof reads a proof from groups.
func (v blockView) proof(groups []rows.Group, txid frame.Hash) (*index.Proof, error) {
	return rows.ProofOf(v, txid, func(_ int32, place uint32) (*rows.Group, error) {
		var last *rows.Group
		for i := range groups {
			if groups[i].Place <= place {
				last = &groups[i]
			}
		}
		if last == nil {
			return nil, index.ErrNotFound
		}
		return last, nil
	})
}

func groupsOf(b *index.Block) (groups []rows.Group, err error) {
	for g, err := range rows.Groups(b) {
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// scanned reads a block of transactions after a coinbase.
func scanned(t testing.TB, txs ...[]byte) (*index.Block, [][]byte) {
	t.Helper()
	tree := simchain.NewTree()
	mined := tree.Mine(tree.Genesis, 1_300_000_600, txs)
	scan, err := chainwatch.NewScanner(simchain.Network).Block(bytes.NewReader(mined.Bytes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &index.Block{Height: 1, Hash: mined.Hash, Header: mined.Header, Transactions: scan.Transactions, Proofs: scan.Proofs}, mined.Txs
}

func message(n int, signature simchain.SignatureForm, form simchain.ScriptForm) []byte {
	m := &improtocol.Message{Source: alice.Address(), Type: "text", Encryption: "plain", Body: bytes.Repeat([]byte("what a body says, "), 20), TimeStamp: fmt.Sprint(1_700_000_000_000 + n)}
	return simchain.Message(m, alice.Key, signature, form)
}

func carry(n int, scripts ...[]byte) simchain.Tx {
	tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(uint64(n)), alice.Key.PublicKey())}}
	for _, s := range scripts {
		tx.Outputs = append(tx.Outputs, simchain.Data(s))
	}
	tx.Outputs = append(tx.Outputs, simchain.Pay(bob.Hash, 1), simchain.Pay(alice.Hash, 1_000_000+uint64(n)))
	return tx
}

func edited(tx simchain.Tx, edit func(b []byte) []byte) []byte { return edit(tx.Bytes()) }

// variants are transactions of every kind that packing may meet.
func variants() map[string][]byte {
	all := map[string][]byte{}
	n := 0
	next := func() int { n++; return n }
	for form := range simchain.ScriptForm(simchain.ScriptForms) {
		for signature := range simchain.SignatureForm(simchain.SignatureForms) {
			tx := carry(next(), message(n, signature, form))
			all[fmt.Sprintf("a message in form %d, signed in form %d", form, signature)] = tx.Bytes()
		}
	}
	record := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "ann", Address: alice.Hash, TimeStamp: "7"}
	registration := simchain.Record(record, simchain.Compact, simchain.Pushes, alice.Key)
	malformed := append([]byte{0, 0x6a}, frame.AppendPush(nil, []byte(frame.IMPI))...)
	several := carry(next(), message(n, 0, simchain.Pushes), registration, malformed, message(n+1000, 0, simchain.Bracketed), message(n+2000, 0, simchain.Pushes))
	several.Outputs = slices.Insert(several.Outputs, 2, simchain.Pay(bob.Hash, 5), simchain.Output{Value: 1 << 40, Script: []byte{0x51}})
	several.Inputs = append(several.Inputs, simchain.Spend(simchain.Coin(4711), bob.Key.PublicKey()), simchain.Spend(simchain.Coin(4712), alice.Key.PublicKey()),
		simchain.Input{Spends: simchain.Coin(4713), Script: []byte{0x51}}, simchain.Input{Spends: simchain.Coin(4714)})
	all["several frames among other outputs, several inputs"] = several.Bytes()
	all["a record"] = (&simchain.Tx{Inputs: carry(next()).Inputs, Outputs: []simchain.Output{simchain.Data(registration)}}).Bytes()
	plain := carry(next(), message(n, 0, simchain.Pushes))
	all["version 2"] = edited(plain, func(b []byte) []byte { b[0] = 2; return b })
	all["a lock time"] = edited(plain, func(b []byte) []byte { b[len(b)-4] = 9; return b })
	all["a sequence"] = edited(plain, func(b []byte) []byte {
		at := bytes.Index(b, []byte{0xff, 0xff, 0xff, 0xff})
		b[at] = 0
		return b
	})
	all["a number of inputs in three bytes"] = edited(plain, func(b []byte) []byte { return slices.Insert(slices.Delete(b, 4, 5), 4, 0xfd, 1, 0) })
	pushed := carry(next(), message(n, 0, simchain.Pushes))
	pushed.Inputs[0].Script = append([]byte{0x4c}, pushed.Inputs[0].Script...) // a longer push than needed
	all["a signature pushed with more bytes than needed"] = pushed.Bytes()
	return all
}

// TestRawTransactions: whatever a transaction is like, it comes back byte for
// byte; and of a usual one most is left out.
func TestRawTransactions(t *testing.T) {
	for name, raw := range variants() {
		b, _ := scanned(t, raw)
		groups, err := groupsOf(b)
		if err != nil || len(groups) != 1 {
			t.Errorf("%s: %d groups, %v; want one", name, len(groups), err)
			continue
		}
		p, err := blockView{block: b}.proof(groups, frame.HashOf(raw))
		if err != nil || !bytes.Equal(p.Raw, raw) {
			t.Errorf("%s: got %+v, %v; want %x", name, p, err, raw)
		}
	}
	usual := carry(1, message(1, simchain.Compact, simchain.Pushes))
	b, _ := scanned(t, usual.Bytes())
	groups, err := groupsOf(b)
	if size := len(groups[0].Data); err != nil || size > 150 {
		t.Errorf("a usual transaction of %d bytes takes %d with its path, %v; want 150 at most", len(usual.Bytes()), size, err)
	}
}

// TestGroups: in blocks with few and with many transactions of ours, lone ones
// and crowds, each is proved; and those that stand together share their paths.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name   string
		total  int
		ours   func(i int) bool
		groups int
	}{
		{"all of them", 300, func(int) bool { return true }, 3},
		{"every third", 100, func(i int) bool { return i%3 == 0 }, 1},
		{"one in the middle", 500, func(i int) bool { return i == 250 }, 1},
		{"the first and the last", 500, func(i int) bool { return i == 0 || i == 499 }, 1},
		{"one alone", 1, func(int) bool { return true }, 1},
		{"two", 2, func(int) bool { return true }, 1},
	} {
		var txs [][]byte
		for i := range c.total {
			tx := carry(i)
			if c.ours(i) {
				tx = carry(i, message(i, simchain.Compact, simchain.Pushes))
			}
			txs = append(txs, tx.Bytes())
		}
		b, mined := scanned(t, txs...)
		groups, err := groupsOf(b)
		if err != nil || len(groups) != c.groups {
			t.Errorf("%s: %d groups, %v; want %d", c.name, len(groups), err, c.groups)
		}
		size := 0
		for _, g := range groups {
			size += len(g.Data)
		}
		for _, tx := range b.Transactions {
			p, err := blockView{block: b}.proof(groups, tx.ID)
			if err != nil || !bytes.Equal(p.Raw, mined[tx.Index]) || p.Root(tx.ID) != frame.Hash(b.Header[36:68]) {
				t.Fatalf("%s: transaction %d: %+v, %v", c.name, tx.Index, p, err)
			}
		}
		if each := size / len(b.Transactions); len(b.Transactions) == c.total && c.total > 2 && each > 140 {
			t.Errorf("%s: %d bytes for each, want 140 at most", c.name, each)
		}
	}
}

// TestGroupsRefuse: proofs that aren't the block's are not written.
func TestGroupsRefuse(t *testing.T) {
	tx := carry(1, message(1, 0, simchain.Pushes))
	other := carry(2, message(2, 0, simchain.Pushes))
	b, _ := scanned(t, tx.Bytes(), other.Bytes())
	for name, edit := range map[string]func(b *index.Block){
		"of fewer transactions": func(b *index.Block) { b.Transactions = b.Transactions[:1] },
		"out of order":          func(b *index.Block) { slices.Reverse(b.Transactions) },
		"one twice":             func(b *index.Block) { b.Transactions[1] = b.Transactions[0] },
		"without the nodes":     func(b *index.Block) { b.Proofs = &index.Proofs{Count: 3, Raw: b.Proofs.Raw} },
		"outside of the block":  func(b *index.Block) { c := *b.Transactions[1]; c.Index = 3; b.Transactions[1] = &c },
	} {
		c := *b
		c.Transactions = slices.Clone(b.Transactions)
		edit(&c)
		if groups, err := groupsOf(&c); err == nil {
			t.Errorf("%s: got %d groups, want an error", name, len(groups))
		}
	}
	if groups, err := groupsOf(&index.Block{}); err != nil || groups != nil {
		t.Errorf("a block without proofs: got %v, %v; want none", groups, err)
	}
}

// TestGroupsDamaged: with any byte changed or cut off, a group gives what it held
// or says that it is damaged; never another transaction, never a panic.
func TestGroupsDamaged(t *testing.T) {
	var txs [][]byte
	for i := range 5 {
		tx := carry(i, message(i, simchain.Compact, simchain.Pushes))
		txs = append(txs, tx.Bytes())
	}
	b, _ := scanned(t, txs...)
	groups, err := groupsOf(b)
	if err != nil {
		t.Fatal(err)
	}
	v := blockView{block: b}
	read := func(name string, data []byte) {
		for i, tx := range b.Transactions {
			p, err := v.proof([]rows.Group{{Place: groups[0].Place, Data: data}}, tx.ID)
			var corrupt *rows.CorruptError
			if err != nil && !errors.As(err, &corrupt) && !errors.Is(err, index.ErrNotFound) {
				t.Errorf("%s: transaction %d: %v", name, i, err)
			}
			if err == nil && !(p.Raw == nil || bytes.Equal(p.Raw, txs[i])) {
				t.Errorf("%s: transaction %d: another transaction", name, i)
			}
		}
	}
	whole := groups[0].Data
	for i := range whole {
		read(fmt.Sprintf("cut to %d bytes", i), whole[:i])
		for _, bit := range []byte{1, 0x80} {
			changed := slices.Clone(whole)
			changed[i] ^= bit
			read(fmt.Sprintf("byte %d changed by %#x", i, bit), changed)
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	var txs [][]byte
	for i := range 1000 {
		tx := carry(i, message(i, simchain.Compact, simchain.Pushes))
		txs = append(txs, tx.Bytes())
	}
	block, _ := scanned(b, txs...)
	bytes := 0
	for b.Loop() {
		groups, err := groupsOf(block)
		if err != nil {
			b.Fatal(err)
		}
		bytes = 0
		for _, g := range groups {
			bytes += len(g.Data)
		}
	}
	b.ReportMetric(float64(bytes)/1000, "B/message")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/message")
}
