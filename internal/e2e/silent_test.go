package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/metaim/metaim/internal/testnode"
)

// A hush stands between a server and its node, and can fall silent: then it takes
// connections and bytes as before, and passes none on.
type hush struct {
	net.Listener
	to string

	mu     sync.Mutex
	open   chan struct{} // closed while it passes bytes on
	silent bool
	conns  []net.Conn
	all    sync.WaitGroup
}

func startHush(t testing.TB, to string) *hush {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hush{Listener: l, to: to, open: make(chan struct{})}
	close(h.open)
	h.all.Go(h.accept)
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		h.silence(false)
		h.mu.Lock()
		for _, c := range h.conns {
			_ = c.Close() // ends what reads it
		}
		h.mu.Unlock()
		h.all.Wait()
	})
	return h
}

func (h *hush) silence(is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if is == h.silent {
		return
	}
	if h.silent = is; is {
		h.open = make(chan struct{})
	} else {
		close(h.open)
	}
}

func (h *hush) accept() {
	for {
		near, err := h.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", h.to)
		if err != nil {
			_ = near.Close() // so the server sees what became of the node
			continue
		}
		h.mu.Lock()
		h.conns = append(h.conns, near, far)
		h.mu.Unlock()
		h.all.Go(func() { h.pass(far, near) })
		h.all.Go(func() { h.pass(near, far) })
	}
}

func (h *hush) pass(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		h.mu.Lock()
		open := h.open
		h.mu.Unlock()
		<-open
		if _, failed := to.Write(b[:n]); errors.Join(err, failed) != nil {
			return
		}
	}
}

// figure returns what a metric of the server without labels shows.
func figure(t testing.TB, url, name string) float64 {
	t.Helper()
	reply, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s isn't among the metrics", name)
	}
	f, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSilentNode: a node that takes connections and answers nothing makes no error
// for long; that nothing comes of it is noticed all the same, and it passes.
func TestSilentNode(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	testnode.Mine(t, node, 3)
	h := startHush(t, node.Connection().P2P)
	s := serve(t, "--peer", h.Addr().String(), "--stall", "2s", "--metrics", "127.0.0.1:0")
	at := s.awaitLine(`metrics are served" url=(http://127\.0\.0\.1:\d+/metrics)`)[1]
	s.awaitReady()
	height := float64(s.awaitTip(node).Tip.Height)
	if got := figure(t, at, "metaim_ready"); got != 1 {
		t.Errorf("metaim_ready: got %v, want 1", got)
	}
	for name, want := range map[string]float64{
		"metaim_index_tip_height_blocks": height, "metaim_chain_best_height_blocks": height, "metaim_chain_lag_blocks": 0,
		"metaim_source_nodes_connected": 1, "metaim_blocks_connected_total": height + 1, "metaim_unconfirmed_transactions": 0,
	} {
		await(t, func() string {
			if got := figure(t, at, name); got != want {
				return name + " is " + strconv.FormatFloat(want, 'g', -1, 64) + "; it is " + strconv.FormatFloat(got, 'g', -1, 64)
			}
			return ""
		})
	}

	h.silence(true)
	why := s.notReady(`the chain isn't followed: nothing has come of what was asked for`)
	if strings.Contains(why, "@") {
		t.Errorf("the reason %q looks as if it had a password", why)
	}
	if ready, standing := figure(t, at, "metaim_ready"), figure(t, at, "metaim_follower_standing_seconds"); ready != 0 || standing < 2 {
		t.Errorf("while it is silent: metaim_ready %v, standing %v s; want 0 and 2 or more", ready, standing)
	}
	h.silence(false)
	s.awaitReady()
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
}
