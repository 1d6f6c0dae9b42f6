package messenger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// Credentials say which key a program uses, and which server it asks.
type Credentials struct {
	Server     string // base URL
	Home       string // folder of the keys, as the commands have it
	Label      string // of the key; empty: the only one
	Passphrase string // of the key file
}

// A Mailbox is an account that a program answers for. What it was told and what
// it answers are kept in files of the home folder, so that it goes on after a
// restart, of itself or of the server, with nothing lost and nothing twice.
type Mailbox struct {
	*Account
	outbox *Outbox
	log    *mailLog
	opener *Opener
	gaps   map[string]bool // messages whose last part came before others, by their id
}

// Login unlocks a key and opens its coins and its mailbox. Who logs in for the
// first time gets messages from then on. A server that can't be reached is waited
// for, a minute at most. The mailbox must be closed.
func Login(ctx context.Context, c Credentials) (*Mailbox, error) {
	server, err := client.New(c.Server)
	if err != nil {
		return nil, err
	}
	var info *client.Info
	soon, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = patiently(soon, func() (err error) {
		info, err = server.Info(soon)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.Server, err)
	}
	network, err := frame.ParseNetwork(info.Network)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Server, err)
	}
	store := &signer.Keystore{Path: filepath.Join(c.Home, "keys.age")}
	entries, err := store.Unlock(c.Passphrase)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(entries, func(e signer.Entry) bool { return e.Label == c.Label || c.Label == "" && len(entries) == 1 })
	if i < 0 {
		return nil, fmt.Errorf("there is no key %q in %s", c.Label, store.Path)
	}
	u := &Person{Client: server, Info: info, Network: network}
	return u.login(ctx, c.Home, entries[i], entries)
}

