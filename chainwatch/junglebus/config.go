package junglebus

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/metaim/metaim/chainwatch"
	rest "github.com/metaim/metaim/internal/junglebus"
)

// Config says which service to use. Params and URL must be given; a zero in
// another field stands for its default.
type Config struct {
	Params *chainwatch.Params
	URL    string // https://HOST/SUBSCRIPTION: the subscription's id is the end of the path
	Logger *slog.Logger

	Poll        time.Duration // of the newest block's header; default 5 s
	Patience    time.Duration // for an answer, and for the next part of a block; default 30 s
	Backoff     time.Duration // before the first attempt to connect again, growing to 30 s; default 500 ms
	Concurrency int           // questions at once; default 4
	MaxTx       int           // bytes of a transaction; default 100 MB
	MaxBlock    int64         // bytes of what matches in one block; default 1 GB
}

// Reasons why the service didn't give what it was asked for.
var (
	ErrNotFound = rest.ErrNotFound
	ErrForeign  = errors.New("the service knows none of our blocks, not even the genesis block")
	ErrNoBlocks = errors.New("this service has no whole blocks")
	ErrReplaced = errors.New("the service has another block at this height")
	errTooLong  = rest.ErrTooLong
	errAnswer   = rest.ErrAnswer
)

// withDefaults checks a configuration and takes its URL apart.
func (c Config) withDefaults() (_ Config, base *url.URL, subscription string, err error) {
	if c.Params == nil {
		return c, nil, "", errors.New("the service's network isn't given")
	}
	base, ok := rest.ParseURL(c.URL)
	if !ok {
		return c, nil, "", errors.New("the service's address is none such as https://junglebus.gorillapool.io/SUBSCRIPTION")
	}
	cut := strings.LastIndexByte(base.Path, '/')
	subscription = strings.Trim(base.Path[max(cut, 0):], "/")
	if subscription == "" || len(subscription) > 128 || strings.ContainsAny(subscription, ":/ ") {
		return c, nil, "", errors.New("the service's address doesn't end with the id of a subscription")
	}
	base.Path = strings.TrimSuffix(base.Path[:max(cut, 0)], "/")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for d, def := range map[*time.Duration]time.Duration{
		&c.Poll: 5 * time.Second, &c.Patience: 30 * time.Second, &c.Backoff: 500 * time.Millisecond,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 4
	}
	if c.MaxTx <= 0 {
		c.MaxTx = 100e6
	}
	if c.MaxBlock <= 0 {
		c.MaxBlock = 1e9
	}
	return c, base, subscription, nil
}
