package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

var (
	submitSetting = setting{flag: "submit", variable: "METAIM_SUBMIT", many: true, repeat: true, check: checkSubmit,
		usage: "way to submit transactions: node, arc:URL, arcade:URL or mapi:URL; may stand several times, then all are used at once (default: node, where there is one)"}
	submitTokenSetting = setting{flag: "submit-token", variable: "METAIM_SUBMIT_TOKEN", only: true, secret: true,
		usage: "token of the service in --submit; HOST=TOKEN joined by commas for several"}
	submitTokenFileSetting = setting{flag: "submit-token-file", variable: "METAIM_SUBMIT_TOKEN_FILE", only: true,
		usage: "file that holds the tokens, one a line"}
	callbackSetting = setting{flag: "callback-url", variable: "METAIM_CALLBACK_URL", check: checkCallback,
		usage: "URL under which services reach this server, such as https://im.example.org: they then tell what becomes of transactions (default: they are asked)"}
)

// submitSettings are those of submitting.
var submitSettings = []setting{submitSetting, submitTokenSetting, submitTokenFileSetting, callbackSetting}

// A wayName is one way to submit, as it is named in a setting.
type wayName struct{ kind, url string }

const ownNode = "node" // the way through a node of one's own

func wayNames(s string) (all []wayName, err error) {
	for _, one := range list(s) {
		kind, address, _ := strings.Cut(one, ":")
		switch {
		case one == ownNode:
		case (kind == "arc" || kind == "arcade" || kind == "mapi") && address != "":
		default:
			return nil, usagef("%q is none of node, arc:URL, arcade:URL and mapi:URL", withoutPassword(one))
		}
		all = append(all, wayName{kind, address})
	}
	return all, nil
}

func checkSubmit(s string) error {
	names, err := wayNames(s)
	for _, n := range names {
		if n.kind == ownNode || err != nil {
			continue
		}
		if _, err = n.way(broadcast.Service{URL: n.url}, "", ""); err != nil {
			err = usageError{err}
		}
	}
	return err
}

func checkCallback(s string) error {
	if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.User != nil {
		return usagef("the callback address is no URL such as https://im.example.org")
	}
	return nil
}

// way makes the way to a service.
func (n wayName) way(s broadcast.Service, callback, token string) (broadcast.Way, error) {
	if n.kind == "mapi" {
		m, err := broadcast.NewMAPI(s)
		if err != nil {
			return broadcast.Way{}, err
		}
		return m.Way(), nil
	}
	a, err := broadcast.NewARC(broadcast.ARCConfig{Service: s, Arcade: n.kind == "arcade", CallbackURL: callback, CallbackToken: token})
	if err != nil {
		return broadcast.Way{}, err
	}
	return a.Way(), nil
}

// submitTokens reads the tokens of services, by host; "" is the one that stands
// without a host.
func submitTokens(c *cobra.Command, p *program, names []wayName) (map[string]string, error) {
	text := submitTokenSetting.value(c, p)
	if path := submitTokenFileSetting.value(c, p); path != "" && text == "" {
		b, err := signer.ReadPrivate(path, 64<<10)
		if err != nil {
			return nil, fmt.Errorf("the tokens of services: %w", err)
		}
		text = string(b)
	}
	hosts, services := map[string]bool{}, 0
	for _, n := range names {
		if u, err := url.Parse(n.url); err == nil && n.kind != ownNode {
			hosts[u.Host] = true
			services++
		}
	}
	tokens := map[string]string{}
	for _, one := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		host, token, found := strings.Cut(strings.TrimSpace(one), "=")
		if !found || !hosts[host] {
			host, token = "", strings.TrimSpace(one)
		}
		if host == "" && services > 1 {
			return nil, usagef("there are several services: say whose each token is, HOST=TOKEN")
		}
		if token != "" {
			tokens[host] = token
		}
	}
	return tokens, nil
}

// A submitting is how transactions are submitted. The zero submitting takes none.
type submitting struct {
	ways     []broadcast.Way
	fees     bool // ways other than a node may name one
	callback *api.Callback
}

