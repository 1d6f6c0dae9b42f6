package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/bsv-blockchain/go-wire"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

// freePort returns a port of 127.0.0.1 that nobody has now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// at runs a node in a folder, on a P2P port that stays the same.
func at(dir string, port int) testnode.Option {
	return func(c *devnet.Config) { c.Dir, c.P2PPort = dir, port }
}

func peer(port int) []string { return []string{"--peer", "127.0.0.1:" + strconv.Itoa(port)} }

// notReady waits until the server isn't ready for a reason like this, and
// returns the reason.
func (s *server) notReady(pattern string) (detail string) {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	await(s.t, func() string {
		var status int
		status, detail = s.ready()
		if status == http.StatusServiceUnavailable && re.MatchString(detail) {
			return ""
		}
		return fmt.Sprintf("the server isn't ready because %q; it answers %d %q", pattern, status, detail)
	})
	return detail
}

func (s *server) awaitReady() {
	s.t.Helper()
	await(s.t, func() string {
		status, detail := s.ready()
		if status == http.StatusOK {
			return ""
		}
		return fmt.Sprintf("the server is ready; it answers %d %q", status, detail)
	})
}

// ready asks the server whether it is ready, and why it isn't.
func (s *server) ready() (status int, detail string) {
	s.t.Helper()
	reply, err := http.Get(s.url + "/readyz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer reply.Body.Close()
	var answer struct{ Detail string }
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil {
		s.t.Fatalf("/readyz: %v", err)
	}
	return reply.StatusCode, answer.Detail
}

func TestNodeRestarts(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	node := testnode.Start(t, at(dir, port))
	s := serve(t, peer(port)...)
	alice, bob := newAuthor(t), newAuthor(t)
	alice.fund(node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	u := subscribe(t, s, client.Filter{Address: []string{bob.address()}})
	before := alice.message("", "before", bob.hash())
	submit(t, before.raw, node)
	u.awaitKinds(before.id, "seen")
	testnode.Mine(t, node, 1)
	u.awaitKinds(before.id, "seen", "confirmed")

	tip := s.awaitTip(node).Tip
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	s.notReady(`^not ready: .*127\.0\.0\.1:` + strconv.Itoa(port))
	if got := s.info().Tip; got != tip {
		t.Errorf("without the node the index ends with %+v, want %+v", got, tip)
	}
	node = testnode.Start(t, at(dir, port))
	s.awaitReady()
	after := alice.message("", "after", bob.hash())
	submit(t, after.raw, node)
	u.awaitKinds(after.id, "seen")
	testnode.Mine(t, node, 1)
	u.awaitKinds(after.id, "seen", "confirmed")
	u.awaitKinds(before.id, "seen", "confirmed")
	s.checkFresh(node)
}

// TestDevnetRestarts is the same with the devnet of the command line, through
// which the server also submits.
func TestDevnetRestarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "devnet")
	w := newWallet(t, t.TempDir(), "alice", "bob")
	bob := w.keys["bob"].Address(frame.Regtest)
	run1 := startDevnet(t, dir)
	s := serve(t, "--devnet-dir", dir)
	send := func(control, text string) {
		t.Helper()
		run(t, w.command(s.url, "key", "fund", "alice", "--devnet", control))
		run(t, w.command(s.url, "send", "--from", "alice", "--to", bob, "--wait", text))
	}
	send(run1.control, "before")
	if err := run1.stop(); err != nil {
		t.Fatalf("the devnet ended with %v", err)
	}
	run2 := startDevnet(t, dir)
	s.awaitReady()
	send(run2.control, "after")
	inbox := run(t, w.command(s.url, "inbox", bob))
	for _, text := range []string{"before", "after"} {
		if !regexp.MustCompile(`confirmed/\d+ [^\n]*\n    ` + text + `\n`).MatchString(inbox) {
			t.Errorf("the inbox doesn't have %q confirmed:\n%s", text, inbox)
		}
	}
}

// A localNet is `metaim devnet` as a child.
type localNet struct {
	*process
	control string
}

func startDevnet(t testing.TB, dir string) *localNet {
	t.Helper()
	cmd := metaim(t, "devnet", "--dir", dir, "--listen", "127.0.0.1:0", "--block-every", "200ms")
	cmd.Env = append(cmd.Env, devnet.BinaryVariable+"="+bsvd(t))
	p := start(t, cmd)
	return &localNet{p, p.awaitLine(`control (http://127\.0\.0\.1:\d+)`)[1]}
}

