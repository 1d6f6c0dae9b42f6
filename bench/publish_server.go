package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/signer/broadcast"
)

const rolePublishServer = "publish server"

// A publishQuestion is what a server for publishing is asked: how many events its
// log has.
type publishQuestion struct{}

type publishState struct {
	Events int64 `json:"events"`
}

// servePublishing is `metaim serve` in the process that is measured, over the
// store that is the first argument. The second is the folder of a devnet's node
// to follow and submit to; without it the chain has no blocks, and a stand-in for
// the network takes every transaction at once.
func servePublishing(ctx context.Context, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := openStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // what was measured is committed
	source, submit, err := networkOf(args[1:])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	rules := index.DefaultRules(simchain.Network)
	writer := index.NewWriter(store, rules, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	follower := chainwatch.NewFollower(source, writer, chainwatch.Config{Params: chainwatch.ParamsOf(simchain.Network)})
	server := api.New(api.Config{
		Index: store, Rules: rules, Wake: wake, Submit: submit, Offer: follower.Offer,
		Read:  func(raw []byte) (*index.Transaction, error) { return chainwatch.ReadTransaction(raw, simchain.Network) },
		Prove: func(tx *index.Transaction) { chainwatch.Prove(tx, simchain.Network) },
	})
	group, ctx := errgroup.WithContext(ctx)
	web := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	group.Go(func() error { return source.Run(ctx) })
	group.Go(func() error { return follower.Run(ctx) })
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	if err := await(ctx, func() bool { return follower.Health().Synced }); err != nil {
		return err
	}
	err = measure.Serve(measure.Ready{Addr: listener.Addr().String()}, func([]byte) (any, error) {
		return answerPublishing(ctx, store)
	})
	cancel()
	return errors.Join(err, web.Close(), group.Wait())
}

func answerPublishing(ctx context.Context, store index.Store) (any, error) {
	var state publishState
	err := store.View(ctx, func(v index.View) (err error) {
		state.Events, err = v.LastSeq()
		return err
	})
	return state, err
}

// networkOf is the network of a server: a devnet's node, or nobody.
func networkOf(folder []string) (chainwatch.Source, func(context.Context, []byte) (frame.Hash, error), error) {
	if len(folder) == 0 {
		accept := func(_ context.Context, raw []byte) (frame.Hash, error) { return frame.HashOf(raw), nil }
		return simchain.NewSource(simchain.NewTree()), accept, nil
	}
	at, err := devnet.ReadConnection(folder[0])
	if err != nil {
		return nil, nil, err
	}
	rpc, err := noderpc.New(noderpc.Config{URL: at.RPC, User: at.RPCUser, Password: at.RPCPassword})
	if err != nil {
		return nil, nil, err
	}
	source := p2p.New(p2p.Config{Params: chainwatch.ParamsOf(simchain.Network), Peers: []string{at.P2P}})
	return source, broadcast.NewNodeRPC(rpc).Submit, nil
}

// await polls until something is so, for at most half a minute.
func await(ctx context.Context, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server didn't get ready: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
