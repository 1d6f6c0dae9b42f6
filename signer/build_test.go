package signer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libsv/go-bt/v2"
	"pgregory.net/rapid"

	"github.com/metaim/metaim/improtocol/frame"
)

// hashes returns the key hashes of small numbers.
func hashes(t testing.TB, numbers ...byte) []frame.KeyHash {
	var hs []frame.KeyHash
	for _, n := range numbers {
		hs = append(hs, testKey(t, n, false).KeyHash())
	}
	return hs
}

func TestBuildLayout(t *testing.T) {
	k := testKey(t, 1, false)
	w := newWallet(t, Options{Keys: []Key{k}})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000))
	script := message(200)
	s := mustBuild(t, w, Request{Script: script, Recipients: hashes(t, 2, 3, 2), Pay: []Output{{hashes(t, 4)[0], 700}}})
	tx, err := ParseTransaction(s.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if tx.Version != 1 || tx.LockTime != 0 || len(tx.Inputs) != 1 || tx.Inputs[0].SequenceNumber != math.MaxUint32 {
		t.Errorf("got version %d, lock time %d, %d inputs", tx.Version, tx.LockTime, len(tx.Inputs))
	}
	want := []*bt.Output{{LockingScript: nil}, {Satoshis: 1, LockingScript: payTo(hashes(t, 2)[0])}, {Satoshis: 1, LockingScript: payTo(hashes(t, 3)[0])},
		{Satoshis: 700, LockingScript: payTo(hashes(t, 4)[0])}, {Satoshis: s.Change, LockingScript: payTo(k.KeyHash())}}
	if len(tx.Outputs) != len(want) || !bytes.Equal(*tx.Outputs[0].LockingScript, script) || tx.Outputs[0].Satoshis != 0 {
		t.Fatalf("got %d outputs, want %d with the data first", len(tx.Outputs), len(want))
	}
	for i, out := range want[1:] {
		if got := tx.Outputs[i+1]; got.Satoshis != out.Satoshis || !bytes.Equal(*got.LockingScript, *out.LockingScript) {
			t.Errorf("output %d: got %v, want %v", i+1, got, out)
		}
	}
	if s.TxID != frame.HashOf(s.Raw) || s.Fee+s.Change+702 != 10_000 || s.Fee != DefaultFeeRate.Fee(len(s.Raw)) {
		t.Errorf("got id %v, fee %d, change %d for %d bytes", s.TxID, s.Fee, s.Change, len(s.Raw))
	}
	again, err := w.Extend(s.Raw)
	if err != nil || !bytes.Equal(again, s.Extended) || !bytes.Equal(again[4:10], []byte{0, 0, 0, 0, 0, 0xef}) {
		t.Errorf("extended: got %x, %v; want %x", again, err, s.Extended)
	}
	value := binary.LittleEndian.AppendUint64(nil, 10_000)
	if !bytes.Contains(s.Extended, append(append(value, 25), *payTo(k.KeyHash())...)) {
		t.Errorf("the extended format doesn't hold the coin: %x", s.Extended)
	}
}

