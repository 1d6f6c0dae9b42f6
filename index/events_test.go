package index_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
)

// A life is an index that is told what happens, and what it says of it.
type life struct {
	t     *testing.T
	store *memory.Store
	w     *index.Writer
	chain []*index.Block
	after int64
	salt  uint64
}

func newLife(t *testing.T) *life {
	store := memory.New()
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &life{t: t, store: store, w: index.NewWriter(store, rules, nil)}
	l.block()
	l.says("the genesis block", "block.connected 0")
	return l
}

func (l *life) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// block connects a block of the transactions.
func (l *life) block(txs ...*index.Transaction) {
	l.t.Helper()
	l.connect(nil, txs...)
}

func (l *life) connect(conflicts []frame.Hash, txs ...*index.Transaction) {
	l.t.Helper()
	b := &index.Block{Height: int32(len(l.chain)), MedianTime: 1000, Transactions: txs, Conflicts: conflicts}
	for i, tx := range txs {
		tx.Index = uint32(i)
	}
	if len(l.chain) > 0 {
		prev := l.chain[len(l.chain)-1].Hash
		copy(b.Header[4:], prev[:])
	}
	l.salt++
	binary.LittleEndian.PutUint64(b.Header[36:], l.salt)
	b.Hash = frame.HashOf(b.Header[:])
	l.check(l.w.Connect(context.Background(), []*index.Block{b}))
	l.chain = append(l.chain, b)
}

func (l *life) undo(height int32) {
	l.t.Helper()
	l.check(l.w.Disconnect(context.Background(), height))
	l.chain = l.chain[:height+1]
}

func (l *life) seen(txs ...*index.Transaction) {
	l.t.Helper()
	_, err := l.w.Seen(context.Background(), txs)
	l.check(err)
}

// says compares the events since the last time: kind, height of its block or -,
// verdict, and what it was before or why.
func (l *life) says(what string, want ...string) {
	l.t.Helper()
	var got []string
	l.check(l.store.View(context.Background(), func(v index.View) error {
		events, err := v.Events(index.EventQuery{After: l.after, Limit: 100})
		for _, e := range events {
			height := fmt.Sprint(e.Height)
			if e.Height < 0 {
				height = "-"
			}
			words := []string{string(e.Kind), height, string(e.Verdict), string(e.From), e.Reason}
			got = append(got, strings.Join(strings.Fields(strings.Join(words, " ")), " "))
			l.after = e.Seq
		}
		return err
	}))
	if !slices.Equal(got, want) {
		l.t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// TestEvents: what is told of frames that are seen, confirmed, judged anew,
// taken back and dropped, and in which order.
func TestEvents(t *testing.T) {
	l := newLife(t)
	first, second := paid(register("n", alice, "1", compact(alice))), paid(register("n", bob, "1", compact(bob)))
	l.seen(first, second)
	l.says("two race for a name", "name.seen - valid", "name.seen - taken")
	l.seen(first)
	l.says("seen again")
	l.block(second)
	l.says("the second confirms first", "block.connected 1", "name.rejudged 1 valid taken", "name.confirmed 1 valid", "name.rejudged - taken valid")
	l.undo(0)
	l.says("its block is replaced: both stand in the order first seen", "name.unconfirmed 1 valid", "block.disconnected 1",
		"name.rejudged - valid taken", "name.rejudged - taken valid")
	l.check(l.w.Drop(context.Background(), []frame.Hash{first.ID}, index.ReasonEvicted))
	l.says("the first is evicted", "name.dropped - valid evicted", "name.rejudged - valid taken")
	l.connect([]frame.Hash{second.ID})
	l.says("a block spends what the second spends", "block.connected 1", "name.dropped - valid double_spent")
	reward := paid(peer("register", carol, "::1", "1", compact(carol)))
	reward.Coinbase = true
	l.block(reward)
	l.says("a coinbase with a frame", "block.connected 2", "peer.confirmed 2 valid")
	l.undo(1)
	l.says("its block is replaced", "peer.unconfirmed 2 valid", "peer.dropped 2 valid reorganised", "block.disconnected 2")
	l.block(paid(&index.Frame{Protocol: frame.IM, Malformed: "why"}))
	l.says("of what is malformed nothing is told", "block.connected 2")
}

// TestCopyConfirmsFirst: the occurrence that is confirmed first is the valid one;
// who waited for the other is told.
func TestCopyConfirmsFirst(t *testing.T) {
	l := newLife(t)
	hello := func() *index.Transaction {
		return paid(text(network.Address(alice.KeyHash()), "hello", "", "5", compact(alice)))
	}
	real, copied := hello(), hello()
	l.seen(real)
	l.says("the message", "message.seen - valid")
	l.block(copied)
	l.says("a copy confirms", "block.connected 1", "message.confirmed 1 valid", "message.rejudged - duplicate valid")
	l.block(real)
	l.says("the message confirms", "block.connected 2", "message.confirmed 2 duplicate")
	l.undo(0)
	l.says("both blocks are replaced, tip first; the message was seen first", "message.unconfirmed 2 duplicate", "block.disconnected 2",
		"message.unconfirmed 1 valid", "block.disconnected 1", "message.rejudged - valid duplicate", "message.rejudged - duplicate valid")
}

// TestNotNext: a block that doesn't follow the tip changes nothing.
func TestNotNext(t *testing.T) {
	l := newLife(t)
	stray := &index.Block{Height: 1, Hash: frame.Hash{1}}
	if err := l.w.Connect(context.Background(), []*index.Block{stray}); err == nil {
		t.Error("a block of another branch was connected")
	}
	l.says("after it was refused")
}
