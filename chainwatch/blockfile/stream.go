package blockfile

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
)

// streamBuffer is small: blocks are jumped over, and each jump fills it anew.
const streamBuffer = 64 << 10 // bytes

// A stream reads the content of a file forwards. Content that isn't compressed is
// jumped over without being read.
type stream struct {
	r      *bufio.Reader
	at     int64    // offset in the content of the next byte
	size   int64    // of the content, or -1 when nobody knows
	file   *os.File // to jump in; nil for compressed content
	source io.Reader
}

// fileStream reads f from its beginning.
func fileStream(f *os.File, source io.Reader, size int64) *stream {
	return &stream{r: bufio.NewReaderSize(source, streamBuffer), size: size, file: f, source: source}
}

// zstdStream reads what a decoder gives, which begins at an offset of the
// content.
func zstdStream(source io.Reader, at int64) *stream {
	return &stream{r: bufio.NewReaderSize(source, streamBuffer), at: at, size: -1}
}

// peek returns the next n bytes, or with io.EOF those that are left.
func (s *stream) peek(n int) ([]byte, error) {
	b, err := s.r.Peek(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, err
}

// window returns what is in the buffer, at least n bytes of it except at the end.
func (s *stream) window(n int) ([]byte, error) { return s.peek(max(n, s.r.Buffered())) }

// fits tells whether the content can have n more bytes.
func (s *stream) fits(n uint64) bool {
	return n < 1<<62 && (s.size < 0 || int64(n) <= s.size-s.at)
}

// skip goes n bytes on. It fails with io.ErrUnexpectedEOF when the content ends
// before.
func (s *stream) skip(n uint64) error {
	if n <= uint64(s.r.Buffered()) {
		_, err := s.r.Discard(int(n))
		s.at += int64(n)
		return err
	}
	if !s.fits(n) {
		return io.ErrUnexpectedEOF
	}
	if s.file != nil {
		if _, err := s.file.Seek(s.at+int64(n), io.SeekStart); err != nil {
			return err
		}
		s.r.Reset(s.source)
		s.at += int64(n)
		return nil
	}
	const most = 1 << 30
	for n > 0 {
		done, err := s.r.Discard(int(min(n, most)))
		s.at += int64(done)
		n -= uint64(done)
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// varint reads a length in the wire's variable form.
func (s *stream) varint() (uint64, error) {
	first, err := s.bytes(1)
	if err != nil || first < 0xfd {
		return first, err
	}
	return s.bytes(1 << (first - 0xfc))
}

// bytes reads a number of n bytes, little endian.
func (s *stream) bytes(n int) (v uint64, err error) {
	b, err := s.peek(n)
	if len(b) < n {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	for i := n; i > 0; i-- {
		v = v<<8 | uint64(b[i-1])
	}
	return v, s.skip(uint64(n))
}

// A watched reader ends with its context and tells how far it is.
type watched struct {
	ctx  context.Context
	f    *os.File
	tell func(at int64) // offset in the file
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.f.Read(p)
	if at, failed := w.f.Seek(0, io.SeekCurrent); failed == nil && w.tell != nil {
		w.tell(at)
	}
	return n, err
}