func TestBuildRefusals(t *testing.T) {
	k, bob := testKey(t, 1, false), hashes(t, 2)
	tests := []struct {
		name string
		q    Request
		want error
	}{
		{"nothing", Request{}, ErrNothing},
		{"script that isn't data", Request{Script: []byte{0x6a, 0x01, 0x01}}, ErrScript},
		{"script of one byte", Request{Script: []byte{0x00}}, ErrScript},
		{"someone else pays", Request{From: bob[0], Script: message(9)}, ErrNoKey},
		{"payment of nothing", Request{Pay: []Output{{bob[0], 0}}}, ErrAmount},
		{"payment of more than there is", Request{Pay: []Output{{bob[0], math.MaxUint64}}}, ErrAmount},
		{"payments whose sum runs over", Request{Pay: []Output{{bob[0], maxSatoshis}, {bob[0], maxSatoshis}}}, ErrAmount},
	}
	w := newWallet(t, Options{Keys: []Key{k}})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := w.Build(tt.q); !errors.Is(err, tt.want) || s != nil {
				t.Errorf("got %v, %v; want %v", s, err, tt.want)
			}
			balance(t, w, k, 10_000, 1)
		})
	}
	t.Run("too large", func(t *testing.T) {
		var size *SizeError
		if _, err := w.Build(Request{Script: message(100_000)}); !errors.As(err, &size) || size.Limit != 100_000 || size.Size <= 100_000 ||
			err.Error() != "the transaction would take "+itoa(size.Size)+" bytes, and the limit is 100000" {
			t.Errorf("got %v, want a *SizeError", err)
		}
	})
	t.Run("fee rate too high", func(t *testing.T) {
		var rate *RateError
		for _, r := range []FeeRate{{10_001, 1000}, {math.MaxUint64, 1}, {11, 1}} {
			if _, err := w.Build(Request{Script: message(9), Rate: r}); !errors.As(err, &rate) {
				t.Errorf("%v: got %v, want a *RateError", r, err)
			}
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		w := newWallet(t, Options{Keys: []Key{k}})
		mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000))
		wrong := testKey(t, 9, false)
		wrong.hash = k.hash
		w.keys[k.hash] = wrong
		if s, err := w.Build(Request{Script: message(9)}); err == nil {
			t.Errorf("got %v, want what was signed with a wrong key refused", s)
		}
		balance(t, w, k, 10_000, 1)
		if p := w.Pending(); len(p) != 0 {
			t.Errorf("%d are pending", len(p))
		}
	})
}

func TestFundsErrorSaysWhatSuffices(t *testing.T) {
	k := testKey(t, 1, false)
	for _, coins := range [][]uint64{nil, {1}, {1, 1, 1}, {20}, {40, 40}, {15, 14, 16}} {
		for _, q := range []Request{
			{Script: message(1000)},
			{Script: message(5000), Recipients: hashes(t, 2, 3)},
			{Script: message(1000), Recipients: hashes(t, 1)},
			{Pay: []Output{{hashes(t, 2)[0], 12_345}}},
			{Script: message(1000), Rate: FeeRate{50, 148}},
			{Script: message(5000), Rate: FeeRate{1, 20}},
		} {
			w := newWallet(t, Options{Keys: []Key{k}})
			if coins != nil {
				mustAdd(t, w, funding(t, 1, k.KeyHash(), coins...))
			}
			before := w.Balance(k.KeyHash())
			_, err := w.Build(q)
			var funds *FundsError
			if !errors.As(err, &funds) || funds.Need <= funds.Have {
				t.Fatalf("coins %v: got %v, want a *FundsError", coins, err)
			}
			if m := err.Error(); !strings.Contains(m, itoa(int(funds.Missing()))+" satoshis are missing") || !strings.Contains(m, k.Address(frame.Regtest)) {
				t.Errorf("got %q, want the satoshis and the address in it", m)
			}
			if after := w.Balance(k.KeyHash()); after != before {
				t.Errorf("coins %v: got balance %+v after a refusal, want %+v", coins, after, before)
			}
			mustAdd(t, w, funding(t, 2, k.KeyHash(), funds.Missing()))
			if _, err := w.Build(q); err != nil {
				t.Errorf("coins %v: with %d more: %v", coins, funds.Missing(), err)
			}
		}
	}
}

