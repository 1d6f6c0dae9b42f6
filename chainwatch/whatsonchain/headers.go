package whatsonchain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

const (
	headersMost = 2000 // in an answer of ours
	newestMost  = 100  // that the service gives of its newest headers
	singlyMost  = 50   // that are asked for one by one before an answer is given
	heightsMost = 8192 // blocks whose heights are remembered

	infoBytes   = 1 << 16 // of an answer about the chain
	headerBytes = 1 << 16 // of a header in JSON
)

// toldHeader is a header as the service tells it in JSON.
type toldHeader struct {
	Hash       string `json:"hash"`
	Height     int64  `json:"height"`
	Version    int64  `json:"version"` // of 32 bits, with or without a sign
	MerkleRoot string `json:"merkleroot"`
	Time       int64  `json:"time"`
	Nonce      int64  `json:"nonce"`
	Bits       string `json:"bits"`
	Prev       string `json:"previousblockhash"` // empty in the genesis block
}

// header puts the header together. It fails with a *service.LieError when it hasn't the
// hash that it is said to have.
func (s *Source) header(t *toldHeader) (h chainwatch.Header, err error) {
	hash, err := frame.ParseHash(t.Hash)
	root, rootErr := frame.ParseHash(t.MerkleRoot)
	bits, bitsErr := strconv.ParseUint(t.Bits, 16, 32)
	var prev frame.Hash
	var prevErr error
	if t.Prev != "" {
		prev, prevErr = frame.ParseHash(t.Prev)
	}
	if errors.Join(err, rootErr, bitsErr, prevErr) != nil || t.Height < 0 || t.Height > math.MaxInt32-headersMost ||
		t.Version < math.MinInt32 || t.Version > math.MaxUint32 || t.Time < 0 || t.Time > math.MaxUint32 || t.Nonce < 0 || t.Nonce > math.MaxUint32 {
		return h, woc.ErrAnswer
	}
	binary.LittleEndian.PutUint32(h[0:], uint32(t.Version))
	copy(h[4:], prev[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], uint32(t.Time))
	binary.LittleEndian.PutUint32(h[72:], uint32(bits))
	binary.LittleEndian.PutUint32(h[76:], uint32(t.Nonce))
	if h.Hash() != hash {
		return h, s.trust.Lied("its header %d hasn't the hash that it is said to have", t.Height)
	}
	return h, nil
}

// Headers implements [chainwatch.Source].
func (s *Source) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.trust.Dropped(); err != nil {
		return nil, err
	}
	headers, err := s.headers(ctx, locator)
	if err != nil {
		return nil, s.failed(err)
	}
	return headers[:min(len(headers), headersMost)], nil
}

func (s *Source) headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	if len(locator) > 0 {
		if list := s.filed(locator[0]); len(list) > 0 {
			return list, nil
		}
	}
	newest, err := s.bulk(ctx, fmt.Sprintf("latest?count=%d", newestMost), 0, newestMost)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("the newest headers: %w", err)
	}
	for _, from := range locator {
		if list, ok := after(newest, from); ok {
			return list, nil
		}
	}
	for _, from := range locator {
		height, err := s.heightOf(ctx, from)
		var list []chainwatch.Header
		if err == nil {
			list, err = s.follow(ctx, from, height, newest)
		}
		if errors.Is(err, ErrNotFound) || errors.Is(err, errReplaced) {
			continue
		}
		return list, err
	}
	return nil, ErrForeign
}

// after returns what follows a block in a list of headers. ok tells whether the
// list shows the block.
func after(list []chainwatch.Header, from frame.Hash) (rest []chainwatch.Header, ok bool) {
	for i := range list {
		if list[i].Prev() == from {
			return list[i:], true
		}
	}
	return nil, len(list) > 0 && list[len(list)-1].Hash() == from
}

// bulk gets headers as on the wire, oldest first, between least and most of them.
// They follow each other, or it fails with a *service.LieError: they are one answer.
func (s *Source) bulk(ctx context.Context, name string, least, most int64) ([]chainwatch.Header, error) {
	answer, err := s.woc.Ask(ctx, http.MethodGet, "/block/headers/"+name, nil, most*chainwatch.HeaderSize)
	if err != nil {
		return nil, orNotFound(err)
	}
	if len(answer)%chainwatch.HeaderSize != 0 || int64(len(answer)) < least*chainwatch.HeaderSize {
		return nil, woc.ErrAnswer
	}
	list := make([]chainwatch.Header, len(answer)/chainwatch.HeaderSize)
	for i := range list {
		list[i] = chainwatch.Header(answer[i*chainwatch.HeaderSize:])
		if i > 0 && list[i].Prev() != list[i-1].Hash() {
			return nil, s.trust.Lied("in one answer it gives header %s, and after it one that doesn't follow", list[i-1].Hash())
		}
	}
	return list, nil
}

