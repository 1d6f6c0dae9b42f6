package signer

import (
	"bytes"
	"cmp"
	"container/heap"

	"github.com/metaim/metaim/improtocol/frame"
)

// A ledger is what is known of the coins of some keys: a fold of records, in
// memory, without lock or file. Each coin has at most one live spender: when two
// transactions spend the same coin, the one shown last counts, and the other is
// dropped with all that builds on it.
type ledger struct {
	coins  map[outpoint]*coin
	txs    map[frame.Hash]*entry
	order  []*entry                     // as they came
	queues map[frame.KeyHash]*coinQueue // coins that can be spent
}

type coin struct {
	at       outpoint
	satoshis uint64
	key      frame.KeyHash
	maker    *entry // nil while only its spending is known
	spender  *entry // live; nil when unspent
	queued   bool
}

// spendable tells whether a live transaction made the coin and none spends it.
func (c *coin) spendable() bool {
	return c.maker != nil && c.maker.state != dropped && c.spender == nil
}

type txState uint8

const (
	pending  txState = iota // built, and not known to be accepted or refused
	accepted                // by the network, or shown to us
	dropped                 // refused, or another transaction spent its coins
)

// An entry is a transaction that makes or spends coins of ours.
type entry struct {
	id      frame.Hash
	state   txState
	raw     []byte // while pending
	spends  []*coin
	creates []*coin
}

func newLedger() *ledger {
	return &ledger{coins: map[outpoint]*coin{}, txs: map[frame.Hash]*entry{}, queues: map[frame.KeyHash]*coinQueue{}}
}

func (l *ledger) coin(at outpoint) *coin {
	c := l.coins[at]
	if c == nil {
		c = &coin{at: at}
		l.coins[at] = c
	}
	return c
}

// apply folds one record in. It returns the transactions that it dropped.
func (l *ledger) apply(r record) ([]frame.Hash, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	switch r.Op {
	case opAdd:
		return l.live(r, accepted), nil
	case opBuild:
		return l.live(r, pending), nil
	}
	e := l.txs[frame.Hash(r.Tx)]
	if e == nil {
		return nil, ErrUnknownTransaction
	}
	if r.Op == opRelease {
		return l.drop(e), nil
	}
	return l.live(record{Tx: r.Tx}, accepted), nil
}

// live makes a transaction count, new or not.
func (l *ledger) live(r record, state txState) (lost []frame.Hash) {
	id := frame.Hash(r.Tx)
	e := l.txs[id]
	switch {
	case e == nil:
		e = &entry{id: id, state: state}
		l.txs[id] = e
		l.order = append(l.order, e)
	case e.state == dropped:
		e.state = state
		for _, c := range e.spends {
			lost = append(lost, l.claim(e, c)...)
		}
	case state == accepted:
		e.state = accepted
	}
	if e.raw = nil; e.state == pending {
		e.raw = r.Raw
	}
	for _, at := range r.Spends {
		if c := l.coin(at); c.spender != e {
			lost = append(lost, l.claim(e, c)...)
			e.spends = append(e.spends, c)
		}
	}
	for _, made := range r.Creates {
		if c := l.coin(outpoint{id, made.Vout}); c.maker == nil {
			c.maker, c.satoshis, c.key = e, made.Satoshis, frame.KeyHash(made.Key)
			e.creates = append(e.creates, c)
		}
	}
	for _, c := range e.creates {
		l.offer(c)
	}
	return lost
}

// claim makes a transaction the spender of a coin.
func (l *ledger) claim(e *entry, c *coin) (lost []frame.Hash) {
	if c.spender != nil && c.spender != e {
		lost = l.drop(c.spender)
	}
	c.spender = e
	return lost
}

// drop takes a transaction back, and all that spend what it made.
func (l *ledger) drop(e *entry) (lost []frame.Hash) {
	for stack := []*entry{e}; len(stack) > 0; {
		e := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if e.state == dropped {
			continue
		}
		e.state, e.raw = dropped, nil
		lost = append(lost, e.id)
		stack = append(stack, l.undo(e)...)
	}
	return lost
}

