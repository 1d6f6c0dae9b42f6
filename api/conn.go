package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
)

// repliesWaiting bounds the answers that wait for a connection: beyond it, no
// more of its requests are read.
const repliesWaiting = 64

// A conn is one WebSocket. One goroutine reads its requests; the crew writes, or
// where that would wait a goroutine of the connection's own.
type conn struct {
	server  *Server
	hub     *hub
	socket  net.Conn        // nil until the handshake is done
	raw     syscall.RawConn // of socket; nil when it is no plain one
	ear     *ear            // the reader's
	packs   bool            // compression was negotiated
	id      string          // of the request that opened it, for the log
	ctx     context.Context // ends with the connection or the server
	cancel  context.CancelFunc
	release func() // gives back its place among all connections
	quota   *quota // of who opened it; nil: exempt
	writes  bool   // who opened it may hand in transactions
	wants   claim  // of its subscriptions; guarded by the hub's lock
	beat    uint8  // of the pulse, at which it is pinged

	subs   map[string]*subscription // guarded by the hub's lock
	behind []*subscription          // that read from the store; guarded by the hub's lock

	requests, faults allowance // the reader's, as is late
	late             int       // answers to faults that were held back

	mu       sync.Mutex
	queue    []item // in the order to be written
	spare    []item // memory for the next queue
	bytes    int    // of the events in queue
	replies  int    // in queue
	stage    stage
	slow     bool          // a subscription is behind, or was: the crew is not enough
	closing  bool          // what is in queue is the last
	patience time.Duration // how long it may take to close
	gone     bool          // the hub knows it no more
	farewell chan struct{} // closed when what a closing connection has left is written or lost
	room     chan struct{} // closed when replies are written, if somebody waits for it
}

// getSocket turns a request into a connection and serves it until it ends.
func (s *Server) getSocket(w http.ResponseWriter, r *http.Request) error {
	if !s.originAllowed(r) {
		return errOrigin
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, client.Subprotocol) {
		return badRequest("bad_subprotocol", "the subprotocol here is %s", client.Subprotocol)
	}
	if err := checkHandshake(w.Header(), r); err != nil {
		return err
	}
	a := askingOf(r.Context())
	c := &conn{server: s, hub: s.hub, id: strings.Clone(a.id), quota: a.quota, writes: a.writes, wants: s.claim(a)}
	var err error
	if c.release, err = s.hold(r); err != nil {
		return err
	}
	if err := s.admit(c); err != nil {
		c.release()
		return err
	}
	opened := false
	defer func() {
		if !opened {
			c.forget()
		}
	}()
	agreed := http.Header{}
	if c.packs = deflateOffered(r.Header); c.packs {
		// Under this spelling gorilla passes it on: it can't know what compression
		// means for frames that it doesn't write.
		agreed["Sec-WebSocket-Extensions"] = []string{deflateAnswer}
	}
	up := websocket.Upgrader{
		HandshakeTimeout: s.timing.Write, Subprotocols: []string{client.Subprotocol},
		ReadBufferSize: 256, WriteBufferSize: 256, WriteBufferPool: &handshakes,
		CheckOrigin: func(*http.Request) bool { return true }, // asked above
		Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			if status >= http.StatusInternalServerError {
				s.writeProblem(w, r, reason)
				return
			}
			s.writeProblem(w, r, badRequest("bad_handshake", "%v", reason))
		},
	}
	ws, err := up.Upgrade(w, r, agreed)
	if err != nil {
		return nil //nolint:nilerr // up has answered
	}
	opened = true
	askingOf(r.Context()).upgraded = true
	c.opened(ws.NetConn())
	go c.serve() // and return: the request and its buffers are done with
	return nil
}

