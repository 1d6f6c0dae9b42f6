package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

// repliesWaiting bounds the answers that wait for a connection: beyond it, no
// more of its requests are read.
const repliesWaiting = 64

// A conn is one WebSocket. The goroutine that took the request reads, a second
// one writes.
type conn struct {
	server *Server
	hub    *hub
	ws     *websocket.Conn
	id     string          // of the request that opened it, for the log
	ctx    context.Context // ends with the connection or the server
	cancel context.CancelFunc

	subs   map[string]*subscription // guarded by the hub's lock
	behind []*subscription          // that read from the store; guarded by the hub's lock

	mu      sync.Mutex
	queue   []item // in the order to be written
	bytes   int    // of the events in queue
	replies int    // in queue
	closing bool   // what is in queue is the last
	wake    chan struct{}
	room    chan struct{}
}

// An item is a whole frame, or with sub set what one subscription is told.
type item struct {
	sub  *subscription
	told told
	raw  []byte
}

func (i *item) size() int { return len(i.sub.head[1]) + len(i.told.tail) }

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// getSocket turns a request into a connection and serves it until it ends.
func (s *Server) getSocket(w http.ResponseWriter, r *http.Request) error {
	if !s.originAllowed(r) {
		return errOrigin
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, client.Subprotocol) {
		return badRequest("bad_subprotocol", "the subprotocol here is %s", client.Subprotocol)
	}
	c := &conn{
		server: s, hub: s.hub, id: requestID(r.Context()), subs: map[string]*subscription{},
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	if err := s.admit(c); err != nil {
		return err
	}
	defer s.hub.joined.Done()
	defer c.forget()
	up := websocket.Upgrader{
		HandshakeTimeout: s.timing.Write, Subprotocols: []string{client.Subprotocol}, ReadBufferSize: 1024, WriteBufferSize: 256,
		CheckOrigin: func(*http.Request) bool { return true }, // asked above
		Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			s.writeProblem(w, r, problem(status, "bad_handshake", "%v", reason))
		},
	}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil //nolint:nilerr // up has answered
	}
	c.mu.Lock()
	c.ws = ws
	if c.closing {
		c.hurry()
	}
	c.mu.Unlock()
	c.serve()
	return nil
}

// admit takes a connection into the hub.
func (s *Server) admit(c *conn) error {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil {
		return unavailable("this server isn't ready for subscriptions, or no longer")
	}
	if len(h.conns) >= s.limits.Connections {
		return unavailable("this server has all the connections that it takes")
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(h.ctx)) // the server's end is said with bye
	h.conns[c] = struct{}{}
	h.joined.Add(1)
	c.reply(s.welcome(h))
	return nil
}

func (s *Server) welcome(h *hub) client.Reply {
	tip := shower{s.network, h.tip}.tipJSON()
	limits := s.limits
	return client.Reply{Type: "welcome", Network: string(s.network), Limits: &limits, Tip: &tip}
}

// forget takes a connection out of the hub.
func (c *conn) forget() {
	c.cancel()
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	delete(c.hub.conns, c)
	for _, sub := range c.subs {
		c.drop(sub)
	}
}

// drop ends a subscription. The hub's lock is held.
func (c *conn) drop(sub *subscription) {
	c.hub.leave(sub)
	c.hub.unfollow(sub.match.names())
	sub.ended = true
	sub.gate = nil
	delete(c.subs, sub.id)
	c.behind = slices.DeleteFunc(c.behind, func(b *subscription) bool { return b == sub })
}

// serve reads requests until the connection ends, and joins its writer.
func (c *conn) serve() {
	c.ws.SetReadLimit(c.server.limits.FrameBytes)
	c.ws.SetPingHandler(func(data string) error { return c.pong(data) })
	c.ws.SetPongHandler(func(string) error { c.alive(); return nil })
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	c.readAll()
	c.cancel()
	if !c.isClosing() {
		_ = c.ws.Close() // what the writer has left can't be sent
	}
	<-written
	_ = c.ws.Close() // both sides are done with it
}

// alive puts off the moment at which silence counts as death.
func (c *conn) alive() {
	t := c.server.timing
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.ws.SetReadDeadline(time.Now().Add(t.Ping + t.Dead)) // an error shows at the next read
	}
}

