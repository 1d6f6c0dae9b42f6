package junglebus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	rest "github.com/metaim/metaim/internal/junglebus"
)

const (
	frameAround = 1 << 20 // bytes of a frame beside the largest transaction
	pingDefault = 25 * time.Second
)

// A conn is a WebSocket connection to the service. One goroutine uses it; close
// may be called by any.
type conn struct {
	ws       *websocket.Conn
	patience time.Duration
	silence  time.Duration // after which it is lost
	rest     []byte        // frames of the last message that weren't read yet
	id       uint64        // of the last command
	release  func() bool   // ends the watch on the context
	waiting  []publication // that came before an answer
}

// dial connects and says who we are. The connection ends with ctx.
func (s *Source) dial(ctx context.Context) (*conn, error) {
	token, err := s.token(ctx)
	if err != nil {
		return nil, err
	}
	address := *s.base
	address.Scheme = map[string]string{"http": "ws", "https": "wss"}[address.Scheme]
	address.Path += "/connection/websocket"
	address.RawQuery = "format=protobuf"
	dialer := websocket.Dialer{HandshakeTimeout: s.cfg.Patience, Proxy: http.ProxyFromEnvironment, Subprotocols: []string{"centrifuge-protobuf"}}
	ws, resp, err := dialer.DialContext(ctx, address.String(), nil)
	if err != nil {
		if resp != nil {
			err = explained(&rest.StatusError{Status: resp.StatusCode})
		}
		return nil, rest.Because(ctx, fmt.Errorf("connect to %s: %w", s.name, err))
	}
	ws.SetReadLimit(int64(s.cfg.MaxTx) + frameAround)
	c := &conn{ws: ws, patience: s.cfg.Patience, silence: s.cfg.Patience + pingDefault, id: 1}
	c.release = context.AfterFunc(ctx, func() { _ = ws.Close() }) // ends a reading under way
	r, err := c.answer(connectCommand(token))
	if err != nil {
		c.close()
		return nil, rest.Because(ctx, err)
	}
	if r.ping > 0 && r.ping < 600 {
		c.silence = s.cfg.Patience + time.Duration(r.ping)*time.Second
	}
	return c, nil
}

func (c *conn) close() {
	c.release()
	_ = c.ws.Close() // whatever it says: it is over
}

// subscribe joins a channel, from a place on where one is known.
func (c *conn) subscribe(channel string, from place) (reply, error) {
	c.id++
	r, err := c.answer(subscribeCommand(c.id, channel, from))
	if err != nil {
		return r, fmt.Errorf("channel %s: %w", channel, err)
	}
	for i := range r.missed {
		r.missed[i].channel = channel
	}
	return r, nil
}

// answer sends a command and waits for its answer. Publications that come before
// it are kept.
func (c *conn) answer(command []byte) (reply, error) {
	if err := c.send(command); err != nil {
		return reply{}, err
	}
	for {
		r, err := c.read()
		switch {
		case err != nil:
			return r, err
		case r.pub != nil && len(c.waiting) >= 1000:
			return r, errTooLong
		case r.pub != nil:
			c.waiting = append(c.waiting, clone(*r.pub))
		case r.id == c.id && r.failed != "":
			return r, fmt.Errorf("the service refuses: %q", r.failed)
		case r.id == c.id:
			for i := range r.missed {
				r.missed[i] = clone(r.missed[i])
			}
			return r, nil
		}
	}
}

// next returns what is published next. Its data is good until the next call.
func (c *conn) next() (publication, error) {
	if len(c.waiting) > 0 {
		p := c.waiting[0]
		c.waiting = c.waiting[1:]
		return p, nil
	}
	for {
		r, err := c.read()
		if err != nil {
			return publication{}, err
		}
		if r.pub != nil {
			return *r.pub, nil
		}
	}
}

// read reads one frame, and answers pings.
func (c *conn) read() (reply, error) {
	for {
		frame, err := c.frame()
		if err != nil {
			return reply{}, err
		}
		r, err := readReply(frame)
		switch {
		case err != nil:
			return r, err
		case r.disconnect != "":
			return r, fmt.Errorf("the service ends the connection: %q", r.disconnect)
		case r.left:
			return r, fmt.Errorf("the service ends the subscription to channel %q", r.channel)
		case r.empty:
			if err := c.send([]byte{0}); err != nil { // an empty command
				return r, err
			}
		default:
			return r, nil
		}
	}
}

func (c *conn) frame() ([]byte, error) {
	for len(c.rest) == 0 {
		if err := c.ws.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return nil, err
		}
		kind, message, err := c.ws.ReadMessage()
		if errors.Is(err, websocket.ErrReadLimit) {
			return nil, errTooLong
		}
		if err != nil {
			return nil, err
		}
		if kind == websocket.BinaryMessage {
			c.rest = message
		}
	}
	frame, n := protowire.ConsumeBytes(c.rest)
	if n < 0 {
		return nil, errAnswer
	}
	c.rest = c.rest[n:]
	return frame, nil
}

func (c *conn) send(message []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.BinaryMessage, message)
}

func clone(p publication) publication {
	p.data = bytes.Clone(p.data)
	return p
}
