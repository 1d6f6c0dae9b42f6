package signer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
)

// An Output pays satoshis to an address.
type Output struct {
	KeyHash  frame.KeyHash
	Satoshis uint64
}

// A Request says what a transaction is to hold, in the order of its outputs.
type Request struct {
	// From pays, and gets the change. It may be zero in a wallet of one key.
	From frame.KeyHash
	// Script is a data output of 0 satoshis: OP_FALSE OP_RETURN and more. Empty
	// is none.
	Script []byte
	// Recipients get 1 satoshi each, which is how a message reaches them. One
	// named twice gets it once.
	Recipients []frame.KeyHash
	// Pay are further payments, such as one to a registration address.
	Pay []Output
	// Rate is the fee rate; zero is DefaultFeeRate.
	Rate FeeRate
}

// Signed is a transaction ready to be submitted.
type Signed struct {
	TxID     frame.Hash
	Raw      []byte
	Extended []byte // the same in extended format (BRC-30), which ARC prefers
	Fee      uint64 // satoshis
	Change   uint64 // satoshis; 0 is no change output
}

// RecipientSatoshis is what each recipient of a message gets.
const RecipientSatoshis = 1

// Reasons why a request is refused.
var (
	ErrNothing = errors.New("a transaction needs an output")
	ErrScript  = errors.New("a data output begins with OP_FALSE OP_RETURN")
	ErrAmount  = errors.New("an amount of no satoshis, or of more than there are")
)

// Build makes and signs a transaction: the data output, the recipients, the
// payments, and the change to who pays if 1 satoshi or more is left. Few and big
// coins are taken first; coins that cost more than they hold are left alone. Its
// coins are reserved and its change can be spent at once.
//
// Every script has been run before Build returns. With a journal the transaction
// is durable then, and pending until Accept or Release. Build fails with a
// *FundsError, a *SizeError, a *RateError, ErrNoKey, ErrNothing, ErrScript or
// ErrAmount.
func (w *Wallet) Build(q Request) (*Signed, error) {
	var signed *Signed
	err := w.change(true, func() (r *record, err error) {
		p, err := w.outputs(q)
		if err != nil {
			return nil, err
		}
		if err = w.fund(p); err == nil {
			signed, r, err = w.finish(p)
		}
		if err != nil {
			for _, c := range p.coins {
				w.ledger.offer(c)
			}
		}
		return r, err
	}, nil)
	if err != nil {
		return nil, err
	}
	return signed, nil
}

// A plan is a transaction before it is signed.
type plan struct {
	key     Key
	script  []byte
	pay     []Output // all P2PKH outputs but the change
	rate    FeeRate
	total   uint64         // satoshis of pay
	coins   []*coin        // taken out of the queue
	sum     uint64         // satoshis of coins
	changed bool           // whether there must be change, see needsChange
	rest    *frame.KeyHash // of a sweep: who gets what is left; nil: the key itself
}

// outputs checks a request. The plan that it returns has no coins yet.
func (w *Wallet) outputs(q Request) (*plan, error) {
	key, rate, err := w.payer(q.From, q.Rate)
	if err != nil {
		return nil, err
	}
	if len(q.Script) > 0 && !bytes.HasPrefix(q.Script, []byte{0x00, 0x6a}) {
		return nil, ErrScript
	}
	p := &plan{key: key, script: q.Script, rate: rate}
	met := make(map[frame.KeyHash]bool, len(q.Recipients))
	for _, hash := range q.Recipients {
		if !met[hash] {
			met[hash] = true
			p.pay = append(p.pay, Output{hash, RecipientSatoshis})
		}
	}
	p.pay = append(p.pay, q.Pay...)
	if len(p.pay) == 0 && len(p.script) == 0 {
		return nil, ErrNothing
	}
	for _, out := range p.pay {
		if out.Satoshis == 0 || out.Satoshis > maxSatoshis-p.total {
			return nil, ErrAmount
		}
		p.total += out.Satoshis
	}
	p.changed = needsChange(p)
	return p, nil
}

// payer finds the key that pays, and the fee rate.
func (w *Wallet) payer(from frame.KeyHash, rate FeeRate) (Key, FeeRate, error) {
	if from == (frame.KeyHash{}) && len(w.keys) == 1 {
		for only := range w.keys {
			from = only
		}
	}
	key, ok := w.keys[from]
	if !ok {
		return Key{}, rate, fmt.Errorf("%w: %s", ErrNoKey, w.network.Address(from))
	}
	if rate.Bytes == 0 {
		rate = DefaultFeeRate
	}
	if rate.above(w.maxRate) {
		return Key{}, rate, &RateError{Rate: rate, Limit: w.maxRate}
	}
	return key, rate, nil
}

