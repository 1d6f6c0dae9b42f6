package broadcast_test

import (
	"bytes"
	"errors"
	"testing"

	sdk "github.com/bsv-blockchain/go-sdk/transaction"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// family is a transaction with its extended format and its BEEF, the latter as
// another implementation (go-sdk) writes it.
func family(t *testing.T) (raw, extended, beef []byte) {
	t.Helper()
	key := signer.NewKey()
	coin := coinFor(key.KeyHash())
	w := wallet(t, key, coin)
	first, err := w.Build(signer.Request{Pay: []signer.Output{{KeyHash: key.KeyHash(), Satoshis: 40_000}}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Build(signer.Request{Pay: []signer.Output{{KeyHash: signer.NewKey().KeyHash(), Satoshis: 70_000}}}) // two inputs
	if err != nil {
		t.Fatal(err)
	}
	read := func(raw []byte) *sdk.Transaction {
		tx, err := sdk.NewTransactionFromBytes(raw)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	root, parent, child := read(coin), read(first.Raw), read(second.Raw)
	yes := true
	root.MerklePath = sdk.NewMerklePath(7, [][]*sdk.PathElement{{{Offset: 0, Hash: root.TxID(), Txid: &yes}, {Offset: 1, Duplicate: &yes}}})
	for _, in := range parent.Inputs {
		in.SourceTransaction = root
	}
	for _, in := range child.Inputs {
		in.SourceTransaction = parent
	}
	if beef, err = child.BEEF(); err != nil {
		t.Fatal(err)
	}
	if extended, err = child.EF(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(extended, second.Extended) {
		t.Fatalf("the wallet's extended format is %x, go-sdk's %x", second.Extended, extended)
	}
	return second.Raw, extended, beef
}

func TestRead(t *testing.T) {
	raw, extended, beef := family(t)
	edit := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	for _, tt := range []struct {
		name     string
		body     []byte
		extended []byte
		fails    bool
	}{
		{"raw", raw, nil, false},
		{"extended", extended, extended, false},
		{"BEEF", beef, extended, false},
		{"extended, one byte more", append(bytes.Clone(extended), 0), nil, true},
		{"extended, one byte less", extended[:len(extended)-1], nil, true},
		{"extended, no inputs", edit(extended, 10, 0), nil, true},
		{"extended, more inputs than there is room", append(append(bytes.Clone(extended[:10]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), extended[11:]...), nil, true},
		{"extended, a length that isn't shortest", append(append(bytes.Clone(extended[:10]), 0xfd, extended[10], 0), extended[11:]...), nil, true},
		{"BEEF, one byte more", append(bytes.Clone(beef), 0), nil, true},
		{"BEEF, one byte less", beef[:len(beef)-1], nil, true},
		{"BEEF, 200 levels", edit(beef, 6, 200), nil, true},
		{"BEEF, no transactions", beef[:5], nil, true},
	} {
		got, err := broadcast.Read(tt.body)
		if tt.fails {
			if !errors.Is(err, broadcast.ErrForm) {
				t.Errorf("%s: got %v, want %v", tt.name, err, broadcast.ErrForm)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !bytes.Equal(got.Raw, raw) || got.ID != frame.HashOf(raw) || !bytes.Equal(got.Extended, tt.extended) {
			t.Errorf("%s: got %x extended %x, want %x extended %x", tt.name, got.Raw, got.Extended, raw, tt.extended)
		}
	}
}

// FuzzRead: whatever the bytes are, nothing panics; what is read has the id of its
// raw form, and an extended form reads back as the same transaction.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 0, 0xbe, 0xef, 1, 0, 1, 2})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xef, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := broadcast.Read(b)
		if err != nil {
			return
		}
		if got.ID != frame.HashOf(got.Raw) {
			t.Errorf("id %s, want %s", got.ID, frame.HashOf(got.Raw))
		}
		if got.Extended == nil {
			return
		}
		again, err := broadcast.Read(got.Extended)
		if err != nil || !bytes.Equal(again.Raw, got.Raw) {
			t.Errorf("the extended format reads back as %v, %v, want %x", again, err, got.Raw)
		}
	})
}
