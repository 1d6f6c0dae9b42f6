package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/null"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// Topics of svnode.
const (
	topicTx        = "rawtx2"
	topicBlock     = "hashblock2"
	topicDiscarded = "discardedfrommempool"
	topicRemoved   = "removedfrommempoolblock"
	topicInvalid   = "invalidtx"
)

var topics = []string{topicTx, topicBlock, topicDiscarded, topicRemoved, topicInvalid}

var errPublisher = errors.New("it speaks no ZMQ that we understand")

// listen hears what svnode publishes at an address, and connects again when that
// ends. Whatever is missed meanwhile, the mempool is listed after each connecting.
func (s *Source) listen(ctx context.Context, address string) error {
	const least = 100 * time.Millisecond
	wait := least
	warned := false
	for {
		heard, err := s.hear(ctx, address)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if heard {
			wait, warned = least, false
		}
		if !warned {
			s.log.Warn("ZMQ is not there; the node is polled", "address", address, "error", err)
			warned = true
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, s.cfg.BackoffMost)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hear connects and hears until the connection ends; heard says that it worked at
// first.
//
// zmq4's sockets start goroutines that nobody can wait for, and don't take up
// subscriptions again reliably. So the connection is ours, and of zmq4 only the
// protocol on it is used.
func (s *Source) hear(ctx context.Context, address string) (heard bool, err error) {
	if err := s.compareNetwork(ctx); err != nil {
		return false, err
	}
	dialer := net.Dialer{Timeout: s.cfg.DialTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	if err := raw.SetDeadline(time.Now().Add(s.cfg.DialTimeout)); err != nil {
		return false, err
	}
	conn, err := subscribe(newGuard(raw, s.cfg.MaxTx))
	if err != nil {
		return false, err
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return false, err
	}
	s.log.Info("connected to ZMQ", "address", address)
	s.tellMissing(ctx)
	kick(s.poll)
	kick(s.wake)
	last := map[string]uint32{}
	for {
		msg, err := receive(conn)
		if err != nil {
			return true, err
		}
		if err := s.publication(ctx, last, msg.Frames); err != nil {
			return true, err
		}
	}
}

// subscribe makes the handshake and asks for the topics.
func subscribe(rw net.Conn) (conn *zmq4.Conn, err error) {
	defer recovered(&err)
	conn, err = zmq4.Open(rw, null.Security(), zmq4.Sub, nil, false, nil)
	if err != nil {
		return nil, err
	}
	for _, topic := range topics {
		if err := conn.SendMsg(zmq4.NewMsg(append([]byte{1}, topic...))); err != nil {
			return nil, err
		}
	}
	return conn, nil
}

func receive(conn *zmq4.Conn) (msg zmq4.Msg, err error) {
	defer recovered(&err)
	return conn.RecvMsg()
}

// recovered turns a panic of zmq4 into an error: it reads the metadata of the
// other side without looking at its length.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errPublisher, p)
	}
}

// publication takes one in: topic, body, counter. What isn't one is passed over.
func (s *Source) publication(ctx context.Context, last map[string]uint32, frames [][]byte) error {
	if len(frames) != 3 || len(frames[2]) != 4 {
		s.log.Debug("a ZMQ message of another form is passed over", "frames", len(frames))
		return nil
	}
	topic, body, counter := string(frames[0]), frames[1], binary.LittleEndian.Uint32(frames[2])
	known := false
	for _, t := range topics {
		known = known || t == topic
	}
	if !known {
		return nil
	}
	if before, ok := last[topic]; ok && counter != before+1 {
		s.log.Debug("ZMQ messages were lost", "topic", topic, "before", before, "now", counter)
		kick(s.poll)
		kick(s.wake)
	}
	last[topic] = counter
	switch topic {
	case topicTx:
		return s.heardTx(ctx, body)
	case topicBlock:
		kick(s.wake)
	default:
		s.gone(topic, body)
	}
	return nil
}

func (s *Source) heardTx(ctx context.Context, raw []byte) error {
	if len(raw) == 0 || int64(len(raw)) > s.cfg.MaxTx {
		return nil
	}
	txid := frame.HashOf(raw)
	if !s.pool.claim(txid) {
		return nil
	}
	return s.deliver(ctx, txid, raw)
}

// gone takes in that a transaction left the mempool, or never came in: when it
// comes back it is news. One that was discarded wakes: who asks for the mempool
// then finds it missing.
func (s *Source) gone(topic string, body []byte) {
	var told struct {
		TxID string `json:"txid"`
	}
	if json.Unmarshal(body, &told) != nil {
		return
	}
	txid, err := frame.ParseHash(told.TxID)
	if err != nil {
		return
	}
	s.pool.forget(txid)
	if topic == topicDiscarded {
		kick(s.wake)
	}
}

// tellMissing logs which topics the node doesn't publish: svnode's -help names a
// flag for discarded transactions that does nothing.
func (s *Source) tellMissing(ctx context.Context) {
	var list []noderpc.Notification
	err := s.ask(ctx, func() (err error) {
		list, err = s.rpc.GetNotifications(ctx)
		return err
	})
	if err != nil {
		s.log.Debug("the node doesn't tell what it publishes", "error", err)
		return
	}
	published := map[string]bool{}
	for _, n := range list {
		published[n.Topic] = true
	}
	for _, topic := range topics {
		if !published["pub"+topic] {
			s.log.Warn("the node doesn't publish a topic over ZMQ; it is polled instead", "topic", topic, "flag", "-zmqpub"+topic)
		}
	}
}