// checkHandshake looks at what gorilla doesn't: the version of HTTP, and that
// another version of the protocol is answered as RFC 6455 (4.2.2) has it.
func checkHandshake(answer http.Header, r *http.Request) error {
	if !websocket.IsWebSocketUpgrade(r) {
		return nil // gorilla says so
	}
	if !r.ProtoAtLeast(1, 1) {
		return badRequest("bad_handshake", "a WebSocket needs HTTP/1.1, not %s", r.Proto)
	}
	if version := r.Header.Get("Sec-Websocket-Version"); version != "13" {
		answer.Set("Sec-Websocket-Version", "13")
		answer.Set("Upgrade", "websocket")
		return problem(http.StatusUpgradeRequired, "bad_handshake", "the version of the WebSocket protocol here is 13, not %q", shown(version))
	}
	return nil
}

// handshakes keeps gorilla's buffers for writing: a connection needs one for the
// handshake only.
var handshakes sync.Pool

// opened lets what is queued already be written.
func (c *conn) opened(socket net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket, c.ear = socket, newEar(socket, c.server.limits.FrameBytes, c.packs, c.wants)
	if plain, ok := socket.(syscall.Conn); ok {
		c.raw, _ = plain.SyscallConn() // without it, every write is a goroutine's
	}
	if c.closing {
		c.hurry()
	}
	c.stage = idle
	c.wake()
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
	h.marks++
	c.beat = uint8(h.marks % beats)
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
	if c.ear != nil {
		c.ear.held.release()
	}
	c.release()
	defer c.hub.joined.Done()
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	delete(c.hub.conns, c)
	for _, sub := range c.subs {
		c.drop(sub)
	}
	c.wants.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}

// drop ends a subscription. The hub's lock is held.
func (c *conn) drop(sub *subscription) {
	c.hub.wanted.leave(sub)
	c.hub.unfollow(sub.match.names())
	c.hub.unvoice(sub.id)
	c.wants.shrink(sub.match.weight())
	sub.ended = true
	sub.gate = nil
	delete(c.subs, sub.id)
	c.behind = slices.DeleteFunc(c.behind, func(b *subscription) bool { return b == sub })
}

// serve reads requests until the connection ends.
func (c *conn) serve() {
	defer c.forget()
	err := c.readAll()
	var v *violation
	if errors.As(err, &v) {
		c.part(v.code, v.reason)
	}
	c.cancel()
	c.mu.Lock()
	farewell := c.farewell
	c.mu.Unlock()
	if farewell != nil {
		<-farewell // it has a deadline
		c.linger()
	}
	_ = c.socket.Close() // what else is left can't be sent
}

// linger lets the other side read the last words: a socket closed while bytes of
// its peer lie unread is reset, and what was sent last is lost. It has a deadline.
func (c *conn) linger() {
	if half, ok := c.socket.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.socket) // until the other side closes, or doesn't in time
	}
}

// alive puts off the moment at which silence counts as death.
func (c *conn) alive() {
	t := c.server.timing
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.socket.SetReadDeadline(time.Now().Add(t.Ping + t.Dead)) // an error shows at the next read
	}
}

func (c *conn) readAll() error {
	for {
		c.alive()
		h, err := c.ear.frame()
		if err != nil {
			return err
		}
		if err := c.pace(); err != nil {
			return err
		}
		if err := c.hear(h); err != nil {
			return err
		}
	}
}

// hear acts on one frame. After the last words frames are only taken off.
func (c *conn) hear(h heard) error {
	switch h.opcode {
	case websocket.PingMessage:
		c.pong(h.data)
	case websocket.CloseMessage:
		code, err := parting(h.data)
		if err == nil {
			c.part(code, "")
			err = errClosed
		}
		return err
	case websocket.TextMessage, websocket.BinaryMessage:
		defer c.ear.held.release()
		if err := c.waitForRoom(); err != nil {
			return err
		}
		if c.isClosing() {
			return nil
		}
		var err error
		c.work(func() { err = c.request(h) })
		return err
	}
	return nil
}

// work does something on a goroutine that ends with it: the reader's own stack
// would stay as large as the deepest that a request ever needed.
func (c *conn) work(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.recovered()
		do()
	}()
	<-done
}

