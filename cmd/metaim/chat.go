package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chat"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newChat(p *program) *cobra.Command {
	var from string
	var plain, mouse bool
	c := &cobra.Command{
		Use:   "chat [WHO]",
		Short: "Read and write conversations on the terminal",
		Long: `Shows the conversations of a key: who wrote what, which key signed it, and what
became of it. It opens with WHO, a name or an address, else with the list; ? and
F1 show the keys. What is written while the server can't be reached waits in the
home folder and is sent when it can be, also by a later run.

--plain prints one line of words for each thing that happens and reads commands
line by line: for screen readers, for terminals that can't move the cursor, and
for pipes. It is chosen when standard output is no terminal or TERM is dumb.`,
		Example:     "  metaim chat --from alice\n  metaim chat --from alice bob\n  echo hello | metaim chat --from alice --plain bob",
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{noJSON: "it is for people: programs use watch, inbox and send"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runChat(cmd, p, from, append(args, "")[0], chatForm{plain: plain || !p.canDraw(), mouse: mouse})
		},
	}
	c.Flags().StringVar(&from, "from", "", "label of the key whose conversations these are (default: the only key)")
	c.Flags().BoolVar(&plain, "plain", false, "lines of plain words, no cursor movement")
	c.Flags().BoolVar(&mouse, "mouse", false, "the wheel scrolls; selecting text then needs shift")
	addPersonFlags(c)
	return c
}

// canDraw tells whether standard output is a terminal that moves its cursor.
func (p *program) canDraw() bool {
	out, ok := p.out.(*os.File)
	in, typed := p.in.(*os.File)
	return ok && typed && p.getenv("TERM") != "dumb" && term.IsTerminal(int(out.Fd())) && term.IsTerminal(int(in.Fd()))
}

// A chatForm says how the conversations are shown.
type chatForm struct{ plain, mouse bool }

func runChat(cmd *cobra.Command, p *program, from, who string, form chatForm) (err error) {
	ctx := cmd.Context()
	u, err := chatWith(cmd, p, from)
	if err != nil {
		return err
	}
	ring := u.ring
	key, entries, err := ring.unlockKey(from)
	if err != nil {
		return err
	}
	name := filepath.Join(ring.home, "chat-"+ring.network.Address(key.KeyHash()))
	marks, err := chat.OpenMarks(name + ".json")
	if err != nil {
		return err
	}
	outbox, err := messenger.OpenOutbox(name + ".outbox")
	if err != nil {
		return fmt.Errorf("what waits to be sent: %w", err)
	}
	defer func() { err = errors.Join(err, outbox.Close()) }()
	contacts, err := ring.contacts()
	if err != nil {
		return err
	}
	if err := marks.Begin(string(ring.network)); err != nil {
		return err
	}
	backend := chat.NewLive(chat.LiveConfig{Client: u.Client, Info: u.Info, Network: ring.network, Self: key.KeyHash(), Name: labelOf(entries, key),
		Opener: &messenger.Opener{Network: ring.network, Keys: signer.DecryptionKeys(entries)}, Outbox: outbox, Contacts: contacts, Account: ring.accounts(u.Client, key, entries)})
	options := chat.Options{In: p.in, Out: p.out, Environment: os.Environ(), Mouse: form.mouse}
	if who != "" {
		if options.Open, err = chatPeer(ctx, backend, marks, who); err != nil {
			return err
		}
	}
	if form.plain {
		return chat.RunPlain(ctx, backend, marks, options)
	}
	return chat.Run(ctx, backend, marks, options)
}

// chatWith finds the network and the server. The server needn't answer when the
// network is known: named, or the one of an earlier run.
func chatWith(cmd *cobra.Command, p *program, from string) (*person, error) {
	u, err := connect(cmd, p)
	if err == nil || !messenger.Offline(err) {
		return u, err
	}
	ring, openErr := openKeyring(cmd, p)
	if openErr != nil {
		return nil, openErr
	}
	public, findErr := ring.find(from)
	if findErr != nil {
		return nil, findErr
	}
	if _, origin := networkSetting.lookup(cmd, p); origin == fromDefault {
		var known bool
		if ring.network, known = chatNetwork(ring.home, public.KeyHash); !known {
			return nil, fmt.Errorf("%w: say which network with --network to begin without it", err)
		}
	}
	server, err := newClient(cmd, p)
	return &person{Person: &messenger.Person{Client: server, Network: ring.network}, program: p, ring: ring}, err
}

// chatNetwork returns the network that a key last chatted on.
func chatNetwork(home string, key frame.KeyHash) (found frame.Network, ok bool) {
	for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
		marks, err := chat.OpenMarks(filepath.Join(home, "chat-"+n.Address(key)+".json"))
		if err == nil && marks.Network() == string(n) {
			return n, true
		}
	}
	return "", false
}

// chatPeer finds whom to begin with. Offline it may be somebody that was written
// with before.
func chatPeer(ctx context.Context, backend *chat.Live, marks *chat.Marks, who string) (*chat.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	peer, warnings, err := backend.Resolve(ctx, who)
	if err == nil {
		peer.Warnings = warnings
		return &peer, nil
	}
	if !messenger.Offline(err) && !errors.Is(err, chat.ErrOffline) {
		return nil, err
	}
	for _, known := range marks.Peers() {
		if known.Name == who || known.Address == who {
			return &known, nil
		}
	}
	return nil, err
}

// accounts returns what opens the account of a key whenever something is sent.
func (k *keyring) accounts(server *client.Client, key signer.Key, entries []signer.Entry) func(context.Context, *client.Info) (*messenger.Account, error) {
	return func(ctx context.Context, info *client.Info) (*messenger.Account, error) {
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		wallet, err := k.wallet(wait, entries)
		if err != nil {
			return nil, err
		}
		u := &messenger.Person{Client: server, Info: info, Network: k.network}
		a, err := u.Open(ctx, key, entries, wallet)
		if err != nil {
			return nil, errors.Join(err, wallet.Close())
		}
		return a, nil
	}
}

// labelOf returns the label of a key.
func labelOf(entries []signer.Entry, key signer.Key) string {
	for _, e := range entries {
		if e.KeyHash == key.KeyHash() {
			return e.Label
		}
	}
	return ""
}
