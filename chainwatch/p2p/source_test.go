package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

func TestWrongNetworkEndsRun(t *testing.T) {
	foreign := func(c *fakeConn) bool {
		c.bytes(rawMessage(0xe8f3e1e3, "version", rawVersion(1, agentSV, 5)))
		return true
	}
	a, b := (&fakeNode{greet: foreign}).start(t), (&fakeNode{greet: foreign}).start(t)
	s := New(shortLimits(addrs(a, b)...))
	err := s.Run(within(t))
	var network *NetworkError
	if !errors.As(err, &network) {
		t.Fatalf("Run ended with %v, want a *NetworkError", err)
	}
	want := "node " + a.addr + " speaks to network mainnet, not regtest"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := s.Headers(within(t), nil); !errors.Is(err, ErrEnded) {
		t.Errorf("Headers after the end: got %v, want %v", err, ErrEnded)
	}
	if _, err := s.Block(within(t), frame.Hash{}); !errors.Is(err, ErrEnded) {
		t.Errorf("Block after the end: got %v, want %v", err, ErrEnded)
	}
}

func TestRunNeedsNodes(t *testing.T) {
	if err := New(Config{Params: regtest}).Run(within(t)); !errors.Is(err, ErrNoPeers) {
		t.Errorf("got %v, want %v", err, ErrNoPeers)
	}
}

