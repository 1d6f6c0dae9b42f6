package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/spf13/cobra"
)

var (
	listenSetting = setting{"listen", "METAIM_LISTEN", defaultListen, "host:port to serve on"}
	peerSetting   = setting{"peer", "METAIM_PEERS", "", "P2P addresses of nodes, host:port, joined by commas"}
	rpcSetting    = setting{"node-rpc", "METAIM_NODE_RPC", "", "URL of the node's RPC, with user and password, for submitting; better given in the environment"}
	nodeDirectory = setting{"devnet-dir", "METAIM_DEVNET_DIR", "", "folder of a running metaim devnet to follow, instead of --peer and --node-rpc"}
	logSetting    = setting{"log", "METAIM_LOG", "info", "debug, info, warn or error"}
	originSetting = setting{"origins", "METAIM_ORIGINS", "", "origins of web pages that may use the server, joined by commas"}
)

func newServe(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Follow the chain, keep the index and serve it",
		Long: `Follows the chain through one or more nodes, verifies every message and name,
keeps the index and serves it over HTTP and WebSocket. No private key is ever
here. Stopped and started again it goes on where it was.`,
		Example: "  metaim serve --network main --peer 127.0.0.1:8333\n  metaim serve --network regtest --devnet-dir ./devnet",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := serviceOf(cmd, p)
			if err != nil {
				return err
			}
			s.ready = func(url string) { fmt.Fprintf(p.err, "metaim: serving %s on %s\n", s.network, url) }
			return s.run(cmd.Context())
		},
	}
	for _, s := range []setting{networkSetting, homeSetting, storeSetting, listenSetting, peerSetting, rpcSetting, nodeDirectory, logSetting, originSetting} {
		s.add(c)
	}
	return c
}

// serviceOf reads the settings of a service and reports every fault.
func serviceOf(c *cobra.Command, p *program) (*service, error) {
	var faults []error
	s := &service{listen: listenSetting.value(c, p), peers: list(peerSetting.value(c, p)), origins: list(originSetting.value(c, p))}
	var err error
	if s.network, err = networkOf(c, p); err != nil {
		faults = append(faults, err)
	}
	if s.logger, err = newLogger(logSetting.value(c, p), p.err); err != nil {
		faults = append(faults, err)
	}
	if s.rpc, err = rpcClient(rpcSetting.value(c, p)); err != nil {
		faults = append(faults, err)
	}
	if dir := nodeDirectory.value(c, p); dir != "" {
		faults = append(faults, s.useDevnet(dir))
	} else if len(s.peers) == 0 {
		faults = append(faults, usagef("no node to follow: give --peer host:port"))
	}
	for _, peer := range s.peers {
		if host, _, err := net.SplitHostPort(peer); err == nil && host == "" {
			faults = append(faults, usagef("peer %q has no host", peer))
		}
	}
	if s.store, err = storeSpec(c, p, s.network); err != nil {
		faults = append(faults, err)
	}
	return s, errors.Join(faults...)
}

// useDevnet follows the node of a devnet's folder.
func (s *service) useDevnet(dir string) error {
	connection, err := devnet.ReadConnection(dir)
	if err != nil {
		return err
	}
	if s.network != connection.Network {
		return usagef("the devnet is on %s: give --network %s", connection.Network, connection.Network)
	}
	s.peers = []string{connection.P2P}
	s.local = &localNode{dir: dir}
	return nil
}

func rpcClient(raw string) (*noderpc.Client, error) {
	if raw == "" {
		return nil, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, usagef("--node-rpc is no URL such as http://user:password@127.0.0.1:8332")
	}
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User = nil
	return noderpc.New(noderpc.Config{URL: u.String(), User: user, Password: password})
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
