package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why a message doesn't prove what it says.
var (
	ErrFrameID   = errors.New("the frame id is not that of the fields")
	ErrSource    = errors.New("the source is an address other than the one that signed")
	ErrSignature = errors.New("the signature is not by the key of the address")
	ErrDerived   = errors.New("a field differs from the signed one it is read from")
)

// Verify checks a message without trust in the server that told it: ID is the
// SHA-256 of the fields, Signature is by the key of Address over them, an address
// as Source is that Address, and Text and OtherMap are what the signed fields say.
// A DER signature is checked with PublicKey.
//
// It can't check what only the chain says: that a name was Address's when the
// message was written, and where and whether the message was confirmed. It fails
// with ErrFrameID, ErrSource, ErrSignature or ErrDerived.
func Verify(m Message, network frame.Network) error {
	im := improtocol.Message{
		Source: m.Source, Type: m.Type, Encryption: m.Encryption, Body: m.Body,
		Other: m.Other, TimeStamp: m.TimeStamp, Signature: m.Signature,
	}
	if err := checkFields(im); err != nil {
		return err
	}
	preimage := im.Preimage()
	if frame.IDOf(preimage).String() != m.ID {
		return ErrFrameID
	}
	address, err := network.ParseAddress(m.Address)
	if err != nil {
		return fmt.Errorf("%w: address %q: %w", ErrSignature, m.Address, err)
	}
	if said, err := network.ParseAddress(m.Source); err == nil && said != address {
		return ErrSource
	}
	candidates := func(yield func([]byte) bool) {
		if key, ok := frame.ParsePublicKey(m.PublicKey); ok {
			yield(key)
		}
	}
	if _, v := frame.Prove(preimage, m.Signature).Check(preimage, address, candidates); v != frame.Valid {
		return fmt.Errorf("%w %s: %s", ErrSignature, m.Address, v)
	}
	return checkDerived(m)
}

// checkFields refuses fields that no frame can hold: with a bracket in them, two
// different messages could have one preimage.
func checkFields(m improtocol.Message) error {
	for _, field := range []string{m.Source, m.Type, m.Encryption, m.Other, m.TimeStamp} {
		if err := frame.CheckText(field); err != nil {
			return fmt.Errorf("%w: %w", ErrFrameID, err)
		}
	}
	if _, err := m.Time(); err != nil {
		return fmt.Errorf("%w: %w", ErrFrameID, err)
	}
	return nil
}

func checkDerived(m Message) error {
	text, ok := PlainText(m.Type, m.Encryption, m.Body)
	if m.Text != nil && (!ok || *m.Text != text) {
		return fmt.Errorf("%w: text", ErrDerived)
	}
	if m.OtherMap != nil && !maps.Equal(m.OtherMap, ParseOther(m.Other)) {
		return fmt.Errorf("%w: other_map", ErrDerived)
	}
	return nil
}

// PlainText returns the body of a message as text when it is one: type text,
// encryption plain, UTF-8. It may hold control characters.
func PlainText(messageType, encryption string, body []byte) (string, bool) {
	if messageType != improtocol.Text || encryption != improtocol.Plain || !utf8.Valid(body) {
		return "", false
	}
	return string(body), true
}

// ParseOther reads other information into a map; nil when it is empty or no
// list. Of equal keys the first counts.
func ParseOther(other string) map[string]string {
	list, ok := improtocol.ParseOther(other)
	if !ok || len(list) == 0 {
		return nil
	}
	values := make(map[string]string, len(list))
	for _, p := range slices.Backward(list) {
		values[p.Key] = p.Value
	}
	return values
}
