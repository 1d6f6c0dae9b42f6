package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// A keyring is a person's keys and coins on this machine.
type keyring struct {
	program *program
	network frame.Network
	home    string
	store   *signer.Keystore
}

func openKeyring(c *cobra.Command, p *program) (*keyring, error) {
	network, err := networkOf(c, p)
	if err != nil {
		return nil, err
	}
	home, err := homeOf(c, p)
	if err != nil {
		return nil, err
	}
	return &keyring{program: p, network: network, home: home, store: &signer.Keystore{Path: filepath.Join(home, "keys.age")}}, nil
}

// find returns the public part of the key with a label; with no label, of the
// only key.
func (k *keyring) find(label string) (signer.PublicEntry, error) {
	keys, err := k.store.List()
	if err != nil {
		return signer.PublicEntry{}, err
	}
	for _, e := range keys {
		if e.Label == label || label == "" && len(keys) == 1 {
			return e, nil
		}
	}
	switch {
	case len(keys) == 0:
		return signer.PublicEntry{}, errors.New("there is no key yet: metaim key new LABEL")
	case label == "":
		return signer.PublicEntry{}, usagef("there are %d keys: say which one with --from LABEL", len(keys))
	}
	return signer.PublicEntry{}, fmt.Errorf("there is no key %q: metaim key list", label)
}

// unlock asks for the passphrase and returns the keys.
func (k *keyring) unlock() ([]signer.Entry, error) {
	passphrase, err := k.program.passphrase("Passphrase: ")
	if err != nil {
		return nil, err
	}
	return k.store.Unlock(passphrase)
}

// unlockKey returns one key, chosen as find does.
func (k *keyring) unlockKey(label string) (signer.Key, []signer.Entry, error) {
	public, err := k.find(label)
	if err != nil {
		return signer.Key{}, nil, err
	}
	entries, err := k.unlock()
	if err != nil {
		return signer.Key{}, nil, err
	}
	for _, e := range entries {
		if e.KeyHash == public.KeyHash {
			return e.Key, entries, nil
		}
	}
	return signer.Key{}, nil, fmt.Errorf("there is no key %q", label)
}

// wallet opens the coins of all keys. Another process that has them open is
// waited for until ctx ends.
func (k *keyring) wallet(ctx context.Context, entries []signer.Entry) (*signer.Wallet, error) {
	keys := make([]signer.Key, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return signer.OpenWallet(ctx, signer.Options{Network: k.network, Keys: keys,
		Journal: k.journal()})
}

// passphrase returns the passphrase: of METAIM_PASSPHRASE, of the file that
// METAIM_PASSPHRASE_FILE or the settings name, or as typed on the terminal.
func (p *program) passphrase(prompt string) (string, error) {
	if s := passphraseSetting.value(nil, p); s != "" {
		return s, nil
	}
	if name := passphraseFileSetting.value(nil, p); name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("the passphrase file: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	return p.typed(prompt)
}

// newPassphrase asks twice when the passphrase is typed.
func (p *program) newPassphrase() (string, error) {
	first, err := p.passphrase("New passphrase: ")
	if err != nil || passphraseSetting.value(nil, p) != "" || passphraseFileSetting.value(nil, p) != "" {
		return first, err
	}
	again, err := p.typed("Again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passphrases differ: nothing was stored")
	}
	return first, nil
}

// typed reads a line from the terminal without showing it.
func (p *program) typed(prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("no terminal to ask for the passphrase on: set METAIM_PASSPHRASE_FILE")
	}
	defer tty.Close()
	fmt.Fprint(tty, prompt)
	b, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return string(b), err
}

// secret reads one line from standard input, for keys that are imported: they
// never stand on a command line.
func (p *program) secret(prompt string) (string, error) {
	if f, ok := p.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return p.typed(prompt)
	}
	line, err := bufio.NewReader(io.LimitReader(p.in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
