package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/blockfile"
	"github.com/metaim/metaim/chainwatch/junglebus"
	"github.com/metaim/metaim/chainwatch/node"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/chainwatch/whatsonchain"
	"github.com/metaim/metaim/signer"
)

const sourceForms = "blocks:FILE|DIR, p2p:HOST:PORT, rpc:URL, junglebus:URL/SUBSCRIPTION, whatsonchain:[URL]"

var (
	sourceSetting = setting{flag: "source", variable: "METAIM_SOURCE", check: checkSource, usage: "where blocks come from: " + sourceForms + "; several files or nodes are joined by commas"}
	zmqSetting    = setting{flag: "zmq", variable: "METAIM_ZMQ", many: true, usage: "with rpc: where the node publishes, tcp://HOST:PORT, joined by commas"}

	wocKeySetting = setting{flag: "woc-key", variable: "METAIM_WOC_KEY", only: true, secret: true,
		usage: "key that WhatsOnChain knows us by; better in a file that only you can read"}
	wocKeyFileSetting = setting{flag: "woc-key-file", variable: "METAIM_WOC_KEY_FILE", only: true,
		usage: "file that holds the key that WhatsOnChain knows us by"}
	wocRateSetting = setting{flag: "woc-rate", variable: "METAIM_WOC_RATE", only: true, check: checkWOCRate,
		usage: "questions a second that WhatsOnChain allows to that key (default: 3)"}
)

// sourceSettings are those of sources that stand in no command as flags.
var sourceSettings = []setting{wocKeySetting, wocKeyFileSetting, wocRateSetting}

// cutSource takes a specification apart. Only WhatsOnChain has a default address.
func cutSource(spec string) (kind, rest string, err error) {
	kind, rest, ok := strings.Cut(spec, ":")
	if !ok || rest == "" && kind != "whatsonchain" {
		return "", "", usagef("source %q is none of %s", withoutPassword(spec), sourceForms)
	}
	return kind, rest, nil
}

// openSource opens a source by its specification.
func openSource(ctx context.Context, spec, zmq string, params *chainwatch.Params, logger *slog.Logger, p *program) (chainwatch.Source, error) {
	kind, rest, err := cutSource(spec)
	if err != nil {
		return nil, err
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
	case "whatsonchain":
		return openWOC(rest, params, logger, p)
	}
	return nil, usagef("source %q is none of %s", withoutPassword(spec), sourceForms)
}

func openWOC(address string, params *chainwatch.Params, logger *slog.Logger, p *program) (chainwatch.Source, error) {
	key, err := wocKey(p)
	if err != nil {
		return nil, err
	}
	config := whatsonchain.Config{Params: params, URL: address, Key: key, Logger: logger.With("part", "whatsonchain")}
	if text := wocRateSetting.value(nil, p); text != "" {
		if config.PerSecond, err = wocRate(text); err != nil {
			return nil, err
		}
	}
	source, err := whatsonchain.New(config)
	if err != nil {
		return nil, usageError{err}
	}
	return source, nil
}

// wocKey reads the key that WhatsOnChain knows us by; "" is none.
func wocKey(p *program) (string, error) {
	key, path := wocKeySetting.value(nil, p), wocKeyFileSetting.value(nil, p)
	if key != "" || path == "" {
		return key, nil
	}
	b, err := signer.ReadPrivate(path, 4096)
	if err != nil {
		return "", fmt.Errorf("the key for WhatsOnChain: %w", err)
	}
	if key = strings.TrimSpace(string(b)); key == "" {
		return "", errors.New("the file of the key for WhatsOnChain is empty")
	}
	return key, nil
}

const wocRateMost = 1000 // questions a second

func wocRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || !(rate > 0 && rate <= wocRateMost) {
		return 0, usagef("the questions a second for WhatsOnChain are no number above 0 and up to %d", wocRateMost)
	}
	return rate, nil
}

func checkWOCRate(s string) error {
	_, err := wocRate(s)
	return err
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
