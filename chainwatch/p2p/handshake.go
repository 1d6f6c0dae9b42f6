package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bsv-blockchain/go-wire"
)

// handshake exchanges version and verack. The time limit is the caller's.
func (s *session) handshake() error {
	if err := s.send(s.ctx, s.version()); err != nil {
		return err
	}
	var gotVersion, gotVerAck bool
	for !gotVersion || !gotVerAck {
		m, err := s.nextHeader()
		if err != nil {
			return s.helloFailed(err, gotVersion)
		}
		if m.size > s.source.limits.of(wire.CmdVersion) {
			return fmt.Errorf("%w: %s of %d bytes before the handshake", ErrTooLarge, m.command, m.size)
		}
		payload, sum, err := readPayload(s.in, m)
		if err != nil {
			return s.helloFailed(err, gotVersion)
		}
		switch m.command {
		case wire.CmdVersion:
			if gotVersion {
				return fmt.Errorf("%w: a second version", ErrMalformed)
			}
			gotVersion, err = true, s.onVersion(payload)
		case wire.CmdVerAck:
			gotVerAck = true
		case wire.CmdPing:
			err = s.onPing(payload, sum)
		case wire.CmdReject:
			err = fmt.Errorf("%w: %s", errRefused, rejectReason(payload))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version is how we introduce ourselves; doc.go says why with height -1.
func (s *session) version() *wire.MsgVersion {
	return &wire.MsgVersion{
		ProtocolVersion: protocolVersion,
		Timestamp:       time.Now(),
		AddrYou:         netAddress(s.conn.RemoteAddr()),
		Nonce:           s.source.nonce,
		UserAgent:       s.source.cfg.UserAgent,
		LastBlock:       -1,
	}
}

func netAddress(a net.Addr) wire.NetAddress {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp == nil {
		return wire.NetAddress{}
	}
	return *wire.NewNetAddress(tcp, 0)
}

func (s *session) onVersion(payload []byte) error {
	v, err := parseVersion(payload)
	if err != nil {
		return err
	}
	if v.Nonce == s.source.nonce {
		return ErrSelf
	}
	s.agent, s.height = v.UserAgent, max(v.LastBlock, -1)
	s.inOrder = s.isBSVD() || strings.Contains(s.agent, "Bitcoin SV")
	return s.send(s.ctx, wire.NewMsgVerAck())
}

// helloFailed says what it means that the first bytes are strange or missing.
// bsvd and the reference node close without a word when the magic of a hello is
// not theirs, so that their network isn't seen.
func (s *session) helloFailed(err error, gotVersion bool) error {
	var magic *magicError
	switch {
	case errors.As(err, &magic) && !gotVersion:
		return magic.asNetwork(s.slot.addr, s.source.cfg.Params.Network)
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case !s.pace.any && !errors.Is(err, ErrSilent):
		return &helloError{network: s.source.cfg.Params.Network, err: err}
	}
	return readError(err)
}
