package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/door"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

var (
	writeTokensSetting = setting{flag: "write-tokens", variable: "METAIM_WRITE_TOKENS", usage: "file of tokens (metaim token new): transactions are taken only from who shows one"}
	tokensSetting      = setting{flag: "tokens", variable: "METAIM_TOKENS", usage: "file of tokens that have quotas of their own"}
	proxiesSetting     = setting{flag: "trusted-proxies", variable: "METAIM_TRUSTED_PROXIES", many: true, check: checkPrefixes, usage: "addresses or prefixes of proxies whose X-Forwarded-For is believed, joined by commas"}
	loopbackSetting    = setting{flag: "limit-loopback", variable: "METAIM_LIMIT_LOOPBACK", fallback: "false", check: checkSwitch, usage: "true: quotas and limits of an address hold for programs on this machine too"}
	tlsCertSetting     = setting{flag: "tls-cert", variable: "METAIM_TLS_CERT", usage: "file of the certificate and its chain, PEM: HTTPS is served; read again when it changes"}
	tlsKeySetting      = setting{flag: "tls-key", variable: "METAIM_TLS_KEY", usage: "file of the certificate's key, PEM, readable for its owner only"}
	tlsDomainSetting   = setting{flag: "tls-domain", variable: "METAIM_TLS_DOMAIN", many: true, usage: "domains to have certificates for by ACME, joined by commas; port 443 of each must lead here"}
	acmeSetting        = setting{flag: "acme-directory", variable: "METAIM_ACME_DIRECTORY", check: checkHTTPS, usage: "URL of the ACME authority's directory (default: that of Let's Encrypt)"}
	acmeEmailSetting   = setting{flag: "acme-email", variable: "METAIM_ACME_EMAIL", usage: "mail address for the ACME authority"}

	tokenSetting     = setting{flag: "token", variable: "METAIM_TOKEN", usage: "token that the server asks for; better in a file that only you can read", only: true, secret: true}
	tokenFileSetting = setting{flag: "token-file", variable: "METAIM_TOKEN_FILE", usage: "file that holds the token that the server asks for", only: true}
)

// guardSettings are those that keep strangers within bounds.
var guardSettings = []setting{writeTokensSetting, tokensSetting, proxiesSetting, loopbackSetting,
	tlsCertSetting, tlsKeySetting, tlsDomainSetting, acmeSetting, acmeEmailSetting}

func checkSwitch(s string) error {
	if s != "true" && s != "false" {
		return usagef("%q is neither true nor false", s)
	}
	return nil
}

func checkHTTPS(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return usagef("%q is no https address", s)
	}
	return nil
}

func checkPrefixes(s string) error {
	_, err := prefixes(s)
	return err
}

