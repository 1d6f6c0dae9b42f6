package node

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// Config says which node to use. Params and RPC must be given; a zero in another
// field stands for its default.
type Config struct {
	Params *chainwatch.Params
	RPC    noderpc.Config
	ZMQ    []string // tcp://host:port, where svnode publishes; without any the mempool is only polled
	Logger *slog.Logger

	Poll        time.Duration // of the best block and of the mempool; a long list stretches it; default 500 ms
	Concurrency int           // questions at once, beside blocks; default 6
	MaxBlock    int64         // bytes; default 64 GB
	MaxTx       int64         // bytes of a transaction from the mempool; default 100 MB
	DialTimeout time.Duration // of ZMQ, with its handshake; default 10 s
	BackoffMost time.Duration // between attempts to connect to ZMQ; default 10 s
}

// Reasons why the node didn't give what it was asked for.
var (
	ErrNotFound = errors.New("the node doesn't have the block")
	ErrTooLarge = errors.New("the block is over the limit")
	ErrForeign  = errors.New("the node knows none of our blocks, not even the genesis block")
	ErrClosed   = errors.New("the block is closed")
)

// A NetworkError says that the node belongs to another network.
type NetworkError struct {
	Node string     // its URL
	Got  frame.Hash // its genesis block
	Want frame.Network
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("node %s is of %s, not of network %s", e.Node, networkOf(e.Got), e.Want)
}

func networkOf(genesis frame.Hash) string {
	for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
		if chainwatch.ParamsOf(n).Genesis.Hash() == genesis {
			return "network " + string(n)
		}
	}
	return "an unknown network with genesis block " + genesis.String()
}

func (c Config) withDefaults() (Config, error) {
	if c.Params == nil {
		return c, errors.New("the node's network isn't given")
	}
	for i, address := range c.ZMQ {
		host, ok := strings.CutPrefix(address, "tcp://")
		if !ok || !strings.Contains(host, ":") {
			return c, fmt.Errorf("ZMQ address %q is none such as tcp://127.0.0.1:28332", address)
		}
		c.ZMQ = append(append(append([]string(nil), c.ZMQ[:i]...), host), c.ZMQ[i+1:]...)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for d, def := range map[*time.Duration]time.Duration{
		&c.Poll: 500 * time.Millisecond, &c.DialTimeout: 10 * time.Second, &c.BackoffMost: 10 * time.Second,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	for n, def := range map[*int64]int64{&c.MaxBlock: 64e9, &c.MaxTx: 100e6} {
		if *n <= 0 {
			*n = def
		}
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 6
	}
	return c, nil
}
