package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer/broadcast"
	"golang.org/x/sync/errgroup"
)

// A service watches a chain, keeps an index and serves it.
type service struct {
	network  frame.Network
	source   chainwatch.Source // nil with readOnly
	store    string            // its specification, such as sqlite:PATH
	readOnly bool
	listen   string
	rpc      *noderpc.Client // of a node that takes transactions; nil: none are taken
	local    *localNode      // of a devnet, instead of rpc and the addresses of peers
	origins  []string
	profiles string // the loopback address where profiles are served; "": nowhere
	logger   *slog.Logger
	ready    func(url string) // called when the server listens
}

// run runs the service until ctx ends or a part of it can't go on.
func (s *service) run(ctx context.Context) (err error) {
	store, err := openStore(ctx, s.store, s.network, s.readOnly, s.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	group, ctx := errgroup.WithContext(ctx)
	if err := s.serveProfiles(ctx, group); err != nil {
		return err
	}
	config := api.Config{
		Index: store, Rules: index.DefaultRules(s.network), Version: version, Logger: s.logger.With("part", "api"),
		Submit: s.submit(), AllowedOrigins: s.origins,
		Read:  func(raw []byte) (*index.Transaction, error) { return chainwatch.ReadTransaction(raw, s.network) },
		Prove: func(tx *index.Transaction) { chainwatch.Prove(tx, s.network) },
	}
	if s.readOnly {
		err = s.listenTo(ctx, store, &config)
	} else {
		s.follow(ctx, group, store, &config)
	}
	if err != nil {
		return err
	}
	server := api.New(config)
	group.Go(func() error { return server.Run(ctx) })
	serveHTTP(ctx, group, listener, server.Handler())
	if s.ready != nil {
		s.ready("http://" + listener.Addr().String())
	}
	return group.Wait()
}

// follow starts the part that writes: source and follower.
func (s *service) follow(ctx context.Context, group *errgroup.Group, store index.Store, config *api.Config) {
	wake := make(chan struct{}, 1)
	writer := index.NewWriter(store, config.Rules, func() {
		select {
		case wake <- struct{}{}:
		default: // it rings already
		}
	})
	follower := chainwatch.NewFollower(s.source, writer,
		chainwatch.Config{Params: chainwatch.ParamsOf(s.network), Logger: s.logger.With("part", "follower")})
	config.Wake, config.Ready, config.Offer = wake, readiness(follower), follower.Offer
	group.Go(func() error { return s.source.Run(ctx) })
	group.Go(func() error { return follower.Run(ctx) })
}

// listenTo is woken by the process that writes, where the store can do that; the
// server looks by itself once a second anyway.
func (s *service) listenTo(ctx context.Context, store index.Store, config *api.Config) error {
	l, ok := store.(interface {
		Listen(ctx context.Context) (<-chan struct{}, error)
	})
	if !ok {
		return nil
	}
	wake, err := l.Listen(ctx)
	config.Wake = wake
	return err
}

// serveHTTP serves until ctx ends, then lets requests end.
func serveHTTP(ctx context.Context, group *errgroup.Group, listener net.Listener, handler http.Handler) {
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	group.Go(func() error {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := web.Shutdown(stop); err != nil {
			return web.Close()
		}
		return nil
	})
}

func (s *service) submit() func(context.Context, []byte) (frame.Hash, error) {
	if s.local != nil {
		return s.local.submit
	}
	if s.rpc == nil {
		return nil
	}
	return broadcast.NewNodeRPC(s.rpc).Submit
}

func readiness(f *chainwatch.Follower) func() error {
	return func() error {
		if h := f.Health(); h.Trouble != "" {
			return errors.New(h.Trouble)
		}
		return nil
	}
}
