package signer

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/metaim/metaim/improtocol/frame"
)

// Whatever happens in whatever order, what is left is what a naive count over
// the live transactions gives, no coin is spent twice, and a journal of it gives
// the same wallet.
func TestLedgerProperties(t *testing.T) {
	k, bob := testKey(t, 1, false), testKey(t, 2, false)
	rapid.Check(t, func(rt *rapid.T) {
		open := func() *Wallet {
			w, err := OpenWallet(t.Context(), Options{Network: frame.Regtest, Keys: []Key{k}})
			if err != nil {
				rt.Fatal(err)
			}
			w.check = func([]byte, []*coin) error { return nil }
			return w
		}
		wallets := []*Wallet{open(), open()} // the same key on two machines
		var shown [][]byte
		known := map[*Wallet][]frame.Hash{}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			w := wallets[rapid.IntRange(0, 1).Draw(rt, "wallet")]
			switch rapid.SampledFrom([]string{"fund", "build", "build", "show", "accept", "release"}).Draw(rt, "step") {
			case "fund":
				shown = append(shown, funding(t, uint32(len(shown)), k.KeyHash(), rapid.SliceOfN(rapid.Uint64Range(1, 300), 1, 3).Draw(rt, "coins")...))
				mustAdd(t, w, shown[len(shown)-1])
			case "build":
				s, err := w.Build(Request{Script: message(rapid.IntRange(2, 300).Draw(rt, "size")), Recipients: []frame.KeyHash{bob.KeyHash()}})
				if err == nil {
					shown = append(shown, s.Raw)
					known[w] = append(known[w], s.TxID)
				}
			case "show":
				if len(shown) > 0 {
					mustAdd(t, w, rapid.SampledFrom(shown).Draw(rt, "transaction"))
				}
			case "accept":
				if len(known[w]) > 0 {
					if err := w.Accept(rapid.SampledFrom(known[w]).Draw(rt, "id")); err != nil {
						rt.Fatal(err)
					}
				}
			case "release":
				if len(known[w]) > 0 {
					w.Release(rapid.SampledFrom(known[w]).Draw(rt, "id"))
				}
			}
			checkLedger(rt, w, k)
		}
	})
}

func checkLedger(rt *rapid.T, w *Wallet, k Key) {
	made, spent := map[outpoint]uint64{}, map[outpoint]bool{}
	for _, e := range w.ledger.order {
		if e.state == dropped {
			continue
		}
		for _, c := range e.creates {
			made[c.at] = c.satoshis
		}
		for _, c := range e.spends {
			if spent[c.at] {
				rt.Errorf("%v is spent twice", c.at)
			}
			spent[c.at] = true
		}
	}
	var satoshis uint64
	coins := 0
	for at, n := range made {
		if !spent[at] {
			satoshis += n
			coins++
		}
	}
	if b := w.Balance(k.KeyHash()); b.Satoshis != satoshis || b.Coins != coins {
		rt.Errorf("got %d satoshis in %d coins, want %d in %d", b.Satoshis, b.Coins, satoshis, coins)
	}
	var file, again bytes.Buffer
	if err := writeJournal(&file, frame.Regtest, w.ledger, new(int64)); err != nil {
		rt.Fatal(err)
	}
	l := newLedger()
	if _, _, err := replayLines(bytes.NewReader(file.Bytes()), frame.Regtest, l); err != nil {
		rt.Fatalf("replay: %v", err)
	}
	l.requeue()
	if err := writeJournal(&again, frame.Regtest, l, new(int64)); err != nil {
		rt.Fatal(err)
	}
	if !bytes.Equal(file.Bytes(), again.Bytes()) {
		rt.Errorf("got\n%s\nwant\n%s", again.String(), file.String())
	}
	replayed := &Wallet{ledger: l}
	if got, want := replayed.Balance(k.KeyHash()), w.Balance(k.KeyHash()); got != want {
		rt.Errorf("replayed: got %+v, want %+v", got, want)
	}
}