// undo frees the coins that a dropped transaction spends and returns who spends
// the coins that it made.
func (l *ledger) undo(e *entry) (spenders []*entry) {
	for _, c := range e.spends {
		if c.spender == e {
			c.spender = nil
			l.offer(c)
		}
	}
	for _, c := range e.creates {
		if c.spender != nil {
			spenders = append(spenders, c.spender)
		}
	}
	return spenders
}

// builtUpon returns an accepted transaction that spends what e made, directly or
// not, nil if there is none.
func (l *ledger) builtUpon(e *entry) *entry {
	met := map[*entry]bool{e: true}
	for stack := []*entry{e}; len(stack) > 0; {
		e := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, c := range e.creates {
			if c.spender == nil || met[c.spender] {
				continue
			}
			if c.spender.state == accepted {
				return c.spender
			}
			met[c.spender] = true
			stack = append(stack, c.spender)
		}
	}
	return nil
}

// changes tells whether adding a transaction would teach us anything.
func (l *ledger) changes(r record) bool {
	e := l.txs[frame.Hash(r.Tx)]
	if e == nil {
		return len(r.Spends)+len(r.Creates) > 0
	}
	if e.state != accepted {
		return true
	}
	for _, at := range r.Spends {
		if c := l.coins[at]; c == nil || c.spender != e {
			return true
		}
	}
	for _, made := range r.Creates {
		if c := l.coins[outpoint{e.id, made.Vout}]; c == nil || c.maker == nil {
			return true
		}
	}
	return false
}

// offer puts a coin among those that can be spent.
func (l *ledger) offer(c *coin) {
	if c.queued || !c.spendable() {
		return
	}
	q := l.queues[c.key]
	if q == nil {
		q = &coinQueue{}
		l.queues[c.key] = q
	}
	c.queued = true
	heap.Push(q, c)
}

// requeue makes the queues anew, without the coins that stopped being spendable.
func (l *ledger) requeue() {
	clear(l.queues)
	for _, e := range l.order {
		for _, c := range e.creates {
			c.queued = false
			l.offer(c)
		}
	}
}

// biggest takes the biggest spendable coin of a key out of the queue, nil when
// there is none. Who doesn't spend it offers it again.
func (l *ledger) biggest(key frame.KeyHash) *coin {
	q := l.queues[key]
	if q == nil {
		return nil
	}
	for q.Len() > 0 {
		c := heap.Pop(q).(*coin)
		c.queued = false
		if c.spendable() {
			return c
		}
	}
	return nil
}

// records returns the fewest records that make the same ledger again.
func (l *ledger) records(yield func(record) bool) {
	for _, e := range l.order {
		if e.state == dropped {
			continue
		}
		if !yield(e.record()) {
			return
		}
	}
}

func (e *entry) record() record {
	r := record{Op: opAdd, Tx: txid(e.id), Raw: e.raw}
	if e.state == pending {
		r.Op = opBuild
	}
	for _, c := range e.spends {
		r.Spends = append(r.Spends, c.at)
	}
	for _, c := range e.creates {
		r.Creates = append(r.Creates, made{c.at.vout, c.satoshis, keyHash(c.key)})
	}
	return r
}

// A coinQueue is a heap, the biggest coin first. Coins that stopped being
// spendable lie in it until they reach the top.
type coinQueue []*coin

func (q coinQueue) Len() int      { return len(q) }
func (q coinQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *coinQueue) Push(c any)   { *q = append(*q, c.(*coin)) }

func (q coinQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.satoshis != b.satoshis {
		return a.satoshis > b.satoshis
	}
	if order := bytes.Compare(a.at.tx[:], b.at.tx[:]); order != 0 {
		return order < 0
	}
	return cmp.Less(a.at.vout, b.at.vout)
}

func (q *coinQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return c
}
