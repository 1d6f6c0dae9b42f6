package proof

import (
	"context"
	"errors"
	"fmt"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
)

// Reasons why headers can't be brought up to date.
var (
	ErrOtherChain = errors.New("the headers are of another chain than the server's")
	ErrTurned     = errors.New("the chain turned while its headers were fetched: try again")
	ErrLighter    = errors.New("the server's chain has less work than the headers that are there: nothing was changed")
)

// mostHeaders bounds what a server can make us hold: at ten minutes for a block,
// what a century brings.
const mostHeaders = 6_000_000

// Fetch asks page for the headers behind those that are there, and returns both
// together: what a reorganisation took off the chain is replaced. page gives the
// headers from a height on, one behind the other, and none when there are none;
// [client.Client.Headers] does. h may be empty, and isn't changed. It fails as Add
// does, with ErrOtherChain, ErrTurned or ErrLighter, or with what page fails with.
func Fetch(ctx context.Context, h *Headers, page func(ctx context.Context, from int32) ([]byte, error)) (*Headers, error) {
	grown := h.Clone()
	if h.Tip() >= 0 {
		if err := grown.rewind(ctx, page); err != nil {
			return nil, err
		}
	}
	for {
		more, err := page(ctx, grown.Tip()+1)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			break
		}
		if err := grown.extend(more); err != nil {
			return nil, err
		}
	}
	if grown.Lighter(h) {
		return nil, ErrLighter
	}
	return grown, nil
}

func (h *Headers) extend(more []byte) error {
	if len(more)%client.HeaderBytes != 0 {
		return ErrCut
	}
	for ; len(more) > 0; more = more[client.HeaderBytes:] {
		if len(h.list) >= mostHeaders {
			return fmt.Errorf("over %d headers", mostHeaders)
		}
		err := h.Add(chainwatch.Header(more[:client.HeaderBytes]))
		if errors.Is(err, ErrLink) && len(h.list) > 0 {
			return fmt.Errorf("%w (%w)", ErrTurned, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewind goes back to the last header that the server has too.
func (h *Headers) rewind(ctx context.Context, page func(ctx context.Context, from int32) ([]byte, error)) error {
	for step := int32(1); ; step *= 2 {
		theirs, err := page(ctx, h.Tip())
		if err != nil {
			return err
		}
		if len(theirs) >= client.HeaderBytes && chainwatch.Header(theirs[:client.HeaderBytes]) == h.list[len(h.list)-1] {
			return nil
		}
		if h.Tip() == h.from {
			return ErrOtherChain
		}
		h.Cut(max(h.Tip()-step, h.from))
	}
}
