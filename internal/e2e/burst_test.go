package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

const passphrase = "correct horse"

// A wallet is a folder of keys as the program keeps it.
type wallet struct {
	t    testing.TB
	home string
	keys map[string]signer.Key
}

// newWallet makes a key for each label. The key file is made cheap to open: what
// a passphrase costs is tried where keys are.
func newWallet(t testing.TB, home string, labels ...string) *wallet {
	t.Helper()
	w := &wallet{t: t, home: home, keys: map[string]signer.Key{}}
	store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 10}
	for _, label := range labels {
		w.keys[label] = signer.NewKey()
		if _, err := store.Add(within(t), passphrase, label, w.keys[label]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// environment returns the settings for commands that use the wallet and a server.
func (w *wallet) environment(serverURL string) []string {
	return []string{"METAIM_HOME=" + w.home, "METAIM_PASSPHRASE=" + passphrase,
		"METAIM_NETWORK=regtest", "METAIM_SERVER=" + serverURL}
}

// cacheOf keeps what commands remember with the keys, which go with the test.
func cacheOf(home string) string { return "XDG_CACHE_HOME=" + filepath.Join(home, "cache") }

// command returns a command that uses the wallet and a server.
func (w *wallet) command(serverURL string, args ...string) *exec.Cmd {
	cmd := metaim(w.t, args...)
	cmd.Env = environment(append(w.environment(serverURL), cacheOf(w.home))...)
	return cmd
}

// run runs a command and returns what it printed.
func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out.String(), said.String())
	}
	return out.String()
}

// A tally passes requests on to a server and counts them.
type tally struct {
	*httptest.Server
	mu    sync.Mutex
	asked map[string]int // by method and the first parts of the path
}

func newTally(t testing.TB, of string) *tally {
	t.Helper()
	to, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	y := &tally{asked: map[string]int{}}
	y.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		y.mu.Lock()
		y.asked[r.Method+" "+strings.Join(parts[:min(3, len(parts))], "/")]++
		y.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(y.Close)
	return y
}

func TestBurst(t *testing.T) {
	t.Parallel()
	mined := 500
	if raceEnabled {
		mined = 200 // the race detector makes signing ten times slower
	}
	for _, tt := range []struct {
		name     string
		messages int
		mining   bool
	}{
		{"then a block", 500, false},
		{"while blocks are mined", mined, true},
	} {
		messages := tt.messages
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			node := testnode.Start(t)
			s := serve(t, following(node)...)
			w := newWallet(t, t.TempDir(), "alice", "bob")
			bob := w.keys["bob"].Address(frame.Regtest)
			control := httptest.NewServer(devnet.Handler(node))
			defer control.Close()
			run(t, w.command(s.url, "key", "fund", "alice", "--devnet", control.URL))
			testnode.Mine(t, node, 1)
			u := subscribe(t, s, client.Filter{Address: []string{bob}})
			stop := func() {}
			if tt.mining {
				stop = mineAlong(t, node, 50*time.Millisecond)
			}

			counted := newTally(t, s.url)
			send := w.command(counted.URL, "send", "--from", "alice", "--to", bob, "--lines")
			var lines []string
			for i := range messages {
				lines = append(lines, fmt.Sprintf("message %d of %d", i+1, messages))
			}
			send.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
			began := time.Now()
			if printed := strings.Count(run(t, send), "\n"); printed != messages {
				t.Errorf("send printed %d lines, want %d", printed, messages)
			}
			took := time.Since(began)
			stop()
			if !tt.mining {
				u.awaitCount("message.seen", messages)
				testnode.Mine(t, node, 1)
			}
			s.awaitMined(node)
			u.awaitCount("message.confirmed", messages)
			t.Logf("%d messages sent in %s, all confirmed after %s", messages, took, time.Since(began))

			counted.mu.Lock()
			asked := counted.asked
			counted.mu.Unlock()
			// Before the first message it asks for its own names, to remind of those that
			// expire and to sign as one, and for the recipient's keys. Between the messages
			// nobody is asked for anything: coins are own change.
			want := map[string]int{"GET /v1/info": 1, "GET /v1/addresses": 3, "POST /v1/transactions": messages}
			if fmt.Sprint(asked) != fmt.Sprint(want) {
				t.Errorf("the sender asked %v, want %v", asked, want)
			}
			u.checkTexts("message.confirmed", lines)
			if !tt.mining {
				u.checkTexts("message.seen", lines)
			}
			for _, id := range u.ids() {
				got := u.kinds(id)
				// What a block took from the mempool before it was delivered is confirmed
				// at once, and one that was sent later may be seen before.
				if !slices.Equal(got, []string{"seen", "confirmed"}) && !(tt.mining && slices.Equal(got, []string{"confirmed"})) {
					t.Errorf("message %s was told of as %q, want seen and confirmed", id, got)
				}
			}
		})
	}
}

// checkTexts compares the texts of messages with what was sent: each once, and
// in order.
func (u *subscriber) checkTexts(kind string, want []string) {
	u.t.Helper()
	var got []string
	for _, e := range u.all() {
		if e.Message == nil || e.Kind != kind {
			continue
		}
		if err := client.Verify(*e.Message, frame.Regtest); err != nil {
			u.t.Errorf("message %s: %v", e.Message.ID, err)
		}
		got = append(got, string(e.Message.Body))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			u.t.Errorf("of the events %q, number %d is about %q, want %q", kind, i+1, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		u.t.Errorf("%d events %q, want %d", len(got), kind, len(want))
	}
}

// mineAlong mines a block every so often, until it is stopped or the test ends. A
// block under way is finished: bsvd refuses to mine while it mines.
func mineAlong(t testing.TB, n *devnet.Node, every time.Duration) (stop func()) {
	t.Helper()
	end, done := make(chan struct{}), make(chan struct{})
	stop = sync.OnceFunc(func() {
		close(end)
		<-done
	})
	t.Cleanup(stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			if _, err := n.Mine(context.Background(), 1); err != nil {
				t.Errorf("mine along: %v", err)
				return
			}
		}
	}()
	return stop
}

// awaitMined mines until nothing waits in the node's mempool.
func (s *server) awaitMined(n *devnet.Node) {
	s.t.Helper()
	await(s.t, func() string {
		waiting, err := n.RPC().GetRawMempool(within(s.t))
		if err != nil {
			s.t.Fatal(err)
		}
		if len(waiting) == 0 {
			return ""
		}
		testnode.Mine(s.t, n, 1)
		return fmt.Sprintf("%d transactions leave the mempool", len(waiting))
	})
}

func TestLatency(t *testing.T) {
	node := testnode.Start(t)
	s := serve(t, following(node)...)
	alice, bob := newAuthor(t), newAuthor(t)
	alice.fund(node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	u := subscribe(t, s, client.Filter{Address: []string{bob.address()}})
	var took []time.Duration
	for i := range 20 {
		m := alice.message("", fmt.Sprintf("number %d", i), bob.hash())
		began := time.Now()
		submit(t, m.raw, node)
		u.awaitKinds(m.id, "seen")
		u.mu.Lock()
		took = append(took, u.at[len(u.at)-1].Sub(began))
		u.mu.Unlock()
	}
	slices.Sort(took)
	t.Logf("from sendrawtransaction to the subscriber: median %s, longest %s", took[len(took)/2], took[len(took)-1])
	if longest := took[len(took)-1]; longest > 5*time.Second {
		t.Errorf("a message was seen %s after it was submitted, want less than 5 s (1 s on a machine that does nothing else)", longest)
	}
}
