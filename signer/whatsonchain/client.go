// Package whatsonchain finds coins by asking WhatsOnChain, for a wallet without a
// node: which outputs pay an address and are unspent, and the transactions they
// are in. A transaction's bytes are checked against its id. That it is in a block
// and that its outputs are unspent is the service's word.
//
// The client is our own: two questions are asked, and mrz1836/go-whatsonchain has
// a fixed address and no bound on what it reads. The service allows three
// questions a second, and twenty transactions in one.
package whatsonchain

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/metaim/metaim/improtocol/frame"
)

// DefaultURL is the service's address.
const DefaultURL = "https://api.whatsonchain.com/v1/bsv"

// BulkMost is how many transactions may be asked for at once.
const BulkMost = 20

const (
	perSecond   = 3
	tries       = 5
	listBytes   = 16 << 20 // of an answer that lists coins
	rawBytes    = 64 << 20 // of an answer that holds transactions
	longestWait = time.Minute
)

// Reasons why the service didn't give what it was asked for.
var (
	ErrTooLong = errors.New("the answer is over the limit")
	ErrAnswer  = errors.New("the answer isn't what it should be")
	ErrNotIt   = errors.New("what the service gave isn't that transaction")
	ErrMissing = errors.New("the service doesn't have the transaction")
)

// A StatusError says with which HTTP status the service refused.
type StatusError struct {
	Status int
	after  time.Duration
}

func (e *StatusError) Error() string {
	if e.Status == http.StatusTooManyRequests {
		return "the service is asked too often (status 429)"
	}
	return fmt.Sprintf("the service answers with status %d", e.Status)
}

// A Coin is an unspent output, as the service tells of it.
type Coin struct {
	TxID     frame.Hash
	Output   uint32
	Satoshis uint64
	Height   int32 // of its block, 0 when it is in none
}

// A Client asks the service. It may be used by many goroutines.
type Client struct {
	base    string
	http    *http.Client
	limiter *rate.Limiter
	backoff time.Duration // after a refusal; doubles
}

// New returns a client. An empty address stands for [DefaultURL]; regtest, which
// the service doesn't know, is asked for as testnet, for stand-ins.
func New(address string, network frame.Network) (*Client, error) {
	if address == "" {
		address = DefaultURL
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("the address of WhatsOnChain is none such as %s", DefaultURL)
	}
	name := "test"
	if network == frame.Main {
		name = "main"
	}
	return &Client{base: strings.TrimSuffix(u.String(), "/") + "/" + name, http: &http.Client{Timeout: time.Minute},
		limiter: rate.NewLimiter(perSecond, 1), backoff: time.Second}, nil
}

// Unspent lists the coins of an address.
func (c *Client) Unspent(ctx context.Context, address string) ([]Coin, error) {
	answer, err := c.ask(ctx, http.MethodGet, "/address/"+url.PathEscape(address)+"/unspent/all", nil, listBytes)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
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
	if len(ids) > BulkMost {
		return nil, fmt.Errorf("%d transactions at once, at most %d are allowed", len(ids), BulkMost)
	}
	question := struct {
		TxIDs []string `json:"txids"`
	}{}
	asked := map[frame.Hash]bool{}
	for _, id := range ids {
		asked[id] = true
		question.TxIDs = append(question.TxIDs, id.String())
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	answer, err := c.ask(ctx, http.MethodPost, "/txs/hex", body, rawBytes)
	if errors.Is(err, ErrTooLong) && len(ids) > 1 {
		return c.halves(ctx, ids)
	}
	if err != nil {
		return nil, fmt.Errorf("transactions: %w", err)
	}
	var list []struct{ TxID, Hex string }
	if json.Unmarshal(answer, &list) != nil {
		return nil, fmt.Errorf("transactions: %w", ErrAnswer)
	}
	raws := map[frame.Hash][]byte{}
	for _, t := range list {
		id, err := frame.ParseHash(t.TxID)
		if err != nil || !asked[id] {
			return nil, fmt.Errorf("transactions: %w", ErrAnswer)
		}
		if t.Hex == "" {
			continue
		}
		raw, err := hex.DecodeString(t.Hex)
		if err != nil || frame.HashOf(raw) != id {
			return nil, fmt.Errorf("transaction %s: %w", id, ErrNotIt)
		}
		raws[id] = raw
	}
	return raws, nil
}

// halves asks for transactions in two parts, which are too long together.
func (c *Client) halves(ctx context.Context, ids []frame.Hash) (map[frame.Hash][]byte, error) {
	all, err := c.Transactions(ctx, ids[:len(ids)/2])
	if err != nil {
		return nil, err
	}
	rest, err := c.Transactions(ctx, ids[len(ids)/2:])
	if err != nil {
		return nil, err
	}
	for id, raw := range rest {
		all[id] = raw
	}
	return all, nil
}

// ask waits until the service may be asked, and asks, again and more and more
// slowly when it is asked too often or fails.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	wait := c.backoff
	for i := 1; ; i++ {
		if err := c.limiter.Wait(ctx); err != nil {
			return nil, err
		}
		answer, err := c.askOnce(ctx, method, path, body, most)
		var status *StatusError
		if !errors.As(err, &status) || status.Status != http.StatusTooManyRequests && status.Status < 500 || i == tries {
			return answer, err
		}
		t := time.NewTimer(min(max(wait, status.after), longestWait))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
		wait *= 2
	}
}

func (c *Client) askOnce(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 0 || seconds > 3600 {
			seconds = 0
		}
		return nil, &StatusError{resp.StatusCode, time.Duration(seconds) * time.Second}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(answer)) > most {
		err = ErrTooLong
	}
	return answer, err
}
