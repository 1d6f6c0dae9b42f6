package messenger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
	"github.com/metaim/metaim/signer"
)

// An Account is a person with a key and its coins unlocked.
type Account struct {
	*Person
	Key    signer.Key
	Keys   []signer.Entry // all that are unlocked
	Wallet *signer.Wallet

	last    uint64   // time stamp of the last frame signed
	earlier [][]byte // transactions that an earlier run built and this one submitted
}

// Open returns the account of a key, and submits what an earlier run built and
// couldn't submit. It doesn't close the wallet when that fails.
func (u *Person) Open(ctx context.Context, key signer.Key, keys []signer.Entry, wallet *signer.Wallet) (*Account, error) {
	a := &Account{Person: u, Key: key, Keys: keys, Wallet: wallet}
	for _, raw := range wallet.Pending() {
		if err := a.Submit(ctx, frame.HashOf(raw), raw); err != nil {
			return nil, fmt.Errorf("a transaction built earlier: %w", err)
		}
		a.earlier = append(a.earlier, raw)
	}
	return a, nil
}

// TimeStamp returns the time in Unix milliseconds, always later than before.
func (a *Account) TimeStamp() uint64 {
	return a.timeStamps(1)
}

// timeStamps takes n time stamps in a row and returns the first.
func (a *Account) timeStamps(n int) uint64 {
	first := max(a.last+1, uint64(time.Now().UnixMilli()))
	a.last = first + uint64(n) - 1
	return first
}

// Opener opens messages with all keys that are unlocked, and their secrets.
func (a *Account) Opener() *Opener {
	return &Opener{Network: a.Network, Keys: signer.DecryptionKeys(a.Keys)}
}

// shared finds what is shared under a label: of the account's own key first.
func (a *Account) shared(label string) (*seal.Shared, bool) {
	var found *seal.Shared
	for _, e := range a.Keys {
		for _, s := range e.Secrets {
			shared, ok := s.Secret.Shared()
			if ok && s.Label == label && (found == nil || e.KeyHash == a.Key.KeyHash()) {
				found = &shared
			}
		}
	}
	return found, found != nil
}

// Source returns what the account signs as: its primary name, else its address.
func (a *Account) Source(ctx context.Context, asAddress bool) (string, error) {
	address := a.Network.Address(a.Key.KeyHash())
	if asAddress {
		return address, nil
	}
	known, err := a.Client.Address(ctx, address)
	if err != nil {
		return "", err
	}
	if known.PrimaryName != "" {
		return known.PrimaryName, nil
	}
	return address, nil
}

// Pay builds a transaction and hands it to the server.
func (a *Account) Pay(ctx context.Context, q signer.Request) (frame.Hash, error) {
	q.From = a.Key.KeyHash()
	if q.Rate.Bytes == 0 {
		q.Rate = a.FeeRate()
	}
	signed, err := a.Wallet.Build(q)
	if err != nil {
		return frame.Hash{}, err
	}
	return signed.TxID, a.Submit(ctx, signed.TxID, signed.Raw)
}

// Submit hands a transaction that the wallet built to the server. Refused, its
// coins are free again; when nobody decided it stays pending and the next run
// submits it again.
func (a *Account) Submit(ctx context.Context, id frame.Hash, raw []byte) error {
	_, err := a.submit(ctx, id, raw)
	return err
}

// Confirmed waits until a transaction is in a block that the server has indexed.
func (a *Account) Confirmed(ctx context.Context, id frame.Hash) error {
	for {
		t, err := a.Client.Transaction(ctx, id.String())
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
