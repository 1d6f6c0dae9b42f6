package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/spf13/cobra"
)

var (
	listenSetting = setting{flag: "listen", variable: "METAIM_LISTEN", fallback: defaultListen, usage: "host:port to serve on", check: checkHostPort}
	peerSetting   = setting{flag: "peer", variable: "METAIM_PEERS", usage: "P2P addresses of nodes, host:port, joined by commas: short for --source p2p:...", many: true, check: checkPeers}
	rpcSetting    = setting{flag: "node-rpc", variable: "METAIM_NODE_RPC", usage: "URL of the node's RPC, with user and password, for submitting; better given in the environment", check: checkRPC}
	nodeDirectory = setting{flag: "devnet-dir", variable: "METAIM_DEVNET_DIR", usage: "folder of a running metaim devnet to follow, instead of --peer and --node-rpc"}
	logSetting    = setting{flag: "log", variable: "METAIM_LOG", fallback: "info", usage: "debug, info, warn or error", check: checkLevel}
	pprofSetting  = setting{flag: "pprof", variable: "METAIM_PPROF", usage: "host:port on loopback to serve Go profiles on, such as 127.0.0.1:6060 (default: nowhere)", check: checkLoopback}
	originSetting = setting{flag: "origins", variable: "METAIM_ORIGINS", usage: "origins of web pages that may use the server, joined by commas", many: true}
)

func newServe(p *program) *cobra.Command {
	var readOnly bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Follow the chain, keep the index and serve it",
		Long: `Follows the chain through one or more nodes, verifies every message and name,
keeps the index and serves it over HTTP and WebSocket. No private key is ever
here. Stopped and started again it goes on where it was.

One process writes a store: a second one on the same PostgreSQL database waits
until the first is gone. With --read-only any number serve what it has written.

On SIGHUP it starts its program again, which may be another version by then, and
hands over to it: no request fails, and subscribers are asked to come again.
Where the new process doesn't get ready, this one goes on as before.`,
		Example: "  metaim serve --network main --peer 127.0.0.1:8333\n  metaim serve --network main --source rpc:http://127.0.0.1:8332 --store postgres://metaim@127.0.0.1/metaim\n  metaim serve --network regtest --devnet-dir ./devnet",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := serviceOf(cmd, p, readOnly)
			if err != nil {
				return err
			}
			if err := s.join(p); err != nil {
				return err
			}
			s.ready = func(url string) { fmt.Fprintf(p.err, "metaim: serving %s on %s\n", s.network, url) }
			err = s.run(cmd.Context())
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // asked to end before it had begun
			}
			return err
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "serve what another process writes")
	for _, s := range slices.Concat(guardSettings, watchSettings, submitSettings) {
		if s.only {
			continue
		}
		s.add(c)
	}
	for _, s := range []setting{networkSetting, homeSetting, storeSetting, listenSetting, sourceSetting, zmqSetting, peerSetting, rpcSetting, nodeDirectory, logSetting, originSetting, pprofSetting} {
		s.add(c)
	}
	return c
}

// serviceOf reads the settings of a service and reports every fault.
func serviceOf(c *cobra.Command, p *program, readOnly bool) (*service, error) {
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	s := &service{readOnly: readOnly, listen: listenSetting.value(c, p), origins: list(originSetting.value(c, p))}
	if s.profiles = pprofSetting.value(c, p); s.profiles != "" {
		fault(checkLoopback(s.profiles))
	}
	var err error
	s.network, err = networkOf(c, p)
	fault(err)
	s.logger, err = newLogger(logSetting.value(c, p), p.err)
	fault(err)
	s.store, err = storeSpec(c, p, s.network)
	fault(err)
	s.guard, err = guardOf(c, p)
	fault(err)
	s.watching, err = watchingOf(c, p, s.network)
	fault(err)
	if text := rpcSetting.value(c, p); text != "" {
		s.rpc, err = rpcClient(text)
		fault(err)
	}
	spec, err := s.sourceSpec(c, p)
	fault(err)
	s.submitting, err = submittingOf(c, p, s)
	fault(err)
	if len(faults) == 0 && !readOnly {
		params := chainwatch.ParamsOf(s.network)
		if s.local != nil {
			s.source, err = s.local.source(params, s.logger)
		} else {
			s.source, err = openSource(c.Context(), spec, zmqSetting.value(c, p), params, s.logger, p)
		}
		fault(err)
	}
	return s, errors.Join(faults...)
}

// sourceSpec finds which source is meant by --source, --peer or --devnet-dir.
func (s *service) sourceSpec(c *cobra.Command, p *program) (string, error) {
	if dir := nodeDirectory.value(c, p); dir != "" {
		return s.useDevnet(dir)
	}
	if spec := sourceSetting.value(c, p); spec != "" {
		return spec, nil
	}
	peers := peerSetting.value(c, p)
	if peers == "" && !s.readOnly {
		return "", usagef("no node to follow: give --peer host:port, or --source")
	}
	for _, peer := range list(peers) {
		if host, _, err := net.SplitHostPort(peer); err == nil && host == "" {
			return "", usagef("peer %q has no host", peer)
		}
	}
	return "p2p:" + peers, nil
}

// useDevnet follows the node of a devnet's folder, and submits through it. It
// needs no specification of a source.
func (s *service) useDevnet(dir string) (string, error) {
	connection, err := devnet.ReadConnection(dir)
	if err != nil {
		return "", err
	}
	if s.network != connection.Network {
		return "", usagef("the devnet is on %s: give --network %s", connection.Network, connection.Network)
	}
	s.local = &localNode{dir: dir}
	return "", nil
}

func rpcConfig(raw string) (noderpc.Config, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return noderpc.Config{}, usagef("the RPC address is no URL such as http://user:password@127.0.0.1:8332")
	}
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User = nil
	return noderpc.Config{URL: u.String(), User: user, Password: password}, nil
}

func rpcClient(raw string) (*noderpc.Client, error) {
	config, err := rpcConfig(raw)
	if err != nil {
		return nil, err
	}
	return noderpc.New(config)
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func newLogger(level string, w io.Writer) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("log level %q is none of debug, info, warn, error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
