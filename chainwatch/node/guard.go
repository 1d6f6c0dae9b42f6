package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

// Bounds of what a ZMQ publisher may send. zmq4 has none: it allocates what a
// frame claims to have, before it arrives, and ends the process for it.
const (
	greetingSize  = 64  // bytes, before the first frame
	framesMost    = 16  // of a message; svnode sends three
	aroundMost    = 1e6 // bytes of a message beside the largest transaction
	flagMore      = 1
	flagLong      = 2
	shortHeadSize = 2
	longHeadSize  = 9
)

var errFrame = errors.New("it sends a ZMQ message over the limit")

// A guard follows the frames that come in on a connection and fails before the
// reader learns of a length over the limit.
type guard struct {
	net.Conn
	most     uint64 // bytes of a message
	greeting int    // bytes of it that are still to come
	head     []byte // of the present frame, as far as it came
	body     uint64 // bytes of the present frame that are still to come
	frames   int    // of the present message
	size     uint64 // of the present message up to now
}

func newGuard(conn net.Conn, most int64) *guard {
	return &guard{Conn: conn, most: uint64(most) + aroundMost, greeting: greetingSize}
}

// Read implements io.Reader.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if failed := g.follow(p[:n]); failed != nil {
		return 0, failed
	}
	return n, err
}

func (g *guard) follow(b []byte) error {
	for len(b) > 0 {
		switch {
		case g.greeting > 0:
			n := min(g.greeting, len(b))
			g.greeting -= n
			b = b[n:]
		case g.body > 0:
			n := min(g.body, uint64(len(b)))
			g.body -= n
			b = b[n:]
		default:
			g.head = append(g.head, b[0])
			b = b[1:]
			if err := g.begin(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin begins a frame once its head is whole.
func (g *guard) begin() error {
	long := g.head[0]&flagLong != 0
	if len(g.head) < shortHeadSize || long && len(g.head) < longHeadSize {
		return nil
	}
	g.body = uint64(g.head[1])
	if long {
		g.body = binary.BigEndian.Uint64(g.head[1:])
	}
	g.frames++
	if g.frames > framesMost || g.body > g.most-g.size {
		return fmt.Errorf("%w: frame %d of %d bytes", errFrame, g.frames, g.body)
	}
	g.size += g.body
	if g.head[0]&flagMore == 0 {
		g.frames, g.size = 0, 0
	}
	g.head = g.head[:0]
	return nil
}
