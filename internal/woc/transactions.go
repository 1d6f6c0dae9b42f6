package woc

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/metaim/metaim/improtocol/frame"
)

// Bounds are in bytes.
type Bounds struct {
	Answer int64 // with several transactions in hexadecimal; one that is longer is asked for in parts
	Alone  int64 // of a transaction that is asked for alone
}

// Transactions gets at most [BulkMost] transactions, each as on the wire. What the
// service doesn't give is missing in the answer; what isn't the transaction that
// it is said to be fails with ErrNotIt.
func (c *Client) Transactions(ctx context.Context, ids []frame.Hash, bounds Bounds) (map[frame.Hash][]byte, error) {
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
	answer, err := c.Ask(ctx, http.MethodPost, "/txs/hex", body, bounds.Answer)
	switch {
	case errors.Is(err, ErrTooLong):
		return c.parts(ctx, ids, bounds)
	case err != nil:
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

// parts asks for transactions in two parts, which are too long together, and for
// a single one in its own bytes.
func (c *Client) parts(ctx context.Context, ids []frame.Hash, bounds Bounds) (map[frame.Hash][]byte, error) {
	if len(ids) == 1 {
		raw, err := c.Transaction(ctx, ids[0], bounds.Alone)
		if err != nil {
			return nil, err
		}
		return map[frame.Hash][]byte{ids[0]: raw}, nil
	}
	all, err := c.Transactions(ctx, ids[:len(ids)/2], bounds)
	if err != nil {
		return nil, err
	}
	rest, err := c.Transactions(ctx, ids[len(ids)/2:], bounds)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, rest)
	return all, nil
}

// Transaction gets one transaction, as on the wire, of at most so many bytes. It
// fails with ErrMissing, and with ErrNotIt when the service gives another one.
func (c *Client) Transaction(ctx context.Context, id frame.Hash, most int64) ([]byte, error) {
	raw, err := c.Ask(ctx, http.MethodGet, "/tx/"+id.String()+"/bin", nil, most)
	switch {
	case IsStatus(err, http.StatusNotFound) || err == nil && len(raw) == 0:
		err = ErrMissing
	case err == nil && frame.HashOf(raw) != id:
		err = ErrNotIt
	}
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", id, err)
	}
	return raw, nil
}
