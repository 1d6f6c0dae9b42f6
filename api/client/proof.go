package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// A Proof shows that a message is in a block: the transaction that carries it, the
// Merkle path from there to the root in the block's header, and the header.
// Package proof checks it without a server. Everything binary is in lower-case
// hexadecimal. docs/spec/proof.md.
type Proof struct {
	ID     string     `json:"id"`   // frame id of the message
	TxID   string     `json:"txid"` // as explorers show it
	Output uint32     `json:"vout"` // that carries the message
	Raw    string     `json:"raw"`  // the transaction as on the wire
	BUMP   string     `json:"bump"` // Merkle path and height of the block, BRC-74
	BEEF   string     `json:"beef"` // both together, BRC-62, for other tools
	Block  ProofBlock `json:"block"`
}

// A ProofBlock is the block that a proof leads to.
type ProofBlock struct {
	Height int32  `json:"height"`
	Hash   string `json:"hash"`   // as explorers show it
	Header string `json:"header"` // 80 bytes
}

// Codes of problems that proofs have.
const (
	CodeNotConfirmed = "not_confirmed" // the message is in no block; it may be in one later
	CodeNotProvable  = "not_provable"  // the index keeps no proof of it
)

// HeaderBytes is the size of a block header.
const HeaderBytes = 80

// MaxHeaders is how many headers a server gives at once.
const MaxHeaders = 2000

// Proof asks for the proof of a confirmed message, by frame id or txid:vout. It
// fails with a *Problem of CodeNotConfirmed or CodeNotProvable.
func (c *Client) Proof(ctx context.Context, id string) (*Proof, error) {
	return get[Proof](ctx, c, nil, "v1", "messages", id, "proof")
}

// Headers asks for the headers of the best chain from a height on, as many as
// there are or the server gives: 80 bytes each, one behind the other.
func (c *Client) Headers(ctx context.Context, from int32) ([]byte, error) {
	u := c.url(url.Values{"from": {strconv.Itoa(int(from))}, "count": {strconv.Itoa(MaxHeaders)}}, "v1", "headers")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	const most = MaxHeaders * HeaderBytes
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", u.Path, err)
	case resp.StatusCode >= 300:
		return nil, problemOf(resp, body)
	case len(body) > most:
		return nil, ErrTooLarge
	case len(body)%HeaderBytes != 0:
		return nil, errors.New("the server's headers end in the middle of one")
	}
	return body, nil
}
