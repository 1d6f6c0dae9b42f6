package devnet

import (
	"context"
	"fmt"
	"time"

	"github.com/metaim/metaim/internal/noderpc"
)

// poll is how often a node is asked whether something has happened.
const poll = 10 * time.Millisecond

// Connect connects the node to another one, "host:port", and returns when the
// connection stands. It is not tried again when it breaks.
func (n *Node) Connect(ctx context.Context, address string) error {
	if err := n.rpc.AddNode(ctx, address, "onetry"); err != nil {
		return err
	}
	return n.awaitPeer(ctx, address, true)
}

// Disconnect ends the connection that Connect made, and returns when it is gone.
func (n *Node) Disconnect(ctx context.Context, address string) error {
	if err := n.rpc.Call(ctx, "node", []any{"disconnect", address}, nil); err != nil {
		return err
	}
	return n.awaitPeer(ctx, address, false)
}

// awaitPeer waits until a peer is connected, or isn't.
func (n *Node) awaitPeer(ctx context.Context, address string, connected bool) error {
	for {
		peers, err := n.rpc.GetPeerInfo(ctx)
		if err != nil {
			return err
		}
		if hasPeer(peers, address) == connected {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the peer %s: %w", address, context.Cause(ctx))
		case <-n.child.done:
			return n.child.ended()
		case <-time.After(poll):
		}
	}
}

func hasPeer(peers []noderpc.Peer, address string) bool {
	for _, p := range peers {
		if p.Address == address {
			return true
		}
	}
	return false
}
