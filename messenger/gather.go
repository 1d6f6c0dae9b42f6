package messenger

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// searched is how many messages older than part 1 are looked at for its other
// parts: they come after it, but for blocks that were replaced.
const searched = 2000

// Gather finds the other parts of a message, given any one of them. What it
// returns may not be complete; parts that are missing are no error. It fails with
// ErrNoPart, ErrJoinedLarge, as [client.Verify] does for part 1, or as the server
// does: with a *client.Problem of [client.CodeNotFound] when part 1 isn't there.
func (u *Person) Gather(ctx context.Context, m client.Message) (*Gathering, error) {
	g, err := u.Begin(ctx, m, false)
	if err != nil {
		return nil, err
	}
	return g, u.Search(ctx, g)
}

// Begin finds part 1 of a message, given any part, and begins to gather. slim
// keeps no message fields. It fails as Gather does.
func (u *Person) Begin(ctx context.Context, m client.Message, slim bool) (*Gathering, error) {
	p, ok := PartOf(m)
	if !ok {
		return nil, ErrNoPart
	}
	if p.Index != 1 {
		reply, err := u.Client.Message(ctx, p.First)
		if err != nil {
			return nil, fmt.Errorf("part 1 of %d, %s: %w", p.Count, p.First, err)
		}
		m = reply.Message
	}
	g, err := NewGathering(u.Network, m, slim)
	switch {
	case err != nil:
		return nil, err
	case m.ID != p.First:
		return nil, client.ErrFrameID
	}
	return g, nil
}

// Search looks for the parts that are missing among the messages between the
// sender and the first recipient.
func (u *Person) Search(ctx context.Context, g *Gathering) error {
	first := g.First()
	q := client.MessageQuery{Address: first.Address}
	if len(first.Recipients) > 0 {
		q.Peer = first.Recipients[0]
	}
	left := -1 // messages still looked at, once part 1 was met
	for m, err := range u.Newest(ctx, q) {
		if err != nil {
			return err
		}
		if _, err := g.Add(m); err != nil {
			return err
		}
		if m.ID == first.ID {
			left = searched
		}
		if left--; g.Complete() || left == 0 {
			break
		}
	}
	return nil
}

// largestPage is the most messages of a page. One may have as many bytes as a
// transaction, so pages that are too large are asked for again in smaller ones.
const largestPage = 100

// Newest yields the messages of a query, newest first, until it has failed or all
// are told. Limit is how many are asked for at a time, 100 at most. Large messages make its pages smaller, never too large.
func (u *Person) Newest(ctx context.Context, q client.MessageQuery) iter.Seq2[client.Message, error] {
	q.Oldest, q.Before = false, ""
	if q.Limit < 1 || q.Limit > largestPage {
		q.Limit = largestPage
	}
	return func(yield func(client.Message, error) bool) {
		for {
			page, err := u.Client.Messages(ctx, q)
			if errors.Is(err, client.ErrTooLarge) && q.Limit > 1 {
				q.Limit = max(1, q.Limit/8)
				continue
			}
			if err != nil {
				yield(client.Message{}, err)
				return
			}
			for _, m := range page.Items {
				if !yield(m, nil) {
					return
				}
			}
			if page.Complete {
				return
			}
			if page.Next == "" || page.Next == q.After {
				yield(client.Message{}, errors.New("the server's pages of messages don't end"))
				return
			}
			q.After = page.Next
		}
	}
}

// Answered finds the message that another one answers; ok is false when it
// answers none, or one that isn't there or isn't what its id says.
func (u *Person) Answered(ctx context.Context, m client.Message) (answered client.Message, ok bool) {
	re := client.ParseOther(m.Other)[improtocol.OtherRe]
	if !isFrameID(re) {
		return client.Message{}, false
	}
	reply, err := u.Client.Message(ctx, re)
	if err != nil || reply.ID != re || client.Verify(reply.Message, u.Network) != nil {
		return client.Message{}, false
	}
	return reply.Message, true
}

// HashOf returns the hash of an address of the person's network; the zero hash
// for what is none.
func (u *Person) HashOf(address string) frame.KeyHash {
	h, err := u.Network.ParseAddress(address)
	if err != nil {
		return frame.KeyHash{}
	}
	return h
}