// prefixes reads addresses and prefixes joined by commas.
func prefixes(s string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, one := range list(s) {
		p, err := netip.ParsePrefix(one)
		if err != nil {
			a, wrong := netip.ParseAddr(one)
			if wrong != nil {
				return nil, usagef("%q is no address and no prefix such as 10.0.0.0/8", one)
			}
			p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// A guard is what keeps strangers within bounds.
type guard struct {
	keys      []api.Key
	writeKeys bool
	proxies   []netip.Prefix
	loopback  bool // they hold for this machine too

	certFile, keyFile string // or
	domains           []string
	email, directory  string
	folder            string // of certificates that are had by ACME
}

// guardOf reads the settings of a guard and reports every fault.
func guardOf(c *cobra.Command, p *program) (*guard, error) {
	g := &guard{loopback: loopbackSetting.value(c, p) == "true", certFile: tlsCertSetting.value(c, p), keyFile: tlsKeySetting.value(c, p),
		domains: list(tlsDomainSetting.value(c, p)), email: acmeEmailSetting.value(c, p), directory: acmeSetting.value(c, p)}
	var faults []error
	var err error
	if g.proxies, err = prefixes(proxiesSetting.value(c, p)); err != nil {
		faults = append(faults, err)
	}
	for _, s := range []setting{writeTokensSetting, tokensSetting} {
		path := s.value(c, p)
		if path == "" {
			continue
		}
		writes := s.flag == writeTokensSetting.flag
		keys, err := readTokens(path, writes)
		if err != nil {
			faults = append(faults, usagef("--%s: %w", s.flag, err))
		}
		g.keys, g.writeKeys = append(g.keys, keys...), g.writeKeys || writes
	}
	switch {
	case (g.certFile == "") != (g.keyFile == ""):
		faults = append(faults, usagef("--%s and --%s belong together", tlsCertSetting.flag, tlsKeySetting.flag))
	case g.certFile != "" && len(g.domains) > 0:
		faults = append(faults, usagef("a certificate comes from files or from --%s, not both", tlsDomainSetting.flag))
	case len(g.domains) > 0:
		home, err := homeOf(c, p)
		if err != nil {
			faults = append(faults, err)
		}
		g.folder = filepath.Join(home, "certificates")
	}
	return g, errors.Join(faults...)
}

// configure tells the API what it must keep to.
func (g *guard) configure(c *api.Config) {
	c.Keys, c.WriteKeys, c.TrustedProxies, c.LimitLoopback = g.keys, g.writeKeys, g.proxies, g.loopback
}

// Connections at one time beside those that the API gives places to: for short
// requests, in all and of one address.
const (
	besides       = 4000
	besidesPrefix = 200
)

// wrap bounds the connections of a listener.
func (g *guard) wrap(l net.Listener) net.Listener {
	return door.Limit(l, door.Limits{
		All: api.DefaultLimits.Connections + besides, Prefix: api.DefaultLimits.PrefixConnections + besidesPrefix, Exempt: g.exempt,
	})
}

// exempt tells whether connections from an address aren't counted as its own.
func (g *guard) exempt(a netip.Addr) bool {
	for _, p := range g.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return a.IsLoopback() && !g.loopback
}

const (
	certificateLook = 10 * time.Second // between looks at the files
	lastRequests    = 5 * time.Second  // until requests that don't end are cut off
)

// tls returns the settings of TLS, nil without it, and starts what keeps the
// certificates.
func (s *service) tls(ctx context.Context, group *errgroup.Group, l net.Listener) (*tls.Config, error) {
	log := s.logger.With("part", "tls")
	switch g := s.guard; {
	case g.certFile != "":
		certificate, err := door.OpenCertificate(g.certFile, g.keyFile, log)
		if err != nil {
			return nil, err
		}
		group.Go(func() error { return certificate.Watch(ctx, certificateLook) })
		return certificate.TLS(), nil
	case len(g.domains) > 0:
		host, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		automatic := door.Automatic{Domains: g.domains, Folder: g.folder, Email: g.email, Directory: g.directory, Host: host, Port: n, Log: log}
		config, keep, err := automatic.TLS()
		if err != nil {
			return nil, err
		}
		group.Go(func() error { return keep(ctx) })
		return config, nil
	}
	return nil, nil
}

// serveHTTP serves until ctx ends, then lets requests end. It returns the URL.
func (s *service) serveHTTP(ctx context.Context, group *errgroup.Group, l net.Listener, handler http.Handler) (string, error) {
	config, err := s.tls(ctx, group, l)
	if err != nil {
		return "", err
	}
	scheme, guarded := "http://", s.guard.wrap(l)
	if config != nil {
		scheme, guarded = "https://", tls.NewListener(guarded, config)
	}
	web := door.NewServer(handler, door.Times{}, s.logger.With("part", "http"))
	group.Go(func() error { return door.Serve(ctx, web, guarded, lastRequests) })
	return scheme + l.Addr().String(), nil
}

// newClient returns a client of the server that the settings name, which shows
// the token that they have.
func newClient(c *cobra.Command, p *program) (*client.Client, error) {
	server, err := client.New(serverSetting.value(c, p))
	if err != nil {
		return nil, usageError{err}
	}
	if server.Key = tokenSetting.value(nil, p); server.Key != "" {
		return server, nil
	}
	name := tokenFileSetting.value(nil, p)
	if name == "" {
		return server, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	defer f.Close()
	if err := door.CheckPrivate(name); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	server.Key = strings.TrimSpace(string(text))
	return server, nil
}
