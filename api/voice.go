package api

import (
	"encoding/binary"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

// appendFrame appends a WebSocket frame (RFC 6455, 5.2) as a server sends it:
// whole and unmasked. Many of them are joined into one write, which gorilla's
// Conn can't; nothing else is written after the handshake.
func appendFrame(dst []byte, opcode int, payload ...[]byte) []byte {
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	dst = append(dst, 0x80|byte(opcode))
	switch {
	case size < 126:
		dst = append(dst, byte(size))
	case size <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
	}
	for _, p := range payload {
		dst = append(dst, p...)
	}
	return dst
}

// mostHeader is how long the header of a frame can be, in bytes.
const mostHeader = 10

// A voice is what all subscriptions with one id share: an event is the same
// frame for them, built once. Frames of one hand-out lie behind each other in
// memory, so that who is told several in a row is sent them as one piece, with
// nothing copied. The hub's lock guards it; bytes once written don't change.
type voice struct {
	users int
	head  [2][]byte // of frames of the phases history and live
	mark  int64     // of the event that frame shows
	frame [2][]byte // of that event, as shown to others and to whom it is addressed
	chunk []byte    // where the next frame goes
}

// chunkBytes is how much memory is taken at once for frames of one hand-out.
const chunkBytes = 64 << 10

func (h *hub) voice(id string) *voice {
	v := h.voices[id]
	if v == nil {
		v = &voice{head: [2][]byte{head(id, client.PhaseHistory), head(id, client.PhaseLive)}}
		h.voices[id] = v
	}
	v.users++
	return v
}

func (h *hub) unvoice(id string) {
	v := h.voices[id]
	if v.users--; v.users == 0 {
		delete(h.voices, id)
	}
}

// say makes a whole frame of what is told, if others are told the same; the
// frames of a single subscription are put together by who writes them. left is
// how many events are in the log after this one.
func (h *hub) say(v *voice, t told, variant int, left int64) told {
	if v.users == 1 {
		return t
	}
	if v.mark != h.marks {
		v.mark, v.frame = h.marks, [2][]byte{}
	}
	if v.frame[variant] == nil {
		v.frame[variant] = h.frame(v, t.text, left)
	}
	t.text, t.whole = v.frame[variant], true
	return t
}

func (h *hub) frame(v *voice, tail []byte, left int64) []byte {
	if v.chunk == nil {
		h.spoken = append(h.spoken, v)
	}
	size := mostHeader + len(v.head[1]) + len(tail)
	if cap(v.chunk)-len(v.chunk) < size {
		v.chunk = make([]byte, 0, max(size, int(min(chunkBytes, int64(size)*min(chunkBytes, left+1)))))
	}
	before := len(v.chunk)
	v.chunk = appendFrame(v.chunk, websocket.TextMessage, v.head[1], tail)
	return v.chunk[before:]
}

// hush lets go of the memory of the frames built in a hand-out.
func (h *hub) hush() {
	for _, v := range h.spoken {
		v.chunk, v.frame = nil, [2][]byte{}
	}
	clear(h.spoken)
	h.spoken = h.spoken[:0]
}

// adjoin returns a and b as one piece if b lies behind a in memory.
func adjoin(a, b []byte) ([]byte, bool) {
	n := len(a)
	if len(b) == 0 || cap(a)-n < len(b) || &a[:n+1][n] != &b[0] {
		return nil, false
	}
	return a[:n+len(b)], true
}
