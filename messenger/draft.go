package messenger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// Auto is the encryption of a draft that is encrypted as strongly as all its
// recipients can read.
const Auto = "auto"

// Encryptions are what a draft can be encrypted with, [Auto] included.
var Encryptions = []string{improtocol.Plain, improtocol.ECC, improtocol.RSA, improtocol.AES, improtocol.HPKE, Auto}

// A Draft is a message before it is signed.
type Draft struct {
	Body       []byte   `json:"body"`
	Type       string   `json:"type"`                 // message type
	FileName   string   `json:"name,omitempty"`       // base name, may be empty
	Re         string   `json:"re,omitempty"`         // frame id answered, may be empty
	To         []string `json:"to"`                   // names or addresses; at least one
	Encryption string   `json:"encryption"`           // plain, ECC, RSA, AES, HPKE, or Auto; empty is plain
	Shared     string   `json:"shared,omitempty"`     // label of the key or passphrase of AES among the secrets of Account.Keys
	AsAddress  bool     `json:"as_address,omitempty"` // sign as the address even if the key has a name
	From       string   `json:"from,omitempty"`       // address that signs; empty: that of any account
	Bracketed  bool     `json:"bracketed,omitempty"`  // the bracketed form instead of pushes
	Pin        []string `json:"pin,omitempty"`        // addresses of To, in its order, that they must still be; an empty one may be any
}

// Most that a draft may hold.
const (
	MaxBody       = 64 << 20 // bytes, before encryption
	MaxRecipients = 1000
	longestName   = 255 // bytes of a file name
	longestType   = 255 // bytes of a message type
)

// Reasons why a draft can't be sent.
var (
	ErrNobody    = errors.New("a message needs a recipient")
	ErrTooLarge  = fmt.Errorf("a message holds at most %d bytes", MaxBody)
	ErrAnswered  = errors.New("what is answered is named by its id, 64 hexadecimal digits")
	ErrNoShared  = errors.New("encryption AES needs the label of a shared key or passphrase of this key file")
	ErrMediaType = errors.New("a message type is text without brackets")
)

// Check tells whether a draft can be sent as far as it shows by itself.
func (d *Draft) Check() error {
	switch {
	case len(d.To) == 0:
		return ErrNobody
	case len(d.To) > MaxRecipients:
		return fmt.Errorf("a message goes to %d recipients at most", MaxRecipients)
	case len(d.Pin) != 0 && len(d.Pin) != len(d.To):
		return errors.New("as many pinned addresses as recipients are needed")
	case len(d.Body) > MaxBody:
		return ErrTooLarge
	case len(d.Type) > longestType || frame.CheckText(d.Type) != nil || d.Type == "":
		return ErrMediaType
	case len(d.FileName) > longestName || !utf8.ValidString(d.FileName):
		return fmt.Errorf("a file name is UTF-8 of %d bytes at most", longestName)
	}
	if d.Re != "" && !isFrameID(d.Re) {
		return ErrAnswered
	}
	return d.checkEncryption()
}

func (d *Draft) checkEncryption() error {
	switch d.Encryption {
	case "", improtocol.Plain, improtocol.ECC, improtocol.RSA, improtocol.HPKE, Auto:
	case improtocol.AES:
		if d.Shared == "" {
			return ErrNoShared
		}
		return nil
	default:
		return fmt.Errorf("encryption %q is none of %s", d.Encryption, strings.Join(Encryptions, ", "))
	}
	if d.Shared != "" {
		return errors.New("a shared key goes with encryption AES only")
	}
	return nil
}

// isFrameID tells whether a text is a frame id as the server writes it.
func isFrameID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == len(frame.ID{}) && strings.ToLower(s) == s
}

// Sent says what became of a draft: its messages in the order in which they went
// out, several for parts, and for ECC and HPKE to several recipients.
type Sent struct {
	IDs        []frame.ID   // of the messages; the first part's id is the whole's
	TxIDs      []frame.Hash // the transaction of each
	To         [][]string   // addresses of each group of recipients: each gets the parts of one message
	Source     string       // name or address that signed
	Encryption string       // the type that was used
	Parts      int          // that each message was cut into; 1: it fits one transaction
}
