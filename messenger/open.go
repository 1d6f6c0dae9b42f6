package messenger

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
)

// Reasons why a message isn't opened.
var (
	ErrLocked    = errors.New("encrypted, and no keys are unlocked")
	ErrNotToUs   = errors.New("encrypted, and to none of the keys here")
	ErrUnknown   = errors.New("encrypted in a way that this program doesn't know")
	ErrPart      = errors.New("a part of a larger message")
	ErrUnsettled = errors.New("its signature isn't its sender's")
)

// An Opened is a message as its reader may see it.
type Opened struct {
	Message   client.Message
	Body      []byte // decrypted; nil with Err
	MediaType string // detected; empty with Err
	Text      string // when MediaType is text; still a stranger's: print it through safetext
	Err       error  // why it can't be opened: nothing of it is text then
	Verified  error  // nil: the signature is the address's
	Parts     *Parts // of a message in parts: how many are there, which are missing
}

// IsText tells whether Text is what the message says.
func (o *Opened) IsText() bool { return o.Err == nil && IsText(o.MediaType) }

// An Opener opens messages with the keys of one person.
type Opener struct {
	Network frame.Network
	Keys    *seal.Keys // nil: encrypted messages stay closed, with ErrLocked
}

// Open verifies a message, decrypts it and tells what it is. One part of a larger
// message isn't opened by itself (ErrPart): see [Person.Gather] and
// [Opener.OpenWhole]. Nothing that isn't verified is decrypted.
func (o *Opener) Open(m client.Message) Opened {
	opened := Opened{Message: m, Verified: client.Verify(m, o.Network)}
	if p, ok := PartOf(m); ok {
		opened.Parts, opened.Err = &p, ErrPart
		return opened
	}
	o.open(&opened, m.Body)
	return opened
}

// OpenWhole puts the parts of a message together and opens it. With parts missing
// Err is a *MissingError.
func (o *Opener) OpenWhole(g *Gathering) Opened {
	p := g.Parts()
	opened := Opened{Message: g.First(), Parts: &p}
	body, err := g.Body()
	if err != nil {
		opened.Err = err
		return opened
	}
	o.open(&opened, body)
	return opened
}

func (o *Opener) open(opened *Opened, body []byte) {
	m := opened.Message
	if m.Encryption != improtocol.Plain {
		if opened.Verified != nil {
			opened.Err = ErrUnsettled
			return
		}
		if body, opened.Err = o.decrypt(m, body); opened.Err != nil {
			return
		}
	}
	if body == nil {
		body = []byte{}
	}
	opened.Body, opened.MediaType = body, DetectType(m.Type, body)
	if IsText(opened.MediaType) {
		opened.Text = string(body)
	}
}

func (o *Opener) decrypt(m client.Message, body []byte) ([]byte, error) {
	if o.Keys == nil {
		return nil, ErrLocked
	}
	other, err := hex.DecodeString(m.PublicKey)
	if err != nil {
		other = nil
	}
	plain, err := o.Keys.DecryptBetween(m.Encryption, body, other)
	switch {
	case errors.Is(err, seal.ErrEncryption):
		return nil, ErrUnknown
	case errors.Is(err, improtocol.ErrCiphertext):
		return nil, ErrNotToUs
	case err != nil:
		return nil, fmt.Errorf("encrypted, and not opened: %w", err)
	}
	return plain, nil
}
