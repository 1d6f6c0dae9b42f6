package p2p

import (
	"errors"
	"net"
	"os"
	"time"
)

// A pacedReader reads from a connection and gives up on a peer that sends
// nothing between messages (ErrSilent) or too slowly within one (ErrStalled).
// Within a message only time spent waiting for the peer counts: a slow reader of
// a block is not the peer's fault.
type pacedReader struct {
	conn    net.Conn
	silence time.Duration
	window  time.Duration
	least   int
	heard   func() // called whenever bytes arrived

	inMessage bool
	spent     time.Duration // of the window
	got       int           // bytes in the window
	any       bool          // whether anything ever arrived
}

// between is called when a message has ended.
func (r *pacedReader) between() { r.inMessage = false }

// within is called when a message has begun.
func (r *pacedReader) within() { r.inMessage, r.spent, r.got = true, 0, 0 }

func (r *pacedReader) Read(p []byte) (int, error) {
	limit, slow := r.silence, ErrSilent
	if r.inMessage {
		limit, slow = r.window-r.spent, ErrStalled
	}
	start := time.Now()
	if limit <= 0 {
		return 0, slow
	}
	if err := r.conn.SetReadDeadline(start.Add(limit)); err != nil {
		return 0, err
	}
	n, err := r.conn.Read(p)
	if n > 0 {
		r.any = true
		r.heard()
	}
	r.spent += time.Since(start)
	if r.got += n; r.got >= r.least {
		r.spent, r.got = 0, 0
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = slow
	}
	return n, err
}
