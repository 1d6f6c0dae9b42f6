package p2p

import (
	"slices"

	"github.com/bsv-blockchain/go-wire"

	"github.com/metaim/metaim/improtocol/frame"
)

// handlers are what is done with messages; others are skipped.
var handlers = map[string]func(s *session, payload []byte, sum frame.Hash) error{
	wire.CmdPing:       (*session).onPing,
	wire.CmdPong:       (*session).onPong,
	wire.CmdInv:        (*session).onInv,
	wire.CmdNotFound:   (*session).onNotFound,
	wire.CmdHeaders:    (*session).onHeaders,
	wire.CmdTx:         (*session).onTx,
	wire.CmdGetHeaders: (*session).onGetHeaders,
	wire.CmdGetBlocks:  (*session).onGetBlocks,
	wire.CmdReject:     (*session).onReject,
}

func (s *session) onPing(b []byte, _ frame.Hash) error {
	nonce, err := parseNonce(b)
	if err != nil {
		return err
	}
	return s.send(s.ctx, wire.NewMsgPong(nonce))
}

// onPong resolves the questions that the ping went behind.
func (s *session) onPong(b []byte, _ frame.Hash) error {
	nonce, err := parseNonce(b)
	if err != nil {
		return err
	}
	s.headersPassed(nonce)
	s.blockPassed(nonce)
	return nil
}

func (s *session) onInv(b []byte, _ frame.Hash) error {
	items, err := parseItems(b)
	if err != nil {
		return err
	}
	var txs []frame.Hash
	for _, it := range items {
		switch it.kind {
		case wire.InvTypeBlock:
			kick(s.source.wake)
		case wire.InvTypeTx:
			txs = append(txs, it.hash)
		}
	}
	if missed := s.source.inventory.announce(s.id, txs); missed > 0 {
		if s.missed.Add(int64(missed)) == int64(missed) {
			s.source.log.Warn("transactions are announced faster than they are read", "peer", s.slot.addr)
		}
	}
	kick(s.askTxs)
	return nil
}

func (s *session) onNotFound(b []byte, _ frame.Hash) error {
	items, err := parseItems(b)
	if err != nil {
		return err
	}
	var others []sessionID
	for _, it := range items {
		switch it.kind {
		case wire.InvTypeBlock:
			s.blockNotFound(it.hash)
		case wire.InvTypeTx:
			others = append(others, s.source.inventory.notFound(s.id, it.hash))
		}
	}
	slices.Sort(others)
	s.source.kick(slices.Compact(others)...)
	return nil
}

// onTx delivers a transaction, also one that nobody asked for or whose time was
// over: a node that answers late answers all the same.
func (s *session) onTx(raw []byte, id frame.Hash) error {
	if !s.source.inventory.arrived(id) {
		return nil
	}
	kick(s.askTxs) // a question less is open
	if s.missed.Load() > 0 && s.source.inventory.roomy(s.id) {
		s.missed.Store(0)
		s.source.askMempool(s)
	}
	return s.source.queue.push(s.source.running, raw)
}

// onGetHeaders and onGetBlocks answer that we have nothing: bsvd drops a peer
// that doesn't answer.
func (s *session) onGetHeaders([]byte, frame.Hash) error {
	return s.send(s.ctx, wire.NewMsgHeaders())
}

func (s *session) onGetBlocks([]byte, frame.Hash) error {
	return s.send(s.ctx, wire.NewMsgInv())
}

func (s *session) onReject(b []byte, _ frame.Hash) error {
	s.source.log.Debug("node rejects a message of ours", "peer", s.slot.addr, "reason", rejectReason(b))
	return nil
}
