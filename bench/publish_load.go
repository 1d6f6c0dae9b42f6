package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
)

const (
	rolePublisher = "publisher"
	publishBytes  = 300 // of a message's body
	postPatience  = 30 * time.Second
)

// A postQuestion is what a publisher is asked: to make messages, or to publish
// the next of them, each over one of so many connections that are kept alive. At
// a rate a second the messages are signed when they are due, with that time in
// nanoseconds as their time stamp.
type postQuestion struct {
	Make        int      `json:"make,omitempty"`
	Given       [][]byte `json:"given,omitempty"` // instead of such that spend no real coins
	Addr        string   `json:"addr,omitempty"`
	Messages    int      `json:"messages,omitempty"`
	Connections int      `json:"connections,omitempty"`
	Rate        int      `json:"rate,omitempty"`
}

type postAnswer struct {
	Nanos   time.Duration   `json:"nanos"`
	Latency []time.Duration `json:"latency,omitempty"` // of the answers
}

// A publisher has messages that nobody has seen yet.
type publisher struct {
	people []simchain.Person
	made   int
	ready  [][]byte
}

func newPublisher() *publisher {
	p := &publisher{}
	for n := range 100 {
		p.people = append(p.people, simchain.NewPerson(7, 4*n)) // with keys of 33 bytes
	}
	return p
}

// servePublisher is the process that makes the load.
func servePublisher(ctx context.Context, _ []string) error {
	p := newPublisher()
	return measure.Serve(measure.Ready{Name: rolePublisher}, func(line []byte) (any, error) {
		var q postQuestion
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, err
		}
		switch {
		case q.Given != nil:
			p.ready = q.Given
		case q.Make > 0:
			p.make(q.Make)
		default:
			return p.publish(ctx, q)
		}
		return postAnswer{}, nil
	})
}

func (p *publisher) make(n int) {
	p.ready = make([][]byte, n)
	parallel(n, func(i int) { p.ready[i] = p.message(p.made+i, uint64(time.Now().UnixMilli())) })
	p.made += n
}

// message is a signed message of 300 bytes to one of a thousand addresses, with
// change; no two are alike.
func (p *publisher) message(n int, timeStamp uint64) []byte {
	from := p.people[n%len(p.people)]
	m := &improtocol.Message{Source: from.Address(), Type: improtocol.Text, Encryption: improtocol.Plain, Body: fmt.Appendf(nil, "%-*d", publishBytes, n)}
	m.SetTime(timeStamp)
	script := simchain.Message(m, from.Key, simchain.Compact, simchain.Pushes)
	tx := simchain.Tx{
		Inputs: []simchain.Input{simchain.Spend(simchain.Coin(uint64(n)), from.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(script), simchain.Pay(frame.HashKey(fmt.Append(nil, "recipient ", n%1000)), 1),
			simchain.Pay(from.Hash, 1_000)},
	}
	return tx.Bytes()
}

// publish publishes messages as fast as the connections are answered, or at a
// rate.
func (p *publisher) publish(ctx context.Context, q postQuestion) (postAnswer, error) {
	if q.Messages < 1 || q.Connections < 1 || q.Rate == 0 && q.Messages > len(p.ready) {
		return postAnswer{}, fmt.Errorf("%d messages over %d connections can't be published: %d are ready", q.Messages, q.Connections, len(p.ready))
	}
	posters := make([]*poster, q.Connections)
	for i := range posters {
		var err error
		if posters[i], err = newPoster(q.Addr); err != nil {
			return postAnswer{}, err
		}
		defer posters[i].conn.Close() //nolint:errcheck // everything is answered
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan []byte, q.Connections)
	errs := make([]error, q.Connections)
	var group sync.WaitGroup
	begun := load.Now()
	for i, poster := range posters {
		group.Go(func() {
			if errs[i] = poster.run(work); errs[i] != nil {
				cancel()
			}
		})
	}
	_, failed := load.Pace(ctx, q.Messages, q.Rate, func(i int, due int64) error {
		var raw []byte
		if q.Rate > 0 {
			raw = p.message(p.made, uint64(due))
			p.made++
		} else {
			raw = p.ready[i]
		}
		select {
		case work <- raw:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(work)
	group.Wait()
	answer := postAnswer{Nanos: time.Duration(load.Now() - begun)}
	if q.Rate == 0 {
		p.ready = p.ready[q.Messages:]
	}
	for _, poster := range posters {
		answer.Latency = append(answer.Latency, poster.latency...)
	}
	slices.Sort(answer.Latency)
	return answer, errors.Join(append(errs, failed)...)
}

// A poster posts on one connection, with as little work as it can: it shares the
// machine with what is measured.
type poster struct {
	host    string
	conn    net.Conn
	in      *bufio.Reader
	out     []byte
	latency []time.Duration
}

func newPoster(addr string) (*poster, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &poster{host: addr, conn: conn, in: bufio.NewReader(conn)}, nil
}

func (p *poster) run(work <-chan []byte) error {
	for raw := range work {
		sent := load.Now()
		if err := p.post(raw); err != nil {
			return err
		}
		p.latency = append(p.latency, time.Duration(load.Now()-sent))
	}
	return nil
}

var contentLength = []byte("Content-Length: ")

// post publishes a transaction and waits for the answer, which must say that the
// index has it.
func (p *poster) post(raw []byte) error {
	p.out = fmt.Appendf(p.out[:0], "POST /v1/transactions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", p.host, len(raw))
	p.out = append(p.out, raw...)
	if err := p.conn.SetDeadline(time.Now().Add(postPatience)); err != nil {
		return err
	}
	if _, err := p.conn.Write(p.out); err != nil {
		return err
	}
	status, err := p.in.ReadString('\n')
	if err != nil {
		return err
	}
	size := 0
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if n, ok := bytes.CutPrefix(line, contentLength); ok {
			if size, err = strconv.Atoi(string(n)); err != nil || size > 1<<20 {
				return fmt.Errorf("an answer of %s bytes", n)
			}
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(p.in, body); err != nil {
		return err
	}
	if len(status) < 12 || status[9:12] != strconv.Itoa(http.StatusAccepted) || !bytes.Contains(body, []byte(`"indexed":true`)) ||
		!bytes.Contains(body, []byte(`"verdict":"valid"`)) {
		return fmt.Errorf("%.40s: %.300s", status, body)
	}
	return nil
}