// needsChange tells whether the transaction would be read wrongly without
// change: readers take the last P2PKH output for change when it pays to an
// address that also pays, and would lose a recipient.
func needsChange(p *plan) bool {
	return len(p.pay) > 0 && p.pay[len(p.pay)-1].KeyHash == p.key.KeyHash()
}

// fund takes coins, the biggest first, until they cover the outputs and the fee.
func (w *Wallet) fund(p *plan) error {
	worth := p.rate.Fee(inputSize(p.key)) // a coin of less costs more than it brings
	for n := 1; ; n++ {
		if size := p.size(n, p.changed); size > w.maxSize {
			return &SizeError{Size: size, Limit: w.maxSize}
		}
		c := w.ledger.biggest(p.key.KeyHash())
		if c != nil {
			p.coins = append(p.coins, c)
		}
		if c == nil || c.satoshis < worth {
			return &FundsError{Need: p.needs(n), Have: p.sum, Address: p.key.Address(w.network)}
		}
		p.sum = min(p.sum+c.satoshis, maxSatoshis)
		if p.sum >= p.needs(n) {
			return nil
		}
	}
}

// needs returns the satoshis for the outputs and the fee with n inputs.
func (p *plan) needs(n int) uint64 {
	need := p.total + p.rate.Fee(p.size(n, p.changed))
	if p.changed {
		need++
	}
	return need
}

const (
	outputSize  = 8 + 1 + 25     // P2PKH
	longestSign = 1 + 71 + 1     // push of a DER signature with low s, and its type
	inputFrame  = 32 + 4 + 1 + 4 // an input without its script
)

// inputSize returns the most bytes that an input of the key takes.
func inputSize(k Key) int { return inputFrame + longestSign + 1 + len(k.public) }

// size returns the most bytes that the transaction takes with n inputs.
func (p *plan) size(n int, change bool) int {
	outputs := len(p.pay)
	if change {
		outputs++
	}
	size := outputs * outputSize
	if len(p.script) > 0 {
		outputs++
		size += 8 + varIntSize(len(p.script)) + len(p.script)
	}
	return 4 + varIntSize(n) + n*inputSize(p.key) + varIntSize(outputs) + size + 4
}

// finish signs a funded plan, tries what was signed, and returns what to record.
func (w *Wallet) finish(p *plan) (*Signed, *record, error) {
	s, err := p.sign()
	if err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	if len(s.Raw) > w.maxSize {
		return nil, nil, &SizeError{Size: len(s.Raw), Limit: w.maxSize}
	}
	tx, err := readTransaction(s.Raw)
	if err == nil {
		err = w.check(s.Raw, p.coins)
	}
	if err == nil {
		err = p.readsBack(tx)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the signed transaction is wrong: %w", err)
	}
	r := &record{Op: opBuild, Tx: txid(s.TxID), Raw: bytes.Clone(s.Raw), Creates: w.own(tx.outputs)}
	for _, c := range p.coins {
		r.Spends = append(r.Spends, c.at)
	}
	return s, r, nil
}

// sign splits what the coins hold into fee and change and signs. A signature may
// turn out shorter than its longest form: then the fee is taken again from the
// real size.
func (p *plan) sign() (*Signed, error) {
	fee := p.rate.Fee(p.size(len(p.coins), true))
	if p.sum < p.total+fee+1 {
		return p.signWith(p.sum-p.total, 0)
	}
	best, err := p.signWith(fee, p.sum-p.total-fee)
	for err == nil {
		fee := p.rate.Fee(len(best.Raw))
		if fee >= best.Fee {
			return best, nil
		}
		next, err := p.signWith(fee, p.sum-p.total-fee)
		if err != nil {
			return nil, err
		}
		if p.rate.Fee(len(next.Raw)) > next.Fee {
			return best, nil // the new signature is longer again
		}
		best = next
	}
	return nil, err
}

// readsBack tells whether a reader of the transaction sees the recipients that
// were meant: all P2PKH outputs but the last one where it is change.
func (p *plan) readsBack(tx rawTransaction) error {
	pay := p.pay
	if p.rest != nil && *p.rest != p.key.KeyHash() {
		pay = []Output{{KeyHash: *p.rest}}
	}
	if !slices.EqualFunc(paid(tx), pay, func(h frame.KeyHash, o Output) bool { return h == o.KeyHash }) {
		return errors.New("it would be read as paying to others")
	}
	return nil
}

// paid returns the addresses that the outputs of a transaction pay to, without
// change, as the protocol reads it.
func paid(tx rawTransaction) []frame.KeyHash {
	var hashes []frame.KeyHash
	for _, out := range tx.outputs {
		if h, ok := frame.PayToPublicKeyHash(out.script); ok {
			hashes = append(hashes, h)
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	last := len(hashes) - 1
	for _, in := range tx.inputs {
		key, ok := frame.SpendPublicKey(in.script)
		if ok && frame.HashKey(key) == hashes[last] {
			return hashes[:last]
		}
	}
	return hashes
}