func TestChangeAndTheRuleThatReadsIt(t *testing.T) {
	payer := testKey(t, 1, false)
	tests := []struct {
		name       string
		coin       uint64
		q          Request
		change     bool
		recipients []frame.KeyHash // as the protocol reads them
	}{
		{"one recipient", 1000, Request{Script: message(50), Recipients: hashes(t, 2)}, true, hashes(t, 2)},
		{"nothing left", 30, Request{Script: message(50), Recipients: hashes(t, 2)}, false, hashes(t, 2)},
		{"payer is the only recipient", 1000, Request{Script: message(50), Recipients: hashes(t, 1)}, true, hashes(t, 1)},
		{"payer is the last recipient", 1000, Request{Script: message(50), Recipients: hashes(t, 2, 1)}, true, hashes(t, 2, 1)},
		{"payer is the first recipient", 1000, Request{Script: message(50), Recipients: hashes(t, 1, 2)}, true, hashes(t, 1, 2)},
		{"a note to oneself", 1000, Request{Script: message(50)}, true, nil},
		{"a note to oneself, nothing left", 25, Request{Script: message(50)}, false, nil},
		{"one named three times", 1000, Request{Script: message(50), Recipients: hashes(t, 2, 2, 3, 2)}, true, hashes(t, 2, 3)},
		{"payment to the payer, last", 2000, Request{Script: message(50), Recipients: hashes(t, 2), Pay: []Output{{hashes(t, 1)[0], 600}}}, true, hashes(t, 2, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWallet(t, Options{Keys: []Key{payer}})
			mustAdd(t, w, funding(t, 1, payer.KeyHash(), tt.coin))
			s := mustBuild(t, w, tt.q)
			if (s.Change > 0) != tt.change {
				t.Errorf("got change %d and fee %d, want change: %v", s.Change, s.Fee, tt.change)
			}
			tx, err := readTransaction(s.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := paid(tx); !slices.Equal(got, tt.recipients) {
				t.Errorf("read as %x, want %x", got, tt.recipients)
			}
		})
	}
	// Enough for the payer as last recipient without change, not with it.
	w := newWallet(t, Options{Keys: []Key{payer}})
	mustAdd(t, w, funding(t, 1, payer.KeyHash(), 30))
	var funds *FundsError
	if s, err := w.Build(Request{Script: message(50), Recipients: hashes(t, 1)}); !errors.As(err, &funds) {
		t.Errorf("got a transaction: %v, error %v; want a *FundsError: without change the recipient would be lost", s != nil, err)
	}
}

func TestCoinSelection(t *testing.T) {
	k := testKey(t, 1, false)
	coins := []uint64{1, 500, 1, 3000, 16, 900, 1, 2000}
	build := func(order []int) *Signed {
		w := newWallet(t, Options{Keys: []Key{k}})
		for _, i := range order {
			mustAdd(t, w, funding(t, uint32(i), k.KeyHash(), coins[i]))
		}
		return mustBuild(t, w, Request{Pay: []Output{{hashes(t, 2)[0], 4500}}})
	}
	a, b := build([]int{0, 1, 2, 3, 4, 5, 6, 7}), build([]int{7, 3, 5, 1, 6, 0, 4, 2})
	if a.TxID != b.TxID {
		t.Errorf("got %v and %v, want the same transaction whatever the order of coins", a.TxID, b.TxID)
	}
	tx, err := readTransaction(a.Raw)
	if err != nil || len(tx.inputs) != 2 {
		t.Errorf("got %d inputs, %v; want the two biggest coins", len(tx.inputs), err)
	}
}

func TestUncompressedKeyPays(t *testing.T) {
	k := testKey(t, 1, true)
	w := newWallet(t, Options{Keys: []Key{k}})
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 300, 300))
	s := mustBuild(t, w, Request{Pay: []Output{{hashes(t, 2)[0], 400}}})
	if s.Change == 0 || s.Fee < DefaultFeeRate.Fee(len(s.Raw)) {
		t.Errorf("got fee %d and change %d for %d bytes", s.Fee, s.Change, len(s.Raw))
	}
}

func TestFee(t *testing.T) {
	tests := []struct {
		rate FeeRate
		size int
		want uint64
	}{
		{FeeRate{}, 1000, 100}, {FeeRate{}, 1001, 101}, {FeeRate{}, 991, 100}, {FeeRate{}, 990, 99}, {FeeRate{}, 1, 1}, {FeeRate{}, 0, 1},
		{FeeRate{0, 0}, 200, 20}, {FeeRate{0, 1000}, 200, 1}, {FeeRate{1, 1}, 200, 200}, {FeeRate{50, 1000}, 226, 12}, {FeeRate{1, 1000}, 226, 1},
		{FeeRate{math.MaxUint64, 1}, 200, maxSatoshis}, {FeeRate{math.MaxUint64, math.MaxUint64}, 200, 200}, {FeeRate{1, math.MaxUint64}, 200, 1},
	}
	for _, tt := range tests {
		if got := tt.rate.Fee(tt.size); got != tt.want {
			t.Errorf("%v for %d bytes: got %d, want %d", tt.rate, tt.size, got, tt.want)
		}
	}
}

