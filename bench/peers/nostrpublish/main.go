// Nostrpublish publishes signed events to a Nostr relay over WebSocket and waits
// for its answers: the load of a relay whose whole way is measured.
//
// It is asked {"sign": n, "bytes": size of the content} to sign events that are
// published later, and {"addr", "messages", "connections", "window", "rate"} to
// publish, with at most so many unanswered on a connection. At a rate a second it
// signs each event when it is due, with that time at the beginning of its content;
// with rate 0 it publishes those that were signed, as fast as they are answered.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/metaim/metaim/bench/peers/internal/peer"
)

type question struct {
	Sign        int    `json:"sign"`
	Bytes       int    `json:"bytes"`
	Addr        string `json:"addr"`
	Messages    int    `json:"messages"`
	Connections int    `json:"connections"`
	Window      int    `json:"window"`
	Rate        int    `json:"rate"`
}

type answer struct {
	Signed    int     `json:"signed,omitempty"`
	Published int     `json:"published"`         // and accepted
	Nanos     int64   `json:"nanos"`             // from the first to the last answer
	Latency   []int64 `json:"latency,omitempty"` // of the answers, in nanoseconds
}

const (
	most     = 1_000_000 // events, and bytes of one
	patience = 30 * time.Second
)

// An author signs events. Its key is made anew for each run.
type author struct {
	key    string
	size   int
	signed []nostr.Event
	number atomic.Int64
}

// sign makes an event of its own, so that none is known to the relay.
func (a *author) sign(sent int64) (nostr.Event, error) {
	ev := nostr.Event{CreatedAt: nostr.Timestamp(time.Now().Unix()), Kind: nostr.KindTextNote,
		Tags: nostr.Tags{{"n", fmt.Sprint(a.number.Add(1))}}, Content: string(peer.Text(sent, a.size))}
	return ev, ev.Sign(a.key)
}

// prepare signs events on all cores.
func (a *author) prepare(n int) error {
	a.signed = make([]nostr.Event, n)
	cores := runtime.GOMAXPROCS(0)
	errs := make([]error, cores)
	var joined sync.WaitGroup
	for core := range cores {
		joined.Go(func() {
			for i := core; i < n && errs[core] == nil; i += cores {
				a.signed[i], errs[core] = a.sign(0)
			}
		})
	}
	joined.Wait()
	return errors.Join(errs...)
}

// next is the event to publish as number i.
func (a *author) next(i int, sent int64, rate int) (nostr.Event, error) {
	if rate > 0 {
		return a.sign(sent)
	}
	return a.signed[i], nil
}

// A conn publishes on one connection.
type conn struct {
	ws     *websocket.Conn
	window chan struct{} // holds one for each event that is unanswered
	over   chan struct{} // closed when no more answers are read

	mu      sync.Mutex
	sent    map[string]int64 // unanswered
	latency []int64
}

func (c *conn) publish(ev nostr.Event, sent int64) error {
	select {
	case c.window <- struct{}{}:
	case <-c.over:
		return errors.New("the relay answers no more")
	}
	c.mu.Lock()
	c.sent[ev.ID] = sent
	c.mu.Unlock()
	line, err := json.Marshal([]any{"EVENT", ev})
	if err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.TextMessage, line)
}

// listen reads the answers to n events.
func (c *conn) listen(n int) error {
	for range n {
		_ = c.ws.SetReadDeadline(time.Now().Add(patience)) // an error shows at the read
		var reply []any
		if err := c.ws.ReadJSON(&reply); err != nil {
			return err
		}
		if len(reply) < 3 || reply[0] != "OK" || reply[2] != true {
			return fmt.Errorf("the relay answers %v", reply)
		}
		id, ok := reply[1].(string)
		now := peer.Now()
		c.mu.Lock()
		sent, known := c.sent[id]
		delete(c.sent, id)
		c.latency = append(c.latency, now-sent)
		c.mu.Unlock()
		if !ok || !known {
			return fmt.Errorf("the relay answers to %v, which wasn't asked", reply[1])
		}
		<-c.window
	}
	return nil
}

// run publishes events first, first+step, ... of a question.
func (c *conn) run(a *author, q question, begun int64, first int) error {
	count := (q.Messages - first + q.Connections - 1) / q.Connections
	heard := make(chan error, 1)
	go func() {
		defer close(c.over)
		heard <- c.listen(count)
	}()
	for i := first; i < q.Messages; i += q.Connections {
		sent := peer.Now()
		if q.Rate > 0 {
			sent = begun + int64(i)*int64(time.Second)/int64(q.Rate)
			peer.SleepUntil(sent)
		}
		ev, err := a.next(i, sent, q.Rate)
		if err == nil {
			err = c.publish(ev, sent)
		}
		if err != nil {
			return errors.Join(err, c.ws.Close(), <-heard)
		}
	}
	return errors.Join(<-heard, c.ws.Close())
}

func publish(a *author, q question) (answer, error) {
	if q.Messages < 1 || q.Connections < 1 || q.Connections > q.Messages || q.Window < 1 || q.Rate < 0 ||
		q.Messages > most || q.Rate == 0 && q.Messages > len(a.signed) {
		return answer{}, fmt.Errorf("%+v can't be published with %d events signed", q, len(a.signed))
	}
	conns := make([]*conn, q.Connections)
	for i := range conns {
		ws, _, err := websocket.DefaultDialer.Dial("ws://"+q.Addr, nil)
		if err != nil {
			return answer{}, err
		}
		conns[i] = &conn{ws: ws, window: make(chan struct{}, q.Window), over: make(chan struct{}), sent: map[string]int64{}}
	}
	errs := make([]error, q.Connections)
	begun := peer.Now()
	var joined sync.WaitGroup
	for i, c := range conns {
		joined.Go(func() { errs[i] = c.run(a, q, begun, i) })
	}
	joined.Wait()
	reply := answer{Published: q.Messages, Nanos: peer.Now() - begun}
	for _, c := range conns {
		reply.Latency = append(reply.Latency, c.latency...)
	}
	if q.Rate == 0 {
		a.signed = a.signed[q.Messages:] // a relay knows them now
	}
	return reply, errors.Join(errs...)
}

func main() {
	a := &author{key: nostr.GeneratePrivateKey(), size: 300}
	peer.Main(func() error {
		return peer.Answer(peer.Ready{Name: "nostrpublish"}, func(line []byte) (any, error) {
			var q question
			if err := json.Unmarshal(line, &q); err != nil {
				return nil, err
			}
			if q.Bytes < 0 || q.Bytes > most || q.Sign < 0 || q.Sign > most {
				return nil, fmt.Errorf("%d events of %d bytes can't be signed", q.Sign, q.Bytes)
			}
			if q.Bytes > 0 {
				a.size = q.Bytes
			}
			if q.Sign == 0 {
				return publish(a, q)
			}
			return answer{Signed: q.Sign}, a.prepare(q.Sign)
		})
	})
}