// TestTrouble has one node that fails at the handshake beside one that works, and
// reads what Status says of it.
func TestTrouble(t *testing.T) {
	tests := []struct {
		name  string
		greet func(c *fakeConn) bool
		want  string
	}{
		{"closes on hello", func(c *fakeConn) bool {
			_, _, _ = c.next()
			return false
		}, "it closes the connection on hello: it may be of another network than regtest"},
		{"of another network", func(c *fakeConn) bool {
			c.bytes(rawMessage(0xf4f3e5f4, "version", rawVersion(1, agentSV, 5)))
			return true
		}, "speaks to network testnet, not regtest"},
		{"of an unknown network", func(c *fakeConn) bool {
			c.bytes(rawMessage(0xf9c4cefb, "version", rawVersion(1, agentSV, 5)))
			return true
		}, "speaks to network with magic f9c4cefb, not regtest"},
		{"a web server", func(c *fakeConn) bool {
			c.bytes([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			return true
		}, "doesn't speak the protocol of Bitcoin"},
		{"ourselves", func(c *fakeConn) bool {
			_, payload, err := c.next()
			if err != nil {
				return false // the end of the test
			}
			ours := binary.LittleEndian.Uint64(payload[72:])
			c.say("version", rawVersion(ours, agentSV, 5))
			return true
		}, ErrSelf.Error()},
		{"says nothing", func(c *fakeConn) bool {
			_, _, _ = c.next()
			_, _, _ = c.next()
			return false
		}, errHandshake.Error()},
		{"refuses", func(c *fakeConn) bool {
			c.say("reject", []byte("\x07version\x11\x09duplicate"))
			return true
		}, "refuses us: version duplicate"},
		{"garbage for a version", func(c *fakeConn) bool {
			c.say("version", []byte("garbage"))
			return true
		}, ErrMalformed.Error()},
		{"megabytes for a version", func(c *fakeConn) bool {
			c.bytes(rawHeader(regtest.Magic, "addr", 20<<20, [4]byte{}, nil))
			return true
		}, ErrTooLarge.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := (&fakeNode{height: 77}).start(t)
			bad := (&fakeNode{greet: tt.greet}).start(t)
			cfg := shortLimits(bad.addr, good.addr)
			cfg.HandshakeTimeout = 100 * time.Millisecond
			s := run(t, cfg)
			want := "1 of 2 nodes not connected: node " + bad.addr
			until(t, "the trouble is told", func() bool {
				st := s.Status()
				return st.Connected == 1 && strings.HasPrefix(st.Trouble, want) && strings.Contains(st.Trouble, tt.want)
			})
			if got := s.Status(); got.Height != 77 || time.Since(got.LastHeard) > patience {
				t.Errorf("got height %d, last heard %s, want 77, now", got.Height, got.LastHeard)
			}
		})
	}
}

func TestStatusBeforeRun(t *testing.T) {
	got := New(shortLimits("127.0.0.1:1")).Status()
	if got.Connected != 0 || got.Height != -1 || !got.LastHeard.IsZero() || got.Trouble != "" {
		t.Errorf("got %+v, want nothing known and no trouble", got)
	}
}

func TestReconnects(t *testing.T) {
	node := (&fakeNode{}).start(t)
	s := run(t, shortLimits(node.addr))
	until(t, "it is connected", func() bool { return s.Status().Connected == 1 })
	<-s.Wake()
	node.stop()
	until(t, "the loss is told", func() bool {
		st := s.Status()
		return st.Connected == 0 && strings.Contains(st.Trouble, node.addr)
	})
	node.listen(t, node.addr)
	until(t, "it is connected again", func() bool { st := s.Status(); return st.Connected == 1 && st.Trouble == "" })
	select {
	case <-s.Wake():
	case <-time.After(patience):
		t.Error("a new connection doesn't wake")
	}
}

func TestSilentNodeIsDropped(t *testing.T) {
	node := (&fakeNode{on: map[string]func(*fakeConn, []byte){"ping": func(*fakeConn, []byte) {}}}).start(t)
	cfg := shortLimits(node.addr)
	cfg.PingEvery, cfg.SilenceTimeout = 20*time.Millisecond, 100*time.Millisecond
	run(t, cfg)
	until(t, "it is pinged and dropped", func() bool { return node.received("ping") > 1 && node.connections() > 1 })
}

func TestPingsKeepAQuietNode(t *testing.T) {
	node := (&fakeNode{}).start(t)
	cfg := shortLimits(node.addr)
	cfg.PingEvery, cfg.SilenceTimeout = 10*time.Millisecond, time.Second
	run(t, cfg)
	until(t, "it has been pinged longer than a silence is suffered", func() bool { return node.received("ping") >= 120 })
	if got := node.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// TestAnswersAndSkips checks what is said to a node that asks, and that what we
// don't know is passed over.
func TestAnswersAndSkips(t *testing.T) {
	node := (&fakeNode{ready: func(c *fakeConn) {
		c.say("protoconf", make([]byte, 30))
		c.say("something", make([]byte, 3<<20))
		c.say("getblocks", make([]byte, 69))
		c.say("getheaders", make([]byte, 69))
		c.say("ping", []byte("12345678"))
	}}).start(t)
	run(t, shortLimits(node.addr))
	until(t, "all is answered", func() bool {
		return node.received("inv") == 1 && node.received("headers") == 1 && node.received("pong") == 1
	})
	if got := node.received("mempool") + node.received("sendheaders") + node.received("protoconf"); got != 0 {
		t.Errorf("%d messages that the reference node punishes, want 0", got)
	}
}

// TestMisbehaviourEndsTheConnection sends what no node sends, after the
// handshake.
func TestMisbehaviourEndsTheConnection(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
	}{
		{"magic of another network", rawMessage(0xe8f3e1e3, "ping", make([]byte, 8))},
		{"garbage", []byte("garbage garbage garbage garbage")},
		{"wrong checksum", rawHeader(regtest.Magic, "ping", 8, [4]byte{}, make([]byte, 8))},
		{"ping without nonce", rawMessage(regtest.Magic, "ping", nil)},
		{"inv that lies about its length", rawMessage(regtest.Magic, "inv", []byte{9, 1})},
		{"notfound that lies about its length", rawMessage(regtest.Magic, "notfound", []byte{9, 1})},
		{"headers that lie about their length", rawMessage(regtest.Magic, "headers", []byte{9, 1})},
		{"transaction over the limit", rawHeader(regtest.Magic, "tx", 1e9, [4]byte{}, nil)},
		{"a block that nobody asked for", rawMessage(regtest.Magic, "block", make([]byte, 200))},
		{"a block without a whole header", rawMessage(regtest.Magic, "block", make([]byte, 80))},
		{"a message that never ends", rawHeader(regtest.Magic, "something", 1e6, [4]byte{}, make([]byte, 10))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			node := (&fakeNode{ready: func(c *fakeConn) { c.bytes(tt.in) }}).start(t)
			cfg := shortLimits(node.addr)
			cfg.StallWindow = 50 * time.Millisecond
			run(t, cfg)
			until(t, "the connection is replaced", func() bool { return node.connections() > 1 })
		})
	}
}

// TestEndsWhileConnectionsHang ends Run while a dial hangs and a node doesn't
// read what is sent to it.
func TestEndsWhileConnectionsHang(t *testing.T) {
	cfg := shortLimits("hangs", "deaf")
	dialled := make(chan struct{}, 2)
	cfg.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) {
		dialled <- struct{}{}
		if addr == "deaf:18444" {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { theirs.Close() })
			return ours, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	run(t, cfg) // checks the end
	<-dialled
	<-dialled
}
