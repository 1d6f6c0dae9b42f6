package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/index"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// quietSetting is logSetting for commands whose output is read by a person.
var quietSetting = setting{flag: "log", variable: "METAIM_LOG", fallback: "warn", usage: "debug, info, warn or error", check: checkLevel}

func newIndex(p *program) *cobra.Command {
	var until int32
	c := &cobra.Command{
		Use:   "index",
		Short: "Index a chain up to its tip, and end",
		Long: `Reads blocks from a source, judges what they carry and keeps it in a store, up to
the tip of the chain with the most work. Stopped and started again it goes on
where it was; when the source's chain has changed, it follows.`,
		Example: "  metaim index --source blocks:blocks/ --store sqlite:index.db --network main",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if until < 0 {
				return usagef("--until is a height")
			}
			return runIndex(cmd, p, until)
		},
	}
	c.Flags().Int32Var(&until, "until", 0, "stop at this height")
	sourceSetting.add(c)
	zmqSetting.add(c)
	quietSetting.add(c)
	addStoreFlags(c)
	return c
}

func runIndex(c *cobra.Command, p *program, until int32) (err error) {
	network, err := networkOf(c, p)
	if err != nil {
		return err
	}
	logger, err := newLogger(quietSetting.value(c, p), p.err)
	if err != nil {
		return err
	}
	spec, err := storeSpec(c, p, network)
	if err != nil {
		return err
	}
	ctx := c.Context()
	params := chainwatch.ParamsOf(network)
	source, err := openSource(ctx, sourceSetting.value(c, p), zmqSetting.value(c, p), params, logger, p)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, spec, network, false, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	writer := index.NewWriter(store, index.DefaultRules(network), nil)
	follower := chainwatch.NewFollower(source, writer, chainwatch.Config{Params: params, Logger: logger, Until: until})
	tip, err := catchUp(ctx, p, source, follower, writer)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.err, "metaim: indexed to height %d, block %s\n", tip.Height, tip.Hash)
	return nil
}

// catchUp runs a source and a follower until the index is at the source's tip.
func catchUp(ctx context.Context, p *program, source chainwatch.Source, follower *chainwatch.Follower, writer *index.Writer) (index.Tip, error) {
	if err := follower.Load(ctx); err != nil {
		return index.Tip{}, err
	}
	done, cancel := context.WithCancel(ctx)
	group, running := errgroup.WithContext(done)
	group.Go(func() error { return source.Run(running) })
	group.Go(func() error {
		defer cancel()
		return follower.CatchUp(running)
	})
	group.Go(func() error {
		watchProgress(running, p, follower)
		return nil
	})
	err := group.Wait()
	if ctx.Err() != nil {
		return index.Tip{}, fmt.Errorf("stopped at height %d: the same command goes on from there", follower.Health().Height)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return index.Tip{}, err
	}
	return writer.Tip(ctx)
}

// watchProgress draws a progress bar for what takes longer than two seconds.
func watchProgress(ctx context.Context, p *program, follower *chainwatch.Follower) {
	bar := newProgress(p, "blocks")
	defer bar.end()
	first := int32(-1)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h := follower.Health()
		if first < 0 {
			first = h.Height
		}
		bar.draw(int64(h.Height-first), int64(h.Best-first))
	}
}
