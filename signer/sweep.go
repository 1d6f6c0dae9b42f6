package signer

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
)

// A Coin is an unspent output that pays to a key of the wallet.
type Coin struct {
	TxID     frame.Hash
	Output   uint32
	Satoshis uint64
	Pending  bool // made by a transaction that isn't accepted yet
}

// Coins returns the coins of a key that can be spent, the biggest first.
func (w *Wallet) Coins(key frame.KeyHash) []Coin {
	w.mu.Lock()
	defer w.mu.Unlock()
	var coins []Coin
	for _, c := range w.ledger.spendable(key) {
		coins = append(coins, Coin{TxID: c.at.tx, Output: c.at.vout, Satoshis: c.satoshis, Pending: c.maker.state == pending})
	}
	return coins
}

// spendable returns the coins of a key that can be spent, the biggest first.
func (l *ledger) spendable(key frame.KeyHash) coinQueue {
	q := l.queues[key]
	if q == nil {
		return nil
	}
	var coins coinQueue
	for _, c := range *q {
		if c.spendable() {
			coins = append(coins, c)
		}
	}
	slices.SortFunc(coins, func(a, b *coin) int {
		if (coinQueue{a, b}).Less(0, 1) {
			return -1
		}
		return 1 // no two coins are the same output
	})
	return coins
}

// A Sweep sends all coins of a key to one address.
type Sweep struct {
	From frame.KeyHash // may be zero in a wallet of one key
	To   frame.KeyHash // may be From: then many coins become one
	Rate FeeRate       // zero is DefaultFeeRate
}

// A SweepPlan says what a sweep does.
type SweepPlan struct {
	Coins    int    // that are spent
	Satoshis uint64 // in them
	Dust     int    // of these coins, those of 1 satoshi
	Fee      uint64 // satoshis; at most, when it isn't signed yet
	Arrives  uint64 // satoshis; at least, when it isn't signed yet
	Size     int    // bytes; at most, when it isn't signed yet
	// Worthless are coins that cost more in fees than they hold; they stay.
	Worthless         int
	WorthlessSatoshis uint64
	// Left are coins for which the transaction had no room: another sweep takes
	// them.
	Left         int
	LeftSatoshis uint64
}

// ErrNothingToSweep says that a key has no coins whose sum is more than the fee.
var ErrNothingToSweep = errors.New("no coins are worth the fee of sending them")

// PlanSweep says what Sweep would do now. It changes nothing and fails as Sweep
// does.
func (w *Wallet) PlanSweep(q Sweep) (SweepPlan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return SweepPlan{}, w.broken
	}
	_, says, err := w.sweep(q)
	return says, err
}

// Sweep makes and signs a transaction of one output that sends the coins of a
// key to an address: each that holds more than its input costs, the biggest
// first, as many as fit in one transaction. It is pending like what Build
// returns. It fails with ErrNothingToSweep, ErrNoKey, a *RateError or a
// *SizeError.
func (w *Wallet) Sweep(q Sweep) (*Signed, SweepPlan, error) {
	var signed *Signed
	var says SweepPlan
	err := w.change(true, func() (r *record, err error) {
		var p *plan
		if p, says, err = w.sweep(q); err != nil {
			return nil, err
		}
		if signed, r, err = w.finish(p); err != nil {
			return nil, err
		}
		says.Fee, says.Arrives, says.Size = signed.Fee, signed.Change, len(signed.Raw)
		signed.Change = 0
		return r, nil
	}, nil)
	if err != nil {
		return nil, SweepPlan{}, err
	}
	return signed, says, nil
}

// sweep chooses the coins. They stay in the queue, where coins that were spent
// lie until they reach the top.
func (w *Wallet) sweep(q Sweep) (*plan, SweepPlan, error) {
	key, rate, err := w.payer(q.From, q.Rate)
	if err != nil {
		return nil, SweepPlan{}, err
	}
	p := &plan{key: key, rate: rate, rest: &q.To}
	var says SweepPlan
	for _, c := range w.ledger.spendable(key.KeyHash()) {
		switch {
		case !worth(c.satoshis, inputSize(key), rate):
			says.Worthless++
			says.WorthlessSatoshis += c.satoshis
		case p.size(len(p.coins)+1, true) > w.maxSize:
			says.Left++
			says.LeftSatoshis = min(says.LeftSatoshis+c.satoshis, maxSatoshis)
		default:
			p.coins = append(p.coins, c)
			p.sum = min(p.sum+c.satoshis, maxSatoshis)
			if c.satoshis == 1 {
				says.Dust++
			}
		}
	}
	says.Coins, says.Satoshis, says.Size = len(p.coins), p.sum, p.size(len(p.coins), true)
	says.Fee = rate.Fee(says.Size)
	if says.Coins == 0 || says.Fee >= p.sum {
		return nil, SweepPlan{}, fmt.Errorf("%w: %s", ErrNothingToSweep, key.Address(w.network))
	}
	says.Arrives = p.sum - says.Fee
	return p, says, nil
}

// worth tells whether satoshis are more than so many bytes cost, to the fraction:
// a coin of 1 satoshi may be at a low rate, though the fee of a whole
// transaction is rounded up.
func worth(satoshis uint64, size int, rate FeeRate) bool {
	hi1, lo1 := bits.Mul64(satoshis, rate.Bytes)
	hi2, lo2 := bits.Mul64(uint64(size), rate.Satoshis)
	return hi1 > hi2 || hi1 == hi2 && lo1 > lo2
}
