package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const defaultDevnet = "127.0.0.1:8790"

var devnetSetting = setting{flag: "devnet", variable: "METAIM_DEVNET", fallback: "http://" + defaultDevnet, usage: "control address of the devnet", check: checkServer}

func newDevnet(p *program) *cobra.Command {
	var dir, listen string
	var every time.Duration
	c := &cobra.Command{
		Use:   "devnet",
		Short: "Run a real node on this machine, with a miner and a faucet",
		Long: `Runs bsvd, a full Bitcoin SV node, as a child process on loopback, with a miner
that mines whenever there is something to mine and a faucet that gives coins
away. The network is regtest: its coins are worth nothing. The chain is kept in
the folder and goes on at the next start. The first start builds the node, which
takes half a minute.`,
		Example: "  metaim devnet --dir ./devnet",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				home, err := homeOf(cmd, p)
				if err != nil {
					return err
				}
				dir = filepath.Join(home, "devnet")
			}
			return runDevnet(cmd.Context(), p, devnet.Config{Dir: dir, BlockEvery: every}, listen)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder of the node (default: devnet in the folder of --home)")
	c.Flags().StringVar(&listen, "listen", defaultDevnet, "host:port for control: faucet and mining")
	c.Flags().DurationVar(&every, "block-every", 2*time.Second, "how often to mine what is in the mempool")
	homeSetting.add(c)
	c.AddCommand(newDevnetFund(p), newDevnetMine(p), newDevnetInfo(p))
	return c
}

func runDevnet(ctx context.Context, p *program, config devnet.Config, listen string) (err error) {
	binary, err := devnet.Build(ctx, p.err)
	if err != nil {
		return err
	}
	config.Binary = binary
	listener, err := listenLoopback(listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	node, err := devnet.Start(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Stop()) }()
	fmt.Fprintf(p.err, "metaim: devnet in %s, P2P %s, control http://%s\n", node.Dir(), node.Connection().P2P, listener.Addr())
	return serveDevnet(ctx, node, listener)
}

// serveDevnet mines and answers on the control address until ctx ends.
func serveDevnet(ctx context.Context, node *devnet.Node, listener net.Listener) error {
	control := &http.Server{Handler: devnet.Handler(node), ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return node.Run(ctx) })
	group.Go(func() error {
		if err := control.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return control.Close()
	})
	return group.Wait()
}

// listenLoopback listens on this machine only.
func listenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usageError{err}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, usagef("the devnet gives coins and blocks to whoever asks: %q is not on loopback", address)
	}
	return net.Listen("tcp", address)
}

func newDevnetFund(p *program) *cobra.Command {
	var satoshis uint64
	c := &cobra.Command{
		Use:     "fund ADDRESS",
		Short:   "Send coins of the faucet to an address, and print the transaction",
		Example: "  metaim devnet fund mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := frame.Regtest.ParseAddress(args[0]); err != nil {
				return usagef("%s: %w", args[0], err)
			}
			var funded devnet.Funded
			ask := devnet.Funding{Address: args[0], Satoshis: satoshis}
			if err := control(cmd.Context(), devnetSetting.value(cmd, p), "/faucet", ask, &funded); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.out, funded.Raw)
			return err
		},
	}
	c.Flags().Uint64Var(&satoshis, "satoshis", 1_000_000, "how many satoshis")
	devnetSetting.add(c)
	return c
}

func newDevnetMine(p *program) *cobra.Command {
	blocks := 1
	c := &cobra.Command{
		Use:     "mine",
		Short:   "Mine blocks now, and print their hashes",
		Example: "  metaim devnet mine --blocks 6",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var mined devnet.Mined
			if err := control(cmd.Context(), devnetSetting.value(cmd, p), "/mine", devnet.Mining{Blocks: blocks}, &mined); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.out, strings.Join(mined.Blocks, "\n"))
			return err
		},
	}
	c.Flags().IntVar(&blocks, "blocks", 1, "how many")
	devnetSetting.add(c)
	return c
}

func newDevnetInfo(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:     "info",
		Short:   "Print what the node says of itself, as JSON",
		Example: "  metaim devnet info",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var info devnet.Info
			if err := control(cmd.Context(), devnetSetting.value(cmd, p), "/info", nil, &info); err != nil {
				return err
			}
			return json.NewEncoder(p.out).Encode(info)
		},
	}
	devnetSetting.add(c)
	return c
}

// control asks a devnet's control address; with a body, by POST.
func control(ctx context.Context, base, path string, body, answer any) error {
	method, payload := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, bytes.NewReader(payload))
	if err != nil {
		return usageError{err}
	}
	r.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("no devnet answers at %s: is metaim devnet or metaim demo running? (%w)", base, err)
	}
	defer reply.Body.Close()
	const most = 32 << 20
	text, err := io.ReadAll(io.LimitReader(reply.Body, most))
	if err != nil {
		return err
	}
	if reply.StatusCode != http.StatusOK {
		var refusal struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(text, &refusal) != nil || refusal.Error == "" {
			refusal.Error = reply.Status
		}
		return fmt.Errorf("devnet: %s", safetext.Line(refusal.Error))
	}
	return json.Unmarshal(text, answer)
}
