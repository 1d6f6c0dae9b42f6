package p2p

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/bsv-blockchain/go-wire"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

const (
	headerBytes   = 24 // magic, command, length, checksum
	extendedBytes = 20 // the command and the length of a message over 4 GB
	commandBytes  = 12
	headerInList  = chainwatch.HeaderSize + 1 // each header is followed by a count of 0
	maxHeaders    = 2000
	itemBytes     = 36 // type and hash in inv, getdata and notfound
	firstChunk    = 64 << 10
)

// A message is what comes before a payload.
type message struct {
	command  string
	size     uint64 // of the payload in bytes, checked against limits
	checksum [4]byte
	extended bool // then checksum means nothing
}

// limits are the largest payloads that are accepted.
type limits struct {
	block, tx uint64
}

func (l limits) of(command string) uint64 {
	switch command {
	case wire.CmdBlock:
		return l.block
	case wire.CmdTx:
		return l.tx
	case wire.CmdHeaders:
		return 9 + maxHeaders*headerInList
	case wire.CmdVersion:
		return 4 << 10
	case wire.CmdVerAck, wire.CmdPing, wire.CmdPong:
		return 64
	default:
		return 32 << 20
	}
}

// readHeader reads the header of the next message, plain or extended, and checks
// magic, command and length. Errors are *magicError, ErrMalformed, ErrTooLarge or
// those of the reader.
func readHeader(r io.Reader, magic uint32, lim limits) (message, error) {
	var b [headerBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return message{}, err
	}
	command, ok := parseCommand(b[4:16])
	if got := binary.LittleEndian.Uint32(b[:]); got != magic {
		return message{}, &magicError{got: got, command: command}
	}
	if !ok {
		return message{}, fmt.Errorf("%w: command %q", ErrMalformed, b[4:16])
	}
	m := message{command: command, size: uint64(binary.LittleEndian.Uint32(b[16:])), checksum: [4]byte(b[20:])}
	if command == wire.CmdExtMsg {
		if m.size != math.MaxUint32 {
			return message{}, fmt.Errorf("%w: extended header with length %d", ErrMalformed, m.size)
		}
		if err := m.readExtended(r); err != nil {
			return message{}, err
		}
	}
	if most := lim.of(m.command); m.size > most {
		return message{}, fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, m.command, m.size, most)
	}
	return m, nil
}

func (m *message) readExtended(r io.Reader) error {
	var b [extendedBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return unexpected(err)
	}
	command, ok := parseCommand(b[:commandBytes])
	if !ok || command == wire.CmdExtMsg {
		return fmt.Errorf("%w: extended command %q", ErrMalformed, b[:commandBytes])
	}
	m.command, m.extended = command, true
	m.size = binary.LittleEndian.Uint64(b[commandBytes:])
	return nil
}

// parseCommand reads a command: printable ASCII, filled up with zeros.
func parseCommand(b []byte) (string, bool) {
	name, fill, _ := bytes.Cut(b, []byte{0})
	bad := func(c byte) bool { return c <= ' ' || c > '~' }
	if len(name) == 0 || slices.ContainsFunc(name, bad) || len(bytes.Trim(fill, "\x00")) != 0 {
		return "", false
	}
	return string(name), true
}

// readPayload reads the payload of a message into memory that grows as bytes
// arrive, checks its checksum and returns it with its double hash.
func readPayload(r io.Reader, m message) ([]byte, frame.Hash, error) {
	b := make([]byte, min(m.size, firstChunk))
	for done := 0; ; {
		n, err := io.ReadFull(r, b[done:])
		if err != nil {
			return nil, frame.Hash{}, unexpected(err)
		}
		if done += n; uint64(done) == m.size {
			break
		}
		more := min(m.size-uint64(done), uint64(done))
		b = append(b, make([]byte, more)...)
	}
	sum := frame.HashOf(b)
	if !m.extended && [4]byte(sum[:]) != m.checksum {
		return nil, frame.Hash{}, fmt.Errorf("%w (%s)", ErrChecksum, m.command)
	}
	return b, sum, nil
}

