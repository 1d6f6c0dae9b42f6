package junglebus

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/metaim/metaim/improtocol/frame"
)

// What the fake service does over a WebSocket.

func (f *fake) connect(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{"centrifuge-protobuf"}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &fakeConn{fake: f, ws: ws, done: make(chan struct{}), on: map[string]bool{}}
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	defer func() {
		_ = ws.Close()
		close(c.done)
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
	}()
	for {
		_, message, err := ws.ReadMessage()
		if err != nil {
			return
		}
		for len(message) > 0 {
			one, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return
			}
			message = message[n:]
			c.command(one)
		}
	}
}

func (c *fakeConn) write(message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_ = c.ws.WriteMessage(websocket.BinaryMessage, protowire.AppendBytes(nil, message)) // who listened may be gone
}

// command answers connect, subscribe and what is empty.
func (c *fakeConn) command(m []byte) {
	var id, offset uint64
	var connect, subscribe []byte
	_ = fields(m, func(field protowire.Number, n uint64, b []byte) {
		switch field {
		case 1:
			id = n
		case 4:
			connect = b
		case 5:
			subscribe = b
		}
	})
	switch {
	case connect != nil && text(connect, 1) != "a token":
		c.write(piece(number(nil, 1, id), 2, piece(number(nil, 1, 109), 2, []byte("token expired"))))
	case connect != nil:
		c.write(piece(number(nil, 1, id), 5, number(nil, 7, 25)))
		c.write(nil) // a ping
	case subscribe != nil:
		recover := false
		_ = fields(subscribe, func(field protowire.Number, n uint64, _ []byte) {
			recover = recover || field == 3 && n == 1
			if field == 7 {
				offset = n
			}
		})
		c.subscribe(id, text(subscribe, 1), recover, offset)
	}
}

func (c *fakeConn) subscribe(id uint64, channel string, recover bool, offset uint64) {
	f := c.fake
	if f.now().garbage {
		c.write([]byte{0xff, 0xff})
		return
	}
	parts := strings.Split(channel, ":")
	switch {
	case len(parts) == 3 && parts[2] == "mempool":
		f.mu.Lock()
		result := number(piece(nil, 6, []byte("epoch")), 9, uint64(len(f.entered)))
		if recover && !f.faults.forgets {
			for i := offset; i < uint64(len(f.entered)); i++ {
				result = piece(result, 7, number(piece(nil, 4, toldOf(f.entered[i], frame.Hash{}, 0, nil, false)), 6, i+1))
			}
			result = number(result, 8, 1)
		}
		c.on[channel] = true
		c.write(piece(number(nil, 1, id), 6, result))
		f.mu.Unlock()
	case len(parts) == 3 && parts[2] == "control":
		f.mu.Lock()
		c.on[channel] = true
		f.mu.Unlock()
		c.write(piece(number(nil, 1, id), 6, nil))
	case len(parts) == 4:
		from, _ := strconv.Atoi(parts[2])
		c.write(piece(number(nil, 1, id), 6, nil))
		f.mu.Lock()
		if !f.closed {
			f.streams.Go(func() { c.stream(channel, int32(from)) })
		}
		f.mu.Unlock()
	}
}

func toldOf(raw []byte, block frame.Hash, height int32, merkle []byte, lite bool) []byte {
	m := piece(nil, 1, []byte(frame.HashOf(raw).String()))
	if block != (frame.Hash{}) {
		m = number(piece(m, 2, []byte(block.String())), 3, uint64(height))
	}
	if !lite {
		m = piece(piece(m, 6, raw), 7, merkle)
	}
	return m
}

func (c *fakeConn) publish(channel string, data []byte, offset uint64) {
	p := piece(nil, 4, data)
	if offset > 0 {
		p = number(p, 6, offset)
	}
	c.write(piece(nil, 4, piece(piece(nil, 2, []byte(channel)), 4, p)))
}

func controlOf(code, block, count uint64) []byte {
	return number(number(number(nil, 1, code), 4, block), 5, count)
}

// stream publishes what is in blocks, from a height on.
func (c *fakeConn) stream(channel string, height int32) {
	control := "query:" + fakeSubscription + ":control"
	for c.fake.ctxErr(c) == nil {
		tip, err := c.fake.backend.height()
		hash, atErr := c.fake.backend.at(height)
		if err != nil || tip < height || atErr != nil || c.fake.now().hush {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		raw, err := c.fake.backend.block(hash)
		if err != nil {
			return
		}
		c.block(channel, control, hash, height, transactionsOf(c.fake.t, raw))
		height++
	}
}

func (c *fakeConn) block(channel, control string, hash frame.Hash, height int32, txs [][]byte) {
	x := c.fake.now()
	block, all := hash, txs
	if x.otherBlock {
		block = frame.Hash{9}
	}
	if x.passes {
		if txs = txs[1:]; len(txs) == 0 && height%5 > 0 {
			return
		}
	}
	for i, tx := range txs {
		if x.lose && i == len(txs)-1 {
			break
		}
		c.publish(channel, toldOf(tx, block, height, c.fake.bump(height, all, i+len(all)-len(txs), frame.HashOf(tx)), x.lite), 0)
	}
	if x.foreign {
		raw := append([]byte(nil), txs[0]...)
		raw[len(raw)-1] ^= 1 // the lock time
		c.fake.mu.Lock()
		c.fake.extra[frame.HashOf(raw)] = raw
		c.fake.mu.Unlock()
		c.publish(channel, toldOf(raw, block, height, c.fake.bump(height, txs, 0, frame.HashOf(raw)), false), 0)
	}
	if x.passes && height%2 == 0 && len(txs) > 0 {
		return // the next block's transactions say that it is done
	}
	c.publish(control, controlOf(codeBlockDone, uint64(height), uint64(len(txs))), 0)
}

func (f *fake) ctxErr(c *fakeConn) error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// enter puts a transaction into the mempool.
func (f *fake) enter(raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entered = append(f.entered, raw)
	if f.faults.skipMempool > 0 {
		f.faults.skipMempool--
		return
	}
	f.push(":mempool", toldOf(raw, frame.Hash{}, 0, nil, false), uint64(len(f.entered)))
}

// tell says something on the control channel.
func (f *fake) tell(code, block uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.push(":control", controlOf(code, block, 0), 0)
}

func (f *fake) push(channel string, data []byte, offset uint64) {
	for c := range f.conns {
		if name := "query:" + fakeSubscription + channel; c.on[name] {
			c.publish(name, data, offset)
		}
	}
}