// recovered keeps a fault of ours in one connection's request from ending the
// whole server, as net/http does for its handlers.
func (c *conn) recovered() {
	if p := recover(); p != nil {
		c.server.log.Error("request panicked", "connection", c.id, "panic", p, "stack", string(debug.Stack()))
		_ = c.socket.Close() // the reader learns of it
	}
}

// request carries out what a message asks for. Only a breach of the protocol is
// an error; of any other the client is told.
func (c *conn) request(h heard) error {
	data, err := c.ear.unpack(h)
	if err != nil {
		return err
	}
	if h.opcode != websocket.TextMessage {
		c.fail("", badRequest("bad_frame", "frames are JSON text, not binary"))
		return nil
	}
	var req client.Request
	if err = decode(data, &req); err != nil {
		err = badRequest("bad_frame", "the frame is no request: %s", shown(err.Error()))
	} else {
		err = c.do(req)
	}
	if err != nil {
		c.fail(req.ID, err)
	}
	return nil
}

// decode reads one JSON value and nothing that it doesn't know.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("%q can't be a JSON %s", wrong.Field, wrong.Value)
	case err != nil:
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// pong answers a ping. While too many answers wait, pings stay unanswered.
func (c *conn) pong(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replies < repliesWaiting && !c.closing {
		c.add(item{told: told{text: appendFrame(nil, websocket.PongMessage, data), whole: true}})
	}
}

// reply queues an answer behind everything that is queued.
func (c *conn) reply(r client.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.add(c.encode(r))
	}
}

func (c *conn) encode(r client.Reply) item {
	b, err := json.Marshal(r)
	if err != nil {
		c.server.log.Error("reply can't be written", "connection", c.id, "error", err)
		b = []byte(`{"type":"err","code":"internal","retryable":true}`)
	}
	return item{told: told{text: appendFrame(nil, websocket.TextMessage, b), whole: true}}
}

// fail answers a request that failed. Who asks again and again for what can't be
// is shown out.
func (c *conn) fail(id string, err error) {
	p := c.server.explain(err, c.id)
	if len(id) > c.server.limits.IDBytes {
		id = ""
	}
	r := client.Reply{Type: "err", ID: id, Code: p.Code, Detail: p.Detail, Retryable: p.Retryable,
		RetryAfterMS: int64(p.RetryAfter) * 1000}
	r.Cursor = p.Cursor
	tooMany := p.Status == http.StatusBadRequest && c.fault()
	c.reply(r)
	if tooMany {
		c.bye(client.Reply{Type: "bye", Code: client.CodeTooManyFaults}, client.CloseProtocol, client.CodeTooManyFaults)
	}
}

// bye says why the connection ends, and ends it.
func (c *conn) bye(r client.Reply, closeCode int, reason string) {
	c.part(closeCode, reason, c.encode(r))
}

// part queues the last words and closes when they are written. What else waits
// is in the store and is read again by who comes back.
func (c *conn) part(closeCode int, reason string, words ...item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.closing, c.patience = true, c.server.timing.ByeWait
	if closeCode == client.CloseSlow {
		c.patience = max(c.patience, c.server.timing.Write) // much is on its way to it still
	}
	c.queue = slices.DeleteFunc(c.queue, func(i item) bool { return i.sub != nil })
	c.bytes = 0
	if c.socket != nil {
		c.hurry()
	}
	if c.stage == over {
		return
	}
	c.farewell = make(chan struct{})
	for _, i := range words {
		c.add(i)
	}
	c.add(item{told: told{text: appendClose(nil, closeCode, reason), whole: true}})
}

// hurry bounds what is left of a connection that closes. Its lock is held.
func (c *conn) hurry() {
	until := time.Now().Add(c.patience)
	_ = c.socket.SetWriteDeadline(until) // an error shows at the write
	_ = c.socket.SetReadDeadline(until)  // or the read
}
