package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/noderpc"
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
	guard    *guard // nil: one without settings
	watching watching
	submitting
	succession
	profiles string // the loopback address where profiles are served; "": nowhere
	logger   *slog.Logger
	ready    func(url string) // called when the server listens
}

// run runs the service until ctx ends, another process has taken over, or a part
// of it can't go on.
func (s *service) run(ctx context.Context) (err error) {
	if s.guard == nil {
		s.guard = &guard{}
	}
	rules := index.DefaultRules(s.network)
	var w *writing
	if !s.readOnly {
		w = s.newWriting(rules)
		defer func() { err = errors.Join(err, w.close()) }()
		if s.elder == nil { // who takes over writes later
			if err := w.open(ctx, false); err != nil {
				return err
			}
		}
	}
	store, err := openStore(ctx, s.store, s.network, true, s.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	listener, err := s.door(ctx, "http", s.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = s.start(ctx, group, store, w, listener)
	if err != nil {
		cancel()
		return errors.Join(err, group.Wait())
	}
	if err := group.Wait(); !errors.Is(err, errLeft) {
		return err
	}
	return nil
}

// start starts the parts of the service. w is nil where another process writes.
func (s *service) start(ctx context.Context, group *errgroup.Group, store index.Store, w *writing, listener net.Listener) error {
	if err := s.serveProfiles(ctx, group); err != nil {
		return err
	}
	config := api.Config{
		Index: store, Rules: index.DefaultRules(s.network), Version: version, Logger: s.logger.With("part", "api"),
		AllowedOrigins: s.origins,
		Read:           func(raw []byte) (*index.Transaction, error) { return chainwatch.ReadTransaction(raw, s.network) },
		Prove:          func(tx *index.Transaction) { chainwatch.Prove(tx, s.network) },
	}
	s.guard.configure(&config)
	s.submitting.configure(ctx, group, s, store, &config)
	s.watching.configure(&config)
	var health func() chainwatch.Health
	if w == nil {
		if err := s.listenTo(ctx, store, &config); err != nil {
			return err
		}
	} else {
		health = w.health
		s.follow(ctx, group, w, &config)
	}
	server := api.New(config)
	talking, goodbye := context.WithCancel(ctx)
	group.Go(func() error {
		defer goodbye()
		return server.Run(talking)
	})
	if err := s.watching.serve(ctx, group, s, server, health); err != nil {
		return err
	}
	if err := s.takeOver(ctx, group, w, server.Ready); err != nil {
		return err
	}
	url, err := s.serveHTTP(ctx, group, listener, s.courteous(server.Handler()))
	if err != nil {
		return err
	}
	group.Go(func() error { return s.beReplaced(ctx, w, goodbye) })
	tellSystemd(s.logger, "READY=1")
	if s.ready != nil {
		s.ready(url)
	}
	return nil
}

// follow starts the part that writes: source and follower. Who takes over starts
// the follower later.
func (s *service) follow(ctx context.Context, group *errgroup.Group, w *writing, config *api.Config) {
	config.Wake, config.Offer = w.wake, w.offer
	config.Ready, config.Warn = readiness(w.health, chainwatch.PatienceOf(s.network, s.watching.stall))
	group.Go(func() error { return s.source.Run(ctx) })
	if s.elder == nil {
		group.Go(func() error { return w.Run(ctx) })
	}
	group.Go(func() error { return s.tellReadiness(ctx, config.Ready, config.Warn) })
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
