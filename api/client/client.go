// Package client talks to a metaim server: its HTTP API and, with
// [Client.Subscribe], its WebSocket. The types here are what the server writes.
//
// A server is not to be trusted for what can be checked: [Verify] checks a
// message against its signature.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Client asks one server. Its fields may be changed before it is used; many
// goroutines may use it.
type Client struct {
	HTTP     *http.Client
	MaxReply int64  // bytes of one answer, one WebSocket frame or one event of a stream that are accepted
	Key      string // of the server, if it gave one with a quota of its own

	base *url.URL
}

// Defaults of a Client.
const (
	DefaultMaxReply = 64 << 20
	DefaultTimeout  = 60 * time.Second
)

// New returns a client of the server at an http or https URL; /v1 and what
// follows is added to its path.
func New(baseURL string) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", baseURL, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("server %q is no http or https address", baseURL)
	}
	return &Client{HTTP: &http.Client{Timeout: DefaultTimeout}, MaxReply: DefaultMaxReply, base: u}, nil
}

// ErrTooLarge says that an answer was larger than MaxReply.
var ErrTooLarge = errors.New("the server's answer is too large")

func (c *Client) url(query url.Values, path ...string) *url.URL {
	escaped := make([]string, len(path))
	for i, p := range path {
		escaped[i] = url.PathEscape(p)
	}
	u := c.base.JoinPath(escaped...)
	u.RawQuery = query.Encode()
	return u
}

// call sends a request and reads the answer into out. A refusal is a *Problem.
func (c *Client) call(ctx context.Context, method string, u *url.URL, mediaType string, body []byte, out any, headers ...string) error {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	// Everything that is asked here may be asked twice, transactions too: where a
	// server closes the connection while a request is on its way, net/http asks
	// again. A key without a value says so and isn't sent.
	req.Header["X-Idempotency-Key"] = nil
	c.sign(req)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.MaxReply+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", u.Path, err)
	}
	if int64(len(answer)) > c.MaxReply {
		return ErrTooLarge
	}
	if resp.StatusCode >= 300 {
		return problemOf(resp, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read %s: %w", u.Path, err)
	}
	return nil
}

// sign shows the server's key, if there is one.
func (c *Client) sign(req *http.Request) {
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
}

// problemOf reads why a request failed, whether the server or something on the
// way to it says so.
func problemOf(resp *http.Response, answer []byte) *Problem {
	p := &Problem{}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(answer, p) != nil {
		p = &Problem{Code: "http", Title: http.StatusText(resp.StatusCode), Retryable: resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests}
	}
	p.Status = resp.StatusCode
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		p.RetryAfter = n
	}
	return p
}

func get[T any](ctx context.Context, c *Client, query url.Values, path ...string) (*T, error) {
	out := new(T)
	if err := c.call(ctx, http.MethodGet, c.url(query, path...), "", nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Info asks which chain the server serves, and its limits.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	return get[Info](ctx, c, nil, "v1", "info")
}

// A MessageQuery says which messages to list. What isn't set doesn't restrict.
type MessageQuery struct {
	Address string // sent or received by it
	Name    string // the same, of the address that the name has now
	Peer    string // with Address or Name: only between the two; an address or name
	Type    string
	Text    string // words that the text has, all of them; one that ends in * stands for all that begin so
	State   string // seen, confirmed, refused; empty: seen and confirmed
	After   string // cursor: what follows it in the list
	Before  string // cursor: what stands before it in the list
	Limit   int    // of a page; 0: the server's default
	Oldest  bool   // oldest first
}

func (q MessageQuery) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"address": q.Address, "name": q.Name, "peer": q.Peer, "type": q.Type, "q": q.Text, "state": q.State, "after": q.After, "before": q.Before,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Oldest {
		v.Set("order", "oldest")
	}
	return v
}

// Messages asks for one page of messages.
func (c *Client) Messages(ctx context.Context, q MessageQuery) (*MessagePage, error) {
	return get[MessagePage](ctx, c, q.values(), "v1", "messages")
}

// AllMessages yields the messages of all pages, beginning as q says, until it has
// failed or nothing follows. Before is not used.
func (c *Client) AllMessages(ctx context.Context, q MessageQuery) iter.Seq2[Message, error] {
	q.Before = ""
	return all(q.After, func(after string) ([]Message, string, bool, error) {
		q.After = after
		page, err := c.Messages(ctx, q)
		if err != nil {
			return nil, "", false, err
		}
		return page.Items, page.Next, page.Complete, nil
	})
}

// all yields the items of the pages of a list.
func all[T any](after string, get func(after string) (items []T, next string, complete bool, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for at := after; ; {
			items, next, complete, err := get(at)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if complete {
				return
			}
			if next == "" || next == at {
				yield(none, errors.New("the server's pages don't end"))
				return
			}
			at = next
		}
	}
}

// Message asks for one message, by frame id or txid:vout, with its occurrences.
func (c *Client) Message(ctx context.Context, id string) (*MessageReply, error) {
	return get[MessageReply](ctx, c, nil, "v1", "messages", id)
}

// Name asks who holds a name.
func (c *Client) Name(ctx context.Context, name string) (*NameReply, error) {
	return get[NameReply](ctx, c, nil, "v1", "names", name)
}

// NameHistory asks for the operations on a name.
func (c *Client) NameHistory(ctx context.Context, name string) (*History, error) {
	return get[History](ctx, c, nil, "v1", "names", name, "history")
}

// Address asks what is known of an address.
func (c *Client) Address(ctx context.Context, address string) (*Address, error) {
	return get[Address](ctx, c, nil, "v1", "addresses", address)
}

// Transaction asks what a transaction carries.
func (c *Client) Transaction(ctx context.Context, txid string) (*Transaction, error) {
	return get[Transaction](ctx, c, nil, "v1", "transactions", txid)
}

// Submit hands a raw transaction to the server for the network. Handing in the
// same twice does no harm. It fails with a *Problem of CodeRefused when the node
// won't have it.
func (c *Client) Submit(ctx context.Context, raw []byte) (*Submitted, error) {
	out := &Submitted{}
	err := c.call(ctx, http.MethodPost, c.url(nil, "v1", "transactions"), "application/octet-stream", raw, out)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SubmitOnce is Submit with an Idempotency-Key, a text chosen for this transaction:
// asked again with the same key, the server gives the answer of the first time
// without handing the transaction in again. It fails with a *Problem of code
// idempotency_conflict when the key was used for other bytes.
func (c *Client) SubmitOnce(ctx context.Context, raw []byte, key string) (*Submitted, error) {
	out := &Submitted{}
	err := c.call(ctx, http.MethodPost, c.url(nil, "v1", "transactions"), "application/octet-stream", raw, out, "Idempotency-Key", key)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Client) socketURL() string {
	u := c.url(nil, "v1", "ws")
	u.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
	return u.String()
}
