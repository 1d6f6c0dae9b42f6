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

// Where things are when nothing else is said.
const (
	defaultListen = "127.0.0.1:8780"
	defaultServer = "http://" + defaultListen
)

// A setting is a flag that falls back on an environment variable, then on a
// default.
type setting struct {
	flag, variable, fallback, usage string
}

var (
	networkSetting = setting{"network", "METAIM_NETWORK", string(frame.Main), "main, test or regtest"}
	serverSetting  = setting{"server", "METAIM_SERVER", defaultServer, "the server to ask"}
	homeSetting    = setting{"home", "METAIM_HOME", "", "folder of keys and coins (default: metaim in the user's data folder)"}
)

// add adds the setting to a command as a flag.
func (s setting) add(c *cobra.Command) {
	usage := s.usage + " [" + s.variable + "]"
	c.Flags().String(s.flag, "", usage)
	if s.fallback != "" {
		c.Flags().Lookup(s.flag).Usage += " (default " + s.fallback + ")"
	}
}

// value returns the flag, else the environment variable, else the default.
func (s setting) value(c *cobra.Command, p *program) string {
	if f := c.Flags().Lookup(s.flag); f != nil && f.Changed {
		return f.Value.String()
	}
	if v := p.getenv(s.variable); v != "" {
		return v
	}
	return s.fallback
}

func networkOf(c *cobra.Command, p *program) (frame.Network, error) {
	n, err := frame.ParseNetwork(networkSetting.value(c, p))
	if err != nil {
		return "", usageError{err}
	}
	return n, nil
}

// homeOf returns the folder of keys and coins.
func homeOf(c *cobra.Command, p *program) (string, error) {
	if home := homeSetting.value(c, p); home != "" {
		return home, nil
	}
	if data := p.getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "metaim"), nil
	}
	home := p.getenv("HOME")
	if home == "" {
		return "", errors.New("there is no home folder: give --home")
	}
	return filepath.Join(home, ".local", "share", "metaim"), nil
}

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
		Journal: filepath.Join(k.home, "coins-"+string(k.network)+".journal")})
}

// passphrase returns the passphrase: of METAIM_PASSPHRASE, of the file that
// METAIM_PASSPHRASE_FILE names, or as typed on the terminal.
func (p *program) passphrase(prompt string) (string, error) {
	if s := p.getenv("METAIM_PASSPHRASE"); s != "" {
		return s, nil
	}
	if name := p.getenv("METAIM_PASSPHRASE_FILE"); name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("METAIM_PASSPHRASE_FILE: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	return p.typed(prompt)
}

// newPassphrase asks twice when the passphrase is typed.
func (p *program) newPassphrase() (string, error) {
	first, err := p.passphrase("New passphrase: ")
	if err != nil || p.getenv("METAIM_PASSPHRASE") != "" || p.getenv("METAIM_PASSPHRASE_FILE") != "" {
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
