package api

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// An ear reads the frames of a client (RFC 6455, section 5) and puts its messages
// together. It is stricter than gorilla's reader, which takes text that isn't
// UTF-8, a close of one byte, reserved bits on control frames once compression
// is negotiated, and lengths written longer than they need be; and which answers
// a broken frame by a write of its own, amid a frame of ours perhaps.
type ear struct {
	in      *bufio.Reader
	most    int64 // bytes of a message, as sent and as inflated
	deflate bool  // was negotiated

	started bool // a message has begun
	opcode  int  // of that message
	packed  bool // it is deflated
	message []byte

	held claim // for messages that are larger than most
}

// earBytes is how much is read at once, if there is: control frames fit in it.
const earBytes = 256

// uncountedBytes is what a message may have before it counts as held.
const uncountedBytes = 4 << 10

// newEar returns an ear. In held, which has nothing yet, the bytes of messages
// are counted.
func newEar(from io.Reader, most int64, deflate bool, held claim) *ear {
	return &ear{in: bufio.NewReaderSize(from, earBytes), most: most, deflate: deflate, held: held}
}

// hold counts bytes of a message of so many before they are taken.
func (e *ear) hold(size, more int64) error {
	if size+more <= uncountedBytes {
		return nil
	}
	if e.held.grow(more) != nil {
		return &violation{websocket.CloseTryAgainLater, "this server holds as much as it can"}
	}
	return nil
}

// A heard frame is a control frame, or the last of a message, with all of that.
type heard struct {
	opcode int // 0: a fragment, more of its message is to come
	packed bool
	data   []byte
}

// A violation is a breach of RFC 6455, for which the connection is closed.
type violation struct {
	code   int // of the close frame
	reason string
}

func (v *violation) Error() string { return v.reason }

func breach(reason string) error { return &violation{websocket.CloseProtocolError, reason} }

var errNotUTF8 error = &violation{websocket.CloseInvalidFramePayloadData, "the text is not UTF-8"}

func tooLarge(most int64) error {
	return &violation{websocket.CloseMessageTooBig, fmt.Sprintf("a message may have %d bytes", most)}
}

const (
	finBit, maskBit        = 0x80, 0x80
	rsv1, rsv2, rsv3       = 0x40, 0x20, 0x10
	continuation           = 0
	shortest16, shortest64 = 126, 1 << 16 // lengths from which so many bits are used
	mostControl            = 125
)

// frame reads one frame. It fails with a *violation when the client breaks the
// protocol, else with what the connection fails with.
func (e *ear) frame() (heard, error) {
	head, err := e.in.Peek(2)
	if err != nil {
		return heard{}, err
	}
	first, second := head[0], head[1]
	if _, err := e.in.Discard(2); err != nil {
		return heard{}, err
	}
	if err := e.check(first, second); err != nil {
		return heard{}, err
	}
	size, err := e.size(second &^ maskBit)
	if err != nil {
		return heard{}, err
	}
	opcode := int(first & 0x0f)
	if opcode >= websocket.CloseMessage {
		data, err := e.payload(nil, size)
		return heard{opcode: opcode, data: data}, err
	}
	if size > e.most-int64(len(e.message)) {
		return heard{}, tooLarge(e.most)
	}
	if opcode != continuation {
		e.started, e.opcode, e.packed = true, opcode, first&rsv1 != 0
	}
	if e.message, err = e.payload(e.message, size); err != nil || first&finBit == 0 {
		return heard{}, err
	}
	h := heard{e.opcode, e.packed, e.message}
	e.started, e.message = false, nil
	if h.opcode == websocket.TextMessage && !h.packed && !utf8.Valid(h.data) {
		return heard{}, errNotUTF8
	}
	return h, nil
}