// TestStrangersOnThePort: what answers at the node's address is another chain, or
// another network. The index is kept as it is, and the reason is said.
func TestStrangersOnThePort(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	node := testnode.Start(t, at(dir, port))
	s := serve(t, peer(port)...)
	alice, bob := newAuthor(t), newAuthor(t)
	alice.fund(node)
	submit(t, alice.register("alice").raw, node)
	testnode.Mine(t, node, 1)
	confirmed := alice.message("alice", "confirmed", bob.hash())
	submit(t, confirmed.raw, node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	waiting := alice.message("alice", "waiting", bob.hash())
	submit(t, waiting.raw, node)
	u := subscribe(t, s)
	u.awaitKinds(waiting.id, "seen")
	want := s.info()
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name  string
		start func(t *testing.T)
		says  string
	}{
		{"a node that was wiped", func(t *testing.T) { testnode.Start(t, at(t.TempDir(), port)) },
			`no node has block 112 \([0-9a-f]{64}\), the last one known here: the node is still syncing, was wiped or follows another chain; the index is kept as it is`},
		{"a node of another network", func(t *testing.T) { startSimnet(t, port) },
			`127\.0\.0\.1:\d+.*it closes the connection on hello: it may be of another network than regtest`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.start(t)
			s := s.within(t)
			s.notReady(tt.says)
			s.awaitLine(tt.says)
			s.checkUnchanged(want)
		})
	}
	// The node of another network that says so is no matter of waiting: the server
	// ends with the reason.
	t.Run("a node of mainnet", func(t *testing.T) {
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		startMainnetFake(t, port)
		cmd := metaim(t, "serve", "--network", "regtest", "--store", s.store, "--listen", "127.0.0.1:0", "--peer", peer(port)[1])
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !regexp.MustCompile(`(?m)^metaim: node 127\.0\.0\.1:\d+ speaks to network mainnet, not regtest$`).Match(out) {
			t.Errorf("the server ends with %v and says %q, want status 1 and that the node is of mainnet", err, out)
		}
	})
	s.start()
	s.checkUnchanged(want)
	node = testnode.Start(t, at(dir, port))
	s.awaitReady()
	s.checkUnchanged(want)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	s.checkFresh(node)
}

// within returns the server for a subtest, which then is what fails.
func (s *server) within(t testing.TB) *server {
	server, process := *s, *s.process
	server.t, process.t = t, t
	server.process = &process
	return &server
}

func (s *server) checkUnchanged(want *client.Info) {
	s.t.Helper()
	if got := s.info(); got.Tip != want.Tip || got.StateHash != want.StateHash || got.Cursor != want.Cursor {
		s.t.Errorf("the index is at %+v, state %s, cursor %s; want %+v, %s, %s", got.Tip, got.StateHash, got.Cursor, want.Tip, want.StateHash, want.Cursor)
	}
}

// startSimnet runs a node of another network on a port, until the test ends.
func startSimnet(t *testing.T, port int) {
	t.Helper()
	home := t.TempDir()
	rpc := "127.0.0.1:" + strconv.Itoa(freePort(t))
	cmd := exec.Command(bsvd(t), "--simnet", "--datadir="+filepath.Join(home, "data"), "--logdir="+filepath.Join(home, "logs"),
		"--notls", "--rpcuser=u", "--rpcpass=p", "--rpclisten="+rpc, "--listen=127.0.0.1:"+strconv.Itoa(port),
		"--nodnsseed", "--nobanning", "--blockmaxsize=31000000", "--excessiveblocksize=1000000000")
	cmd.Dir, cmd.Env = home, environment("HOME="+home)
	p := start(t, cmd)
	p.awaitLine(`Server listening on`)
}

// startMainnetFake answers on a port as a node of mainnet does.
func startMainnetFake(t *testing.T, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			me := wire.NewNetAddress(c.LocalAddr().(*net.TCPAddr), 0)
			m := wire.NewMsgVersion(me, me, 1, 0)
			if err := wire.WriteMessage(c, m, wire.ProtocolVersion, wire.BitcoinNet(chainwatch.ParamsOf(frame.Main).Magic)); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, c) // until the other side has read enough
			c.Close()
		}
	}()
}
