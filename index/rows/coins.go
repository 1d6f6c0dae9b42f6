package rows

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A CoinReader reads frames that may concern the coins of an address. What it gives
// may be too much, but never too little.
type CoinReader interface {
	// Own returns arrivals of frames of the transactions that an input of the address
	// may be in, and of those that pay it and aren't among Paid.
	Own(address frame.KeyHash) ([]int64, error)
	// Paid returns arrivals after one given of frames of transactions that reach the
	// address, in order: as many as a limit says, fewer only where there are no more.
	Paid(address frame.KeyHash, after int64, limit int) ([]int64, error)
	// Spenders returns the leads that Spends says of the keys of txids.
	Spenders(keys []int64) ([]int64, error)
	// Light reads frames without long bodies.
	Light(arrivals []int64) ([]*Found, error)
}

const coinBatch = 1_000 // frames read at once

// Coins returns the page that a query asks for.
//
// Who spends an output of an address reveals its key: the transaction is found by
// the address. Only where inputs reveal no key, or one key twice, it is found by
// what it spends.
func Coins(r CoinReader, q index.CoinQuery) ([]index.Coin, error) {
	c := &coins{r: r, q: q, spent: map[index.Outpoint]bool{}, met: map[int64]bool{}}
	own, err := r.Own(q.Address)
	if err != nil {
		return nil, err
	}
	if err := c.read(own); err != nil {
		return nil, err
	}
	for after := q.After; ; {
		paid, err := r.Paid(q.Address, after, coinBatch)
		if err != nil {
			return nil, err
		}
		if err := c.read(paid); err != nil {
			return nil, err
		}
		upto := int64(math.MaxInt64)
		if len(paid) >= coinBatch {
			after = paid[len(paid)-1]
			upto = after // the frames of a transaction arrive together
		}
		list, err := c.unspent(upto)
		if err != nil || upto == math.MaxInt64 {
			return c.page(list), err
		}
		if len(list) > q.Limit {
			if page := c.page(list); len(page) < len(list) {
				return page, nil
			}
		}
	}
}

type coins struct {
	r     CoinReader
	q     index.CoinQuery
	spent map[index.Outpoint]bool
	met   map[int64]bool // leads
	list  []index.Coin
}

// read reads the transactions of frames.
func (c *coins) read(arrivals []int64) error {
	for part := range slices.Chunk(arrivals, coinBatch) {
		found, err := c.r.Light(part)
		if err != nil {
			return err
		}
		var leads []int64
		for _, f := range found {
			if f.Arrival == f.Lead {
				c.add(f)
			} else if !c.met[f.Lead] {
				leads = append(leads, f.Lead)
			}
		}
		if err := c.readLeads(leads); err != nil {
			return err
		}
	}
	return nil
}

func (c *coins) readLeads(leads []int64) error {
	slices.Sort(leads)
	leads = slices.DeleteFunc(slices.Compact(leads), func(a int64) bool { return c.met[a] })
	if len(leads) == 0 {
		return nil
	}
	found, err := c.r.Light(leads)
	for _, f := range found {
		c.add(f)
	}
	return err
}

func (c *coins) add(f *Found) {
	if c.met[f.Arrival] || f.Tx == nil {
		return
	}
	c.met[f.Arrival] = true
	if f.State == index.Dropped {
		return
	}
	for _, o := range f.Tx.Spends {
		c.spent[o] = true
	}
	if f.Arrival > c.q.After {
		c.list = append(c.list, index.CoinsOf(f.Entry, c.q.Address)...)
	}
}

// unspent returns the coins up to a lead, in order.
func (c *coins) unspent(upto int64) ([]index.Coin, error) {
	isSpent := func(coin index.Coin) bool { return c.spent[index.Outpoint{TxID: coin.TxID, Output: coin.Output}] }
	c.list = slices.DeleteFunc(c.list, isSpent)
	keys := map[int64]bool{}
	for _, coin := range c.list {
		keys[KeyOf(coin.TxID)] = true
	}
	if len(keys) > 0 {
		spenders, err := c.r.Spenders(slices.Sorted(maps.Keys(keys)))
		if err != nil {
			return nil, err
		}
		if err := c.readLeads(spenders); err != nil {
			return nil, err
		}
		c.list = slices.DeleteFunc(c.list, isSpent)
	}
	slices.SortFunc(c.list, func(a, b index.Coin) int { return cmp.Or(cmp.Compare(a.Lead, b.Lead), cmp.Compare(a.Output, b.Output)) })
	n, _ := slices.BinarySearchFunc(c.list, upto, func(coin index.Coin, lead int64) int {
		if coin.Lead <= lead {
			return -1
		}
		return 1
	})
	return c.list[:n], nil
}

func (c *coins) page(list []index.Coin) []index.Coin {
	return list[:index.PageOf(c.q.Limit, len(list), func(i int) int64 { return list[i].Lead })]
}
