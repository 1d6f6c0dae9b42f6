package memory

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Conversations implements [index.View].
func (v *view) Conversations(q index.ConversationQuery) ([]index.Conversation, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	all := index.EntryQuery{Address: &q.Address}
	talks := index.NewTalks(q.Address)
	for _, a := range v.candidates(&all) {
		if v.matches(&all, a) {
			talks.Add(v.entry(a, false, nil))
		}
	}
	return talks.List(q), v.ctx.Err()
}

// KeyRecords implements [index.View].
func (v *view) KeyRecords(address frame.KeyHash, limit int) ([]*index.Entry, error) {
	var list []*index.Entry
	for _, a := range v.bySource.get(address) {
		f := v.frames.get(a)
		if f.frame.Message == nil || f.frame.Message.Type != improtocol.KeyRecord || f.decision.Address == nil || *f.decision.Address != address {
			continue
		}
		if e := v.entry(a, false, nil); index.IsKeyRecord(e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *index.Entry) int { return cmp.Compare(b.Arrival, a.Arrival) })
	return list[:min(len(list), max(0, limit))], v.ctx.Err()
}

// Coins implements [index.View]. It looks at every transaction: what reads coins
// from an index in memory isn't in a hurry.
func (v *view) Coins(q index.CoinQuery) ([]index.Coin, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	spent := map[index.Outpoint]bool{}
	var coins []index.Coin
	for _, t := range v.txs.all {
		if t.state == index.Dropped {
			continue
		}
		for _, o := range t.tx.Spends {
			spent[o] = true
		}
		if t.frames[0] > q.After && t.tx.Pays(q.Address) {
			coins = append(coins, index.CoinsOf(v.entry(t.frames[0], true, nil), q.Address)...)
		}
	}
	coins = slices.DeleteFunc(coins, func(c index.Coin) bool { return spent[index.Outpoint{TxID: c.TxID, Output: c.Output}] })
	slices.SortFunc(coins, func(a, b index.Coin) int { return cmp.Or(cmp.Compare(a.Lead, b.Lead), cmp.Compare(a.Output, b.Output)) })
	return coins[:index.PageOf(q.Limit, len(coins), func(i int) int64 { return coins[i].Lead })], v.ctx.Err()
}
