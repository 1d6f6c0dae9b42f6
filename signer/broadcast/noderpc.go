package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// Waiting times between two tries of a node that is busy or in safe mode.
const (
	firstWait   = 50 * time.Millisecond
	longestWait = 5 * time.Second
)

// smallest is the length of the shortest transaction, in bytes: version, one
// input, one output, lock time.
const smallest = 60

// NodeRPC submits through the RPC of a node.
type NodeRPC struct {
	client *noderpc.Client
}

// NewNodeRPC returns a broadcaster that asks the client's node.
func NewNodeRPC(client *noderpc.Client) *NodeRPC { return &NodeRPC{client: client} }

// Submit hands a transaction, as on the wire, to the node. The id is computed
// from the bytes, whatever the node says, and is returned with every error. A
// node that is busy or in safe mode is asked again until ctx ends. It fails with
// a *Refused or with ErrUnavailable; nil says that the node has the transaction,
// from now or from before.
func (n *NodeRPC) Submit(ctx context.Context, raw []byte) (frame.Hash, error) {
	txid := frame.HashOf(raw)
	if len(raw) < smallest {
		return txid, &Refused{Reason: fmt.Sprintf("%d bytes are no transaction", len(raw))}
	}
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := n.try(ctx, txid, raw)
		if !errors.Is(err, noderpc.ErrBusy) && !errors.Is(err, noderpc.ErrSafeMode) {
			return txid, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(err, noderpc.ErrSafeMode) {
				err = fmt.Errorf("%w: %w", ErrSafeMode, err)
			}
			return txid, fmt.Errorf("%w: %w: %w", ErrUnavailable, errUntouched, err) // a busy node says so before it looks
		case <-time.After(wait):
		}
	}
}

// try submits once. A busy node's error comes back as it is.
func (n *NodeRPC) try(ctx context.Context, txid frame.Hash, raw []byte) error {
	got, err := n.client.SendRawTransaction(ctx, raw)
	var said *noderpc.RPCError
	switch {
	case err == nil && got != txid:
		return fmt.Errorf("%w: the node answered with the id of another transaction, %s", ErrUnavailable, got)
	case err == nil || errors.Is(err, noderpc.ErrAlreadyKnown):
		return nil
	case errors.Is(err, noderpc.ErrBusy) || errors.Is(err, noderpc.ErrSafeMode):
		return err
	case errors.Is(err, noderpc.ErrUnauthorized) || errors.Is(err, noderpc.ErrUnsent):
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, errUntouched, err)
	case !errors.As(err, &said) || !decided(said.Code):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, noderpc.ErrMissingInputs) && n.has(ctx, txid):
		return nil
	}
	return refuse(said)
}

// has tells whether the node has the transaction itself: once it is in a block
// and its outputs are spent, a node calls its inputs missing when it is submitted
// again. A node without a transaction index can't tell, and then it is missing.
func (n *NodeRPC) has(ctx context.Context, txid frame.Hash) bool {
	raw, err := n.client.GetRawTransaction(ctx, txid)
	return err == nil && frame.HashOf(raw) == txid
}

// decided tells whether an error code is about the transaction: the others say
// that the node has a fault (out of memory, database) or that it didn't
// understand the question.
func decided(code int) bool {
	return code != -7 && code != -20 && code > -32000
}
