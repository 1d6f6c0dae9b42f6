package chainwatch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// selectionOf picks transactions out of a block, with their paths.
func selectionOf(txs [][]byte, places ...int) *Selection {
	var ids []frame.Hash
	for _, tx := range txs {
		ids = append(ids, frame.HashOf(tx))
	}
	s := &Selection{Header: wireHeader(frame.Hash{}, plainRoot(ids), 1, easy)}
	for _, i := range places {
		s.Transactions = append(s.Transactions, Selected{Index: uint32(i), Raw: txs[i], Path: plainPath(ids, i)})
	}
	return s
}

// blockOf is a block of so many transactions, each of which carries a message.
func blockOf(n int) (txs [][]byte) {
	for i := range n {
		txs = append(txs, wireTx([]wireInput{{byte(i), []byte{byte(i >> 8)}}}, wirePay(1), wireMessage))
	}
	return txs
}

// TestSelection: whatever is picked out of a block of whatever size, the index can
// prove it as if it had seen the whole block.
func TestSelection(t *testing.T) {
	for n := 1; n <= 40; n++ {
		txs := blockOf(n)
		picks := map[string][]int{"none": {}, "the first": {0}, "the last": {n - 1}, "all": nil, "every third": nil}
		for i := range n {
			picks["all"] = append(picks["all"], i)
			if i%3 == 0 {
				picks["every third"] = append(picks["every third"], i)
			}
		}
		for what, places := range picks {
			name := fmt.Sprintf("%s of %d", what, n)
			scan, err := NewScanner(frame.Regtest).Selection(selectionOf(txs, places...), nil)
			if err != nil || len(scan.Transactions) != len(places) {
				t.Errorf("%s: got %+v, %v, want %d transactions", name, scan, err, len(places))
				continue
			}
			if len(places) == 0 {
				continue
			}
			store := storeOf(t, scan)
			for _, i := range places {
				p, err := proofIn(store, frame.HashOf(txs[i]))
				if err != nil || !bytes.Equal(p.Raw, txs[i]) || p.Index != uint32(i) || p.Root(frame.HashOf(txs[i])) != scan.Header.MerkleRoot() {
					t.Errorf("%s: the proof of transaction %d: got %+v, %v", name, i, p, err)
				}
			}
		}
	}
}

// TestSelectionRefused lists what can't be made to pass for a transaction of a
// block.
func TestSelectionRefused(t *testing.T) {
	txs := blockOf(7)
	ids := []frame.Hash{}
	for _, tx := range txs {
		ids = append(ids, frame.HashOf(tx))
	}
	pair := append(ids[0][:], ids[1][:]...)
	tests := []struct {
		name  string
		wrong func(s *Selection)
		want  error
	}{
		{"another transaction", func(s *Selection) { s.Transactions[0].Raw = blockOf(8)[7] }, ErrPath},
		{"another place", func(s *Selection) { s.Transactions[1].Index = 4 }, ErrPath},
		{"a place beyond the tree", func(s *Selection) { s.Transactions[1].Index += 8 }, ErrPath},
		{"another sibling", func(s *Selection) { s.Transactions[0].Path[1] = frame.Hash{1} }, ErrPath},
		{"no path", func(s *Selection) { s.Transactions = s.Transactions[:1]; s.Transactions[0].Path = nil }, ErrPath},
		{"a path too long", func(s *Selection) { s.Transactions[0].Path = make([]frame.Hash, 40) }, ErrPath},
		{"twice", func(s *Selection) { s.Transactions[1] = s.Transactions[0] }, ErrPath},
		{"the wrong order", func(s *Selection) { slices.Reverse(s.Transactions) }, ErrPath},
		{"a sibling that repeats the node", func(s *Selection) { s.Transactions[2].Path[0] = ids[6] }, ErrPath},
		{"a node passed off as a transaction", func(s *Selection) {
			s.Transactions = []Selected{{Index: 0, Raw: pair, Path: plainPath(ids, 0)[1:]}}
		}, ErrTransaction},
		{"no transaction", func(s *Selection) {
			*s = *selectionOf([][]byte{txs[0], []byte("no transaction")}, 1)
		}, ErrTransaction},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := selectionOf(txs, 0, 3, 6)
			if _, err := NewScanner(frame.Regtest).Selection(s, nil); err != nil {
				t.Fatalf("as it was: %v", err)
			}
			tt.wrong(s)
			if scan, err := NewScanner(frame.Regtest).Selection(s, nil); !errors.Is(err, tt.want) {
				t.Errorf("got %+v, %v, want %v", scan, err, tt.want)
			}
		})
	}
}

// TestSelectionConflicts: what a picked transaction spends that an unconfirmed one
// spends too is told.
func TestSelectionConflicts(t *testing.T) {
	txs := blockOf(3)
	waiting := frame.Hash{5}
	tx, err := ReadTransaction(txs[1], frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	spent := Spent{}
	spent.add(tx.Spends[0], waiting)
	spent.add(tx.Spends[0], tx.ID)
	scan, err := NewScanner(frame.Regtest).Selection(selectionOf(txs, 0, 1), spent)
	if err != nil || !slices.Equal(scan.Conflicts, []frame.Hash{waiting}) {
		t.Errorf("got %+v, %v, want the one that waits", scan, err)
	}
}

// FuzzSelection: a path of a stranger's never panics, and what passes folds to the
// root.
func FuzzSelection(f *testing.F) {
	txs := blockOf(5)
	f.Add(uint32(2), []byte{}, txs[2])
	f.Fuzz(func(t *testing.T, place uint32, path, raw []byte) {
		s := selectionOf(txs, 1)
		p := Selected{Index: place, Raw: raw}
		for ; len(path) >= 32; path = path[32:] {
			p.Path = append(p.Path, frame.Hash(path[:32]))
		}
		s.Transactions = append(s.Transactions, p)
		if _, err := NewScanner(frame.Regtest).Selection(s, nil); err == nil && index.FoldPath(frame.HashOf(raw), place, p.Path) != s.Header.MerkleRoot() {
			t.Errorf("place %d, path %x passes", place, p.Path)
		}
	})
}
