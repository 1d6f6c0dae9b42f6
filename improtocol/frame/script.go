package frame

import (
	"bytes"
	"encoding/binary"
)

const (
	opFalse     = 0x00
	opPushData1 = 0x4c
	opPushData2 = 0x4d
	opPushData4 = 0x4e
	opReturn    = 0x6a
)

// push reads one data push at the beginning of s: OP_0, a direct push of 1 to
// 75 bytes, or OP_PUSHDATA1, 2 or 4 with any length. OP_1NEGATE and OP_1 to
// OP_16 are no data pushes. data aliases s; n counts the bytes read.
func push(s []byte) (data []byte, n int, ok bool) {
	if len(s) == 0 {
		return nil, 0, false
	}
	var size uint32
	switch op := s[0]; {
	case op < opPushData1:
		size, n = uint32(op), 1
	case op == opPushData1 && len(s) >= 2:
		size, n = uint32(s[1]), 2
	case op == opPushData2 && len(s) >= 3:
		size, n = uint32(binary.LittleEndian.Uint16(s[1:])), 3
	case op == opPushData4 && len(s) >= 5:
		size, n = binary.LittleEndian.Uint32(s[1:]), 5
	default:
		return nil, 0, false
	}
	if uint64(size) > uint64(len(s)-n) {
		return nil, 0, false
	}
	end := n + int(size)
	return s[n:end:end], end, true
}

// AppendPush appends one data push with the shortest length prefix. An empty
// field is the byte 00, one byte is 01 xx, never OP_1 to OP_16.
func AppendPush(dst, data []byte) []byte {
	switch n := len(data); {
	case n < opPushData1:
		dst = append(dst, byte(n))
	case n <= 0xff:
		dst = append(dst, opPushData1, byte(n))
	case n <= 0xffff:
		dst = binary.LittleEndian.AppendUint16(append(dst, opPushData2), uint16(n))
	default:
		dst = binary.LittleEndian.AppendUint32(append(dst, opPushData4), uint32(n))
	}
	return append(dst, data...)
}

// payload returns what stands after OP_FALSE OP_RETURN or a bare OP_RETURN.
func payload(script []byte) ([]byte, bool) {
	switch {
	case len(script) >= 2 && script[0] == opFalse && script[1] == opReturn:
		return script[2:], true
	case len(script) >= 1 && script[0] == opReturn:
		return script[1:], true
	}
	return nil, false
}

// identify tells whether the bytes after OP_RETURN are ours: in which form, and
// under which identifier. It allocates nothing.
func identify(body []byte) (form Form, id string, ok bool) {
	if id, ok := bracketed(body); ok {
		return Raw, id, true
	}
	first, _, ok := push(body)
	if !ok {
		return 0, "", false
	}
	switch string(first) {
	case IMPI:
		return Pushes, IMPI, true
	case NPI:
		return Pushes, NPI, true
	}
	id, ok = bracketed(first)
	return Bracketed, id, ok
}

func bracketed(text []byte) (id string, ok bool) {
	for _, id := range [...]string{IMPI, NPI} {
		n := len(id)
		if len(text) >= n+2 && text[0] == '[' && text[n+1] == ']' && string(text[1:n+1]) == id {
			return id, true
		}
	}
	return "", false
}

// Ours tells whether an output script begins as a frame of one of the
// protocols, readable or not. It allocates nothing: the scanner asks it of every
// output of the chain. An output whose first push is cut short is not ours.
func Ours(script []byte) bool {
	body, ok := payload(script)
	if !ok {
		return false
	}
	_, _, ok = identify(body)
	return ok
}

// PayToPublicKeyHash returns the hash that a P2PKH output script pays to.
func PayToPublicKeyHash(script []byte) (KeyHash, bool) {
	if len(script) != 25 || script[0] != 0x76 || script[1] != 0xa9 || script[2] != 20 || script[23] != 0x88 || script[24] != 0xac {
		return KeyHash{}, false
	}
	return KeyHash(script[3:23]), true
}

// SpendPublicKey returns the public key that a P2PKH input script reveals: the
// script is exactly two data pushes, the second with the form of a public key.
// The key aliases the script and needn't be on the curve. docs/spec/frame.md,
// "Candidate keys".
func SpendPublicKey(script []byte) ([]byte, bool) {
	_, n, ok := push(script)
	if !ok {
		return nil, false
	}
	key, m, ok := push(script[n:])
	if !ok || n+m != len(script) || !keyForm(key) {
		return nil, false
	}
	return key, true
}

var chain = []byte{'|'}

// chained tells whether what follows a frame may follow it: nothing, or the
// push "|", after which another protocol begins that isn't read.
func chained(rest []byte) bool {
	if len(rest) == 0 {
		return true
	}
	next, _, ok := push(rest)
	return ok && bytes.Equal(next, chain)
}