// one gets a header by its hash or height.
func (s *Source) one(ctx context.Context, which string) (h chainwatch.Header, height int32, err error) {
	var t toldHeader
	err = orNotFound(s.woc.AskJSON(ctx, "/block/"+which+"/header", headerBytes, &t))
	if err == nil && t.Hash == "" {
		err = ErrNotFound
	}
	if err == nil {
		h, err = s.header(&t)
	}
	if err != nil {
		return h, 0, fmt.Errorf("header %s: %w", which, err)
	}
	return h, int32(t.Height), nil
}

// orNotFound tells a refusal that says that there is no such thing: the service has
// two statuses for it.
func orNotFound(err error) error {
	if woc.IsStatus(err, http.StatusNotFound) || woc.IsStatus(err, http.StatusBadRequest) {
		return ErrNotFound
	}
	return err
}

// heightOf tells at what height a block is, on whatever branch.
func (s *Source) heightOf(ctx context.Context, hash frame.Hash) (int32, error) {
	if hash == s.genesis {
		return 0, nil
	}
	s.mu.Lock()
	height, ok := s.heights[hash]
	s.mu.Unlock()
	if ok {
		return height, nil
	}
	h, height, err := s.one(ctx, hash.String())
	if err == nil && h.Hash() != hash {
		err = s.trust.Lied("asked for header %s it gives another one", hash)
	}
	if err == nil {
		s.remember(hash, height)
	}
	return height, err
}

func (s *Source) remember(hash frame.Hash, height int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rememberLocked(hash, height)
}

// rememberLocked is for who holds s.mu.
func (s *Source) rememberLocked(hash frame.Hash, height int32) {
	if len(s.heights) >= heightsMost {
		clear(s.heights)
	}
	s.heights[hash] = height
}

// follow returns headers after a block that is older than the newest ones. It fails
// with errReplaced when the block isn't on the service's best branch.
func (s *Source) follow(ctx context.Context, from frame.Hash, height int32, newest []chainwatch.Header) (all []chainwatch.Header, err error) {
	for len(all) < headersMost {
		list, done := after(newest, from)
		if !done {
			list, err = s.fromFiles(ctx, from, height)
		}
		if err != nil || len(list) == 0 {
			break
		}
		list = list[:min(len(list), headersMost-len(all))]
		all = append(all, list...)
		from, height = list[len(list)-1].Hash(), height+int32(len(list))
		s.remember(from, height)
		if done {
			break
		}
	}
	var lie *service.LieError
	switch {
	case errors.As(err, &lie) || err != nil && len(all) == 0:
		return nil, err
	case len(all) > 0:
		return all, nil // what is missing is asked for next
	}
	return s.singly(ctx, from, height)
}

// singly asks for the headers after a block one by one.
func (s *Source) singly(ctx context.Context, from frame.Hash, height int32) (list []chainwatch.Header, err error) {
	for len(list) < singlyMost {
		next := height + int32(len(list)) + 1
		h, told, err := s.one(ctx, strconv.Itoa(int(next)))
		switch {
		case errors.Is(err, ErrNotFound) && len(list) == 0:
			return nil, s.stillAt(ctx, from, height)
		case errors.Is(err, ErrNotFound):
			return list, nil
		case err != nil:
			return nil, err
		case told != next:
			return nil, s.trust.Lied("it tells of height %d where %d is", told, next)
		case h.Prev() != from && len(list) == 0:
			return nil, errReplaced
		case h.Prev() != from:
			return list, nil // the branch has changed meanwhile
		}
		from = h.Hash()
		s.remember(from, next)
		list = append(list, h)
	}
	return list, nil
}

// stillAt fails with errReplaced unless a block is at its height: then it is the
// service's newest one.
func (s *Source) stillAt(ctx context.Context, hash frame.Hash, height int32) error {
	h, _, err := s.one(ctx, strconv.Itoa(int(height)))
	if err == nil && h.Hash() != hash {
		err = errReplaced
	}
	if height == 0 && errors.Is(err, errReplaced) {
		return ErrForeign
	}
	return err
}
