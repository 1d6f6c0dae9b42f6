package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer/broadcast"
)

// A localNode is the node of a devnet's folder. Its ports and its password are
// others whenever the devnet is started again, so the folder is asked each time.
type localNode struct {
	dir string

	mu   sync.Mutex
	at   devnet.Connection // of rpc
	node *broadcast.NodeRPC
	rpc  *noderpc.Client
}

// source follows the node through its P2P port.
func (n *localNode) source(params *chainwatch.Params, logger *slog.Logger) (chainwatch.Source, error) {
	at, err := devnet.ReadConnection(n.dir)
	if err != nil {
		return nil, err
	}
	return p2p.New(p2p.Config{Params: params, Peers: []string{at.P2P}, Dial: n.dial, Logger: logger.With("part", "p2p")}), nil
}

// dial connects to the node, whatever its address was before.
func (n *localNode) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	at, err := devnet.ReadConnection(n.dir)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, at.P2P)
}

// submit hands a transaction to the node.
func (n *localNode) submit(ctx context.Context, raw []byte) (frame.Hash, error) {
	node, err := n.broadcaster()
	if err != nil {
		return frame.HashOf(raw), fmt.Errorf("%w: %w", broadcast.ErrUnavailable, err)
	}
	return node.Submit(ctx, raw)
}

func (n *localNode) broadcaster() (*broadcast.NodeRPC, error) {
	at, err := devnet.ReadConnection(n.dir)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node != nil && n.at == at {
		return n.node, nil
	}
	rpc, err := noderpc.New(noderpc.Config{URL: at.RPC, User: at.RPCUser, Password: at.RPCPassword})
	if err != nil {
		return nil, err
	}
	if n.rpc != nil {
		n.rpc.Close()
	}
	n.at, n.rpc, n.node = at, rpc, broadcast.NewNodeRPC(rpc)
	return n.node, nil
}
