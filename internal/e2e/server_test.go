package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
)

// environment is the environment of a child: ours, without what would change
// what metaim does, and with extra, "NAME=value".
func environment(extra ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "METAIM_") && !strings.HasPrefix(v, devnet.BinaryVariable+"=")
	})
	return append(env, extra...)
}

// metaim returns a command of the built program.
func metaim(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t), args...)
	cmd.Env = environment()
	return cmd
}

// A server is `metaim serve` as a child, with an index of its own.
type server struct {
	*process
	t      testing.TB
	follow []string // the flags that say which node
	store  string   // as --store takes it
	url    string
	client *client.Client
}

// following returns the flags for a server of a node.
func following(n *devnet.Node) []string { return []string{"--devnet-dir", n.Dir()} }

// serve starts a server with an empty index on a free port.
func serve(t testing.TB, follow ...string) *server {
	t.Helper()
	return serveOn(t, "sqlite:"+filepath.Join(t.TempDir(), "index.db"), follow...)
}

// serveOn starts a server on a store that is empty.
func serveOn(t testing.TB, store string, follow ...string) *server {
	t.Helper()
	s := &server{t: t, follow: follow, store: store, url: "http://127.0.0.1:0"}
	s.start()
	return s
}

// start starts the server, again on the port that it had.
func (s *server) start() {
	s.t.Helper()
	args := []string{"serve", "--network", "regtest", "--store", s.store, "--log", "debug",
		"--listen", strings.TrimPrefix(s.url, "http://")}
	s.process = start(s.t, metaim(s.t, append(args, s.follow...)...))
	s.url = s.awaitLine(`(?m)^metaim: serving regtest on (http://127\.0\.0\.1:\d+)$`)[1]
	var err error
	if s.client, err = client.New(s.url); err != nil {
		s.t.Fatal(err)
	}
}

// info asks the server for its tip and state hash.
func (s *server) info() *client.Info {
	s.t.Helper()
	info, err := s.client.Info(within(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// awaitTip waits until the index ends with the node's best block, and returns
// what the server says of itself then.
func (s *server) awaitTip(n *devnet.Node) (info *client.Info) {
	s.t.Helper()
	best, err := n.RPC().GetBestBlockHash(within(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	await(s.t, func() string {
		if info = s.info(); info.Tip.Hash == best.String() {
			return ""
		}
		return fmt.Sprintf("the index ends with %s; it ends with %d %s", best, info.Tip.Height, info.Tip.Hash)
	})
	return info
}

// name asks who holds a name.
func (s *server) name(name string) *client.NameReply {
	s.t.Helper()
	n, err := s.client.Name(within(s.t), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// checkFresh compares the server's state with that of an index which is made from
// nothing on the node's chain.
func (s *server) checkFresh(n *devnet.Node) {
	s.t.Helper()
	fresh := serve(s.t, following(n)...)
	want, got := fresh.awaitTip(n), s.awaitTip(n)
	if got.StateHash != want.StateHash {
		s.t.Errorf("at block %d the index that lived through it has state %s, one made from nothing %s",
			got.Tip.Height, got.StateHash, want.StateHash)
	}
}

// A subscriber keeps what a subscription is told.
type subscriber struct {
	t     testing.TB
	ready chan struct{} // closed when history has been told

	mu     sync.Mutex
	events []client.Event
	at     []time.Time // when each came
	lost   int         // connections
	err    error
}

// subscribe subscribes over WebSocket, from the start of what the server knows,
// and returns when all of that was told. It reconnects until the test ends.
func subscribe(t testing.TB, s *server, filters ...client.Filter) *subscriber {
	t.Helper()
	u := &subscriber{t: t, ready: make(chan struct{})}
	c, err := client.New(s.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
	})
	options := client.SubscribeOptions{From: "start", MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
		CaughtUp: func(string) { close(u.ready) }, // once: see SubscribeOptions
		Lost:     func(error, time.Duration) { u.mu.Lock(); u.lost++; u.mu.Unlock() }}
	go func() {
		defer close(done)
		for e, err := range c.Subscribe(ctx, filters, options) {
			u.take(e, err)
		}
	}()
	select {
	case <-u.ready:
	case <-time.After(patience):
		t.Fatalf("the subscription isn't told history within %s (%v)", patience, u.err)
	}
	return u
}

func (u *subscriber) take(e client.Event, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		u.err = err
		return
	}
	u.events = append(u.events, e)
	u.at = append(u.at, time.Now())
}

// all returns what came so far.
func (u *subscriber) all() []client.Event {
	u.t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		u.t.Fatalf("the subscription ended: %v", u.err)
	}
	return slices.Clone(u.events)
}

// kinds returns what was told of a message or record, oldest first: the kind
// without its protocol, and for a change the verdicts: "rejudged valid>taken".
func (u *subscriber) kinds(id string) (kinds []string) {
	u.t.Helper()
	for _, e := range u.all() {
		if about(e) != id {
			continue
		}
		_, kind, _ := strings.Cut(e.Kind, ".")
		switch {
		case e.From != "":
			kind += " " + e.From + ">" + e.Verdict
		case e.Reason != "":
			kind += " " + e.Reason
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// about returns the id of the message or record that an event is about.
func about(e client.Event) string {
	switch {
	case e.Message != nil:
		return e.Message.ID
	case e.Record != nil:
		return e.Record.ID
	}
	return ""
}

// awaitKinds waits until exactly this was told of a message or record.
func (u *subscriber) awaitKinds(id frame.ID, want ...string) {
	u.t.Helper()
	await(u.t, func() string {
		got := u.kinds(id.String())
		if slices.Equal(got, want) {
			return ""
		}
		return fmt.Sprintf("the subscriber is told of %s %q; it was told %q", id, want, got)
	})
}

// awaitCount waits until so many events of a kind came.
func (u *subscriber) awaitCount(kind string, want int) {
	u.t.Helper()
	await(u.t, func() string {
		got := 0
		for _, e := range u.all() {
			if e.Kind == kind {
				got++
			}
		}
		if got >= want {
			return ""
		}
		return fmt.Sprintf("%d events %s; there are %d", want, kind, got)
	})
}

// ids returns the messages that the subscriber was told of, each once.
func (u *subscriber) ids() (ids []string) {
	u.t.Helper()
	met := map[string]bool{}
	for _, e := range u.all() {
		if e.Message == nil || met[e.Message.ID] {
			continue
		}
		met[e.Message.ID] = true
		ids = append(ids, e.Message.ID)
	}
	return ids
}
