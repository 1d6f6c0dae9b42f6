package junglebus

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/proof"
)

// firstHeader is block 1 of mainnet in the form that the library's models and
// tests show. It was put down by hand: its hash says whether that is right.
const firstHeader = `{"hash":"00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048","coin":1,"height":1,"time":1231469665,` +
	`"nonce":2573394689,"version":1,"merkleroot":"0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098","bits":"1d00ffff","synced":1}`

// TestHeader: a real header is put together from what is told of it; one of whose
// fields is another is a lie.
func TestHeader(t *testing.T) {
	main := chainwatch.ParamsOf(frame.Main)
	read := func(change func(*toldHeader), prev frame.Hash) (chainwatch.Header, error) {
		var told toldHeader
		if err := json.Unmarshal([]byte(firstHeader), &told); err != nil {
			t.Fatal(err)
		}
		change(&told)
		return told.after(prev, "service")
	}
	h, err := read(func(*toldHeader) {}, main.Genesis.Hash())
	if err != nil {
		t.Fatal(err)
	}
	if isNew, err := chainwatch.NewChain(main).Add(h); err != nil || !isNew {
		t.Errorf("the chain says %v, %v, want it added", isNew, err)
	}
	var lie *service.LieError
	for name, change := range map[string]func(*toldHeader){
		"version": func(t *toldHeader) { t.Version++ },
		"time":    func(t *toldHeader) { t.Time++ },
		"nonce":   func(t *toldHeader) { t.Nonce++ },
		"bits":    func(t *toldHeader) { t.Bits = "1d00fffe" },
		"root":    func(t *toldHeader) { t.MerkleRoot = t.Hash },
		"hash":    func(t *toldHeader) { t.Hash = t.MerkleRoot },
	} {
		if _, err := read(change, main.Genesis.Hash()); !errors.As(err, &lie) {
			t.Errorf("another %s: got %v, want a *service.LieError", name, err)
		}
	}
	if _, err := read(func(*toldHeader) {}, frame.Hash{1}); !errors.As(err, &lie) {
		t.Errorf("after another block: got %v, want a *service.LieError", err)
	}
	for _, bad := range []func(*toldHeader){
		func(t *toldHeader) { t.Bits = "x" }, func(t *toldHeader) { t.Bits = "1d00ffff0" }, func(t *toldHeader) { t.Hash = "" }, func(t *toldHeader) { t.MerkleRoot = "00" },
	} {
		if _, err := read(bad, main.Genesis.Hash()); !errors.Is(err, errAnswer) {
			t.Errorf("a field that is none: got %v, want %v", err, errAnswer)
		}
	}
}

// TestReadPath reads paths in forms that the strict reader of package proof doesn't
// take: with more nodes than needed, in another order, without flags.
func TestReadPath(t *testing.T) {
	leaf := func(b byte) frame.Hash { return frame.HashOf([]byte{b}) }
	pair := func(a, b frame.Hash) frame.Hash { return frame.HashOf(append(a[:], b[:]...)) }
	a, b, c := leaf(1), leaf(2), leaf(3)
	root := pair(pair(a, b), pair(c, c))
	node := func(offset, kind byte, h frame.Hash) []byte {
		if kind == nodeOwn {
			return []byte{offset, kind}
		}
		return append([]byte{offset, kind}, h[:]...)
	}
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	tests := []struct {
		name  string
		bump  []byte
		txid  frame.Hash
		place uint32
		ok    bool
	}{
		{"as we write it", (&proof.BUMP{Height: 9, Index: 1, TxID: b, Path: []frame.Hash{a, pair(c, c)}}).Append(nil), b, 1, true},
		{"the whole tree", join([]byte{9, 2, 4}, node(0, 0, a), node(1, 2, b), node(2, 0, c), node(3, nodeOwn, c), []byte{0}), a, 0, true},
		{"the last, its own sibling", join([]byte{9, 2, 2}, node(3, nodeOwn, c), node(2, 2, c), []byte{1}, node(0, 0, pair(a, b))), c, 2, true},
		{"its own sibling written out", join([]byte{9, 2, 2}, node(2, 2, c), node(3, 0, c), []byte{1}, node(0, 0, pair(a, b))), c, 2, true},
		{"without flags", join([]byte{9, 2, 2}, node(1, 0, b), node(0, 0, a), []byte{1}, node(1, 0, pair(c, c))), a, 0, true},
		{"another transaction's", join([]byte{9, 2, 2}, node(0, 0, a), node(1, 0, b), []byte{1}, node(1, 0, pair(c, c))), c, 0, false},
		{"a level is missing", join([]byte{9, 2, 2}, node(0, 0, a), node(1, 0, b), []byte{0}), a, 0, false},
		{"a node twice", join([]byte{9, 2, 3}, node(0, 0, a), node(1, 0, b), node(1, 0, c), []byte{1}, node(1, 0, pair(c, c))), a, 0, false},
		{"a kind that is none", join([]byte{9, 2, 2}, node(0, 3, a), node(1, 0, b), []byte{1}, node(1, 0, c)), a, 0, false},
		{"something follows", join([]byte{9, 2, 2}, node(0, 0, a), node(1, 0, b), []byte{1}, node(1, 0, pair(c, c)), []byte{0}), a, 0, false},
		{"no levels", []byte{9, 0}, a, 0, false},
		{"too many levels", []byte{9, 33}, a, 0, false},
		{"a count beyond the end", []byte{9, 1, 0xff, 255, 255, 255, 255, 255, 255, 255, 255}, a, 0, false},
		{"nothing", nil, a, 0, false},
	}
	for _, tt := range tests {
		place, path, err := readPath(tt.bump, tt.txid)
		if (err == nil) != tt.ok || tt.ok && (place != tt.place || index.FoldPath(tt.txid, place, path) != root) {
			t.Errorf("%s: got place %d, %v, %v; want %d, ok %v", tt.name, place, path, err, tt.place, tt.ok)
		}
	}
}

// FuzzReadPath: a stranger's path never panics, and is no longer than its levels.
func FuzzReadPath(f *testing.F) {
	id := frame.HashOf([]byte{1})
	f.Add((&proof.BUMP{Height: 9, Index: 1, TxID: id, Path: []frame.Hash{{1}, {}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if place, path, err := readPath(b, id); err == nil && (len(path) > deepest || uint64(place)>>len(path) > 0) {
			t.Errorf("place %d with %d siblings", place, len(path))
		}
	})
}

// FuzzReadReply: a stranger's frame never panics.
func FuzzReadReply(f *testing.F) {
	f.Add(piece(nil, 4, piece(piece(nil, 2, []byte("a:control")), 4, piece(nil, 4, controlOf(300, 7, 0)))))
	f.Add(piece(number(nil, 1, 2), 6, piece(number(nil, 9, 4), 7, number(nil, 6, 3))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readReply(b)
		if err == nil && r.pub != nil {
			_, _ = readTold(r.pub.data)    // only that it returns
			_, _ = readControl(r.pub.data) // likewise
		}
		if len(r.failed) > 200 || len(r.disconnect) > 200 {
			t.Errorf("a reason of %d bytes", len(r.failed)+len(r.disconnect))
		}
	})
}
