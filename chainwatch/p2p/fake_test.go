package p2p

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

const (
	patience = 10 * time.Second // for what must happen
	agentSV  = "/Bitcoin SV:1.2.2/"
	agentBSV = "/bsvd:0.13.0(EB128.0)/"
	agentAny = "/other:1.0/" // answers in any order
)

var regtest = chainwatch.ParamsOf(frame.Regtest)

// raw frames a message by hand, independent of the code under test.
func rawMessage(magic uint32, command string, payload []byte) []byte {
	first := sha256.Sum256(payload)
	sum := sha256.Sum256(first[:])
	return rawHeader(magic, command, uint32(len(payload)), [4]byte(sum[:]), payload)
}

func rawHeader(magic uint32, command string, length uint32, sum [4]byte, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = append(b, make([]byte, 12)...)
	copy(b[4:], command)
	b = binary.LittleEndian.AppendUint32(b, length)
	b = append(b, sum[:]...)
	return append(b, payload...)
}

func rawExtended(magic uint32, command string, length uint64, payload []byte) []byte {
	b := rawHeader(magic, "extmsg", 0xffffffff, [4]byte{}, nil)
	b = append(b, make([]byte, 12)...)
	copy(b[24:], command)
	b = binary.LittleEndian.AppendUint64(b, length)
	return append(b, payload...)
}

func rawVersion(nonce uint64, agent string, height int32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 70015)
	b = append(b, make([]byte, 8+8+26+26)...)
	b = binary.LittleEndian.AppendUint64(b, nonce)
	b = append(b, byte(len(agent)))
	b = append(b, agent...)
	b = binary.LittleEndian.AppendUint32(b, uint32(height))
	return append(b, 1)
}

func rawItems(kind uint32, hashes ...frame.Hash) []byte {
	b := []byte{0xfd, byte(len(hashes)), byte(len(hashes) >> 8)}
	if len(hashes) < 0xfd {
		b = []byte{byte(len(hashes))}
	}
	for _, h := range hashes {
		b = binary.LittleEndian.AppendUint32(b, kind)
		b = append(b, h[:]...)
	}
	return b
}

func rawHeaders(list ...chainwatch.Header) []byte {
	b := []byte{byte(len(list))}
	for _, h := range list {
		b = append(append(b, h[:]...), 0)
	}
	return b
}

// items takes a getdata of up to 65,535 entries apart.
func items(b []byte) (kind uint32, hashes []frame.Hash) {
	b = b[1:]
	if len(b)%36 == 2 {
		b = b[2:]
	}
	for ; len(b) >= 36; b = b[36:] {
		kind = binary.LittleEndian.Uint32(b)
		hashes = append(hashes, frame.Hash(b[4:36]))
	}
	return kind, hashes
}

// A fakeNode is a scripted node on loopback. on holds what it does with a
// message; a ping is answered unless on says otherwise. greet, if set, replaces
// the handshake and says whether to go on.
type fakeNode struct {
	agent  string
	height int32
	greet  func(c *fakeConn) bool
	ready  func(c *fakeConn) // after each handshake
	on     map[string]func(c *fakeConn, payload []byte)

	addr  string
	mu    sync.Mutex
	conns []*fakeConn
	count map[string]int // of messages received, and of handshakes as "ready"
	wg    sync.WaitGroup
	ln    net.Listener
}

type fakeConn struct {
	net.Conn
	node *fakeNode
}

func (n *fakeNode) start(t *testing.T) *fakeNode {
	t.Helper()
	if n.agent == "" {
		n.agent = agentSV
	}
	n.listen(t, "127.0.0.1:0")
	t.Cleanup(n.stop)
	return n
}

func (n *fakeNode) listen(t *testing.T, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.ln, n.addr, n.count = ln, ln.Addr().String(), make(map[string]int)
	n.mu.Unlock()
	n.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c := &fakeConn{Conn: conn, node: n}
			n.mu.Lock()
			n.conns = append(n.conns, c)
			n.mu.Unlock()
			n.wg.Go(func() { n.serve(c) })
		}
	})
}

