package junglebus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
)

const (
	headersMost = 2000
	knownMost   = 8192 // headers that are remembered, for the blocks to be asked for next
)

// toldHeader is a header as the service tells it: all but the block before.
type toldHeader struct {
	Hash       string `json:"hash"`
	Height     uint32 `json:"height"`
	Time       uint32 `json:"time"`
	Nonce      uint32 `json:"nonce"`
	Version    uint32 `json:"version"`
	MerkleRoot string `json:"merkleroot"`
	Bits       string `json:"bits"`
}

// after puts the header together, given the block before. It fails with a
// *service.LieError when it hasn't the hash that it is said to have.
func (t *toldHeader) after(prev frame.Hash, of string) (h chainwatch.Header, err error) {
	hash, err := frame.ParseHash(t.Hash)
	root, rootErr := frame.ParseHash(t.MerkleRoot)
	bits, bitsErr := strconv.ParseUint(t.Bits, 16, 32)
	if errors.Join(err, rootErr, bitsErr) != nil {
		return h, fmt.Errorf("header %d: %w", t.Height, errAnswer)
	}
	binary.LittleEndian.PutUint32(h[0:], t.Version)
	copy(h[4:], prev[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], t.Time)
	binary.LittleEndian.PutUint32(h[72:], uint32(bits))
	binary.LittleEndian.PutUint32(h[76:], t.Nonce)
	if h.Hash() != hash {
		return h, &service.LieError{Service: of, What: fmt.Sprintf("its header %d hasn't the hash that it is said to have, or doesn't follow the block before", t.Height)}
	}
	return h, nil
}

// A known header is one that the service told of and that was put together.
type known struct {
	header chainwatch.Header
	height uint32
	whole  bool // the header is known, not only the height
}

func (s *Source) remember(hash frame.Hash, k known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= knownMost {
		clear(s.known)
	}
	s.known[hash] = k
}

func (s *Source) recall(hash frame.Hash) (k known, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok = s.known[hash]
	return k, ok
}

// Headers implements [chainwatch.Source].
func (s *Source) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	if err := s.trust.Dropped(); err != nil {
		return nil, err
	}
	for _, from := range locator {
		height, err := s.heightOf(ctx, from)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, s.failed(err)
		}
		list, err := s.follow(ctx, from, height)
		if errors.Is(err, ErrReplaced) || errors.Is(err, ErrNotFound) {
			continue
		}
		return list, s.failed(err)
	}
	return nil, s.failed(ErrForeign)
}

// heightOf tells at what height a block is, on whatever branch.
func (s *Source) heightOf(ctx context.Context, hash frame.Hash) (uint32, error) {
	if hash == s.genesis {
		return 0, nil
	}
	if k, ok := s.recall(hash); ok {
		return k.height, nil
	}
	t, err := s.header(ctx, hash.String())
	if err != nil {
		return 0, err
	}
	if t.Hash != hash.String() || t.Height > math.MaxInt32-headersMost {
		return 0, fmt.Errorf("header %s: %w", hash, errAnswer)
	}
	s.remember(hash, known{height: t.Height})
	return t.Height, nil
}

// header gets one header by its hash or height.
func (s *Source) header(ctx context.Context, which string) (t toldHeader, err error) {
	if err := s.service().AskJSON(ctx, "/block_header/get/"+which, headerBytes, &t); err != nil {
		return t, fmt.Errorf("header %s: %w", which, err)
	}
	if t.Hash == "" {
		return t, fmt.Errorf("header %s: %w", which, ErrNotFound)
	}
	return t, nil
}

// list gets the service's headers from a height on.
func (s *Source) list(ctx context.Context, height uint32, limit int) (list []toldHeader, err error) {
	path := fmt.Sprintf("/block_header/list/%d?limit=%d", height, limit)
	if err := s.service().AskJSON(ctx, path, int64(limit+1)*headerBytes, &list); err != nil {
		return nil, fmt.Errorf("headers from height %d on: %w", height, err)
	}
	if len(list) > limit {
		return nil, fmt.Errorf("headers from height %d on: %w", height, errTooLong)
	}
	return list, nil
}

// follow returns the headers after a block. It fails with ErrReplaced when the
// block isn't on the service's best branch.
func (s *Source) follow(ctx context.Context, from frame.Hash, height uint32) ([]chainwatch.Header, error) {
	list, err := s.list(ctx, height, headersMost+1)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].Height != height || list[0].Hash != from.String() {
		return nil, ErrReplaced
	}
	var headers []chainwatch.Header
	for _, t := range list[1:] {
		h, err := t.after(from, s.name)
		var lie *service.LieError
		if errors.As(err, &lie) && len(headers) > 0 {
			// The branch may have changed while the list was made: what is good goes
			// on, and the next question begins where it ends.
			return headers, nil
		}
		if err != nil {
			return nil, err
		}
		height++
		if t.Height != height {
			return nil, s.trust.Lied("it tells of height %d where %d is", t.Height, height)
		}
		from = h.Hash()
		s.remember(from, known{h, height, true})
		headers = append(headers, h)
	}
	return headers, nil
}

// whole returns a block's header, with the height.
func (s *Source) whole(ctx context.Context, hash frame.Hash) (known, error) {
	if k, ok := s.recall(hash); ok && k.whole {
		return k, nil
	}
	height, err := s.heightOf(ctx, hash)
	if err != nil {
		return known{}, err
	}
	if height == 0 {
		return known{s.cfg.Params.Genesis, 0, true}, nil
	}
	list, err := s.list(ctx, height-1, 2)
	if err != nil {
		return known{}, err
	}
	if len(list) != 2 || list[1].Hash != hash.String() {
		return known{}, ErrReplaced
	}
	prev, err := frame.ParseHash(list[0].Hash)
	if err != nil {
		return known{}, errAnswer
	}
	h, err := list[1].after(prev, s.name)
	if err != nil {
		return known{}, err
	}
	k := known{h, height, true}
	s.remember(hash, k)
	return k, nil
}
