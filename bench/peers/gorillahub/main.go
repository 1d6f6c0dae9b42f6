// Gorillahub is the hub that most programs with gorilla/websocket have: one
// goroutine that knows all clients, two for each client, a bounded channel of
// messages for each, and a write for each message. Who falls behind by more than
// the channel holds is dropped.
package main

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/bench/peers/internal/peer"
)

// The sizes of the chat example.
const (
	buffered   = 256
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = pongWait * 9 / 10
)

type client struct {
	conn *websocket.Conn
	send chan []byte
}

type hub struct {
	register, unregister chan *client
	broadcast            chan []byte
}

// run owns the clients.
func (h *hub) run() {
	clients := map[*client]struct{}{}
	drop := func(c *client) {
		if _, ok := clients[c]; ok {
			delete(clients, c)
			close(c.send)
		}
	}
	for {
		select {
		case c := <-h.register:
			clients[c] = struct{}{}
			c.send <- []byte("hello") // says that what is published from now on arrives
		case c := <-h.unregister:
			drop(c)
		case message := <-h.broadcast:
			for c := range clients {
				select {
				case c.send <- message:
				default:
					drop(c)
				}
			}
		}
	}
}

// read reads only to learn of the end.
func (h *hub) read(c *client) {
	defer func() { h.unregister <- c }()
	c.conn.SetReadLimit(512)
	_ = c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		if _, _, err := c.conn.ReadMessage(); err != nil {
			return
		}
	}
}

func (c *client) write() {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	defer c.conn.Close()
	for {
		kind, message := websocket.TextMessage, []byte(nil)
		select {
		case m, ok := <-c.send:
			if !ok {
				kind = websocket.CloseMessage
			}
			message = m
		case <-ticker.C:
			kind = websocket.PingMessage
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(writeWait))
		if err := c.conn.WriteMessage(kind, message); err != nil || kind == websocket.CloseMessage {
			return
		}
	}
}

func main() {
	h := &hub{register: make(chan *client), unregister: make(chan *client), broadcast: make(chan []byte)}
	go h.run()
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		c := &client{conn, make(chan []byte, buffered)}
		h.register <- c
		go c.write()
		go h.read(c)
	})
	peer.Main(func() error {
		return peer.Serve("gorilla hub", "github.com/gorilla/websocket", handler, func(_ string, sent int64, size int) error {
			h.broadcast <- peer.JSON(sent, size)
			return nil
		})
	})
}
