package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bsv-blockchain/go-bt/v2/chainhash"
	"github.com/bsv-blockchain/go-wire"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

const (
	readBuffer = 64 << 10
	outQueue   = 32 // messages that wait for the writer
)

// A session is one connection to a node. Its reader goroutine owns in and pace,
// and lends both to whoever reads a block.
type session struct {
	id     sessionID
	source *Source
	slot   *slot
	conn   net.Conn
	pace   *pacedReader
	in     *bufio.Reader
	out    chan []byte
	ctx    context.Context
	end    context.CancelCauseFunc // ends the session with a reason, once

	// Known after the handshake, constant from then on.
	agent   string
	height  int32
	inOrder bool // answers come in the order of the questions

	answer []chainwatch.Header // the last to a question for headers; under source.mu

	established time.Time // when the handshake ended; the reader's until run returns

	askTxs     chan struct{} // there may be transactions to ask for
	askMempool chan struct{} // the mempool is to be asked for

	missed atomic.Int64 // announcements passed over since there was room

	headersTurn chan struct{} // holds one token: whoever takes it asks for headers
	blockTurn   chan struct{} // likewise for a block, until it is read

	mu      sync.Mutex
	headers []*headersRequest // without an answer, oldest first
	blocks  []*blockRequest   // likewise
}

func newSession(ctx context.Context, source *Source, slot *slot, conn net.Conn) *session {
	s := &session{
		id:          sessionID(source.lastSession.Add(1)),
		source:      source,
		slot:        slot,
		conn:        conn,
		out:         make(chan []byte, outQueue),
		askTxs:      make(chan struct{}, 1),
		askMempool:  make(chan struct{}, 1),
		headersTurn: make(chan struct{}, 1),
		blockTurn:   make(chan struct{}, 1),
	}
	cfg := &source.cfg
	s.pace = &pacedReader{conn: conn, silence: cfg.SilenceTimeout, window: cfg.StallWindow,
		least: cfg.StallBytes, heard: source.hear}
	s.in = bufio.NewReaderSize(s.pace, readBuffer)
	s.ctx, s.end = context.WithCancelCause(ctx)
	return s
}

// run works until the connection ends, and returns why it did.
func (s *session) run() error {
	var g errgroup.Group
	g.Go(func() error {
		<-s.ctx.Done()
		return s.conn.Close()
	})
	g.Go(func() error { return s.stop(s.write()) })
	g.Go(func() error { return s.stop(s.read()) })
	g.Go(func() error { return s.stop(s.ask()) })
	_ = g.Wait() // the cause says more
	return context.Cause(s.ctx)
}

func (s *session) stop(err error) error {
	s.end(err)
	return err
}

// send hands messages to the writer, in one piece.
func (s *session) send(ctx context.Context, msgs ...wire.Message) error {
	b, err := encode(s.source.cfg.Params.Magic, msgs...)
	if err != nil {
		return err
	}
	select {
	case s.out <- b:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write sends what is queued, and pings.
func (s *session) write() error {
	ping := time.NewTicker(s.source.cfg.PingEvery)
	defer ping.Stop()
	for {
		var b []byte
		select {
		case b = <-s.out:
		case <-ping.C:
			var err error
			if b, err = encode(s.source.cfg.Params.Magic, wire.NewMsgPing(rand.Uint64())); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.source.cfg.WriteTimeout)); err != nil {
			return err
		}
		if _, err := s.conn.Write(b); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
}

// read shakes hands and then handles messages until the connection ends.
func (s *session) read() error {
	limit := time.AfterFunc(s.source.cfg.HandshakeTimeout, func() { s.end(errHandshake) })
	err := s.handshake()
	if !limit.Stop() && err == nil {
		err = errHandshake
	}
	if err != nil {
		return err
	}
	s.established = time.Now()
	s.source.joined(s)
	defer s.source.left(s)
	for {
		if err := s.readMessage(); err != nil {
			return err
		}
	}
}

// nextHeader waits for a message and reads its header.
func (s *session) nextHeader() (message, error) {
	s.pace.between()
	if _, err := s.in.Peek(1); err != nil {
		return message{}, err
	}
	s.pace.within()
	return readHeader(s.in, s.source.cfg.Params.Magic, s.source.limits)
}

func (s *session) readMessage() error {
	m, err := s.nextHeader()
	if err != nil {
		return readError(err)
	}
	if m.command == wire.CmdBlock {
		return s.receiveBlock(m)
	}
	handle := handlers[m.command]
	if handle == nil {
		return s.skip(m.size)
	}
	payload, sum, err := readPayload(s.in, m)
	if err != nil {
		return readError(err)
	}
	return handle(s, payload, sum)
}

// skip passes over bytes without keeping them.
func (s *session) skip(n uint64) error {
	const piece = 1 << 20
	for n > 0 {
		k, err := s.in.Discard(int(min(n, piece)))
		if n -= uint64(k); err != nil {
			return readError(err)
		}
	}
	return nil
}

// readError makes ErrDisconnected of all the ways to see that the other side has
// closed.
func readError(err error) error {
	var op *net.OpError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) {
		return fmt.Errorf("%w (%w)", ErrDisconnected, err)
	}
	return err
}

// ask sends the requests for transactions and mempools.
func (s *session) ask() error {
	cfg := &s.source.cfg
	pace := rate.NewLimiter(rate.Every(cfg.MempoolEvery), mempoolBurst)
	var allowed <-chan time.Time
	for {
		select {
		case <-s.askTxs:
			if err := s.askForTxs(); err != nil {
				return err
			}
		case <-s.askMempool:
			if allowed == nil {
				allowed = time.After(pace.Reserve().Delay())
			}
		case <-allowed:
			allowed = nil
			if err := s.send(s.ctx, wire.NewMsgMemPool()); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

func (s *session) askForTxs() error {
	cfg := &s.source.cfg
	if s.source.queue.full(cfg.QueueLength) {
		return nil // the pump says when there is room
	}
	hashes := s.source.inventory.next(s.id, time.Now(), getDataBatch)
	if len(hashes) == 0 {
		return nil
	}
	return s.send(s.ctx, getData(wire.InvTypeTx, hashes...))
}

// isBSVD says whether the node may be asked for its mempool.
func (s *session) isBSVD() bool { return strings.Contains(s.agent, "bsvd") }

// kick wakes something that listens on a channel with a buffer of one.
func kick(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func getData(kind wire.InvType, hashes ...frame.Hash) *wire.MsgGetData {
	m := wire.NewMsgGetDataSizeHint(uint(len(hashes)))
	for _, h := range hashes {
		m.InvList = append(m.InvList, wire.NewInvVect(kind, (*chainhash.Hash)(&h)))
	}
	return m
}
