package noderpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

const (
	headerSize    = 80
	streamBuffer  = 64 << 10 // bytes
	largestAround = 64 << 10 // bytes of an answer beside the block in it
)

var errStalled = errors.New("it sends nothing more")

// GetBlockStream opens a block for streaming, as on the wire. It comes as
// hexadecimal within JSON and is decoded while it arrives, so that memory doesn't
// grow with the block. The block's hash is checked before it returns. It fails
// with ErrNotFound and like Call; the configured time is that between two
// arrivals. Reading ends with io.EOF only when the answer was whole.
func (c *Client) GetBlockStream(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	r, err := c.openRPC(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("ask the node for getblock: %w", err)
	}
	return r, nil
}

// GetBlockREST is GetBlockStream over REST (/rest/block/HASH.bin), which svnode
// has when it was started with -rest: half the bytes and no decoding. It fails
// with ErrNoREST when the node has no REST or not the block.
func (c *Client) GetBlockREST(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	r, err := c.openREST(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("ask the node for a block over REST: %w", err)
	}
	return r, nil
}

func (c *Client) openRPC(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	id := c.lastID.Add(1)
	body, err := json.Marshal(request{Version: "1.0", ID: id, Method: "getblock", Params: []any{hash.String(), 0}})
	if err != nil {
		return nil, err
	}
	in, resp, err := c.stream(ctx, http.MethodPost, c.url, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer in.Close()
		text, err := io.ReadAll(io.LimitReader(in, largestAround))
		if err != nil {
			return nil, err
		}
		return nil, refusal(resp.StatusCode, text, id)
	}
	h := newHexStream(in, id)
	found, err := h.toResult()
	if err == nil && !found {
		err = refusal(resp.StatusCode, h.around, id)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return checked(h, hash)
}

// refusal is the error of an answer that should hold a block and doesn't.
func refusal(status int, text []byte, id uint64) error {
	if err := decode(status, text, id, nil); err != nil {
		return err
	}
	return fmt.Errorf("%w: there is no block in it", ErrAnswer)
}

func (c *Client) openREST(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	address := strings.TrimSuffix(c.url, "/") + "/rest/block/" + hash.String() + ".bin"
	in, resp, err := c.stream(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// A node without REST may take this for a wrong JSON-RPC question and answer
	// that, with status 200.
	binary := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/octet-stream")
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		in.Close()
		return nil, ErrBusy
	case resp.StatusCode != http.StatusOK || !binary:
		in.Close()
		return nil, ErrNoREST
	}
	return checked(in, hash)
}

// stream sends a question and returns the answer's body to be read.
func (c *Client) stream(ctx context.Context, method, address string, body []byte) (*arrival, *http.Response, error) {
	inner, cancel := context.WithCancelCause(ctx)
	a := &arrival{ctx: ctx, inner: inner, cancel: cancel, patience: c.timeout}
	req, err := c.request(inner, method, address, body)
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	var resp *http.Response
	err = a.within(func() (err error) {
		resp, err = c.http.Do(req)
		return err
	})
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	a.body = resp.Body
	return a, resp, nil
}

// An arrival is the body of an answer. It ends when nothing arrives for too long;
// the time that its reader takes doesn't count.
type arrival struct {
	ctx      context.Context // of who asked
	inner    context.Context
	cancel   context.CancelCauseFunc
	patience time.Duration
	body     io.ReadCloser
}

func (a *arrival) within(do func() error) error {
	timer := time.AfterFunc(a.patience, func() { a.cancel(errStalled) })
	defer timer.Stop()
	err := do()
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case errors.Is(context.Cause(a.inner), errStalled):
		return fmt.Errorf("%w: %w", ErrUnreachable, errStalled)
	}
	return unreachable(a.ctx, err)
}

// Read implements io.Reader.
func (a *arrival) Read(p []byte) (n int, err error) {
	err = a.within(func() error {
		n, err = a.body.Read(p)
		return err
	})
	return n, err
}

// Close ends the connection unless all was read.
func (a *arrival) Close() error {
	a.cancel(nil)
	return a.body.Close()
}

// checked reads a block's header and compares its hash.
func checked(in io.ReadCloser, hash frame.Hash) (io.ReadCloser, error) {
	head := make([]byte, headerSize)
	_, err := io.ReadFull(in, head)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: it is shorter than a header", ErrAnswer)
	case err == nil && frame.HashOf(head) != hash:
		err = fmt.Errorf("%w: it is another block", ErrAnswer)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return &rejoined{Reader: io.MultiReader(bytes.NewReader(head), in), Closer: in}, nil
}

type rejoined struct {
	io.Reader
	io.Closer
}

// A hexStream decodes the string "result" of a JSON-RPC answer while it arrives.
// All around it is kept, with an empty string for the result, and checked when
// the answer is whole.
type hexStream struct {
	in     io.Closer
	r      *bufio.Reader
	id     uint64
	around []byte
	inside bool // the string has begun
	err    error
}

func newHexStream(in io.ReadCloser, id uint64) *hexStream {
	return &hexStream{in: in, r: bufio.NewReaderSize(in, streamBuffer), id: id}
}

// toResult reads up to the first character of the result, if it is a string. At
// the end of the answer found is false.
func (h *hexStream) toResult() (found bool, err error) {
	var (
		depth, start     int
		text, escaped    bool // within a string
		key, last        string
		value, wasInside = false, h.inside
	)
	for {
		c, err := h.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(h.around) >= largestAround {
			return false, fmt.Errorf("%w: there is too much beside the block", ErrAnswer)
		}
		h.around = append(h.around, c)
		switch {
		case text && escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case text && c == '"':
			text, last = false, string(h.around[start:len(h.around)-1])
		case text:
		case c == '"' && depth == 1 && value && key == "result" && !wasInside:
			h.around, h.inside = append(h.around, '"'), true
			return true, nil
		case c == '"':
			text, start = true, len(h.around)
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':' && depth == 1:
			key, value = last, true
		case c == ',' && depth == 1:
			value = false
		}
	}
}

// Read implements io.Reader.
func (h *hexStream) Read(p []byte) (int, error) {
	if h.err != nil || len(p) == 0 {
		return 0, h.err
	}
	n, err := h.read(p)
	h.err = err
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (h *hexStream) read(p []byte) (int, error) {
	if b, err := h.r.Peek(2); len(b) == 0 || len(b) == 1 && b[0] != '"' {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: it ends within the block", ErrAnswer)
		}
		return 0, err
	}
	b, err := h.r.Peek(min(h.r.Buffered(), 2*len(p)))
	if err != nil {
		return 0, err
	}
	digits := bytes.IndexByte(b, '"')
	if digits < 0 {
		digits = len(b) &^ 1
	}
	if digits == 0 {
		return 0, h.finish()
	}
	n, err := hex.Decode(p, b[:digits])
	if err != nil {
		return 0, fmt.Errorf("%w: the block is not hexadecimal", ErrAnswer)
	}
	_, err = h.r.Discard(digits)
	return n, err
}

// finish reads what follows the block, and checks that the answer is one.
func (h *hexStream) finish() error {
	if _, err := h.r.Discard(1); err != nil { // the quotation mark
		return err
	}
	if _, err := h.toResult(); err != nil {
		return err
	}
	var empty string
	if err := decode(http.StatusOK, h.around, h.id, &empty); err != nil {
		return err
	}
	return io.EOF
}

// Close implements io.Closer.
func (h *hexStream) Close() error { return h.in.Close() }