func (c *conn) readAll() {
	for {
		c.alive()
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if err := c.waitForRoom(); err != nil {
			return
		}
		if kind != websocket.TextMessage {
			c.fail("", badRequest("bad_frame", "frames are JSON text, not binary"))
			continue
		}
		var req client.Request
		if err := decode(data, &req); err != nil {
			c.fail(req.ID, badRequest("bad_frame", "the frame is no request: %v", err))
			continue
		}
		if err := c.do(req); err != nil {
			c.fail(req.ID, err)
		}
	}
}

// decode reads one JSON value and nothing that it doesn't know.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// waitForRoom waits while too many answers wait for whoever asked.
func (c *conn) waitForRoom() error {
	for {
		c.mu.Lock()
		full := c.replies >= repliesWaiting
		c.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// pong answers a ping. While too many answers wait, pings stay unanswered.
func (c *conn) pong(data string) error {
	c.alive()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replies < repliesWaiting && !c.closing {
		c.add(item{raw: appendFrame(nil, websocket.PongMessage, []byte(data))})
	}
	return nil
}

// add puts a reply into the queue. The connection's lock is held.
func (c *conn) add(i item) {
	c.queue = append(c.queue, i)
	c.replies++
	ring(c.wake)
}

// reply queues an answer behind everything that is queued.
func (c *conn) reply(r client.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.add(item{raw: c.encode(r)})
	}
}

func (c *conn) encode(r client.Reply) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		c.server.log.Error("reply can't be written", "connection", c.id, "error", err)
		b = []byte(`{"type":"err","code":"internal","retryable":true}`)
	}
	return appendFrame(nil, websocket.TextMessage, b)
}

// fail answers a request that failed.
func (c *conn) fail(id string, err error) {
	p := c.server.explain(err, c.id)
	r := client.Reply{Type: "err", ID: id, Code: p.Code, Detail: p.Detail, Retryable: p.Retryable,
		RetryAfterMS: int64(p.RetryAfter) * 1000}
	r.Cursor = p.Cursor
	c.reply(r)
}

// bye queues the last words and closes when they are written. What else waits
// is in the store and is read again by who comes back.
func (c *conn) bye(r client.Reply, closeCode int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.closing = true
	c.queue = slices.DeleteFunc(c.queue, func(i item) bool { return i.sub != nil })
	c.bytes = 0
	c.add(item{raw: c.encode(r)})
	c.add(item{raw: appendFrame(nil, websocket.CloseMessage, websocket.FormatCloseMessage(closeCode, reason))})
	if c.ws != nil {
		c.hurry()
	}
}

// hurry bounds what is left of a connection that closes. Its lock is held.
func (c *conn) hurry() {
	until := time.Now().Add(c.server.timing.ByeWait)
	_ = c.ws.NetConn().SetWriteDeadline(until) // an error shows at the write
	_ = c.ws.SetReadDeadline(until)            // or the read
}

// push queues what a subscription is told. When the queue is full, the events
// in it are dropped: their subscriptions are behind and read from the store. The
// hub's lock is held.
func (c *conn) push(sub *subscription, t told) {
	i := item{sub: sub, told: t}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	if c.bytes+i.size() <= c.server.limits.QueueBytes {
		c.queue = append(c.queue, i)
		c.bytes += i.size()
		ring(c.wake)
		return
	}
	c.queue = append(c.queue, i)
	c.overflow()
	ring(c.wake)
}

// overflow drops the events in the queue. The locks of hub and connection are
// held.
func (c *conn) overflow() {
	dropped := c.queue
	c.queue, c.bytes = nil, 0
	for _, i := range dropped {
		switch {
		case i.sub == nil:
			c.queue = append(c.queue, i)
		case i.told.move:
			i.sub.fallBehind(i.told.seq)
			i.sub.keepMove(i.told)
		default:
			i.sub.fallBehind(i.told.seq - 1)
		}
	}
}

// withdraw takes out what an ended subscription would have been told.
func (c *conn) withdraw(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.DeleteFunc(c.queue, func(i item) bool { return i.sub == sub })
	c.bytes = 0
	for _, i := range c.queue {
		if i.sub != nil {
			c.bytes += i.size()
		}
	}
}

// take returns what is to be written, and whether it is the last.
func (c *conn) take() (batch []item, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, c.queue = c.queue, nil
	c.bytes, c.replies = 0, 0
	ring(c.room)
	return batch, c.closing
}
