package junglebus

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
	rest "github.com/metaim/metaim/internal/junglebus"
)

const entryBytes = 1000 // that a transaction may take in a list, in JSON

// A listed transaction is one that the service says to concern an address.
type listed struct {
	id    frame.Hash
	mined bool // it is said to be in a block
}

// told is a listed transaction as the service tells it.
type told struct {
	TxID   string `json:"transaction_id"`
	Block  string `json:"block_hash"`   // empty when it is in none
	Height int64  `json:"block_height"` // older services leave it out
}

// list lists the transactions of an address, each once. The answer may end early:
// so it is asked for again from the highest block on, until nothing new comes.
func (c *Client) list(ctx context.Context, address string) (list []listed, err error) {
	at := map[frame.Hash]int{}
	from := int64(0)
	for range c.most.pages {
		page, err := c.page(ctx, address, from)
		if err != nil {
			return nil, err
		}
		before := len(list)
		for _, t := range page {
			e, err := t.read()
			if err != nil {
				return nil, err
			}
			from = max(from, t.Height)
			if i, again := at[e.id]; again {
				list[i].mined = list[i].mined || e.mined
				continue
			}
			at[e.id] = len(list)
			list = append(list, e)
		}
		if len(list) > c.most.transactions {
			return nil, c.tooMany()
		}
		if len(list) == before {
			return list, nil
		}
	}
	return nil, fmt.Errorf("%w: the list goes on after %d parts", ErrTooMany, c.most.pages)
}

func (c *Client) tooMany() error {
	return fmt.Errorf("%w: there are more than %d, which is all that is looked through", ErrTooMany, c.most.transactions)
}

// page asks for a list from a block on; nothing of it is checked. Older services
// know no height in the question.
func (c *Client) page(ctx context.Context, address string, from int64) (page []told, err error) {
	most := int64(c.most.transactions+1) * entryBytes
	err = c.service.AskJSON(ctx, fmt.Sprintf("/address/get/%s/%d", address, from), most, &page)
	if errors.Is(err, rest.ErrNotFound) {
		err = c.service.AskJSON(ctx, "/address/get/"+address, most, &page)
	}
	switch {
	case errors.Is(err, rest.ErrNotFound):
		return nil, nil // an address that was never used
	case errors.Is(err, rest.ErrTooLong):
		return nil, c.tooMany()
	}
	return page, err
}

func (t *told) read() (listed, error) {
	id, err := frame.ParseHash(t.TxID)
	if err != nil || t.Height < 0 || t.Height > math.MaxInt32 {
		return listed{}, rest.ErrAnswer
	}
	if _, err := frame.ParseHash(t.Block); err != nil && t.Block != "" {
		return listed{}, rest.ErrAnswer
	}
	return listed{id, t.Block != ""}, nil
}
