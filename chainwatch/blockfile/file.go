package blockfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// ErrClosed is the error of reading a block after Close.
var ErrClosed = errors.New("the block is closed")

// idleMost is how many decoders wait at their places in one file: one for who
// reads on, one for a second reader.
const idleMost = 2

// A file is one of the block files.
type file struct {
	path   string
	zstd   bool
	points []point // of a compressed one, oldest first

	mu    sync.Mutex
	idle  []*cursor // positioned decoders, the one used last at the end
	ended bool      // none is kept any more
}

// A cursor is an open file with a decoder that stands somewhere in the content.
type cursor struct {
	f   *os.File
	dec *decoder
}

func (c *cursor) close() {
	c.dec.close()
	_ = c.f.Close() // it was only read
}

// index makes the pass over the file.
func (f *file) index(p *pass, watch *watched) error {
	opened, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	watch.f = opened
	var head [4]byte
	n, err := opened.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if f.zstd = isZstd(head[:n]); !f.zstd {
		p.s = fileStream(opened, watch, info.Size())
		return p.run()
	}
	dec, err := newDecoder(watch, point{}, f.notePoint)
	if err != nil {
		return err
	}
	defer dec.close()
	p.s = zstdStream(dec, 0)
	err = p.run()
	if err == nil && dec.cut {
		p.warn(faultCut, p.s.at, 0)
	}
	return err
}

func (f *file) notePoint(p point) {
	if n := len(f.points); n == 0 || p.content-f.points[n-1].content >= pointDistance {
		f.points = append(f.points, p)
	}
}

// open opens a block.
func (f *file) open(ctx context.Context, hash frame.Hash, p place) (*blockReader, error) {
	b := &blockReader{ctx: ctx, file: f, left: p.size}
	var err error
	if f.zstd {
		err = b.openZstd(p)
	} else {
		err = b.openPlain(p)
	}
	if err == nil {
		_, err = io.ReadFull(b, b.head[:])
	}
	if err == nil && frame.HashOf(b.head[:]) != hash {
		err = errors.New("another block stands there now")
	}
	if err != nil {
		_ = b.Close() // err says more
		return nil, fmt.Errorf("%s, offset %d: %w", f.path, p.at, err)
	}
	b.ahead = b.head[:]
	return b, nil
}

// take returns a decoder that stands at an offset or before: the nearest of those
// that are idle, or a new one if there is a point nearer.
func (f *file) take(offset int64) (*cursor, error) {
	from := f.points[0]
	for _, p := range f.points {
		if p.content <= offset {
			from = p
		}
	}
	if c := f.takeIdle(from.content, offset); c != nil {
		return c, nil
	}
	opened, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	if _, err := opened.Seek(from.file, io.SeekStart); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	dec, err := newDecoder(opened, from, nil)
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return &cursor{f: opened, dec: dec}, nil
}

func (f *file) takeIdle(least, most int64) *cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	best := -1
	for i, c := range f.idle {
		at := c.dec.at.content
		if at >= least && at <= most && (best < 0 || at > f.idle[best].dec.at.content) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	c := f.idle[best]
	f.idle = append(f.idle[:best], f.idle[best+1:]...)
	return c
}

// giveBack keeps a decoder for the blocks that follow.
func (f *file) giveBack(c *cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		c.close()
		return
	}
	f.idle = append(f.idle, c)
	if len(f.idle) > idleMost {
		f.idle[0].close()
		f.idle = f.idle[1:]
	}
}

// end closes the decoders that are idle, and those in use once they are given
// back.
func (f *file) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for _, c := range f.idle {
		c.close()
	}
	f.idle = nil
}

// A blockReader streams one block out of a file.
type blockReader struct {
	ctx   context.Context
	file  *file
	head  [chainwatch.HeaderSize]byte
	ahead []byte // of head: read already, not yet handed on

	mu     sync.Mutex
	left   int64 // bytes still in the file
	plain  *os.File
	cursor *cursor
	failed bool // the cursor stands nobody knows where
	closed bool
}

func (b *blockReader) openPlain(p place) (err error) {
	if b.plain, err = os.Open(b.file.path); err != nil {
		return err
	}
	_, err = b.plain.Seek(p.at, io.SeekStart)
	return err
}

// openZstd goes to the block through what stands before it.
func (b *blockReader) openZstd(p place) (err error) {
	if b.cursor, err = b.file.take(p.at); err != nil {
		return err
	}
	const step = 4 << 20 // bytes between two looks at the context
	for b.cursor.dec.at.content < p.at {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, b.cursor.dec, min(step, p.at-b.cursor.dec.at.content))
		if err != nil {
			b.failed = true
			return cutShort(err)
		}
	}
	return nil
}

// cutShort turns the end of a file that should go on into an error.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the file has changed: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// Read implements io.Reader. It fails with the context's error, ErrClosed, or
// io.ErrUnexpectedEOF when the file has become shorter.
func (b *blockReader) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, ErrClosed
	case b.ctx.Err() != nil:
		return 0, b.ctx.Err()
	case len(b.ahead) > 0:
		n := copy(p, b.ahead)
		b.ahead = b.ahead[n:]
		return n, nil
	case b.left == 0:
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var n int
	var err error
	if b.cursor != nil {
		n, err = b.cursor.dec.Read(p)
	} else {
		n, err = b.plain.Read(p)
	}
	b.left -= int64(n)
	if n > 0 {
		return n, nil // a failure comes again
	}
	if err != nil {
		b.failed = true
		return 0, fmt.Errorf("read %s: %w", b.file.path, cutShort(err))
	}
	return 0, nil
}

// Close ends the reading. A decoder is kept for the blocks that follow.
func (b *blockReader) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	switch {
	case b.cursor != nil && b.failed:
		b.cursor.close()
	case b.cursor != nil:
		b.file.giveBack(b.cursor)
	case b.plain != nil:
		return b.plain.Close()
	}
	return nil
}

// describe names what a file holds wrongly.
func (f fault) describe(size int64) string {
	switch f {
	case faultWork:
		return fmt.Sprintf("a block of %d bytes doesn't have its proof of work", size)
	case faultCut:
		return "the last block is cut short"
	default:
		return fmt.Sprintf("%d bytes are no record", size)
	}
}

var _ io.ReadCloser = (*blockReader)(nil)
