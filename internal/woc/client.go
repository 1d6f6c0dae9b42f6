// Package woc asks WhatsOnChain, for the finder of coins and the source of blocks:
// never more often than the service allows, again and more and more slowly when it
// is asked too often or fails, and with a bound on every answer. A transaction's
// bytes are checked against its id.
//
// The client is our own: a few questions are asked, and mrz1836/go-whatsonchain has
// a fixed address and no bound on what it reads.
package woc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/metaim/metaim/improtocol/frame"
)

// DefaultURL is the service's address.
const DefaultURL = "https://api.whatsonchain.com/v1/bsv"

// PerSecond is how many questions a second the service answers to who shows no key.
const PerSecond = 3

// BulkMost is how many transactions may be asked for at once.
const BulkMost = 20

const (
	tries       = 5
	longestWait = time.Minute
	keyHeader   = "woc-api-key"
	keyMost     = 1024 // bytes of a key
	redirects   = 5
	slightly    = 0.99 // of the pace that is allowed, as ways and clocks differ
)

// Reasons why the service didn't give what it was asked for.
var (
	ErrTooLong = errors.New("the answer is over the limit")
	ErrAnswer  = errors.New("the answer isn't what it should be")
	ErrNotIt   = errors.New("what the service gave isn't that transaction")
	ErrMissing = errors.New("the service doesn't have the transaction")
)

// A StatusError says with which HTTP status the service refused.
type StatusError struct {
	Status int
	after  time.Duration
}

func (e *StatusError) Error() string {
	switch e.Status {
	case http.StatusTooManyRequests:
		return "the service is asked too often (status 429)"
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("the service doesn't let us in (status %d): the key may be wrong", e.Status)
	}
	return fmt.Sprintf("the service answers with status %d", e.Status)
}

// IsStatus tells whether an error says that the service refused with a status.
func IsStatus(err error, status int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == status
}

// Config says how to ask. Network must be given; a zero in another field stands for
// its default.
type Config struct {
	URL       string // default DefaultURL
	Network   frame.Network
	Key       string            // which the service knows us by; default none
	PerSecond float64           // questions; default PerSecond
	Patience  time.Duration     // for an answer; default a minute
	Backoff   time.Duration     // after a refusal; doubles; default a second
	Transport http.RoundTripper // default one of its own
}

// A Client asks the service. It may be used by many goroutines.
type Client struct {
	base     string
	key      string
	http     *http.Client
	limiter  *rate.Limiter
	backoff  time.Duration
	patience time.Duration

	mu    sync.Mutex
	pause time.Time // until then nothing is asked: the service said that it is too much
}

// New returns a client. Regtest, which the service doesn't know, is asked for as
// testnet, for stand-ins.
func New(cfg Config) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the address of WhatsOnChain is none such as %s", DefaultURL)
	}
	if len(cfg.Key) > keyMost || strings.ContainsFunc(cfg.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the key for WhatsOnChain is none: it is one word")
	}
	if cfg.Key != "" && u.Scheme == "http" && !isLocal(u.Hostname()) {
		return nil, errors.New("the key for WhatsOnChain isn't shown over http to another machine: use https")
	}
	if cfg.PerSecond < 0 || math.IsNaN(cfg.PerSecond) {
		return nil, errors.New("the questions a second for WhatsOnChain are no number above 0")
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = PerSecond
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = time.Second
	}
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxResponseHeaderBytes = 64 << 10
		cfg.Transport = t
	}
	name := "test"
	if cfg.Network == frame.Main {
		name = "main"
	}
	return &Client{
		base: strings.TrimSuffix(u.String(), "/") + "/" + name, key: cfg.Key, backoff: cfg.Backoff, patience: cfg.Patience,
		http:    &http.Client{Transport: cfg.Transport, CheckRedirect: redirect},
		limiter: rate.NewLimiter(rate.Limit(cfg.PerSecond*slightly), 1),
	}, nil
}

func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// redirect follows a few times, and shows the key to nobody else: net/http takes
// off only the headers that it knows for secrets.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= redirects {
		return errors.New("the service sends us from one address to the next")
	}
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header.Del(keyHeader)
	}
	return nil
}

// URL returns the address with the network, for people.
func (c *Client) URL() string { return c.base }

// Close closes connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask waits until the service may be asked, and asks, again and more and more
// slowly when it is asked too often or fails. most bounds the answer, in bytes. It
// fails with a *StatusError, ErrTooLong, or what the connection fails with.
func (c *Client) Ask(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	wait := c.backoff
	for i := 1; ; i++ {
		answer, err := c.Once(ctx, method, path, body, most)
		var status *StatusError
		if !errors.As(err, &status) || status.Status != http.StatusTooManyRequests && status.Status < 500 || i == tries {
			return answer, err
		}
		rest := min(max(wait, status.after), longestWait)
		if status.Status == http.StatusTooManyRequests {
			c.rest(rest) // for all who ask
		} else if err := Sleep(ctx, rest); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// AskJSON asks with GET and reads the answer into out.
func (c *Client) AskJSON(ctx context.Context, path string, most int64, out any) error {
	answer, err := c.Ask(ctx, http.MethodGet, path, nil, most)
	if err == nil && json.Unmarshal(answer, out) != nil {
		err = ErrAnswer
	}
	return err
}

// Once waits until the service may be asked, and asks a single time. When that is too
// often, nobody asks for a while.
func (c *Client) Once(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	if err := c.turn(ctx); err != nil {
		return nil, err
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	answer, err := c.exchange(ctx, method, path, body, most)
	if err != nil && ctx.Err() != nil && whole.Err() == nil {
		err = fmt.Errorf("the service doesn't answer within %s", c.patience)
	}
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusTooManyRequests {
		c.rest(min(max(c.backoff, status.after), longestWait))
	}
	return answer, err
}

func (c *Client) exchange(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set(keyHeader, c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 0 || seconds > 3600 {
			seconds = 0
		}
		return nil, &StatusError{resp.StatusCode, time.Duration(seconds) * time.Second}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(answer)) > most {
		return nil, ErrTooLong
	}
	return answer, nil
}

// turn waits until a question may be asked.
func (c *Client) turn(ctx context.Context) error {
	for {
		if err := c.limiter.Wait(ctx); err != nil {
			return err
		}
		c.mu.Lock()
		left := time.Until(c.pause)
		c.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if err := Sleep(ctx, left); err != nil {
			return err
		}
	}
}

// rest has nobody ask for a while.
func (c *Client) rest(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(d); until.After(c.pause) {
		c.pause = until
	}
}

// Sleep waits, or fails with the context.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
