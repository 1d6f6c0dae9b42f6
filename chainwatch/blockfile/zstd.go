package blockfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// largestWindow is what a decoder may keep of the past: what zstd --long
	// needs.
	largestWindow = 128 << 20 // bytes
	// pointDistance is how far apart the places are from which a compressed file
	// can be read, in bytes of the content. Not each frame is worth one.
	pointDistance = 1 << 20
)

var (
	errZstd     = errors.New("no valid zstd frame")
	zstdMagic   = []byte{0x28, 0xb5, 0x2f, 0xfd}
	skipMagic   = uint32(0x184d2a50) // to ...5f: frames for other purposes
	zstdOptions = []zstd.DOption{
		zstd.WithDecoderConcurrency(1), // no goroutines to join
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(largestWindow),
	}
)

// isZstd tells whether a file begins as a compressed one.
func isZstd(b []byte) bool {
	return bytes.HasPrefix(b, zstdMagic) || len(b) >= 4 && binary.LittleEndian.Uint32(b)&^0xf == skipMagic
}

// A point is a place from which a compressed file can be read: the beginning of
// a frame.
type point struct {
	file    int64 // offset in the file
	content int64 // and in the content
}

// A decoder reads the content of a compressed file frame by frame, so that it
// knows where they begin.
type decoder struct {
	in     *bufio.Reader
	dec    *zstd.Decoder
	frame  *zstdFrame
	at     point         // where the reading is: file counts whole frames
	points func(p point) // told of the beginning of each frame; may be nil
	cut    bool          // the file ends within a frame
}

// newDecoder reads from source, which is at a point of the file.
func newDecoder(source io.Reader, from point, points func(point)) (*decoder, error) {
	dec, err := zstd.NewReader(nil, zstdOptions...)
	if err != nil {
		return nil, err
	}
	return &decoder{in: bufio.NewReaderSize(source, streamBuffer), dec: dec, at: from, points: points}, nil
}

func (d *decoder) close() { d.dec.Close() }

// Read implements io.Reader. A file that ends within a frame ends there, with
// cut set.
func (d *decoder) Read(b []byte) (int, error) {
	for {
		if d.frame == nil {
			if err := d.next(); err != nil {
				return 0, d.ended(err)
			}
		}
		n, err := d.dec.Read(b)
		d.at.content += int64(n)
		if errors.Is(err, io.EOF) {
			err = d.finish()
		}
		if n > 0 || err != nil {
			return n, d.ended(err)
		}
		if len(b) == 0 {
			return 0, nil
		}
	}
}

func (d *decoder) ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		d.cut = true
		return io.EOF
	}
	return err
}

// next begins the next frame that holds content. It fails with io.EOF at the end
// of the file.
func (d *decoder) next() error {
	for {
		b, err := d.in.Peek(8)
		switch {
		case len(b) == 0:
			return err
		case len(b) < 4 && errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case !isZstd(b):
			return fmt.Errorf("offset %d of the file: %w", d.at.file, errZstd)
		case bytes.HasPrefix(b, zstdMagic):
			if d.points != nil {
				d.points(d.at)
			}
			d.frame = &zstdFrame{in: d.in, left: 5, state: inHead}
			return d.dec.Reset(d.frame)
		case len(b) < 8:
			return io.ErrUnexpectedEOF
		}
		size := 8 + int64(binary.LittleEndian.Uint32(b[4:]))
		if _, err := io.CopyN(io.Discard, d.in, size); err != nil {
			return io.ErrUnexpectedEOF
		}
		d.at.file += size
	}
}

// finish takes what is left of a frame whose content has been read.
func (d *decoder) finish() error {
	if _, err := io.Copy(io.Discard, d.frame); err != nil {
		return err
	}
	d.at.file += d.frame.read
	d.frame = nil
	return nil
}

type frameState int

const (
	inHead   frameState = iota // magic and descriptor
	inFields                   // the rest of the frame's header
	inBlock                    // the header of a block
	inData                     // a block
	inLast                     // the last block
	inSum
	inEnd
)

// A zstdFrame hands the bytes of one frame on and ends with it: the format has no
// length of a frame, so its blocks are followed.
type zstdFrame struct {
	in    *bufio.Reader
	state frameState
	left  int64 // bytes of the present part
	read  int64 // bytes handed on
	sum   bool  // a checksum follows the last block
	seen  []byte
}

// Read implements io.Reader.
func (f *zstdFrame) Read(b []byte) (int, error) {
	for f.left == 0 {
		if f.state == inEnd {
			return 0, io.EOF
		}
		if err := f.advance(); err != nil {
			return 0, err
		}
	}
	if int64(len(b)) > f.left {
		b = b[:f.left]
	}
	n, err := f.in.Read(b)
	f.left -= int64(n)
	f.read += int64(n)
	if f.state == inHead || f.state == inBlock {
		f.seen = append(f.seen, b[:n]...)
	}
	if errors.Is(err, io.EOF) && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// advance goes to the next part.
func (f *zstdFrame) advance() error {
	switch f.state {
	case inHead:
		d := f.seen[4]
		f.sum = d&4 != 0
		single := d&0x20 != 0
		f.left = [4]int64{0, 1, 2, 4}[d&3] + [4]int64{0, 2, 4, 8}[d>>6]
		if !single || d>>6 == 0 {
			f.left++ // the window's size, or else the content's in one byte
		}
		f.state = inFields
	case inFields, inData:
		f.state, f.left, f.seen = inBlock, 3, f.seen[:0]
	case inBlock:
		head := uint32(f.seen[0]) | uint32(f.seen[1])<<8 | uint32(f.seen[2])<<16
		f.left = int64(head >> 3)
		switch head >> 1 & 3 {
		case 1:
			f.left = 1 // one byte, repeated
		case 3:
			return errZstd
		}
		f.state = inData
		if head&1 != 0 {
			f.state = inLast
		}
	case inLast:
		f.state = inEnd
		if f.sum {
			f.state, f.left = inSum, 4
		}
	case inSum:
		f.state = inEnd
	}
	return nil
}