func (n *fakeNode) stop() {
	n.mu.Lock()
	n.ln.Close()
	for _, c := range n.conns {
		c.Close()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

func (n *fakeNode) connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

func (n *fakeNode) received(command string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count[command]
}

// last returns the newest connection.
func (n *fakeNode) last() *fakeConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns[len(n.conns)-1]
}

func (n *fakeNode) serve(c *fakeConn) {
	defer c.Close()
	greet := n.greet
	if greet == nil {
		greet = (*fakeConn).handshake
	}
	if !greet(c) {
		return
	}
	if n.ready != nil {
		n.ready(c)
	}
	n.mu.Lock()
	n.count["ready"]++
	n.mu.Unlock()
	for {
		command, payload, err := c.next()
		if err != nil {
			return
		}
		n.mu.Lock()
		n.count[command]++
		n.mu.Unlock()
		switch act := n.on[command]; {
		case act != nil:
			act(c, payload)
		case command == "ping":
			c.say("pong", payload)
		}
	}
}

func (c *fakeConn) handshake() bool {
	if command, _, err := c.next(); err != nil || command != "version" {
		return false
	}
	c.say("version", rawVersion(42, c.node.agent, c.node.height))
	c.say("verack", nil)
	command, _, err := c.next()
	return err == nil && command == "verack"
}

// next reads a message as our source sends them: small and plain.
func (c *fakeConn) next() (string, []byte, error) {
	var head [24]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return "", nil, err
	}
	payload := make([]byte, binary.LittleEndian.Uint32(head[16:]))
	if _, err := io.ReadFull(c, payload); err != nil {
		return "", nil, err
	}
	want := rawMessage(regtest.Magic, string(bytes.TrimRight(head[4:16], "\x00")), payload)
	if !bytes.Equal(want[:24], head[:]) {
		return "", nil, errors.New("malformed message from the source")
	}
	return string(bytes.TrimRight(head[4:16], "\x00")), payload, nil
}

// say sends a message; a failure shows in what the test expects of the source.
func (c *fakeConn) say(command string, payload []byte) {
	_, _ = c.Write(rawMessage(regtest.Magic, command, payload))
}

func (c *fakeConn) bytes(b []byte) { _, _ = c.Write(b) }

func addrs(nodes ...*fakeNode) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.addr)
	}
	return list
}

// shortLimits are limits for tests: short where a test waits for them to pass.
func shortLimits(peers ...string) Config {
	return Config{
		Params: regtest, Peers: peers,
		BackoffLeast: time.Millisecond, BackoffMost: 20 * time.Millisecond, GoodSession: time.Millisecond,
		RetryAfter: 50 * time.Millisecond, Grace: 300 * time.Millisecond,
	}
}

// run starts a source, and at the end of the test checks that it ends well.
func run(t *testing.T, cfg Config) *Source {
	t.Helper()
	s := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run ended with %v, want nil", err)
			}
		case <-time.After(patience):
			t.Error("Run doesn't end")
		}
	})
	return s
}

// until polls for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// receive takes a transaction from a source.
func receive(t *testing.T, s *Source) []byte {
	t.Helper()
	select {
	case raw := <-s.Transactions():
		return raw
	case <-time.After(patience):
		t.Fatal("no transaction arrives")
		return nil
	}
}

// testBlock makes a block of a size with a header of its own.
func testBlock(seed byte, size int) (frame.Hash, []byte) {
	b := bytes.Repeat([]byte{seed}, size)
	return frame.HashOf(b[:chainwatch.HeaderSize]), b
}

func testHeader(seed byte) chainwatch.Header {
	return chainwatch.Header(bytes.Repeat([]byte{seed}, chainwatch.HeaderSize))
}
