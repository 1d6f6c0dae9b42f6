package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/metaim/metaim/api"
	"golang.org/x/sync/errgroup"
)

func TestCheckLoopback(t *testing.T) {
	for _, c := range []struct {
		name, address, says string // "": it is one
	}{
		{"IPv4", "127.0.0.1:6060", ""},
		{"another of them", "127.8.8.8:0", ""},
		{"IPv6", "[::1]:6060", ""},
		{"its name", "localhost:6060", ""},
		{"every interface", "0.0.0.0:6060", "is not on loopback"},
		{"every interface, short", ":6060", "is not on loopback"},
		{"IPv6, every interface", "[::]:6060", "is not on loopback"},
		{"a foreign address", "192.0.2.1:6060", "is not on loopback"},
		{"a name that may be anywhere", "example.org:6060", "is not on loopback"},
		{"a name that looks local", "localhost.example.org:1", "is not on loopback"},
		{"no port", "127.0.0.1", "no host:port"},
	} {
		err := checkLoopback(c.address)
		if got := err == nil; got != (c.says == "") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
		var usage usageError
		if err != nil && (!strings.Contains(err.Error(), c.says) || !errors.As(err, &usage)) {
			t.Errorf("%s: got %v, want it to be asked for wrongly: %q", c.name, err, c.says)
		}
	}
}

// TestProfiles: they are served where the setting says, until the service ends,
// and not by the API.
func TestProfiles(t *testing.T) {
	var log strings.Builder
	s := &service{profiles: "127.0.0.1:0", logger: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if err := s.serveProfiles(ctx, group); err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`http://[^/\s]+`).FindString(log.String())
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/debug/pprof/", 200}, {"/debug/pprof/heap", 200}, {"/debug/pprof/goroutine?debug=1", 200},
		{"/debug/pprof/cmdline", 200}, {"/debug/pprof/nothing", 404}, {"/v1/info", 404},
	} {
		resp, err := http.Get(url + c.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", c.path, resp.StatusCode, c.status)
		}
	}
	public := httptest.NewRecorder()
	api.New(api.Config{}).Handler().ServeHTTP(public, httptest.NewRequest(http.MethodGet, "/debug/pprof/", nil))
	if public.Code != http.StatusNotFound {
		t.Errorf("the API's own routes answer %d to /debug/pprof/, want 404", public.Code)
	}
	second := &service{profiles: strings.TrimPrefix(url, "http://"), logger: s.logger}
	if err := second.serveProfiles(ctx, group); err == nil || !strings.HasPrefix(err.Error(), "listen for profiles: ") {
		t.Errorf("an address that is taken: got %v, want it said so", err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := group.Wait(); err != nil {
		t.Errorf("at the end: got %v, want no error", err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		_ = c.Close()
		t.Error("somebody still listens after the service has ended")
	}
}
