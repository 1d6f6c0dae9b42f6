package signer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/libsv/go-bt/v2"
	"github.com/libsv/go-bt/v2/bscript"

	"github.com/metaim/metaim/improtocol/frame"
)

func newWallet(t testing.TB, o Options) *Wallet {
	t.Helper()
	if o.Network == "" {
		o.Network = frame.Regtest
	}
	w, err := OpenWallet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// funding makes a transaction of a stranger that pays to a key, different for
// each number.
func funding(t testing.TB, n uint32, to frame.KeyHash, satoshis ...uint64) []byte {
	t.Helper()
	tx := bt.NewTx()
	id := make([]byte, 32)
	binary.BigEndian.PutUint32(id, n+1)
	if err := tx.FromUTXOs(&bt.UTXO{TxID: id}); err != nil {
		t.Fatal(err)
	}
	tx.Inputs[0].UnlockingScript = bscript.NewFromBytes([]byte{0x51})
	for _, s := range satoshis {
		tx.AddOutput(&bt.Output{Satoshis: s, LockingScript: payTo(to)})
	}
	return tx.Bytes()
}

func mustAdd(t testing.TB, w *Wallet, raw []byte) Added {
	t.Helper()
	a, err := w.Add(raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustBuild(t testing.TB, w *Wallet, q Request) *Signed {
	t.Helper()
	s, err := w.Build(q)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func message(size int) []byte {
	return append([]byte{0x00, 0x6a}, bytes.Repeat([]byte{0x51}, size-2)...)
}

func balance(t testing.TB, w *Wallet, k Key, satoshis uint64, coins int) {
	t.Helper()
	if b := w.Balance(k.KeyHash()); b.Satoshis != satoshis || b.Coins != coins {
		t.Errorf("got %d satoshis in %d coins, want %d in %d", b.Satoshis, b.Coins, satoshis, coins)
	}
}

func TestAddIsIdempotent(t *testing.T) {
	k, other := testKey(t, 1, false), testKey(t, 2, false)
	w := newWallet(t, Options{Keys: []Key{k}})
	raw := funding(t, 1, k.KeyHash(), 1000, 1, 500)
	if a := mustAdd(t, w, raw); a.Coins != 3 || a.Satoshis != 1501 || !a.New || a.TxID != frame.HashOf(raw) {
		t.Errorf("got %+v, want 3 new coins of 1501 satoshis", a)
	}
	if a := mustAdd(t, w, raw); a.New || a.Coins != 3 {
		t.Errorf("again: got %+v, want nothing new", a)
	}
	if a := mustAdd(t, w, funding(t, 2, other.KeyHash(), 1000)); a.New || a.Coins != 0 {
		t.Errorf("someone else's: got %+v, want nothing", a)
	}
	balance(t, w, k, 1501, 3)
	if b := w.Balance(k.KeyHash()); b.Dust != 1 || b.Pending != 0 {
		t.Errorf("got %+v, want 1 coin of dust and nothing pending", b)
	}
	s := mustBuild(t, w, Request{Script: message(100)})
	mustAdd(t, w, raw) // doesn't bring the spent coin back
	balance(t, w, k, 1501-1000+s.Change, 3)
	if _, err := w.Add([]byte{1}); !errors.Is(err, ErrTruncated) {
		t.Errorf("no transaction: got %v, want %v", err, ErrTruncated)
	}
}

func TestOrderOfAddingDoesNotMatter(t *testing.T) {
	k, bob := testKey(t, 1, false), testKey(t, 2, false)
	maker := newWallet(t, Options{Keys: []Key{k}})
	txs := [][]byte{funding(t, 1, k.KeyHash(), 100_000)}
	mustAdd(t, maker, txs[0])
	var last *Signed
	for range 4 {
		last = mustBuild(t, maker, Request{Script: message(50), Recipients: []frame.KeyHash{bob.KeyHash()}})
		txs = append(txs, last.Raw)
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 3, 1}, {4, 0, 4, 1, 0, 3, 2}} {
		w := newWallet(t, Options{Keys: []Key{k}})
		for _, i := range order {
			mustAdd(t, w, txs[i])
		}
		balance(t, w, k, last.Change, 1)
	}
}

func TestAcceptAndRelease(t *testing.T) {
	k, bob := testKey(t, 1, false), testKey(t, 2, false)
	q := Request{Script: message(100), Recipients: []frame.KeyHash{bob.KeyHash()}}
	setup := func(t *testing.T) (*Wallet, []*Signed) {
		w := newWallet(t, Options{Keys: []Key{k}})
		mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000))
		return w, []*Signed{mustBuild(t, w, q), mustBuild(t, w, q), mustBuild(t, w, q)}
	}
	t.Run("released with all that builds on it", func(t *testing.T) {
		w, s := setup(t)
		got, err := w.Release(s[0].TxID)
		if want := []frame.Hash{s[0].TxID, s[1].TxID, s[2].TxID}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
		balance(t, w, k, 10_000, 1)
		if p := w.Pending(); len(p) != 0 {
			t.Errorf("%d still pending", len(p))
		}
		if again, err := w.Release(s[0].TxID); err != nil || len(again) != 0 {
			t.Errorf("again: got %v, %v; want nothing", again, err)
		}
	})
	t.Run("released in the middle", func(t *testing.T) {
		w, s := setup(t)
		if got, err := w.Release(s[1].TxID); err != nil || len(got) != 2 {
			t.Errorf("got %v, %v; want two", got, err)
		}
		balance(t, w, k, s[0].Change, 1)
		if p := w.Pending(); len(p) != 1 || !bytes.Equal(p[0], s[0].Raw) {
			t.Errorf("got %d pending, want the first", len(p))
		}
	})
	t.Run("accepted", func(t *testing.T) {
		w, s := setup(t)
		for range 2 {
			if err := w.Accept(s[0].TxID); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Release(s[0].TxID); !errors.Is(err, ErrAccepted) {
			t.Errorf("got %v, want %v", err, ErrAccepted)
		}
		if p := w.Pending(); len(p) != 2 || !bytes.Equal(p[0], s[1].Raw) || !bytes.Equal(p[1], s[2].Raw) {
			t.Errorf("got %d pending, want the second and the third", len(p))
		}
	})
	t.Run("not released under an accepted child", func(t *testing.T) {
		w, s := setup(t)
		if err := w.Accept(s[2].TxID); err != nil {
			t.Fatal(err)
		}
		if got, err := w.Release(s[0].TxID); !errors.Is(err, ErrAccepted) || got != nil {
			t.Errorf("got %v, %v; want %v", got, err, ErrAccepted)
		}
		if p := w.Pending(); len(p) != 2 {
			t.Errorf("got %d pending, want 2", len(p))
		}
	})
	t.Run("shown is accepted", func(t *testing.T) {
		w, s := setup(t)
		if a := mustAdd(t, w, s[0].Raw); !a.New || len(a.Dropped) != 0 {
			t.Errorf("got %+v, want news that drop nothing", a)
		}
		if p := w.Pending(); len(p) != 2 {
			t.Errorf("got %d pending, want 2", len(p))
		}
	})
	t.Run("accepted after it was released", func(t *testing.T) {
		w, s := setup(t)
		if _, err := w.Release(s[0].TxID); err != nil {
			t.Fatal(err)
		}
		if err := w.Accept(s[0].TxID); err != nil {
			t.Fatal(err)
		}
		balance(t, w, k, s[0].Change, 1)
	})
	t.Run("unknown", func(t *testing.T) {
		w, _ := setup(t)
		if err := w.Accept(frame.Hash{1}); !errors.Is(err, ErrUnknownTransaction) {
			t.Errorf("accept: got %v", err)
		}
		if _, err := w.Release(frame.Hash{1}); !errors.Is(err, ErrUnknownTransaction) {
			t.Errorf("release: got %v", err)
		}
	})
}

func TestDoubleSpendShownDropsWhatItContradicts(t *testing.T) {
	k, bob := testKey(t, 1, false), testKey(t, 2, false)
	fund := funding(t, 1, k.KeyHash(), 10_000)
	elsewhere := newWallet(t, Options{Keys: []Key{k}}) // the same key on another machine
	mustAdd(t, elsewhere, fund)
	rival := mustBuild(t, elsewhere, Request{Script: message(300)})

	w := newWallet(t, Options{Keys: []Key{k}})
	mustAdd(t, w, fund)
	q := Request{Script: message(100), Recipients: []frame.KeyHash{bob.KeyHash()}}
	first, second := mustBuild(t, w, q), mustBuild(t, w, q)
	if err := w.Accept(first.TxID); err != nil {
		t.Fatal(err)
	}
	a := mustAdd(t, w, rival.Raw)
	if want := []frame.Hash{first.TxID, second.TxID}; !slices.Equal(a.Dropped, want) {
		t.Errorf("got dropped %v, want %v", a.Dropped, want)
	}
	balance(t, w, k, rival.Change, 1)
	if a := mustAdd(t, w, first.Raw); !slices.Equal(a.Dropped, []frame.Hash{rival.TxID}) {
		t.Errorf("got dropped %v, want %v", a.Dropped, rival.TxID)
	}
	balance(t, w, k, first.Change, 1)
}

func TestConcurrentUse(t *testing.T) {
	k, bob := testKey(t, 1, false), testKey(t, 2, false)
	for _, journal := range []string{"", t.TempDir() + "/coins"} {
		w := newWallet(t, Options{Keys: []Key{k, bob}, Journal: journal})
		mustAdd(t, w, funding(t, 1, k.KeyHash(), 50_000, 50_000, 50_000))
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 6 {
					s, err := w.Build(Request{From: k.KeyHash(), Script: message(60), Recipients: []frame.KeyHash{bob.KeyHash()}})
					if err != nil {
						t.Errorf("build: %v", err)
						return
					}
					if i%2 == 0 {
						err = w.Accept(s.TxID)
					}
					if err != nil {
						t.Errorf("accept: %v", err)
					}
					w.Balance(k.KeyHash())
					w.Pending()
				}
			})
		}
		wg.Wait()
		spent := map[outpoint]bool{}
		for _, e := range w.ledger.order {
			for _, c := range e.spends {
				if spent[c.at] {
					t.Errorf("%v is spent twice", c.at)
				}
				spent[c.at] = true
			}
		}
		if p := w.Pending(); len(p) != 24 || len(spent) < 48 {
			t.Errorf("got %d pending and %d coins spent, want 24 and 48", len(p), len(spent))
		}
		balance(t, w, bob, 48, 48)
	}
}