// Whatever is asked for, a transaction pays what it should, reads back as meant,
// and costs exactly the fee of its size, or less than one output more.
func TestBuildProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := testKey(t, 1, rapid.Bool().Draw(rt, "uncompressed"))
		w, err := OpenWallet(t.Context(), Options{Network: frame.Regtest, Keys: []Key{k}})
		if err != nil {
			rt.Fatal(err)
		}
		satoshis := rapid.SliceOfN(rapid.Uint64Range(1, 2000), 1, 12).Draw(rt, "coins")
		if _, err := w.Add(funding(t, 1, k.KeyHash(), satoshis...)); err != nil {
			rt.Fatal(err)
		}
		q := Request{Rate: FeeRate{rapid.Uint64Range(1, 500).Draw(rt, "rate"), 1000}}
		if n := rapid.IntRange(2, 600).Draw(rt, "script"); n > 5 {
			q.Script = message(n)
		}
		for _, n := range rapid.SliceOfN(rapid.ByteRange(1, 5), 1, 6).Draw(rt, "recipients") {
			h := k.KeyHash()
			if n > 1 {
				h = testKey(t, n, false).KeyHash()
			}
			q.Recipients = append(q.Recipients, h)
		}
		s, err := w.Build(q)
		if err != nil {
			if funds := (*FundsError)(nil); !errors.As(err, &funds) {
				rt.Fatalf("got %v", err)
			}
			return
		}
		least := q.Rate.Fee(len(s.Raw))
		if slack := q.Rate.Fee(outputSize+3) + 2; s.Fee < least || s.Fee > least+slack {
			rt.Errorf("got a fee of %d for %d bytes, want %d", s.Fee, len(s.Raw), least)
		}
		tx, err := readTransaction(s.Raw)
		if err != nil {
			rt.Fatal(err)
		}
		var want []frame.KeyHash
		for _, h := range q.Recipients {
			if !slices.Contains(want, h) {
				want = append(want, h)
			}
		}
		if got := paid(tx); !slices.Equal(got, want) {
			rt.Errorf("read as %x, want %x", got, want)
		}
	})
}

// A burst of messages from one coin. Scripts aren't run: that is most of the
// time, and BenchmarkBuild measures it.
func TestBurst(t *testing.T) {
	k := testKey(t, 1, false)
	w := newWallet(t, Options{Keys: []Key{k}, Journal: t.TempDir() + "/coins"})
	w.check = func([]byte, []*coin) error { return nil }
	mustAdd(t, w, funding(t, 1, k.KeyHash(), 1_000_000))
	q := Request{Script: message(250), Recipients: hashes(t, 2)}
	start := time.Now()
	for range 500 {
		mustBuild(t, w, q)
	}
	t.Logf("500 messages built, signed and made durable in %v", time.Since(start))
	if n := len(w.Pending()); n != 500 {
		t.Errorf("got %d pending, want 500", n)
	}
}

func benchmarkBuild(b *testing.B, o Options, check bool) {
	k := testKey(b, 1, false)
	o.Keys = []Key{k}
	w := newWallet(b, o)
	if !check {
		w.check = func([]byte, []*coin) error { return nil }
	}
	mustAdd(b, w, funding(b, 1, k.KeyHash(), 100_000_000_000))
	q := Request{Script: message(250), Recipients: hashes(b, 2)}
	for b.Loop() {
		mustBuild(b, w, q)
	}
}

func BenchmarkBuild(b *testing.B)          { benchmarkBuild(b, Options{}, true) }
func BenchmarkBuildUnchecked(b *testing.B) { benchmarkBuild(b, Options{}, false) }
func BenchmarkBuildJournal(b *testing.B) {
	benchmarkBuild(b, Options{Journal: b.TempDir() + "/coins"}, false)
}
