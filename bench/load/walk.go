package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// Opcodes of frames (RFC 6455, 5.2).
const (
	opcodeText  = 0x1
	opcodeClose = 0x8
	opcodePing  = 0x9
	opcodePong  = 0xa

	opcodeControl = 0x8 // this bit says that it is of a control frame
	final         = 0x80
	masked        = 0x80
)

// mostControl is the most that a control frame holds.
const mostControl = 125

// largestSample is how far the marker is looked for in a message that comes in
// pieces, in bytes.
const largestSample = 64 << 10

var (
	errMasked   = errors.New("the server masks its frames, or uses an extension that wasn't agreed on")
	errControl  = errors.New("a control frame is longer than 125 bytes or in pieces")
	errTooLarge = errors.New("a frame is longer than the protocol allows")
	errClosed   = errors.New("the server has closed the connection")
)

// A walker walks over the frames that a server sends, as they come in pieces of
// any size.
type walker struct {
	lines  bool
	marker []byte
	every  int // messages for one sample

	deliveries int64
	pongs      []byte // frames that answer pings, to be sent

	head    [10]byte
	have    int    // bytes of the header so far
	payload bool   // the header is whole
	left    uint64 // bytes of the payload to come
	control []byte // payload of a control frame so far
	part    []byte // of a message that is sampled, from the frames before
	skip    int    // messages until the next sample
}

// feed walks over bytes that were read now, and hands over the latencies of the
// messages that end in them.
func (w *walker) feed(b []byte, now int64, sample func(time.Duration)) error {
	for len(b) > 0 || w.payload && w.left == 0 {
		if !w.payload {
			n, err := w.header(b)
			if err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		n := len(b)
		if w.left < uint64(n) {
			n = int(w.left)
		}
		w.left -= uint64(n)
		if err := w.piece(b[:n], now, sample); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// header takes bytes of a header and returns how many.
func (w *walker) header(b []byte) (taken int, err error) {
	if w.have < 2 {
		taken = copy(w.head[w.have:2], b)
		if w.have += taken; w.have < 2 {
			return taken, nil
		}
		if w.head[0]&0x70 != 0 || w.head[1]&masked != 0 {
			return taken, errMasked
		}
	}
	size := 2
	switch w.head[1] {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	n := copy(w.head[w.have:size], b[taken:])
	if w.have += n; w.have == size {
		err = w.begin()
	}
	return taken + n, err
}

// begin begins with the payload of a frame whose header is whole.
func (w *walker) begin() error {
	switch w.left = uint64(w.head[1]); w.left {
	case 126:
		w.left = uint64(binary.BigEndian.Uint16(w.head[2:]))
	case 127:
		w.left = binary.BigEndian.Uint64(w.head[2:])
	}
	if w.left > 1<<63-1 {
		return errTooLarge
	}
	if w.isControl() && (w.left > mostControl || w.head[0]&final == 0) {
		return errControl
	}
	w.have, w.payload = 0, true
	return nil
}

func (w *walker) isControl() bool { return w.head[0]&opcodeControl != 0 }

// piece takes a piece of a payload; nothing is left of it when it is the last.
func (w *walker) piece(b []byte, now int64, sample func(time.Duration)) error {
	ends := w.left == 0
	if ends {
		w.payload = false
	}
	if w.isControl() {
		w.control = append(w.control, b...)
		if ends {
			return w.answer()
		}
		return nil
	}
	if w.lines {
		w.deliveries += int64(bytes.Count(b, []byte{'\n'}))
	}
	ends = ends && w.head[0]&final != 0
	if len(w.marker) > 0 && w.skip == 0 {
		w.sample(b, ends, now, sample)
	}
	if ends {
		w.deliveries++
		if w.skip--; w.skip < 0 {
			w.skip = w.every - 1
		}
	}
	return nil
}

// answer does what a control frame asks for.
func (w *walker) answer() error {
	data := w.control
	w.control = w.control[:0]
	switch w.head[0] & 0xf {
	case opcodeClose:
		return errClosed
	case opcodePing:
		w.pongs = appendMasked(w.pongs, opcodePong, data)
	}
	return nil
}

// sample finds the latencies in a message that is sampled, when it ends.
func (w *walker) sample(b []byte, ends bool, now int64, found func(time.Duration)) {
	if !ends || len(w.part) > 0 {
		w.part = append(w.part, b[:min(len(b), largestSample-len(w.part))]...)
		if !ends {
			return
		}
		b = w.part
		w.part = nil // few messages come in pieces: keep no buffer for them
	}
	for {
		at := bytes.Index(b, w.marker)
		if at < 0 {
			return
		}
		b = b[at+len(w.marker):]
		if sent, ok := digits(b); ok {
			found(time.Duration(now - sent))
		}
	}
}

// digits reads the number that b begins with. One that ends with b may have been
// cut off.
func digits(b []byte) (n int64, ok bool) {
	for i, c := range b {
		if c < '0' || c > '9' {
			return n, i > 0
		}
		if i == 18 {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return 0, false
}

// appendMasked appends a whole frame as a client sends it. The key that masks it
// is zero, which leaves the payload as it is: there is no proxy to protect here.
func appendMasked(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, final|opcode)
	switch size := len(payload); {
	case size < 126:
		dst = append(dst, masked|byte(size))
	case size <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(size))
	}
	return append(append(dst, 0, 0, 0, 0), payload...)
}
