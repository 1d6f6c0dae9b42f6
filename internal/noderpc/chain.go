package noderpc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
)

// GetBlockHeader returns the header of a block, on whatever branch, or
// ErrNotFound.
func (c *Client) GetBlockHeader(ctx context.Context, hash frame.Hash) (header [80]byte, err error) {
	var text string
	if err := c.Call(ctx, "getblockheader", []any{hash.String(), false}, &text); err != nil {
		return header, err
	}
	if len(text) != hex.EncodedLen(len(header)) {
		return header, fmt.Errorf("ask the node for getblockheader: %w: %d characters are no header", ErrAnswer, len(text))
	}
	if _, err := hex.Decode(header[:], []byte(text)); err != nil {
		return header, fmt.Errorf("ask the node for getblockheader: %w: not hexadecimal", ErrAnswer)
	}
	if frame.HashOf(header[:]) != hash {
		return header, fmt.Errorf("ask the node for getblockheader: %w: it is another block", ErrAnswer)
	}
	return header, nil
}

// HeightOnBest returns the height of a block, and whether it is on the node's
// best chain. Of a block on another branch svnode tells -1 confirmations and
// bsvd an internal error.
func (c *Client) HeightOnBest(ctx context.Context, hash frame.Hash) (height int32, ok bool, err error) {
	var info struct {
		Height        int32 `json:"height"`
		Confirmations int64 `json:"confirmations"`
	}
	err = c.Call(ctx, "getblockheader", []any{hash.String(), true}, &info)
	var said *RPCError
	switch {
	case errors.Is(err, ErrBusy) || errors.Is(err, ErrSafeMode):
		return 0, false, err
	case errors.As(err, &said):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	return info.Height, info.Confirmations > 0 && info.Height >= 0, nil
}

// A Notification is a topic that a node publishes over ZMQ, and where.
type Notification struct {
	Topic   string `json:"notification"` // with "pub" before it: pubhashblock2
	Address string `json:"address"`      // such as tcp://127.0.0.1:28332
}

// GetNotifications returns what svnode publishes over ZMQ. Other nodes have no
// such method.
func (c *Client) GetNotifications(ctx context.Context) ([]Notification, error) {
	var list []Notification
	err := c.Call(ctx, "activezmqnotifications", nil, &list)
	return list, err
}
