package signer

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

func TestCoins(t *testing.T) {
	k, other := testKey(t, 1, false), testKey(t, 2, false)
	w := newWallet(t, Options{Keys: []Key{k, other}})
	raw := funding(t, 1, k.KeyHash(), 500, 1, 9000)
	mustAdd(t, w, raw)
	satoshis := func() (list []uint64) {
		for _, c := range w.Coins(k.KeyHash()) {
			list = append(list, c.Satoshis)
		}
		return list
	}
	if got, want := satoshis(), []uint64{9000, 500, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c := w.Coins(k.KeyHash())[0]; c.TxID != frame.HashOf(raw) || c.Output != 2 || c.Pending {
		t.Errorf("got %+v, want output 2 of %s, not pending", c, frame.HashOf(raw))
	}
	s := mustBuild(t, w, Request{From: k.KeyHash(), Script: message(100)})
	if got, want := satoshis(), []uint64{s.Change, 500, 1}; !slices.Equal(got, want) {
		t.Errorf("after spending: got %v, want %v", got, want)
	}
	if c := w.Coins(k.KeyHash())[0]; !c.Pending {
		t.Errorf("change of what isn't accepted: got %+v, want it pending", c)
	}
	if got := w.Coins(other.KeyHash()); len(got) != 0 {
		t.Errorf("a key without coins: got %v", got)
	}
}

func TestSweep(t *testing.T) {
	usual, low := FeeRate{100, 1000}, FeeRate{1, 1000}
	for _, tt := range []struct {
		name         string
		satoshis     []uint64
		rate         FeeRate
		uncompressed bool
		maxSize      int
		want         SweepPlan // Fee, Arrives and Size are computed
	}{
		{"one coin", []uint64{1000}, usual, false, 0, SweepPlan{Coins: 1, Satoshis: 1000}},
		{"dust stays at the usual rate", []uint64{1000, 1, 1}, usual, false, 0, SweepPlan{Coins: 1, Satoshis: 1000, Worthless: 2, WorthlessSatoshis: 2}},
		{"dust comes at a low rate", []uint64{1000, 1, 1}, low, false, 0, SweepPlan{Coins: 3, Satoshis: 1002, Dust: 2}},
		{"dust alone, enough of it", []uint64{1, 1, 1, 1, 1}, low, false, 0, SweepPlan{Coins: 5, Satoshis: 5, Dust: 5}},
		{"at the very price of an input", []uint64{1000, 15, 14}, usual, false, 0, SweepPlan{Coins: 2, Satoshis: 1015, Worthless: 1, WorthlessSatoshis: 14}},
		{"uncompressed: inputs cost more", []uint64{1000, 18, 19}, usual, true, 0, SweepPlan{Coins: 2, Satoshis: 1019, Worthless: 1, WorthlessSatoshis: 18}},
		{"more than fits", []uint64{100, 500, 300, 400}, usual, false, 400, SweepPlan{Coins: 2, Satoshis: 900, Left: 2, LeftSatoshis: 400}},
		{"zero rate is the default", []uint64{1000, 1}, FeeRate{}, false, 0, SweepPlan{Coins: 1, Satoshis: 1000, Worthless: 1, WorthlessSatoshis: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, to := testKey(t, 1, tt.uncompressed), testKey(t, 2, false)
			w := newWallet(t, Options{Keys: []Key{k}, MaxSize: tt.maxSize})
			mustAdd(t, w, funding(t, 1, k.KeyHash(), tt.satoshis...))
			before := w.Coins(k.KeyHash())
			q := Sweep{To: to.KeyHash(), Rate: tt.rate}
			planned, err := w.PlanSweep(q)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Coins(k.KeyHash()); !slices.Equal(got, before) || len(w.Pending()) != 0 {
				t.Errorf("planning changed the coins: %v, were %v", got, before)
			}
			s, done, err := w.Sweep(q)
			if err != nil {
				t.Fatal(err)
			}
			got := done
			got.Fee, got.Arrives, got.Size = 0, 0, 0
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if done.Fee > planned.Fee || done.Arrives < planned.Arrives || done.Fee+done.Arrives != done.Satoshis || done.Size > planned.Size {
				t.Errorf("done: %+v, planned: %+v", done, planned)
			}
			if want := tt.rate.Fee(len(s.Raw)); done.Fee < want || s.Fee != done.Fee {
				t.Errorf("a fee of %d, want %d or a little more", done.Fee, want)
			}
			checkSwept(t, s.Raw, to, done.Arrives)
			balance(t, w, k, tt.want.WorthlessSatoshis+tt.want.LeftSatoshis, tt.want.Worthless+tt.want.Left)
			if _, err := w.Release(s.TxID); err != nil {
				t.Fatal(err)
			}
			if got := w.Coins(k.KeyHash()); !slices.Equal(got, before) {
				t.Errorf("released: got %v, want the coins of before, %v", got, before)
			}
			if _, _, err := w.Sweep(q); err != nil {
				t.Errorf("again, after the release: %v", err)
			}
		})
	}
}

// checkSwept looks at the transaction as its receiver does.
func checkSwept(t *testing.T, raw []byte, to Key, satoshis uint64) {
	t.Helper()
	w := newWallet(t, Options{Keys: []Key{to}})
	if a := mustAdd(t, w, raw); a.Coins != 1 || a.Satoshis != satoshis {
		t.Errorf("%d satoshis in %d coins arrive, want %d in 1", a.Satoshis, a.Coins, satoshis)
	}
	tx, err := readTransaction(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(tx.outputs) != 1 {
		t.Errorf("%d outputs, want 1", len(tx.outputs))
	}
}

func TestSweepToItself(t *testing.T) {
	k := testKey(t, 1, false)
	path := filepath.Join(t.TempDir(), "coins.journal")
	w := newWallet(t, Options{Keys: []Key{k}, Journal: path})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 400, 300, 200))
	s, done, err := w.Sweep(Sweep{To: k.KeyHash()})
	if err != nil {
		t.Fatal(err)
	}
	balance(t, w, k, done.Arrives, 1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// What was swept survives: it is there to be submitted again.
	again := newWallet(t, Options{Keys: []Key{k}, Journal: path})
	balance(t, again, k, done.Arrives, 1)
	if p := again.Pending(); len(p) != 1 || frame.HashOf(p[0]) != s.TxID {
		t.Errorf("%d transactions are pending, want the sweep", len(p))
	}
}

func TestSweepRefuses(t *testing.T) {
	k, other := testKey(t, 1, false), testKey(t, 2, false)
	for _, tt := range []struct {
		name     string
		satoshis []uint64
		q        Sweep
		want     error
	}{
		{"no coins", nil, Sweep{From: k.KeyHash()}, ErrNothingToSweep},
		{"dust that isn't worth its fee", []uint64{1, 1, 14}, Sweep{From: k.KeyHash()}, ErrNothingToSweep},
		{"a coin that pays its input and not the rest", []uint64{16}, Sweep{From: k.KeyHash()}, ErrNothingToSweep},
		{"one of dust, at a low rate: the fee is all of it", []uint64{1}, Sweep{From: k.KeyHash(), Rate: FeeRate{1, 1000}}, ErrNothingToSweep},
		{"a key that isn't there", []uint64{1000}, Sweep{From: frame.KeyHash{9}}, ErrNoKey},
		{"a rate beyond the limit", []uint64{1000}, Sweep{From: k.KeyHash(), Rate: FeeRate{11, 1}}, &RateError{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWallet(t, Options{Keys: []Key{k, other}})
			if len(tt.satoshis) > 0 {
				mustAdd(t, w, funding(t, 1, k.KeyHash(), tt.satoshis...))
			}
			before := w.Coins(k.KeyHash())
			tt.q.To = other.KeyHash()
			_, planned := w.PlanSweep(tt.q)
			_, _, err := w.Sweep(tt.q)
			var rate *RateError
			for _, got := range []error{planned, err} {
				if !errors.Is(got, tt.want) && !(errors.As(tt.want, &rate) && errors.As(got, &rate)) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
			if got := w.Coins(k.KeyHash()); !slices.Equal(got, before) || len(w.Pending()) != 0 {
				t.Errorf("something changed: %v, was %v", got, before)
			}
		})
	}
	w := newWallet(t, Options{Keys: []Key{k}})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.PlanSweep(Sweep{}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, ErrClosed)
	}
}
