package simchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// Network is the network of all that the package makes.
const Network = frame.Regtest

// A Person has a key and its address.
type Person struct {
	Key  frame.PrivateKey
	Hash frame.KeyHash
}

// NewPerson derives person n of a seed. Every fourth writes public keys in 65
// bytes.
func NewPerson(seed uint64, n int) Person {
	material := binary.BigEndian.AppendUint64([]byte("simchain person "), seed)
	material = binary.BigEndian.AppendUint64(material, uint64(n))
	key := frame.PrivateKey{Scalar: sha256.Sum256(material), Uncompressed: n%4 == 3}
	return Person{Key: key, Hash: key.KeyHash()}
}

// Address returns the person's address as text.
func (p Person) Address() string { return Network.Address(p.Hash) }

// A SignatureForm is one of the ways in which a signature field is written.
type SignatureForm int

// The forms of signature fields that are read.
const (
	Compact        SignatureForm = iota // base64 of 65 bytes: what the encoder writes
	CompactRaw                          // 65 bytes
	DERHex                              // DER over SHA-256, in hexadecimal
	DERBase64                           // the same in base64
	DERHighS                            // DER in hexadecimal with the other S
	SignatureForms = iota
)

// Sign signs a preimage in any form.
func Sign(key frame.PrivateKey, preimage []byte, form SignatureForm) []byte {
	switch form {
	case Compact:
		return key.Sign(preimage)
	case CompactRaw:
		raw, err := base64.StdEncoding.DecodeString(string(key.Sign(preimage)))
		if err != nil {
			panic(err) // of our own encoding
		}
		return raw
	}
	digest := sha256.Sum256(preimage)
	signature := ecdsa.Sign(secp256k1.PrivKeyFromBytes(key.Scalar[:]), digest[:])
	der := signature.Serialize()
	switch form {
	case DERBase64:
		return base64.StdEncoding.AppendEncode(nil, der)
	case DERHighS:
		der = highS(signature)
	}
	return hex.AppendEncode(nil, der)
}

// highS writes a signature with the larger of its two S.
func highS(s *ecdsa.Signature) []byte {
	r, low := s.R(), s.S()
	low.Negate()
	rb, sb := r.Bytes(), low.Bytes()
	integer := func(b []byte) []byte {
		b = bytes.TrimLeft(b, "\x00")
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(rb[:]), integer(sb[:])...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// A ScriptForm is one of the ways in which a frame stands in a script.
type ScriptForm int

// The forms of scripts that are read, after OP_FALSE OP_RETURN, and the first of
// them after a bare OP_RETURN.
const (
	Pushes ScriptForm = iota
	Bracketed
	Raw
	PushesBare
	PushesChained // with a | and another protocol behind
	ScriptForms   = iota
)

// Script writes fields, signatures last, in any form, whether or not they can be
// read back.
func Script(form ScriptForm, fields ...[]byte) []byte {
	script := []byte{0x00, 0x6a}
	switch form {
	case Bracketed:
		return frame.AppendPush(script, frame.AppendPreimage(nil, fields...))
	case Raw:
		return frame.AppendPreimage(script, fields...)
	case PushesBare:
		script = script[1:]
	}
	for _, f := range fields {
		script = frame.AppendPush(script, f)
	}
	if form == PushesChained {
		script = frame.AppendPush(frame.AppendPush(script, []byte("|")), []byte("19HxigV4QyBv3tHpQVcUEQyq1pzZVdoAut"))
	}
	return script
}

// Message signs a message and writes its script. Raw signature bytes are written
// only where the form can hold them.
func Message(m *improtocol.Message, key frame.PrivateKey, signature SignatureForm, form ScriptForm) []byte {
	if signature == CompactRaw && (form == Bracketed || form == Raw) {
		signature = Compact
	}
	m.Signature = Sign(key, m.Preimage(), signature)
	return Script(form, []byte(frame.IMPI), []byte(m.Source), []byte(m.Type), []byte(m.Encryption), m.Body,
		[]byte(m.Other), []byte(m.TimeStamp), m.Signature)
}

// Record signs a record with the keys given, right or wrong, and writes its
// script.
func Record(r *nprotocol.Record, signature SignatureForm, form ScriptForm, keys ...frame.PrivateKey) []byte {
	if signature == CompactRaw && (form == Bracketed || form == Raw) {
		signature = Compact
	}
	preimage := r.Preimage(Network)
	r.Signatures = nil
	fields := [][]byte{[]byte(frame.NPI), []byte(r.Name), []byte(Network.Address(r.Address))}
	if r.Protocol == frame.P {
		fields = [][]byte{[]byte(frame.IMPI), []byte(Network.Address(r.Address)), []byte(r.IP)}
	}
	if r.Operation == nprotocol.Transfer {
		fields = append(fields, []byte(Network.Address(r.NewAddress)))
	}
	fields = append(fields, []byte(r.Other))
	if r.Operation == nprotocol.Delete {
		fields = append(fields, []byte("delete"))
	}
	fields = append(fields, []byte(r.TimeStamp))
	for _, key := range keys {
		r.Signatures = append(r.Signatures, Sign(key, preimage, signature))
	}
	return Script(form, append(fields, r.Signatures...)...)
}
