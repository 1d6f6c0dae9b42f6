package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"golang.org/x/sync/errgroup"
)

// checkLoopback tells why an address isn't on this machine only: whoever reaches
// profiles reads what the process does and holds, and can keep it busy.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("the address for profiles is no host:port: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("profiles show what a process holds: %q is not on loopback, such as 127.0.0.1:6060", address)
	}
	return nil
}

// profiles are the routes of net/http/pprof. Importing it enters them in
// [http.DefaultServeMux] too, which nothing here serves.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// serveProfiles serves profiles until ctx ends. A profile that is being taken
// then is cut short.
func (s *service) serveProfiles(ctx context.Context, group *errgroup.Group) error {
	if s.profiles == "" {
		return nil
	}
	listener, err := s.door(ctx, "profiles", s.profiles)
	if err != nil {
		return fmt.Errorf("listen for profiles: %w", err)
	}
	s.logger.Info("profiles are served", "url", "http://"+listener.Addr().String()+"/debug/pprof/")
	web := &http.Server{Handler: profiles(), ReadHeaderTimeout: 5 * time.Second}
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
