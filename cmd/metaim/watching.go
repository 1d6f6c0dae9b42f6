package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/metrics"
	"github.com/metaim/metaim/signer/broadcast"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const defaultStall = "5m"

var (
	metricsSetting = setting{flag: "metrics", variable: "METAIM_METRICS", check: checkHostPort, usage: "host:port to serve Prometheus metrics on, such as 127.0.0.1:9780; whoever reaches it sees the load and the nodes' addresses (default: nowhere)"}
	stallSetting   = setting{flag: "stall", variable: "METAIM_STALL", fallback: defaultStall, check: checkStall, usage: "how long the service may get nowhere without an error before /readyz says so, such as 90s; 0: for ever"}
)

// watchSettings are those of whoever watches a service.
var watchSettings = []setting{metricsSetting, stallSetting}

func checkStall(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d < 0 || d > 0 && d < time.Second {
		return usagef("%q is no time such as 90s or 5m, of a second or more", s)
	}
	return nil
}

// A watching is how a service is watched.
type watching struct {
	address string        // where metrics are served; "": nowhere
	stall   time.Duration // until a service that gets nowhere isn't ready; 0: for ever
	metrics *metrics.Metrics
}

func watchingOf(c *cobra.Command, p *program, network frame.Network) (w watching, err error) {
	if w.stall, err = time.ParseDuration(stallSetting.value(c, p)); err != nil {
		return w, usagef("stall: %w", err)
	}
	if w.address = metricsSetting.value(c, p); w.address != "" {
		w.metrics = metrics.New(metrics.Build{Version: version, Revision: strings.TrimSpace(revision()), Network: string(network)})
	}
	return w, nil
}

// sink returns what the follower saves in.
func (w *watching) sink(writer *index.Writer) chainwatch.Sink {
	if w.metrics == nil {
		return writer
	}
	writer.OnCommit(w.metrics.Committed)
	return w.metrics.Sink(writer)
}

// ways returns ways to submit that are counted.
func (w *watching) ways(all []broadcast.Way) []broadcast.Way {
	if w.metrics == nil {
		return all
	}
	counted := make([]broadcast.Way, len(all))
	for i, way := range all {
		counted[i] = w.metrics.Way(way)
	}
	return counted
}

// configure has the API count what it does.
func (w *watching) configure(config *api.Config) {
	if w.metrics != nil {
		config.Index, config.Answered = w.metrics.Index(config.Index), w.metrics.Answered
	}
}

// serve serves metrics until ctx ends. health is nil where another process has
// it.
func (w *watching) serve(ctx context.Context, group *errgroup.Group, s *service, server *api.Server, health func() chainwatch.Health) error {
	if w.metrics == nil {
		return nil
	}
	w.metrics.Watch(metrics.Watched{Stats: server.Stats, Ready: server.Ready, Health: health})
	listener, err := s.door(ctx, "metrics", w.address)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	s.logger.Info("metrics are served", "url", "http://"+listener.Addr().String()+"/metrics")
	web := &http.Server{Handler: w.metrics.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	group.Go(func() error {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return web.Close()
	})
	return nil
}

// readiness tells why the index of a follower of such health shouldn't be asked, and what is odd
// about it.
func readiness(health func() chainwatch.Health, patience chainwatch.Patience) (ready func() error, warn func() []string) {
	ready = func() error {
		h := health()
		if h.Trouble != "" {
			return errors.New(h.Trouble)
		}
		if stalled := h.Stalled(patience); stalled != "" {
			return errors.New(stalled)
		}
		return nil
	}
	warn = func() []string {
		h := health()
		return h.Warnings(time.Now(), patience)
	}
	return ready, warn
}

// lookEvery is how often the log learns whether a service is ready.
const lookEvery = 15 * time.Second

// tellReadiness logs when a service becomes ready, when it no longer is, and new
// warnings, until ctx ends: a stall makes no line of its own.
func (s *service) tellReadiness(ctx context.Context, ready func() error, warn func() []string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	was, warned := "starting", ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		is := ""
		if err := ready(); err != nil {
			is = err.Error()
		}
		switch {
		case is == "" && was != "":
			s.logger.Info("ready")
		case is != "" && was == "":
			s.logger.Warn("not ready any more", "reason", is)
		}
		was = is
		odd := strings.Join(warn(), "; ")
		if odd != "" && warned == "" {
			s.logger.Warn("something is odd", "what", odd)
		}
		warned = odd
	}
}
