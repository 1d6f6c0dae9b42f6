package messenger

import (
	"context"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/signer"
)

// PublishKey publishes a key that others can encrypt to: a plain message to
// oneself, signed as the address. It fails with a *RefusedError, a
// *signer.FundsError or a *client.Problem. docs/spec/improtocol.md, "Key records".
func (a *Account) PublishKey(ctx context.Context, key seal.Published) (id frame.ID, txid frame.Hash, err error) {
	own := a.Network.Address(a.Key.KeyHash())
	m := &improtocol.Message{Source: own, Type: improtocol.KeyRecord, Encryption: improtocol.Plain, Body: seal.KeyRecord(key),
		Other: improtocol.Other{{Key: improtocol.OtherTo, Value: own}}.String()}
	m.SetTime(a.TimeStamp())
	m.Sign(a.Key.Private())
	script, err := m.AppendScript(nil, frame.Pushes)
	if err != nil {
		return id, txid, err
	}
	signed, err := a.Wallet.Build(signer.Request{From: a.Key.KeyHash(), Script: script})
	if err != nil {
		return id, txid, err
	}
	return m.FrameID(), signed.TxID, a.hand(ctx, m.FrameID(), signed.TxID, signed.Raw)
}

// IsPublished tells whether a key is the one of its type that counts for the
// account's address, as the server tells it and as is verified here.
func (a *Account) IsPublished(ctx context.Context, key seal.Published) (bool, error) {
	own, err := a.Recipients(ctx, []Party{{Address: a.Key.KeyHash()}})
	if err != nil {
		return false, err
	}
	for _, p := range own[0].Published {
		if p.Encryption() == key.Encryption() {
			return p.ID() == key.ID(), nil
		}
	}
	return false, nil
}