// submittingOf reads the settings. Without --submit the node is the only way, where
// there is one.
func submittingOf(c *cobra.Command, p *program, s *service) (w submitting, err error) {
	names, err := wayNames(submitSetting.value(c, p))
	if err != nil {
		return w, err
	}
	tokens, err := submitTokens(c, p, names)
	if err != nil {
		return w, err
	}
	callback := callbackSetting.value(c, p)
	if callback != "" {
		if err := checkCallback(callback); err != nil {
			return w, err
		}
		// It lives as long as the transactions that are followed: in this process.
		w.callback = &api.Callback{Token: rand.Text()}
		callback = strings.TrimRight(callback, "/") + api.CallbackPath
	}
	for _, n := range names {
		if n.kind == ownNode {
			way, ok := s.nodeWay()
			if !ok {
				return w, usagef("--submit node needs --node-rpc or --devnet-dir")
			}
			w.ways = append(w.ways, way)
			continue
		}
		service := broadcast.Service{URL: n.url, Token: tokens[""]}
		if u, err := url.Parse(n.url); err == nil && tokens[u.Host] != "" {
			service.Token = tokens[u.Host]
		}
		token := ""
		if w.callback != nil {
			token = w.callback.Token
		}
		way, err := n.way(service, callback, token)
		if err != nil {
			return w, usageError{err}
		}
		w.ways, w.fees = append(w.ways, way), true
	}
	return w, nil
}

// nodeWay returns the way through a node of one's own.
func (s *service) nodeWay() (broadcast.Way, bool) {
	switch {
	case s.local != nil:
		return broadcast.Way{Name: "devnet", Submit: func(ctx context.Context, tx *broadcast.Transaction) error {
			_, err := s.local.submit(ctx, tx.Raw)
			return err
		}}, true
	case s.rpc != nil:
		return broadcast.NewNodeRPC(s.rpc).Way(), true
	}
	return broadcast.Way{}, false
}

// configure has the API take transactions, and starts what follows them.
func (w *submitting) configure(ctx context.Context, group *errgroup.Group, s *service, store index.Store, config *api.Config) {
	ways := w.ways
	if way, ok := s.nodeWay(); ok && len(ways) == 0 {
		ways = []broadcast.Way{way}
	}
	if len(ways) == 0 {
		return
	}
	ways = s.watching.ways(ways)
	log := s.logger.With("part", "submit")
	multi := broadcast.NewMulti(ways, log)
	watch := broadcast.NewWatch(broadcast.WatchConfig{Ways: ways, Submit: multi.Submit, Logger: log,
		Confirmed: func(ctx context.Context, txid frame.Hash) (bool, error) { return confirmed(ctx, store, txid) }})
	submit := func(ctx context.Context, tx *broadcast.Transaction) (frame.Hash, error) {
		if err := multi.Submit(ctx, tx); err != nil {
			return tx.ID, err
		}
		read, err := chainwatch.ReadTransaction(tx.Raw, s.network)
		watch.Add(tx, err == nil && len(read.Frames) > 0)
		return tx.ID, nil
	}
	config.Submit = func(ctx context.Context, raw []byte) (frame.Hash, error) { return submit(ctx, broadcast.Raw(raw)) }
	if multi.Extended() {
		config.SubmitExtended = func(ctx context.Context, raw, extended []byte) (frame.Hash, error) {
			return submit(ctx, &broadcast.Transaction{ID: frame.HashOf(raw), Raw: raw, Extended: extended})
		}
	}
	group.Go(func() error { return multi.Run(ctx) })
	group.Go(func() error { return watch.Run(ctx) })
	if w.fees {
		fees := broadcast.NewFees(ways, log)
		config.Fee = func() (satoshis, bytes uint64) {
			rate := fees.Rate()
			return rate.Satoshis, rate.Bytes
		}
		group.Go(func() error { return fees.Run(ctx) })
	}
	if w.callback != nil {
		config.Callback = w.callback
		config.Callback.Told = watch.Told
	}
}

// confirmed tells whether the index has a transaction in a block.
func confirmed(ctx context.Context, store index.Store, txid frame.Hash) (is bool, err error) {
	err = store.View(ctx, func(v index.View) error {
		entries, err := v.InTransaction(txid)
		is = len(entries) > 0 && entries[0].Height >= 0
		return err
	})
	return is, err
}
