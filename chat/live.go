package chat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/messenger"
)

// Live is the backend over a server. Keys stay in this process; coins are open
// only while something is sent, so that other commands can send in between.
type Live struct {
	client   *client.Client
	network  frame.Network
	self     string // address
	name     string
	opener   *messenger.Opener
	outbox   *messenger.Outbox
	contacts *messenger.Contacts
	account  func(context.Context, *client.Info) (*messenger.Account, error)
	folder   string

	kick     chan struct{} // something waits in the outbox
	pictures sync.Mutex    // one is decoded at a time: that takes memory

	mu   sync.Mutex
	info *client.Info // nil until the server has answered once
	up   bool
	tell func(News) // of Run
}

// LiveConfig says whose conversations they are and where what belongs to them is.
type LiveConfig struct {
	Client   *client.Client
	Info     *client.Info // as the server told it; nil: it didn't answer
	Network  frame.Network
	Self     frame.KeyHash
	Name     string // that it last signed as; empty: none is known
	Opener   *messenger.Opener
	Outbox   *messenger.Outbox
	Contacts *messenger.Contacts // nil: none
	// Account opens the account with its coins; its wallet is closed afterwards.
	Account func(context.Context, *client.Info) (*messenger.Account, error)
	Folder  string // where files are saved when only a name is given
}

// NewLive returns the backend over a server. It asks nothing yet.
func NewLive(c LiveConfig) *Live {
	return &Live{
		client: c.Client, info: c.Info, network: c.Network, self: c.Network.Address(c.Self), name: c.Name, opener: c.Opener,
		outbox: c.Outbox, contacts: c.Contacts, account: c.Account, folder: c.Folder, kick: make(chan struct{}, 1),
	}
}

// Self returns whose conversations they are.
func (l *Live) Self() Peer { return Peer{Address: l.self, Name: l.name} }

// Pauses between attempts to reach the server, and to send what couldn't be.
const (
	shortPause = 500 * time.Millisecond
	longPause  = 5 * time.Second
	sendPause  = 15 * time.Second
)

// errAgain says that the connection is to be made again.
var errAgain = errors.New("connect again")

// Run follows the server until ctx ends; see [Backend]. It fails when the server
// turns out to serve another network.
func (l *Live) Run(ctx context.Context, tell func(News)) error {
	l.mu.Lock()
	l.tell = tell
	l.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.follow(ctx) })
	group.Go(func() error { return l.send(ctx) })
	if err := group.Wait(); ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// say tells news, to whom Run was told to.
func (l *Live) say(n News) {
	l.mu.Lock()
	tell := l.tell
	l.mu.Unlock()
	if tell != nil {
		tell(n)
	}
}

// follow connects, tells what happens, and connects again.
func (l *Live) follow(ctx context.Context) error {
	cursor := ""
	for pause := shortPause; ; pause = min(2*pause, longPause) {
		ask, cancel := context.WithTimeout(ctx, patience)
		info, err := l.client.Info(ask)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			if info.Network != string(l.network) {
				return fmt.Errorf("the server serves network %s now, not %s", line(info.Network), l.network)
			}
			if cursor == "" {
				cursor = info.Cursor
			}
			l.connected(info)
			pause = shortPause
			cursor, err = l.subscribe(ctx, cursor)
			if ctx.Err() != nil {
				return nil
			}
		}
		l.disconnected(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (l *Live) connected(info *client.Info) {
	l.mu.Lock()
	l.info, l.up = info, true
	l.mu.Unlock()
	l.say(News{Tip: info.Tip.Height + 1})
	l.say(News{Connection: &Connection{Up: true, Since: time.Now()}})
	l.wake()
}

func (l *Live) disconnected(err error) {
	l.mu.Lock()
	l.up = false
	l.mu.Unlock()
	why := "the connection was lost"
	if err != nil && !errors.Is(err, errAgain) {
		why = reasonOf(err)
	}
	l.say(News{Connection: &Connection{Since: time.Now(), Err: why}})
}

// reasonOf writes why the server can't be reached, without the address that the
// person knows.
func reasonOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		var p *client.Problem
		if inner == nil || errors.As(err, &p) {
			return err.Error()
		}
		err = inner
	}
}

// wake lets what waits be sent.
func (l *Live) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// subscribe tells events until the connection is lost, and returns the cursor to
// go on from.
func (l *Live) subscribe(ctx context.Context, cursor string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lost error
	filters := []client.Filter{
		{Address: []string{l.self}, State: []string{"seen", "confirmed", "refused"}},
		{Blocks: true},
	}
	options := client.SubscribeOptions{Cursor: cursor, Lost: func(err error, _ time.Duration) { lost = err; cancel() }}
	for e, err := range l.client.Subscribe(ctx, filters, options) {
		var problem *client.Problem
		switch {
		case errors.As(err, &problem) && problem.Code == client.CodeCursorExpired:
			l.say(News{Stale: true})
			return "", errAgain
		case err != nil:
			return cursor, err
		}
		cursor = e.Cursor
		l.event(e)
	}
	if lost == nil {
		lost = errAgain
	}
	return cursor, lost
}

// event tells one event.
func (l *Live) event(e client.Event) {
	switch {
	case e.Block != nil && e.Kind == "block.disconnected":
		l.say(News{Tip: max(e.Block.Height, 1)})
	case e.Block != nil:
		l.say(News{Tip: e.Block.Height + 1})
	case e.Message != nil:
		m := l.message(*e.Message)
		switch e.Kind {
		case "message.unconfirmed":
			if m.State == Seen {
				m.State = Unconfirmed
			}
		case "message.dropped":
			if m.State == Dropped {
				m.Reason = e.Reason
			}
		}
		l.say(News{Message: &m, Fresh: e.Kind == "message.seen"})
	}
}

// person returns who asks, once the server has answered.
func (l *Live) person() (*messenger.Person, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info == nil {
		return nil, ErrOffline
	}
	return &messenger.Person{Client: l.client, Info: l.info, Network: l.network}, nil
}

func (l *Live) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}
