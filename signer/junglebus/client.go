// Package junglebus finds coins by asking a JungleBus service, for a wallet without
// a node. The service tells which transactions concern an address, not which of
// their outputs are unspent: so all of them are read, and what none of them spends
// is a coin. The service is asked too whether it knows of another that spends it.
//
// A transaction's bytes are checked against its id, and what pays a key and what
// spends what is read from them. That a transaction is in a block, and that none is
// left out, is the service's word. Merkle paths aren't checked: one says something
// only with a header on the branch with the most work, and a wallet follows none.
//
// Nothing was recorded from the live service. The forms are those of its
// documentation, of b-open-io/go-junglebus v0.3.4 and of programs that use it.
package junglebus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/improtocol/frame"
	rest "github.com/metaim/metaim/internal/junglebus"
	"github.com/metaim/metaim/signer"
)

// DefaultURL is the service's address. It is of mainnet.
const DefaultURL = "https://junglebus.gorillapool.io"

const atOnce = 4 // questions

// Reasons why the service didn't give what it was asked for. Others are a
// *NetworkError, those of a *signer.TransactionError, and what HTTP fails with.
var (
	ErrNotIt    = errors.New("what the service gave isn't that transaction")
	ErrWaiting  = errors.New("it is in no block yet")
	ErrTooMany  = errors.New("too many transactions")
	ErrTooLarge = errors.New("too large a history")
	ErrTooSlow  = errors.New("the service takes too long")
)

// A NetworkError says that the service is of another network.
type NetworkError struct {
	Service string // its URL
	Got     string // hash of its genesis block, as it is told
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("service %s has genesis block %q, which is another network's", e.Service, e.Got)
}

// limits are what a service may make us read.
type limits struct {
	transactions int           // of an address
	pages        int           // of its list
	answer       int64         // bytes, with a transaction
	all          int64         // bytes of all transactions
	time         time.Duration // for everything
}

// A Client asks the service. It may be used by many goroutines.
type Client struct {
	service rest.Service
	genesis frame.Hash
	most    limits
}

// New returns a client of the service at an address, such as [DefaultURL], that is
// of the network with a genesis block.
func New(address string, genesis frame.Hash) (*Client, error) {
	u, ok := rest.ParseURL(address)
	if !ok {
		return nil, fmt.Errorf("the address of JungleBus is none such as %s", DefaultURL)
	}
	return &Client{
		service: rest.Service{URL: u.String(), HTTP: &http.Client{}, Turns: make(chan struct{}, atOnce), Patience: time.Minute, Backoff: time.Second, Insist: true},
		genesis: genesis,
		most:    limits{transactions: 10_000, pages: 100, answer: 64 << 20, all: 256 << 20, time: time.Hour},
	}, nil
}

// A Query says what to look for.
type Query struct {
	Network frame.Network
	Keys    []frame.KeyHash // whose coins are looked for
	// Others are more keys of the same wallet. Their addresses aren't shown to the
	// service; it is only asked of their coins in transactions that hold coins of
	// Keys, since the wallet will be shown these.
	Others []frame.KeyHash
	Told   func(done, all int) // called with how many transactions are read; may be nil
}

// Find reads all transactions that concern the addresses of keys. What the service gives wrongly, or
// doesn't have, of a single transaction is kept in [Found]; else Find fails: with a
// *NetworkError, ErrTooMany, ErrTooLarge, ErrTooSlow or what HTTP fails with.
func (c *Client) Find(ctx context.Context, q Query) (*Found, error) {
	limited, cancel := context.WithTimeoutCause(ctx, c.most.time, fmt.Errorf("%w: it isn't done in %s", ErrTooSlow, c.most.time))
	defer cancel()
	f, err := c.find(limited, q)
	if err != nil && ctx.Err() == nil {
		err = rest.Because(limited, err)
	}
	return f, err
}

func (c *Client) find(ctx context.Context, q Query) (*Found, error) {
	if err := c.sameNetwork(ctx); err != nil {
		return nil, err
	}
	f := newFound(q)
	for _, k := range q.Keys {
		address := q.Network.Address(k)
		list, err := c.list(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("transactions of %s: %w", address, err)
		}
		for _, e := range list {
			f.list(e)
		}
	}
	if err := c.read(ctx, f, f.order, q.Told); err != nil {
		return nil, err
	}
	return f, c.spent(ctx, f)
}

