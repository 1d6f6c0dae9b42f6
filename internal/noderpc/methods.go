package noderpc

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
)

// Ping asks the cheapest question there is.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.GetBlockCount(ctx)
	return err
}

// GetBlockCount returns the height of the best block; the genesis block is 0.
func (c *Client) GetBlockCount(ctx context.Context) (int32, error) {
	var height int32
	err := c.Call(ctx, "getblockcount", nil, &height)
	return height, err
}

// GetBestBlockHash returns the hash of the best block.
func (c *Client) GetBestBlockHash(ctx context.Context) (frame.Hash, error) {
	return c.hash(ctx, "getbestblockhash")
}

// GetBlockHash returns the hash of the best chain's block at a height, or
// ErrNotFound.
func (c *Client) GetBlockHash(ctx context.Context, height int32) (frame.Hash, error) {
	return c.hash(ctx, "getblockhash", height)
}

// GetRawBlock returns a whole block as on the wire, or ErrNotFound.
func (c *Client) GetRawBlock(ctx context.Context, hash frame.Hash) ([]byte, error) {
	return c.bytes(ctx, "getblock", hash.String(), 0)
}

// GetRawMempool returns the ids of the transactions in the mempool, in no order.
func (c *Client) GetRawMempool(ctx context.Context) ([]frame.Hash, error) {
	var texts []string
	if err := c.Call(ctx, "getrawmempool", nil, &texts); err != nil {
		return nil, err
	}
	return parseHashes("getrawmempool", texts)
}

// GetRawTransaction returns a transaction as on the wire, or ErrNotFound. A node
// without a transaction index has those of its mempool only.
func (c *Client) GetRawTransaction(ctx context.Context, txid frame.Hash) ([]byte, error) {
	return c.bytes(ctx, "getrawtransaction", txid.String(), 0)
}

// SendRawTransaction hands a transaction to the node and returns the id that the
// node gives it. It fails with ErrAlreadyKnown, ErrDoubleSpend, ErrMissingInputs,
// ErrSafeMode, ErrBusy or another *RPCError.
func (c *Client) SendRawTransaction(ctx context.Context, raw []byte) (frame.Hash, error) {
	return c.hash(ctx, "sendrawtransaction", hex.EncodeToString(raw))
}

// SubmitBlock hands a block to the node. A block that the node has already gives
// ErrAlreadyKnown. nil says that the node kept it, not that it is the best one:
// it may be on a side branch, and bsvd keeps blocks without a parent, too.
func (c *Client) SubmitBlock(ctx context.Context, raw []byte) error {
	var verdict *string
	if err := c.Call(ctx, "submitblock", []any{hex.EncodeToString(raw)}, &verdict); err != nil {
		return err
	}
	switch {
	case verdict == nil || *verdict == "inconclusive": // svnode: kept, not the best
		return nil
	case *verdict == "duplicate": // svnode
		return &RPCError{Code: codeAlreadyKnown, Message: *verdict, kind: ErrAlreadyKnown}
	}
	return newRPCError(codeVerify, *verdict)
}

// Generate makes a regtest node mine blocks, and returns their hashes. bsvd lists
// a block even if it lost a race against another one. The node mines on when ctx
// ends first.
func (c *Client) Generate(ctx context.Context, blocks int) ([]frame.Hash, error) {
	var texts []string
	if err := c.Call(ctx, "generate", []any{blocks}, &texts); err != nil {
		return nil, err
	}
	return parseHashes("generate", texts)
}

// AddNode tells the node about another one, "host:port". The command is "add"
// (kept, tried again), "onetry" (once) or "remove" (of one that was added). bsvd
// connects again to one that was removed: there, use "onetry" and the method node
// with "disconnect".
func (c *Client) AddNode(ctx context.Context, address, command string) error {
	return c.Call(ctx, "addnode", []any{address, command}, nil)
}

// A Peer is another node that a node is connected to.
type Peer struct {
	ID      int32  `json:"id"`
	Address string `json:"addr"` // host:port at the other end
	Inbound bool   `json:"inbound"`
}

// GetPeerInfo returns the nodes that the node is connected to.
func (c *Client) GetPeerInfo(ctx context.Context) ([]Peer, error) {
	var peers []Peer
	err := c.Call(ctx, "getpeerinfo", nil, &peers)
	return peers, err
}

func (c *Client) hash(ctx context.Context, method string, params ...any) (frame.Hash, error) {
	var text string
	if err := c.Call(ctx, method, params, &text); err != nil {
		return frame.Hash{}, err
	}
	h, err := frame.ParseHash(text)
	if err != nil {
		return frame.Hash{}, fmt.Errorf("ask the node for %s: %w: %v", method, ErrAnswer, err)
	}
	return h, nil
}

func (c *Client) bytes(ctx context.Context, method string, params ...any) ([]byte, error) {
	var text string
	if err := c.Call(ctx, method, params, &text); err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("ask the node for %s: %w: not hexadecimal", method, ErrAnswer)
	}
	return b, nil
}

func parseHashes(method string, texts []string) ([]frame.Hash, error) {
	hashes := make([]frame.Hash, 0, len(texts))
	for _, text := range texts {
		h, err := frame.ParseHash(text)
		if err != nil {
			return nil, fmt.Errorf("ask the node for %s: %w: %v", method, ErrAnswer, err)
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}
