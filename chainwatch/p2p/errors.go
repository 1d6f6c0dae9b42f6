package p2p

import (
	"errors"
	"fmt"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why a node didn't give what it was asked for.
var (
	ErrNotFound     = errors.New("it doesn't have the block")
	ErrWrongBlock   = errors.New("it sends another block than the one asked for")
	ErrDisconnected = errors.New("it closed the connection")
	ErrNoAnswer     = errors.New("it doesn't answer in time")
	ErrStalled      = errors.New("it sends too slowly")
	ErrSilent       = errors.New("it has fallen silent")
	ErrChecksum     = errors.New("it sends a message with a wrong checksum")
	ErrNotInSync    = errors.New("it gives no headers, because it doesn't hold itself for up to date")
	ErrSelf         = errors.New("it is this program itself")
	ErrTooLarge     = errors.New("it announces a message over the limit")
	ErrMalformed    = errors.New("it sends a malformed message")
	ErrClosed       = errors.New("the block is closed")
	ErrNoPeers      = errors.New("no nodes are configured")
	ErrEnded        = errors.New("the source has ended")

	errHandshake = errors.New("it doesn't finish the handshake in time")
	errAbandoned = errors.New("a block was not read to its end")
	errRefused   = errors.New("it refuses us")
	errBusy      = errors.New("it has too many questions open")
)

// A NetworkError says that a node belongs to another network.
type NetworkError struct {
	Peer string // host:port
	Got  string // the network it speaks, or its magic in hexadecimal if unknown
	Want string // the network of the configuration
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("node %s speaks to network %s, not %s", e.Peer, e.Got, e.Want)
}

// A helloError says that a node closed the connection before it said anything,
// which is all that a node of another network does.
type helloError struct {
	network frame.Network
	err     error
}

func (e *helloError) Error() string {
	return fmt.Sprintf("it closes the connection on hello: it may be of another network than %s, "+
		"or accept no more connections", nameOf(e.network))
}

func (e *helloError) Unwrap() error { return e.err }

// A magicError says that a message doesn't begin with the magic of our network.
type magicError struct {
	got     uint32
	command string // empty when what follows is no message either
}

func (e *magicError) Error() string {
	return fmt.Sprintf("it sends a message with magic %08x", e.got)
}

// asNetwork turns a wrong magic at the start of a connection into what it means.
func (e *magicError) asNetwork(peer string, want frame.Network) error {
	if e.command == "" {
		return fmt.Errorf("%w: it doesn't speak the protocol of Bitcoin", ErrMalformed)
	}
	return &NetworkError{Peer: peer, Got: networkName(e.got), Want: nameOf(want)}
}

func networkName(magic uint32) string {
	for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
		if chainwatch.ParamsOf(n).Magic == magic {
			return nameOf(n)
		}
	}
	return fmt.Sprintf("with magic %08x", magic)
}

// nameOf gives the name that people know a network by.
func nameOf(n frame.Network) string {
	switch n {
	case frame.Main:
		return "mainnet"
	case frame.Test:
		return "testnet"
	default:
		return string(n)
	}
}
