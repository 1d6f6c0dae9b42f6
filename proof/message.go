package proof

import (
	"fmt"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A message is the one that a proof is about, with the transaction it was found
// in.
type message struct {
	*improtocol.Message
	network  frame.Network
	tx       *index.Transaction
	preimage []byte
}

// readMessage reads the message that an output of a transaction carries.
func readMessage(raw []byte, output uint32, network frame.Network) (*message, error) {
	tx, err := chainwatch.ReadTransaction(raw, network)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTransaction, err)
	}
	for _, f := range tx.Frames {
		switch {
		case f.Output != output:
		case f.Malformed != "":
			return nil, fmt.Errorf("%w: its frame can't be read: %s", ErrMessage, f.Malformed)
		case f.Message == nil:
			return nil, fmt.Errorf("%w: it carries a record of the %s protocol", ErrMessage, f.Protocol)
		default:
			if _, err := f.Message.Time(); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrMessage, err)
			}
			return &message{f.Message, network, tx, f.Message.Preimage()}, nil
		}
	}
	return nil, fmt.Errorf("%w: output %d has none", ErrMessage, output)
}

// signer returns the public key that signed. An address as source must be that
// key's; of a name the key is whoever's it was said to be. A signature that
// doesn't carry its key is tried with those that the transaction shows.
func (m *message) signer() ([]byte, error) {
	proved := frame.Prove(m.preimage, m.Signature)
	if address, err := m.network.ParseAddress(m.Source); err == nil {
		key, verdict := proved.Check(m.preimage, address, m.keys)
		if verdict != frame.Valid {
			return nil, fmt.Errorf("%w %s: %s", ErrSignature, m.Source, verdict)
		}
		return key, nil
	}
	if len(proved.Key) > 0 {
		return proved.Key, nil
	}
	if proved.Signature.Readable() && !proved.Signature.Recoverable() {
		for key := range m.keys {
			if proved.Signature.Verify(m.preimage, key) {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: no key that the transaction shows has made the signature", ErrSignature)
}

// keys yields the public keys of the inputs and the one that the message names.
func (m *message) keys(yield func([]byte) bool) {
	for _, key := range m.tx.InputKeys {
		if !yield(key) {
			return
		}
	}
	if key, ok := improtocol.PublicKey(m.Other); ok {
		yield(key)
	}
}

func (m *message) result(p *client.Proof, s *parts, headers *Headers, key []byte) *Result {
	address := m.network.Address(frame.HashKey(key))
	r := &Result{
		ID: p.ID, TxID: p.TxID, Output: p.Output, Network: string(m.network),
		Source: m.Source, Address: address, Type: m.Type, Encryption: m.Encryption, TimeStamp: m.TimeStamp,
		Height: p.Block.Height, Block: p.Block.Hash, BlockTime: s.header.Time(),
		Confirmations: headers.Tip() - p.Block.Height + 1, From: headers.From(),
		WorkBits: headers.work(p.Block.Height).BitLen() - 1, ChainWorkBits: headers.work(0).BitLen() - 1,
	}
	r.tell()
	return r
}