// sameNetwork asks for the genesis block: a key has an address on each network, and
// a service of another one, or a server that is none, would seem to know no coins.
func (c *Client) sameNetwork(ctx context.Context) error {
	var first struct{ Hash string }
	switch err := c.service.AskJSON(ctx, "/block_header/get/0", 1000, &first); {
	case errors.Is(err, rest.ErrNotFound), errors.Is(err, rest.ErrAnswer), errors.Is(err, rest.ErrTooLong):
		return fmt.Errorf("%s is no JungleBus service: header 0: %w", c.service.URL, err)
	case err != nil:
		return fmt.Errorf("header 0: %w", err)
	case first.Hash != c.genesis.String():
		return &NetworkError{c.service.URL, first.Hash[:min(len(first.Hash), 64)]}
	}
	return nil
}

// read gets transactions, some at once, and takes them in.
func (c *Client) read(ctx context.Context, f *Found, ids []frame.Hash, told func(done, all int)) error {
	var mu sync.Mutex // of done, and of what f counts
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, id := range ids {
		t := f.txs[id]
		g.Go(func() error {
			raw, mined, err := c.transaction(ctx, id)
			if err == nil {
				t.waiting = t.waiting && !mined
				err = t.parse(raw)
			}
			if err != nil && !ofOne(err) {
				return fmt.Errorf("transaction %s: %w", id, err)
			}
			t.failed = err
			mu.Lock()
			defer mu.Unlock()
			if done++; told != nil {
				told(done, len(ids))
			}
			if f.bytes += int64(len(raw)); f.bytes > c.most.all {
				return fmt.Errorf("%w: the transactions of these addresses are over %d MB together", ErrTooLarge, c.most.all>>20)
			}
			return nil
		})
	}
	err := g.Wait()
	for _, id := range ids {
		f.take(id)
	}
	return err
}

// ofOne tells whether an error is about what the service gave for one transaction,
// so that the others may be good.
func ofOne(err error) bool {
	var parse *signer.TransactionError
	return errors.Is(err, ErrNotIt) || errors.Is(err, rest.ErrNotFound) || errors.Is(err, rest.ErrAnswer) || errors.Is(err, rest.ErrTooLong) || errors.As(err, &parse)
}

// transaction gets a transaction and checks that it is the one that is asked for.
func (c *Client) transaction(ctx context.Context, id frame.Hash) (raw []byte, mined bool, err error) {
	t, err := c.service.Transaction(ctx, id, c.most.answer)
	if err != nil {
		return nil, false, err
	}
	if frame.HashOf(t.Raw) != id {
		return nil, false, ErrNotIt
	}
	if _, err := frame.ParseHash(t.Block); err != nil && t.Block != "" {
		return nil, false, rest.ErrAnswer
	}
	return t.Raw, t.Block != "", nil
}

// spent asks of each coin whether the service knows a transaction that spends it:
// its list needn't hold those that pay nothing back. Those that it names are read
// too, and a coin that is said to be spent isn't offered, whatever they hold.
func (c *Client) spent(ctx context.Context, f *Found) error {
	coins := f.unspent()
	claims := make([]*frame.Hash, len(coins))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, coin := range coins {
		g.Go(func() (err error) {
			claims[i], err = c.spender(gctx, coin)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var named []frame.Hash
	for _, id := range claims {
		if id != nil && f.txs[*id] == nil {
			f.list(listed{id: *id})
			named = append(named, *id)
		}
	}
	if err := c.read(ctx, f, named, nil); err != nil {
		return err
	}
	for i, coin := range coins {
		switch {
		case claims[i] != nil:
			f.claimed(coin, *claims[i])
		case f.keys[coin.Key]:
			f.Coins = append(f.Coins, coin)
		}
	}
	return nil
}

// spender asks which transaction spends an output; nil: none that the service knows.
func (c *Client) spender(ctx context.Context, coin Coin) (*frame.Hash, error) {
	answer, err := c.service.Ask(ctx, http.MethodGet, fmt.Sprintf("/txo/spend/%s_%d", coin.TxID, coin.Output), nil, 1000)
	if errors.Is(err, rest.ErrNotFound) || err == nil && len(answer) == 0 {
		return nil, nil
	}
	var id frame.Hash
	if err == nil && len(answer) != len(id) {
		err = rest.ErrAnswer
	}
	if err == nil {
		id, err = frame.ParseHash(hex.EncodeToString(answer))
	}
	if err != nil {
		return nil, fmt.Errorf("what spends output %s:%d: %w", coin.TxID, coin.Output, err)
	}
	return &id, nil
}
