// Package noderpc asks a Bitcoin SV node over JSON-RPC, and absorbs what the
// nodes do differently: bsvd and svnode have other error codes, other texts and
// other HTTP statuses for the same thing.
//
// Use [New] and the typed methods; [Client.Call] is for the rest. Errors of the
// node are an [*RPCError], and errors.Is tells which of the ones below it is:
// [ErrAlreadyKnown], [ErrDoubleSpend], [ErrMissingInputs], [ErrSafeMode],
// [ErrBusy], [ErrNotFound]. A node that doesn't answer gives [ErrUnreachable].
// The password stands in no error and is never logged.
package noderpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// Defaults of a [Config].
const (
	DefaultTimeout   = 60 * time.Second
	DefaultMaxAnswer = 256 << 20 // bytes; a block comes as hexadecimal
)

// Config says where a node is.
type Config struct {
	URL       string        // http://host:port, or https; a user and password in it are used
	User      string        // of Basic authentication
	Password  string        // likewise; never in an error
	Timeout   time.Duration // of one call; 0 is DefaultTimeout
	MaxAnswer int64         // bytes of one answer; 0 is DefaultMaxAnswer
}

// A Client asks one node. It is safe for concurrent use.
type Client struct {
	http      *http.Client
	url       string
	user      string
	password  string
	timeout   time.Duration
	maxAnswer int64
	lastID    atomic.Uint64
}

// New checks the configuration and returns a client; it connects to nothing.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the address of the node's RPC is no URL such as http://127.0.0.1:8332") // the URL may hold a password
	}
	c := &Client{user: cfg.User, password: cfg.Password, timeout: cfg.Timeout, maxAnswer: cfg.MaxAnswer}
	if u.User != nil && c.user == "" {
		c.user = u.User.Username()
		c.password, _ = u.User.Password()
	}
	u.User = nil
	c.url = u.String()
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.maxAnswer <= 0 {
		c.maxAnswer = DefaultMaxAnswer
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			// No proxy: a node's password is for the node.
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     15 * time.Second, // svnode closes after 30
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// URL returns the address of the node, without user and password.
func (c *Client) URL() string { return c.url }

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

type request struct {
	Version string `json:"jsonrpc"`
	ID      uint64 `json:"id"` // bsvd doesn't answer a request without one
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type answer struct {
	ID     *uint64         `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// Call asks the node and decodes the result into out, which may be nil. It ends
// with ctx or after the configured time. It fails with an *RPCError, with
// ErrBusy, ErrUnauthorized, ErrAnswer or ErrUnreachable.
func (c *Client) Call(ctx context.Context, method string, params []any, out any) error {
	if err := c.call(ctx, method, params, out); err != nil {
		return fmt.Errorf("ask the node for %s: %w", method, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method string, params []any, out any) error {
	if params == nil {
		params = []any{}
	}
	id := c.lastID.Add(1)
	body, err := json.Marshal(request{Version: "1.0", ID: id, Method: method, Params: params})
	if err != nil {
		return err
	}
	status, text, err := c.post(ctx, body)
	if err != nil {
		return err
	}
	return decode(status, text, id, out)
}

// decode reads a whole answer to the question with an id.
func decode(status int, text []byte, id uint64, out any) error {
	var a answer
	if json.Unmarshal(text, &a) != nil || a.Result == nil && a.Error == nil {
		return statusError(status, text)
	}
	switch {
	case a.Error != nil:
		return newRPCError(a.Error.Code, a.Error.Message)
	case status != http.StatusOK:
		return statusError(status, nil)
	case a.ID == nil || *a.ID != id:
		return fmt.Errorf("%w: it is of another question", ErrAnswer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(a.Result, out); err != nil {
		return fmt.Errorf("%w: %s", ErrAnswer, Clean(err.Error()))
	}
	return nil
}

// post sends one request and reads the whole answer.
func (c *Client) post(ctx context.Context, body []byte) (status int, text []byte, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(limited, http.MethodPost, c.url, body)
	if err != nil {
		return 0, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, unreachable(ctx, err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, c.maxAnswer+1))
	if err != nil {
		return 0, nil, unreachable(ctx, err)
	}
	if int64(len(text)) > c.maxAnswer {
		return 0, nil, fmt.Errorf("%w: it is longer than %d bytes", ErrAnswer, c.maxAnswer)
	}
	return resp.StatusCode, text, nil
}

func (c *Client) request(ctx context.Context, method, address string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.user != "" || c.password != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	return req, nil
}

// unreachable wraps an error of the connection. When the caller's own context
// has ended, that is the reason, and no fault of the node.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the rest repeats the address
	}
	unreachable := fmt.Errorf("%w: %s", ErrUnreachable, Clean(err.Error()))
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return &unsentError{unreachable}
	}
	return unreachable
}

// An unsentError is an ErrUnreachable that is also an ErrUnsent.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

func (e *unsentError) Is(target error) bool { return target == ErrUnsent }

// statusError is the error of an answer that is no JSON-RPC.
func statusError(status int, text []byte) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return ErrUnauthorized
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests,
		bytes.Contains(text, []byte("Work queue depth exceeded")):
		return ErrBusy
	}
	return fmt.Errorf("%w: HTTP status %s and no JSON-RPC", ErrAnswer, strconv.Itoa(status))
}
