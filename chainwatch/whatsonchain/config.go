package whatsonchain

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

// Config says how to use the service. Params must be given; a zero in another field
// stands for its default.
type Config struct {
	Params *chainwatch.Params
	URL    string // without the network; default woc.DefaultURL
	Key    string // which the service knows us by; default none
	Logger *slog.Logger

	PerSecond   float64       // questions; default 3
	Poll        time.Duration // of the newest block; default 10 s
	Patience    time.Duration // for an answer; default a minute
	Backoff     time.Duration // after a question that failed; doubles; default a second
	Concurrency int           // questions for the transactions of one block at once; default 3
	MaxTx       int64         // bytes of a transaction; default 100 MB
	MaxBlock    int64         // bytes; default 64 GB

	transport http.RoundTripper // of tests
}

// Reasons why the service didn't give what it was asked for.
var (
	ErrNotFound = errors.New("the service doesn't have it")
	ErrForeign  = errors.New("the service knows none of our blocks, not even the genesis block")
	ErrTooLarge = errors.New("the block is over the limit")
	ErrClosed   = errors.New("the block is closed")
	errReplaced = errors.New("the service has another block at this height")
)

func (c Config) withDefaults() (Config, error) {
	if c.Params == nil {
		return c, errors.New("the service's network isn't given")
	}
	if c.Params.Network == frame.Regtest && (c.URL == "" || c.URL == woc.DefaultURL) {
		return c, fmt.Errorf("WhatsOnChain knows nothing of network %s", frame.Regtest)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Poll <= 0 {
		c.Poll = 10 * time.Second
	}
	if c.Backoff <= 0 {
		c.Backoff = time.Second
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 3
	}
	if c.MaxTx <= 0 {
		c.MaxTx = 100e6
	}
	if c.MaxBlock <= 0 {
		c.MaxBlock = 64e9
	}
	return c, nil
}