func (u *Person) login(ctx context.Context, home string, own signer.Entry, entries []signer.Entry) (_ *Mailbox, err error) {
	b := &Mailbox{gaps: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	name := "mail-" + u.Network.Address(own.KeyHash)
	if b.log, err = openMailLog(ctx, filepath.Join(home, name+".log"), u.Info.Cursor); err != nil {
		return b, err
	}
	if b.outbox, err = OpenOutbox(filepath.Join(home, name+".outbox")); err != nil {
		return b, err
	}
	options := signer.Options{Network: u.Network, Journal: filepath.Join(home, "coins-"+string(u.Network)+".journal")}
	for _, e := range entries {
		options.Keys = append(options.Keys, e.Key)
	}
	wallet, err := signer.OpenWallet(ctx, options)
	if err != nil {
		return b, err
	}
	b.Account = &Account{Wallet: wallet} // to be closed, whatever comes
	err = patiently(ctx, func() (err error) {
		b.Account, err = u.Open(ctx, own.Key, entries, wallet)
		return err
	})
	if err != nil {
		return b, errors.Join(err, wallet.Close())
	}
	b.opener = b.Opener()
	return b, nil
}

// Close lets others open the coins and the mailbox.
func (b *Mailbox) Close() error {
	var errs []error
	if b.Account != nil {
		errs = append(errs, b.Wallet.Close())
	}
	if b.outbox != nil {
		errs = append(errs, b.outbox.Close())
	}
	if b.log != nil {
		errs = append(errs, b.log.close())
	}
	return errors.Join(errs...)
}

// Incoming yields the messages that others address to the account, in the order
// in which they come, from where an earlier run ended, until ctx ends. A message
// counts as told when the loop's body has ended with it: a program that dies
// within gets it again. Each is verified and, if it is to this key, decrypted;
// what isn't verified isn't yielded, and one in parts when all of them are there.
func (b *Mailbox) Incoming(ctx context.Context) iter.Seq2[Opened, error] {
	return func(yield func(Opened, error) bool) {
		for {
			again, err := b.follow(ctx, yield)
			if err != nil {
				yield(Opened{}, err)
			}
			if !again {
				return
			}
		}
	}
}

// follow yields until the subscription ends; again says that the server's history
// is another one now, which is read from its beginning.
func (b *Mailbox) follow(ctx context.Context, yield func(Opened, error) bool) (again bool, err error) {
	own := b.Network.Address(b.Key.KeyHash())
	options := client.SubscribeOptions{Cursor: b.log.cursor}
	if options.Cursor == "" {
		options.From = "start"
	}
	for e, err := range b.Client.Subscribe(ctx, []client.Filter{{Address: []string{own}}}, options) {
		var problem *client.Problem
		switch {
		case errors.As(err, &problem) && problem.Code == client.CodeCursorExpired:
			return true, b.log.restart()
		case err != nil:
			return false, err
		}
		opened, ok, err := b.letter(ctx, own, e)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		if !yield(opened, nil) {
			return false, nil
		}
		if err := b.log.told(opened.Message.ID, e.Cursor); err != nil {
			return false, err
		}
	}
	return false, nil
}

// letter tells whether an event brings a message to the account that it wasn't
// told yet, and opens it.
func (b *Mailbox) letter(ctx context.Context, own string, e client.Event) (opened Opened, ok bool, err error) {
	m := e.Message
	if m == nil || m.Address == own || !m.Addressed || !slices.Contains(m.Recipients, own) ||
		m.Verdict != string(frame.Valid) && m.Verdict != string(frame.Duplicate) {
		return opened, false, nil
	}
	p, parts := PartOf(*m)
	switch {
	case !parts:
		opened, ok = b.opener.Open(*m), true
	case p.Index == p.Count || b.gaps[p.First]:
		opened, ok, err = b.whole(ctx, *m, p)
	}
	return opened, ok && opened.Verified == nil && !b.log.knows(opened.Message.ID), err
}

// whole opens a message in parts of which one has come; ok is false when others
// are missing.
func (b *Mailbox) whole(ctx context.Context, m client.Message, p Parts) (opened Opened, ok bool, err error) {
	var g *Gathering
	err = patiently(ctx, func() (err error) {
		g, err = b.Gather(ctx, m)
		return err
	})
	var problem *client.Problem
	switch {
	case errors.As(err, &problem), errors.Is(err, ErrNoPart), errors.Is(err, ErrJoinedLarge), errors.Is(err, client.ErrFrameID):
		return opened, false, nil // nothing that a person could read
	case err != nil:
		return opened, false, err
	case !g.Complete():
		b.gaps[p.First] = true
		return opened, false, nil
	}
	delete(b.gaps, p.First)
	return b.opener.OpenWhole(g), true, nil
}

// Answer sends a text to who sent a message, as an answer to it: encrypted as
// strongly as they can read when the message was encrypted. It sends one answer
// for each message, however often it is called for it and whatever stops in
// between, and waits while the server can't be reached.
func (b *Mailbox) Answer(ctx context.Context, to Opened, text string) error {
	id := to.Message.ID
	if !b.log.answered[id] {
		d := Draft{Body: []byte(text), Type: improtocol.Text, Re: id, To: []string{to.Message.Address}, Encryption: improtocol.Plain}
		if to.Message.Encryption != improtocol.Plain {
			d.Encryption = Auto
		}
		waiting := slices.ContainsFunc(b.outbox.Items(), func(q Queued) bool { return q.Draft.Re == id })
		if !waiting {
			if _, err := b.outbox.Add(d); err != nil {
				return err
			}
		}
		if err := b.log.answer(id); err != nil {
			return err
		}
	}
	return b.flush(ctx, id)
}

// flush sends what waits in the outbox. Of other answers that are refused it says
// nothing; they stay in the outbox.
func (b *Mailbox) flush(ctx context.Context, id string) error {
	var refused error
	err := patiently(ctx, func() error {
		return b.Flush(ctx, b.outbox, func(q Queued) {
			if q.State == Refused && q.Draft.Re == id {
				refused = &RefusedError{q.Reason}
			}
		})
	})
	return errors.Join(err, refused)
}

// patiently does something again for as long as the server can't be reached.
func patiently(ctx context.Context, do func() error) error {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := do()
		if err == nil || !Offline(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}