// unexpected makes an end in the middle of something visible as one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encode frames messages of ours one after another.
func encode(magic uint32, msgs ...wire.Message) ([]byte, error) {
	var b bytes.Buffer
	for _, m := range msgs {
		if err := wire.WriteMessage(&b, m, protocolVersion, wire.BitcoinNet(magic)); err != nil {
			return nil, fmt.Errorf("encode %s: %w", m.Command(), err)
		}
	}
	return b.Bytes(), nil
}

// An item is an entry of inv, getdata or notfound.
type item struct {
	kind wire.InvType
	hash frame.Hash
}

// parseItems reads the payload of inv or notfound. The count must agree with the
// length, so that memory is bounded by what arrived.
func parseItems(b []byte) ([]item, error) {
	count, b, err := countedList(b, itemBytes)
	if err != nil {
		return nil, err
	}
	items := make([]item, 0, count)
	for ; len(b) > 0; b = b[itemBytes:] {
		kind := wire.InvType(binary.LittleEndian.Uint32(b))
		items = append(items, item{kind: kind, hash: frame.Hash(b[4:itemBytes])})
	}
	return items, nil
}

// parseHeaders reads the payload of headers.
func parseHeaders(b []byte) ([]chainwatch.Header, error) {
	count, b, err := countedList(b, headerInList)
	if err != nil {
		return nil, err
	}
	if count > maxHeaders {
		return nil, fmt.Errorf("%w: %d headers", ErrMalformed, count)
	}
	list := make([]chainwatch.Header, 0, count)
	for ; len(b) > 0; b = b[headerInList:] {
		if b[chainwatch.HeaderSize] != 0 {
			return nil, fmt.Errorf("%w: a header with transactions", ErrMalformed)
		}
		list = append(list, chainwatch.Header(b[:chainwatch.HeaderSize]))
	}
	return list, nil
}

// countedList splits a list into its count and its entries of the given size,
// and refuses a count that doesn't agree with the length.
func countedList(b []byte, size uint64) (count uint64, entries []byte, err error) {
	r := bytes.NewReader(b)
	if count, err = wire.ReadVarInt(r, protocolVersion); err != nil {
		return 0, nil, fmt.Errorf("%w: a list without count", ErrMalformed)
	}
	entries = b[len(b)-r.Len():]
	if n := uint64(len(entries)); n%size != 0 || n/size != count {
		return 0, nil, fmt.Errorf("%w: a list of %d entries in %d bytes", ErrMalformed, count, n)
	}
	return count, entries, nil
}

// parseNonce reads the payload of ping or pong.
func parseNonce(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: a nonce of %d bytes", ErrMalformed, len(b))
	}
	return binary.LittleEndian.Uint64(b), nil
}

// parseVersion reads the payload of version. go-wire allocates whatever length
// the user agent claims, therefore that is looked at before.
func parseVersion(b []byte) (*wire.MsgVersion, error) {
	const fixed = 80 // everything before the user agent
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: version of %d bytes", ErrMalformed, len(b))
	}
	r := bytes.NewReader(b[fixed:])
	if n, err := wire.ReadVarInt(r, protocolVersion); err == nil && n > uint64(r.Len()) {
		return nil, fmt.Errorf("%w: user agent of %d bytes", ErrMalformed, n)
	}
	var m wire.MsgVersion
	if err := m.Bsvdecode(bytes.NewBuffer(b), protocolVersion, wire.BaseEncoding); err != nil {
		return nil, fmt.Errorf("%w: version: %w", ErrMalformed, err)
	}
	return &m, nil
}

// rejectReason takes the reason out of the payload of reject, for people: of
// what a stranger sends only the printable.
func rejectReason(b []byte) string {
	const longest = 120
	text := bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, b[:min(len(b), longest)])
	return string(bytes.Join(bytes.Fields(text), []byte{' '}))
}
