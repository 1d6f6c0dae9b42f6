package client

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"strconv"
	"strings"
)

// A ConversationQuery says whose conversations to list: those of Address, or of
// the address that Name has now.
type ConversationQuery struct {
	Address string
	Name    string
	After   string // cursor: what follows it in the list
	Limit   int    // of a page; 0: the server's default
}

// Conversations asks for one page of conversations, by their last message, newest
// first.
func (c *Client) Conversations(ctx context.Context, q ConversationQuery) (*ConversationPage, error) {
	return get[ConversationPage](ctx, c, values(q.Limit, "address", q.Address, "name", q.Name, "after", q.After), "v1", "conversations")
}

// AllConversations yields the conversations of all pages, until it has failed or
// nothing follows.
func (c *Client) AllConversations(ctx context.Context, q ConversationQuery) iter.Seq2[Conversation, error] {
	return all(q.After, func(after string) ([]Conversation, string, bool, error) {
		q.After = after
		page, err := c.Conversations(ctx, q)
		if err != nil {
			return nil, "", false, err
		}
		return page.Items, page.Next, page.Complete, nil
	})
}

// Coins asks for one page of the coins of an address that the index knows, after a
// cursor; empty: from the first. limit 0 is the server's default.
func (c *Client) Coins(ctx context.Context, address, after string, limit int) (*CoinPage, error) {
	return get[CoinPage](ctx, c, values(limit, "after", after), "v1", "addresses", address, "coins")
}

// AllCoins yields the coins of all pages, until it has failed or nothing follows.
func (c *Client) AllCoins(ctx context.Context, address string) iter.Seq2[Coin, error] {
	return all("", func(after string) ([]Coin, string, bool, error) {
		page, err := c.Coins(ctx, address, after, 0)
		if err != nil {
			return nil, "", false, err
		}
		return page.Items, page.Next, page.Complete, nil
	})
}

// Events asks for a page of the log after a cursor; empty: from its start. limit
// 0 is the server's default. The log has everything: refused frames and blocks too.
func (c *Client) Events(ctx context.Context, after string, limit int) (*EventPage, error) {
	return get[EventPage](ctx, c, values(limit, "after", after), "v1", "events")
}

// FilteredEvents asks for a page of those events after a cursor that a filter
// takes. Of Type and Encryption it may name one value. A page may hold less than
// its limit, even nothing, and not be the last.
func (c *Client) FilteredEvents(ctx context.Context, f Filter, after string, limit int) (*EventPage, error) {
	q := f.values()
	for name, list := range values(limit, "after", after) {
		q[name] = list
	}
	return get[EventPage](ctx, c, q, "v1", "events")
}

// AllEvents yields the events that a filter takes, of all pages from a cursor to
// the end of the log. A nil filter takes everything.
func (c *Client) AllEvents(ctx context.Context, f *Filter, after string) iter.Seq2[Event, error] {
	limit := largePage
	return all(after, func(after string) ([]Event, string, bool, error) {
		page, err := c.anyEvents(ctx, f, after, limit)
		if p := (*Problem)(nil); errors.As(err, &p) && p.Code == "bad_limit" {
			limit = 0
			page, err = c.anyEvents(ctx, f, after, limit)
		}
		if err != nil {
			return nil, "", false, err
		}
		return page.Items, page.Next, page.Complete, nil
	})
}

// largePage is what most servers allow a page to have. For each page of events a
// server looks for those of a filter anew.
const largePage = 1000

func (c *Client) anyEvents(ctx context.Context, f *Filter, after string, limit int) (*EventPage, error) {
	if f == nil {
		return c.Events(ctx, after, limit)
	}
	return c.FilteredEvents(ctx, *f, after, limit)
}

// values makes a query of what is set.
func values(limit int, pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	return v
}

// values writes a filter as the parameters of /v1/events. A filter that names no
// state takes what is seen or confirmed, as over WebSocket.
func (f *Filter) values() url.Values {
	states, blocks := f.State, ""
	switch {
	case f.Blocks:
		blocks = "only"
	case len(states) == 0:
		states = []string{"seen", "confirmed"}
	}
	v := values(0, "address", strings.Join(f.Address, ","), "name", strings.Join(f.Name, ","), "peer", strings.Join(f.Peer, ","),
		"type", strings.Join(f.Type, ","), "encryption", strings.Join(f.Encryption, ","), "state", strings.Join(states, ","), "blocks", blocks)
	for name, n := range map[string]int64{"since": f.Since, "until": f.Until, "min_height": int64(f.MinHeight), "max_height": int64(f.MaxHeight)} {
		if n != 0 {
			v.Set(name, strconv.FormatInt(n, 10))
		}
	}
	return v
}