// check looks at the first two bytes of a frame.
func (e *ear) check(first, second byte) error {
	opcode, final := int(first&0x0f), first&finBit != 0
	control := opcode >= websocket.CloseMessage
	known := control && opcode <= websocket.PongMessage || opcode <= websocket.BinaryMessage
	begins := !control && opcode != continuation
	switch {
	case first&(rsv2|rsv3) != 0 || first&rsv1 != 0 && (!e.deflate || !begins):
		return breach("a reserved bit is set")
	case !known:
		return breach(fmt.Sprintf("there is no opcode %d", opcode))
	case second&maskBit == 0:
		return breach("the frame is not masked")
	case control && !final:
		return breach("a control frame is fragmented")
	case control && second&^maskBit > mostControl:
		return breach("a control frame has more than 125 bytes")
	case begins && e.started:
		return breach("a message begins within another")
	case opcode == continuation && !e.started:
		return breach("a message goes on that never began")
	}
	return nil
}

// size reads the length of a frame, which must be written as short as can be.
func (e *ear) size(short byte) (int64, error) {
	n, least := 2, uint64(shortest16)
	switch short {
	case 126:
	case 127:
		n, least = 8, shortest64
	default:
		return int64(short), nil
	}
	b, err := e.in.Peek(n)
	if err != nil {
		return 0, err
	}
	var size uint64
	for _, digit := range b {
		size = size<<8 | uint64(digit)
	}
	if _, err := e.in.Discard(n); err != nil {
		return 0, err
	}
	switch {
	case size < least:
		return 0, breach("a length is written with more bytes than it needs")
	case size>>63 != 0:
		return 0, breach("a length has its highest bit set")
	}
	return int64(size), nil
}

// payload appends what a frame carries, unmasked. Memory is taken as bytes come,
// not as they are promised.
func (e *ear) payload(to []byte, size int64) ([]byte, error) {
	b, err := e.in.Peek(4)
	if err != nil {
		return nil, err
	}
	mask := [4]byte(b)
	if _, err := e.in.Discard(4); err != nil {
		return nil, err
	}
	begin := len(to)
	for left := int(size); left > 0; { // at most e.most, or 125
		n := min(left, max(earBytes, len(to)-begin))
		if err := e.hold(int64(len(to)), int64(n)); err != nil {
			return nil, err
		}
		to = slices.Grow(to, n)
		part := to[len(to) : len(to)+n]
		if _, err := io.ReadFull(e.in, part); err != nil {
			return nil, err
		}
		to, left = to[:len(to)+n], left-n
	}
	unmask(mask, to[begin:])
	return to, nil
}

func unmask(mask [4]byte, b []byte) {
	four := binary.LittleEndian.Uint32(mask[:])
	eight := uint64(four)<<32 | uint64(four)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^eight)
	}
	for i := range b {
		b[i] ^= mask[i%4]
	}
}

// parting reads what a close frame carries. What is answered is the same code;
// none when there was none.
func parting(data []byte) (code int, err error) {
	switch len(data) {
	case 0:
		return websocket.CloseNoStatusReceived, nil
	case 1:
		return 0, breach("a close has one byte, which is no code")
	}
	code = int(binary.BigEndian.Uint16(data))
	if !closeCode(code) {
		return 0, breach(fmt.Sprintf("there is no close code %d", code))
	}
	if !utf8.Valid(data[2:]) {
		return 0, errNotUTF8
	}
	return code, nil
}

// closeCode tells whether a close frame may carry a code (RFC 6455, section 7.4,
// and IANA's registry).
func closeCode(code int) bool {
	switch code {
	case 1004, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}

// mostReason is how many bytes a close frame has for its reason.
const mostReason = mostControl - 2

// appendClose appends a close frame.
func appendClose(dst []byte, code int, reason string) []byte {
	if code == websocket.CloseNoStatusReceived {
		return appendFrame(dst, websocket.CloseMessage)
	}
	for len(reason) > mostReason {
		_, last := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-last]
	}
	return appendFrame(dst, websocket.CloseMessage, []byte{byte(code >> 8), byte(code)}, []byte(reason))
}

var errClosed = errors.New("the client closed")
