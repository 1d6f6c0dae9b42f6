package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func newDemo(p *program) *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a real node, a server, two people and their messages",
		Long: `Starts a real Bitcoin SV node (bsvd, regtest) and a server with an embedded store
in a folder of its own. Alice and Bob get keys and coins and register their
names; Bob subscribes, Alice sends a text, a picture and an encrypted text, and
what arrives is printed as it goes from seen to confirmed. Then it stays up for
you to try.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), p, once) },
	}
	c.Flags().BoolVar(&once, "once", false, "end when everything has arrived; exit status 0 only if all of it did and verified")
	return c
}

const demoPassphrase = "demo" // of keys whose coins are worth nothing

// A demo is one run of the demonstration.
type demo struct {
	program *program
	style   style
	start   time.Time
	dir     string
	node    *devnet.Node
	url     string // of the server
	control string // of the devnet
}

func runDemo(ctx context.Context, p *program, once bool) (err error) {
	binary, err := devnet.Build(ctx, p.err)
	if err != nil {
		return err
	}
	d := &demo{program: p, style: p.style(), start: time.Now()}
	if d.dir, err = os.MkdirTemp("", "metaim-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	d.node, err = devnet.Start(ctx, devnet.Config{Dir: filepath.Join(d.dir, "devnet"), Binary: binary, BlockEvery: time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.node.Stop()) }()
	d.say("node", "a real Bitcoin SV node (bsvd, regtest): P2P %s, process %d", d.node.Connection().P2P, d.node.PID())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	listening := make(chan string, 1)
	if err := d.serve(ctx, group, listening); err != nil {
		cancel()
		return errors.Join(err, group.Wait())
	}
	group.Go(func() error {
		select {
		case d.url = <-listening:
		case <-ctx.Done():
			return nil
		}
		d.say("server", "%s, embedded store in %s", d.url, d.dir)
		if err := d.play(ctx); err != nil || once {
			cancel()
			return err
		}
		d.next()
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if once {
		d.say("done", "everything arrived and verified")
	}
	return nil
}

// serve starts the miner, the faucet's control address and the server.
func (d *demo) serve(ctx context.Context, group *errgroup.Group, listening chan<- string) error {
	control, err := listenOr(defaultDevnet)
	if err != nil {
		return err
	}
	d.control = "http://" + control.Addr().String()
	group.Go(func() error { return serveDevnet(ctx, d.node, control) })
	free, err := listenOr(defaultListen)
	if err != nil {
		return err
	}
	listen := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	c := d.node.Connection()
	rpc, err := noderpc.New(noderpc.Config{URL: c.RPC, User: c.RPCUser, Password: c.RPCPassword})
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(d.program.err, &slog.HandlerOptions{Level: slog.LevelError}))
	source := p2p.New(p2p.Config{Params: chainwatch.ParamsOf(frame.Regtest), Peers: []string{c.P2P}, Logger: logger})
	s := &service{network: frame.Regtest, source: source, store: "sqlite:" + filepath.Join(d.dir, "index.db"), listen: listen, rpc: rpc,
		logger: logger, ready: func(url string) { listening <- url }}
	group.Go(func() error { return s.run(ctx) })
	return nil
}

// listenOr listens on an address, or on a free port where that one is taken.
func listenOr(address string) (net.Listener, error) {
	if l, err := net.Listen("tcp", address); err == nil {
		return l, nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (d *demo) say(what, format string, args ...any) {
	fmt.Fprintf(d.program.out, "%s  %s %s\n", d.style.dim(fmt.Sprintf("%6.2fs", time.Since(d.start).Seconds())),
		d.style.bold(fmt.Sprintf("%-9s", what)), fmt.Sprintf(format, args...))
}

// play is the demonstration itself.
func (d *demo) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	server, err := client.New(d.url)
	if err != nil {
		return err
	}
	info, err := server.Info(ctx)
	if err != nil {
		return err
	}
	ring := &keyring{program: d.program, network: frame.Regtest, home: d.dir,
		store: &signer.Keystore{Path: filepath.Join(d.dir, "keys.age"), WorkFactor: 10}}
	u := &person{Person: &messenger.Person{Client: server, Info: info, Network: frame.Regtest}, program: d.program, ring: ring}
	alice, bob, err := d.people(ctx, u)
	if err != nil {
		return err
	}
	defer alice.Wallet.Close()
	if err := d.names(ctx, alice, bob); err != nil {
		return err
	}
	if err := d.messages(ctx, alice, bob); err != nil {
		return err
	}
	return alice.Wallet.Close()
}

// people makes two keys and asks the faucet for coins.
func (d *demo) people(ctx context.Context, u *person) (alice, bob *account, err error) {
	var entries []signer.Entry
	for _, label := range []string{"alice", "bob"} {
		key := signer.NewKey()
		public, err := u.ring.store.Add(ctx, demoPassphrase, label, key)
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, signer.Entry{PublicEntry: public, Key: key})
	}
	wallet, err := u.ring.wallet(ctx, entries)
	if err != nil {
		return nil, nil, err
	}
	var accounts []*account
	for _, e := range entries {
		raw, err := d.node.Fund(ctx, e.KeyHash, 1_000_000)
		if err == nil {
			_, err = wallet.Add(raw)
		}
		if err != nil {
			return nil, nil, errors.Join(err, wallet.Close())
		}
		d.say(e.Label, "has a key, %s, and 1,000,000 satoshis from the faucet", u.Network.Address(e.KeyHash))
		opened, err := u.Open(ctx, e.Key, entries, wallet)
		if err != nil {
			return nil, nil, errors.Join(err, wallet.Close())
		}
		accounts = append(accounts, &account{Account: opened, program: u.program, ring: u.ring})
	}
	return accounts[0], accounts[1], nil
}

// names registers both names and waits for the block.
func (d *demo) names(ctx context.Context, accounts ...*account) error {
	quiet := *d.program
	quiet.out, quiet.err = io.Discard, io.Discard
	for i, name := range []string{"alice", "bob"} {
		a := *accounts[i]
		a.program = &quiet
		r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: a.Key.KeyHash()}
		if err := a.record(ctx, r, false, a.Key.Private()); err != nil {
			return fmt.Errorf("register %q: %w", name, err)
		}
		d.say(name, "registers the name %q on the chain", name)
	}
	for i, name := range []string{"alice", "bob"} {
		for {
			if p, err := accounts[i].Resolve(ctx, name); err == nil && p.Address == accounts[i].Key.KeyHash() {
				break
			}
			if err := sleep(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("wait for the name %q: %w", name, err)
			}
		}
	}
	d.say("chain", "both names are in a block")
	return nil
}

func sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}

const (
	demoText   = "Hello Bob, this came through a Bitcoin SV transaction."
	demoSecret = "Only you can read this one."
)

// messages lets Bob subscribe and Alice send, and waits until all of it is
// confirmed and verified.
func (d *demo) messages(ctx context.Context, alice, bob *account) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subscribed := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	w := &demoWatch{demo: d, bob: bob, confirmed: map[string]bool{}}
	w.picture = picture()
	group.Go(func() error { return w.watch(ctx, subscribed) })
	group.Go(func() error {
		select {
		case <-subscribed:
		case <-ctx.Done():
			return ctx.Err()
		}
		return d.send(ctx, alice, w.picture)
	})
	return group.Wait()
}

func (d *demo) send(ctx context.Context, alice *account, picture []byte) error {
	for _, m := range []struct {
		what  string
		draft messenger.Draft
	}{
		{"a text", messenger.Draft{Body: []byte(demoText), Type: improtocol.Text}},
		{"a picture", messenger.Draft{Body: picture, Type: "image/png", FileName: "sunset.png"}},
		{"an encrypted text", messenger.Draft{Body: []byte(demoSecret), Type: improtocol.Text, Encryption: improtocol.ECC}},
	} {
		m.draft.To = []string{"bob"}
		sent, err := alice.Send(ctx, m.draft, nil)
		if err != nil {
			return err
		}
		d.say("alice", "sends %s in %s", m.what, sent.TxIDs[0])
	}
	return nil
}

// picture draws a small sunset.
func picture() []byte {
	m := image.NewRGBA(image.Rect(0, 0, 48, 32))
	for y := range 32 {
		for x := range 48 {
			c := color.RGBA{uint8(255 - 3*y), uint8(140 - 3*y), uint8(40 + 4*y), 255}
			if dx, dy := x-24, y-18; dx*dx+dy*dy < 50 {
				c = color.RGBA{255, 220, 90, 255}
			}
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err) // an image in memory
	}
	return b.Bytes()
}

// A demoWatch is Bob's subscription, and what of it has arrived.
type demoWatch struct {
	*demo
	bob       *account
	picture   []byte
	confirmed map[string]bool // what arrived, confirmed and as it was sent
}

func (w *demoWatch) watch(ctx context.Context, subscribed chan struct{}) error {
	filter := client.Filter{Address: []string{w.bob.Network.Address(w.bob.Key.KeyHash())}}
	var first sync.Once // a connection made again catches up again
	options := client.SubscribeOptions{From: "now", CaughtUp: func(string) {
		first.Do(func() {
			w.say("bob", "subscribes over WebSocket")
			close(subscribed)
		})
	}}
	for e, err := range w.bob.Client.Subscribe(ctx, []client.Filter{filter}, options) {
		if err != nil {
			return err
		}
		if e.Message == nil {
			continue
		}
		if err := w.arrived(e); err != nil {
			return err
		}
		if len(w.confirmed) == 3 {
			return nil
		}
	}
	return ctx.Err()
}

// arrived checks a message as a distrustful reader would, and prints it.
func (w *demoWatch) arrived(e client.Event) error {
	m := *e.Message
	if err := client.Verify(m, w.bob.Network); err != nil {
		return fmt.Errorf("message %s: %w", m.ID, err)
	}
	what, shown, err := w.open(m)
	if err != nil {
		return err
	}
	state := strings.TrimPrefix(e.Kind, "message.")
	paint := w.style.yellow
	if state == "confirmed" {
		paint = w.style.green
		w.confirmed[what] = true
	}
	w.say("bob", "%s %s from %s, signed by %s", paint(fmt.Sprintf("%-9s", state)), shown, safetext.Line(m.Source), m.Address)
	return nil
}

// open compares a message with what Alice sent.
func (w *demoWatch) open(m client.Message) (what, shown string, err error) {
	switch {
	case m.Encryption == improtocol.ECC:
		plain, err := improtocol.DecryptECC(m.Body, w.bob.Key.Private())
		if err != nil || string(plain) != demoSecret {
			return "", "", fmt.Errorf("the encrypted message %s isn't what was sent", m.ID)
		}
		return "secret", fmt.Sprintf("%q (encrypted on the chain: %s...)", plain, hex.EncodeToString(m.Body[:8])), nil
	case m.Type == "image/png":
		if !bytes.Equal(m.Body, w.picture) {
			return "", "", fmt.Errorf("the picture %s isn't what was sent", m.ID)
		}
		return "picture", fmt.Sprintf("%s %s, %s", m.Type, m.OtherMap[improtocol.OtherName], size(len(m.Body))), nil
	case m.Text != nil && *m.Text == demoText:
		return "text", fmt.Sprintf("%q", *m.Text), nil
	}
	return "", "", fmt.Errorf("message %s isn't what was sent", m.ID)
}

// next says what to try.
func (d *demo) next() {
	me, err := os.Executable()
	if err != nil {
		me = "metaim"
	}
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, me); err == nil && !strings.HasPrefix(short, "..") {
			me = short
		}
	}
	lines := []string{
		fmt.Sprintf("export METAIM_SERVER=%s METAIM_DEVNET=%s METAIM_NETWORK=regtest", d.url, d.control),
		fmt.Sprintf("export METAIM_HOME=%s METAIM_PASSPHRASE=%s", d.dir, demoPassphrase),
		me + " watch bob --decrypt &",
		me + ` send --from alice --to bob "your words"`,
		me + " inbox bob --decrypt",
		me + " name show alice",
		me + " chat --from bob",
		me + " key new carol && " + me + " key fund carol && " + me + " name register carol --from carol --wait",
	}
	fmt.Fprintf(d.program.out, "\nIt stays up (Ctrl-C ends it and removes %s). In another terminal try:\n\n  %s\n\nThe server explains itself at %s/docs\n\n", d.dir, strings.Join(lines, "\n  "), d.url)
}
