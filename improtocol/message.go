// Package improtocol reads and writes IM frames: signed messages carried in the
// data output of a Bitcoin SV transaction.
//
// Use [Parse] on an output script; [ErrNotIM] means that it belongs to someone
// else. Use [Message.Sign] and [Message.AppendScript] to write one. The package
// is pure: no network, no files, no clock, no global state.
// docs/spec/improtocol.md has the format.
package improtocol

import (
	"crypto/sha256"
	"errors"
	"strconv"

	"github.com/metaim/metaim/improtocol/frame"
)

// A Message is one IM frame. Every text is as on the chain, valid or not; Body
// and Signature alias the script given to Parse. docs/spec/improtocol.md,
// "Fields".
type Message struct {
	Source     string // name or address of who sends
	Type       string // "text", "image/png", ...
	Encryption string // how Body is encrypted: "plain", "ECC", ...
	Body       []byte // as on the chain, still encrypted
	Other      string // other information, may be empty; ParseOther reads it
	TimeStamp  string // a decimal uint64; Unix milliseconds when we write it
	Signature  []byte // as on the chain
}

// Encryption types. docs/spec/improtocol.md, "Encryption types".
const (
	Plain   = "plain"
	ECC     = "ECC"
	AES     = "AES"
	RSA     = "RSA"
	HPKE    = "HPKE"
	ECDHAES = "ECDHAES" // read only
)

// Message types that have a word of their own; any media type is one too.
const (
	Text  = "text"
	Image = "image"
	Audio = "audio"
	Video = "video"
	HTML  = "html"
)

// KeyRecord is the message type of a message to oneself that publishes a key to
// encrypt to. docs/spec/improtocol.md, "Key records".
const KeyRecord = "application/key"

// ErrNotIM says that a script holds no IM frame: another protocol's, or none.
var ErrNotIM = errors.New("not an IM frame")

// Parse reads an output script as an IM frame. It fails with ErrNotIM or a
// [*frame.ParseError].
func Parse(script []byte) (*Message, error) {
	f, err := frame.Read(script)
	var refused *frame.ParseError
	switch {
	case errors.As(err, &refused) && refused.Protocol == frame.IM:
		return nil, err
	case err != nil || f.Protocol != frame.IM:
		return nil, ErrNotIM
	}
	return FromFrame(f), nil
}

// FromFrame gives the fields of a frame of the IM protocol their names.
func FromFrame(f frame.Frame) *Message {
	return &Message{
		Source:     string(f.Fields[1]),
		Type:       string(f.Fields[2]),
		Encryption: string(f.Fields[3]),
		Body:       f.Fields[4],
		Other:      string(f.Fields[5]),
		TimeStamp:  string(f.Fields[6]),
		Signature:  f.Fields[7],
	}
}

// content appends the first six fields as text: what a content id is of.
func (m *Message) content(dst []byte) []byte {
	return frame.AppendPreimage(dst, []byte(frame.IMPI), []byte(m.Source), []byte(m.Type),
		[]byte(m.Encryption), m.Body, []byte(m.Other))
}

// Preimage returns the text that the signature signs: the first seven fields in
// brackets, whatever the form of the output.
func (m *Message) Preimage() []byte {
	return frame.AppendPreimage(m.content(nil), []byte(m.TimeStamp))
}

// FrameID returns the SHA-256 of the preimage: the identity of the message.
func (m *Message) FrameID() frame.ID { return frame.IDOf(m.Preimage()) }

// ContentID returns the SHA-256 of the first six fields as text: the same for
// messages that differ in their time stamp only.
func (m *Message) ContentID() frame.ID { return frame.IDOf(m.content(nil)) }

// IDs returns the frame id and the content id, which is of the beginning of what
// the frame id is of: it is hashed once.
func (m *Message) IDs() (id, content frame.ID) {
	d := sha256.New()
	_, _ = d.Write(m.content(make([]byte, 0, 512)))
	d.Sum(content[:0])
	_, _ = d.Write(frame.AppendPreimage(make([]byte, 0, 32), []byte(m.TimeStamp)))
	d.Sum(id[:0])
	return id, content
}

// Time returns the time stamp as a number. It fails with
// [frame.ErrTimeStamp].
func (m *Message) Time() (uint64, error) { return frame.ParseTimeStamp(m.TimeStamp) }

// SetTime writes the time stamp, in Unix milliseconds.
func (m *Message) SetTime(milliseconds uint64) {
	m.TimeStamp = strconv.FormatUint(milliseconds, 10)
}

// Sign signs the message as a Bitcoin Signed Message, in base64.
func (m *Message) Sign(key frame.PrivateKey) { m.Signature = key.Sign(m.Preimage()) }

// AppendScript appends the output script in the form given, Pushes or
// Bracketed; the output's value is 0 satoshis. It fails with a
// [*frame.ParseError] when a field holds what the form can't carry, or with
// [frame.ErrTimeStamp].
func (m *Message) AppendScript(dst []byte, form frame.Form) ([]byte, error) {
	if _, err := m.Time(); err != nil {
		return nil, err
	}
	return frame.AppendScript(dst, form, []byte(frame.IMPI), []byte(m.Source), []byte(m.Type),
		[]byte(m.Encryption), m.Body, []byte(m.Other), []byte(m.TimeStamp), m.Signature)
}
