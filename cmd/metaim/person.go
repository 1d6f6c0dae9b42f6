package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

// A person is who asks a server: with keys or without.
type person struct {
	*messenger.Person
	program *program
	ring    *keyring
}

// connect asks the server which network it serves. A network that was named must
// be the same; otherwise the server's is used.
func connect(c *cobra.Command, p *program) (*person, error) {
	url := serverSetting.value(c, p)
	server, err := newClient(c, p)
	if err != nil {
		return nil, err
	}
	info, err := server.Info(c.Context())
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	network, err := frame.ParseNetwork(info.Network)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	_, origin := networkSetting.lookup(c, p)
	named := origin != fromDefault
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
	u := &person{Person: &messenger.Person{Client: server, Info: info, Network: network}, program: p, ring: ring}
	u.remind(c.Context())
	return u, nil
}

// addPersonFlags adds the settings that every command of a person has.
func addPersonFlags(c *cobra.Command) {
	for _, s := range []setting{serverSetting, networkSetting, homeSetting} {
		s.add(c)
	}
}

// An account is a person with a key and its coins unlocked.
type account struct {
	*messenger.Account
	program *program
	ring    *keyring
}

// unlock unlocks a key and opens the coins, and submits what an earlier run
// built and couldn't submit.
func (u *person) unlock(ctx context.Context, label string) (*account, error) {
	key, entries, err := u.ring.unlockKey(label)
	if err != nil {
		return nil, err
	}
	return u.account(ctx, key, entries)
}

// account opens the coins of keys that are unlocked; key signs and pays.
func (u *person) account(ctx context.Context, key signer.Key, entries []signer.Entry) (*account, error) {
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	wallet, err := u.ring.wallet(wait, entries)
	if err != nil {
		return nil, err
	}
	a, err := u.Open(ctx, key, entries, wallet)
	if err != nil {
		return nil, errors.Join(err, wallet.Close())
	}
	return &account{Account: a, program: u.program, ring: u.ring}, nil
}
