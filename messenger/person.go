// Package messenger is what a person's program does with messages: find who a
// name is, choose keys, sign and pay, hand in, wait for a block. It asks one
// server and believes none of its answers that it can check: what is signed is
// verified, a key must be its address's.
//
// A [Person] asks, an [Account] has a key and coins and sends. Keys and coins stay
// in this process.
package messenger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
)

// A Person is who asks a server.
type Person struct {
	Client  *client.Client
	Info    *client.Info // as the server told it at the beginning
	Network frame.Network
}

// FeeRate returns the fee rate that the server asks for, the usual one when it
// doesn't say or names one of less than a satoshi for 1,000 bytes, with which a
// transaction would lie about for ever. That it isn't too high is the wallet's to
// see (signer.Options.MaxRate).
func (u *Person) FeeRate() signer.FeeRate {
	if u.Info == nil || u.Info.Fee == nil {
		return signer.DefaultFeeRate
	}
	fee := u.Info.Fee
	if fee.Satoshis == 0 || fee.Bytes == 0 || fee.Bytes/1000 > fee.Satoshis {
		return signer.DefaultFeeRate
	}
	return signer.FeeRate{Satoshis: fee.Satoshis, Bytes: fee.Bytes}
}

// A Party is somebody who can be written to.
type Party struct {
	Name      string // empty when named by address only
	Address   frame.KeyHash
	PublicKey []byte // nil when none is proved
}

// Resolve finds who a name or an address is.
func (u *Person) Resolve(ctx context.Context, who string) (Party, error) {
	h, err := u.Network.ParseAddress(who)
	switch {
	case err == nil:
		return Party{Address: h}, nil
	case errors.Is(err, frame.ErrChecksum), errors.Is(err, frame.ErrAddressNetwork):
		return Party{}, fmt.Errorf("address %s: %w", safetext.Line(who), err)
	}
	n, err := u.Client.Name(ctx, who)
	var p *client.Problem
	switch {
	case errors.As(err, &p) && p.Code == client.CodeNotFound, err == nil && n.State == client.NameFree:
		return Party{}, fmt.Errorf("name %q is not registered", who)
	case err != nil:
		return Party{}, fmt.Errorf("name %q: %w", who, err)
	case n.State == client.NameExpired:
		return Party{}, fmt.Errorf("name %q expired on %s; it was %s's", who, day(n.ExpiresAt), n.Address)
	case n.State != client.NameValid:
		return Party{}, fmt.Errorf("name %q is %s", who, n.State)
	}
	if h, err = u.Network.ParseAddress(n.Address); err != nil {
		return Party{}, fmt.Errorf("the server's answer for name %q: %w", who, err)
	}
	return Party{Name: who, Address: h}, nil
}

// WithKey finds the public key that was proved for a party's address.
func (u *Person) WithKey(ctx context.Context, p Party) (Party, error) {
	a, err := u.Client.Address(ctx, u.Network.Address(p.Address))
	if err != nil {
		return p, err
	}
	key, ok := frame.ParsePublicKey(a.PublicKey)
	if !ok {
		return p, fmt.Errorf("no public key is known for %s: it has to send something once before it can be encrypted to", u.Label(p))
	}
	if frame.HashKey(key) != p.Address {
		return p, fmt.Errorf("the server's public key for %s is another address's: nothing was sent", u.Label(p))
	}
	p.PublicKey = key
	return p, nil
}

// Label writes a party for people: the name never hides the address.
func (u *Person) Label(p Party) string {
	if p.Name == "" {
		return u.Network.Address(p.Address)
	}
	return safetext.Line(p.Name) + " (" + u.Network.Address(p.Address) + ")"
}

// day writes Unix seconds as local time.
func day(seconds int64) string { return time.Unix(seconds, 0).Format("2006-01-02 15:04:05") }
