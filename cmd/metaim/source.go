package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/blockfile"
	"github.com/metaim/metaim/chainwatch/junglebus"
	"github.com/metaim/metaim/chainwatch/node"
	"github.com/metaim/metaim/chainwatch/p2p"
)

const sourceForms = "blocks:FILE|DIR, p2p:HOST:PORT, rpc:URL, junglebus:URL/SUBSCRIPTION"

var (
	sourceSetting = setting{flag: "source", variable: "METAIM_SOURCE", check: checkSource, usage: "where blocks come from: " + sourceForms + "; several files or nodes are joined by commas"}
	zmqSetting    = setting{flag: "zmq", variable: "METAIM_ZMQ", many: true, usage: "with rpc: where the node publishes, tcp://HOST:PORT, joined by commas"}
)

// openSource opens a source by its specification.
func openSource(ctx context.Context, spec, zmq string, params *chainwatch.Params, logger *slog.Logger, p *program) (chainwatch.Source, error) {
	kind, rest, ok := strings.Cut(spec, ":")
	if !ok || rest == "" {
		return nil, usagef("source %q is none of %s", withoutPassword(spec), sourceForms)
	}
	switch kind {
	case "blocks":
		return openBlocks(ctx, list(rest), params, logger, p)
	case "p2p":
		return p2p.New(p2p.Config{Params: params, Peers: list(rest), Logger: logger.With("part", "p2p")}), nil
	case "rpc":
		config, err := rpcConfig(rest)
		if err != nil {
			return nil, err
		}
		return node.New(node.Config{Params: params, RPC: config, ZMQ: list(zmq), Logger: logger.With("part", "rpc")})
	case "junglebus":
		source, err := junglebus.New(junglebus.Config{Params: params, URL: rest, Logger: logger.With("part", "junglebus")})
		if err != nil {
			return nil, usageError{err}
		}
		return source, nil
	}
	return nil, usagef("source %q is none of %s", withoutPassword(spec), sourceForms)
}

func openBlocks(ctx context.Context, paths []string, params *chainwatch.Params, logger *slog.Logger, p *program) (chainwatch.Source, error) {
	bar := newProgress(p, "MB of block files")
	source, err := blockfile.Open(ctx, paths, params, blockfile.Options{
		Logger:   logger,
		Progress: func(done, total int64) { bar.draw(done>>20, total>>20) },
	})
	bar.end()
	if err != nil {
		return nil, fmt.Errorf("block files: %w", err)
	}
	return source, nil
}
