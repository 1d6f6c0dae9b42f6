// Package whatsonchain finds coins by asking WhatsOnChain, for a wallet without a
// node: which outputs pay an address and are unspent, and the transactions they
// are in. A transaction's bytes are checked against its id. That it is in a block
// and that its outputs are unspent is the service's word.
//
// The service allows three questions a second, and twenty transactions in one.
package whatsonchain

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

// DefaultURL is the service's address.
const DefaultURL = woc.DefaultURL

// BulkMost is how many transactions may be asked for at once.
const BulkMost = woc.BulkMost

const (
	listBytes = 16 << 20 // of an answer that lists coins
	rawBytes  = 64 << 20 // of an answer that holds transactions
)

// Reasons why the service didn't give what it was asked for.
var (
	ErrTooLong = woc.ErrTooLong
	ErrAnswer  = woc.ErrAnswer
	ErrNotIt   = woc.ErrNotIt
	ErrMissing = woc.ErrMissing
)

// A StatusError says with which HTTP status the service refused.
type StatusError = woc.StatusError

// A Coin is an unspent output, as the service tells of it.
type Coin struct {
	TxID     frame.Hash
	Output   uint32
	Satoshis uint64
	Height   int32 // of its block, 0 when it is in none
}

// A Client asks the service. It may be used by many goroutines.
type Client struct{ woc *woc.Client }

// New returns a client. An empty address stands for [DefaultURL]; regtest, which
// the service doesn't know, is asked for as testnet, for stand-ins. A key that is given
// is the one that the service knows us by.
func New(address string, network frame.Network, key string) (*Client, error) {
	c, err := woc.New(woc.Config{URL: address, Network: network, Key: key})
	if err != nil {
		return nil, err
	}
	return &Client{c}, nil
}

// Unspent lists the coins of an address.
func (c *Client) Unspent(ctx context.Context, address string) ([]Coin, error) {
	answer, err := c.woc.Ask(ctx, http.MethodGet, "/address/"+url.PathEscape(address)+"/unspent/all", nil, listBytes)
	if woc.IsStatus(err, http.StatusNotFound) {
		return nil, nil // an address that was never used
	}
	if err != nil {
		return nil, fmt.Errorf("coins of %s: %w", address, err)
	}
	var list struct {
		Result []struct {
			Height int64  `json:"height"`
			Output int64  `json:"tx_pos"`
			TxID   string `json:"tx_hash"`
			Value  int64  `json:"value"`
		}
		Error string
	}
	if json.Unmarshal(answer, &list) != nil {
		return nil, fmt.Errorf("coins of %s: %w", address, ErrAnswer)
	}
	if list.Error != "" {
		return nil, fmt.Errorf("coins of %s: the service says %.200q", address, list.Error)
	}
	coins := make([]Coin, 0, len(list.Result))
	for _, r := range list.Result {
		id, err := frame.ParseHash(r.TxID)
		if err != nil || r.Output < 0 || r.Output > math.MaxUint32 || r.Value < 0 || r.Height > math.MaxInt32 {
			return nil, fmt.Errorf("coins of %s: %w", address, ErrAnswer)
		}
		coins = append(coins, Coin{TxID: id, Output: uint32(r.Output), Satoshis: uint64(r.Value), Height: int32(max(r.Height, 0))})
	}
	return coins, nil
}

// Transactions gets at most [BulkMost] transactions, each as on the wire. What the
// service doesn't give is missing in the answer; what isn't the transaction that
// it is said to be fails with ErrNotIt.
func (c *Client) Transactions(ctx context.Context, ids []frame.Hash) (map[frame.Hash][]byte, error) {
	return c.woc.Transactions(ctx, ids, woc.Bounds{Answer: rawBytes, Alone: rawBytes})
}
