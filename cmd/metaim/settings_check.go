package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
)

func checkNetwork(s string) error {
	if _, err := frame.ParseNetwork(s); err != nil {
		return usageError{err}
	}
	return nil
}

func checkServer(s string) error {
	if _, err := client.New(s); err != nil {
		return usageError{err}
	}
	return nil
}

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil && host != "" && !strings.Contains(host, ":") {
		_, err = net.LookupPort("tcp", port)
	} else if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		return usagef("%q is no host:port such as %s", s, defaultListen)
	}
	return nil
}

func checkPeers(s string) error {
	for _, peer := range list(s) {
		if host, _, err := net.SplitHostPort(peer); err == nil && host == "" {
			return usagef("peer %q has no host", peer)
		}
	}
	return nil
}

func checkRPC(s string) error {
	_, err := rpcConfig(s)
	return err
}

func checkLevel(s string) error {
	_, err := newLogger(s, nil)
	return err
}

func checkStore(s string) error {
	kind, rest, ok := strings.Cut(s, ":")
	if ok && rest != "" && (kind == "sqlite" || kind == "postgres" || kind == "postgresql") {
		return nil
	}
	return usagef("store %q is neither sqlite:PATH nor postgres://USER@HOST/DATABASE", withoutPassword(s))
}

func checkSource(s string) error {
	kind, _, err := cutSource(s)
	if err == nil && !slices.Contains([]string{"blocks", "p2p", "rpc", "junglebus", "whatsonchain"}, kind) {
		err = usagef("source %q is none of %s", withoutPassword(s), sourceForms)
	}
	return err
}
