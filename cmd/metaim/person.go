package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

// A person is who asks a server: with keys or without.
type person struct {
	program *program
	client  *client.Client
	info    *client.Info
	network frame.Network
	ring    *keyring
}

// connect asks the server which network it serves. A network that was named must
// be the same; otherwise the server's is used.
func connect(c *cobra.Command, p *program) (*person, error) {
	url := serverSetting.value(c, p)
	server, err := client.New(url)
	if err != nil {
		return nil, usageError{err}
	}
	info, err := server.Info(c.Context())
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	network, err := frame.ParseNetwork(info.Network)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	named := c.Flags().Changed(networkSetting.flag) || p.getenv(networkSetting.variable) != ""
	if asked, err := networkOf(c, p); err != nil {
		return nil, err
	} else if named && asked != network {
		return nil, usagef("%s serves network %s, not %s", url, network, asked)
	}
	ring, err := openKeyring(c, p)
	if err != nil {
		return nil, err
	}
	ring.network = network
	return &person{program: p, client: server, info: info, network: network, ring: ring}, nil
}

// addPersonFlags adds the settings that every command of a person has.
func addPersonFlags(c *cobra.Command) {
	for _, s := range []setting{serverSetting, networkSetting, homeSetting} {
		s.add(c)
	}
}

// A party is somebody who can be written to.
type party struct {
	Name      string // empty when named by address only
	Address   frame.KeyHash
	PublicKey []byte // nil when none is proved
}

// resolve finds who a name or an address is.
func (u *person) resolve(ctx context.Context, who string) (party, error) {
	h, err := u.network.ParseAddress(who)
	switch {
	case err == nil:
		return party{Address: h}, nil
	case errors.Is(err, frame.ErrChecksum), errors.Is(err, frame.ErrAddressNetwork):
		return party{}, fmt.Errorf("address %s: %w", printable(who), err)
	}
	n, err := u.client.Name(ctx, who)
	var p *client.Problem
	switch {
	case errors.As(err, &p) && p.Code == client.CodeNotFound, err == nil && n.State == client.NameFree:
		return party{}, fmt.Errorf("name %q is not registered", who)
	case err != nil:
		return party{}, fmt.Errorf("name %q: %w", who, err)
	case n.State == client.NameExpired:
		return party{}, fmt.Errorf("name %q expired on %s; it was %s's", who, clock(n.ExpiresAt*1000), n.Address)
	case n.State != client.NameValid:
		return party{}, fmt.Errorf("name %q is %s", who, n.State)
	}
	if h, err = u.network.ParseAddress(n.Address); err != nil {
		return party{}, fmt.Errorf("the server's answer for name %q: %w", who, err)
	}
	return party{Name: who, Address: h}, nil
}

// withKey finds the public key that was proved for a party's address.
func (u *person) withKey(ctx context.Context, p party) (party, error) {
	a, err := u.client.Address(ctx, u.network.Address(p.Address))
	if err != nil {
		return p, err
	}
	key, ok := frame.ParsePublicKey(a.PublicKey)
	if !ok {
		return p, fmt.Errorf("no public key is known for %s: it has to send something once before it can be encrypted to", u.label(p))
	}
	if frame.HashKey(key) != p.Address {
		return p, fmt.Errorf("the server's public key for %s is another address's: nothing was sent", u.label(p))
	}
	p.PublicKey = key
	return p, nil
}

// label writes a party for people: the name never hides the address.
func (u *person) label(p party) string {
	if p.Name == "" {
		return u.network.Address(p.Address)
	}
	return printable(p.Name) + " (" + u.network.Address(p.Address) + ")"
}

// An account is a person with a key and its coins unlocked.
type account struct {
	*person
	key    signer.Key
	keys   []signer.Entry
	wallet *signer.Wallet
	last   uint64 // time stamp of the last frame signed
}

// unlock unlocks a key and opens the coins, and submits what an earlier run
// built and couldn't submit.
func (u *person) unlock(ctx context.Context, label string) (*account, error) {
	key, entries, err := u.ring.unlockKey(label)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	wallet, err := u.ring.wallet(wait, entries)
	if err != nil {
		return nil, err
	}
	a := &account{person: u, key: key, keys: entries, wallet: wallet}
	for _, raw := range wallet.Pending() {
		if err := a.submit(ctx, frame.HashOf(raw), raw); err != nil {
			return nil, errors.Join(fmt.Errorf("a transaction built earlier: %w", err), wallet.Close())
		}
	}
	return a, nil
}

// timeStamp returns the time in Unix milliseconds, always later than before.
func (a *account) timeStamp() uint64 {
	a.last = max(a.last+1, uint64(time.Now().UnixMilli()))
	return a.last
}

// pay builds a transaction and hands it to the server.
func (a *account) pay(ctx context.Context, q signer.Request) (frame.Hash, error) {
	q.From = a.key.KeyHash()
	signed, err := a.wallet.Build(q)
	if err != nil {
		return frame.Hash{}, err
	}
	return signed.TxID, a.submit(ctx, signed.TxID, signed.Raw)
}

// submit hands a transaction that the wallet built to the server. Refused, its
// coins are free again; when nobody decided it stays pending and the next run
// submits it again.
func (a *account) submit(ctx context.Context, id frame.Hash, raw []byte) error {
	_, err := a.client.Submit(ctx, raw)
	if err == nil {
		return a.wallet.Accept(id)
	}
	var p *client.Problem
	if errors.As(err, &p) && !p.Retryable {
		_, release := a.wallet.Release(id)
		return errors.Join(fmt.Errorf("not sent: %s", printable(p.Detail)), release)
	}
	return fmt.Errorf("transaction %s is kept and submitted with the next command: %w", id, err)
}

// confirmed waits until a transaction is in a block that the server has indexed.
func (a *account) confirmed(ctx context.Context, id frame.Hash) error {
	for {
		t, err := a.client.Transaction(ctx, id.String())
		if err == nil && t.Height >= 0 {
			return nil
		}
		var p *client.Problem
		if err != nil && !(errors.As(err, &p) && (p.Retryable || p.Code == client.CodeNotFound)) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
