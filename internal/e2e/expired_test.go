package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

// TestExpiredName: a name whose 365 days are over, on a live chain. Its first
// blocks are mined here by hand, with headers of more than a year ago; those that
// the node mines now let the time pass.
func TestExpiredName(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t, func(c *devnet.Config) { c.Empty = true })
	w := newWallet(t, filepath.Join(t.TempDir(), "home"), "alice", "bob")
	alice := authorOf(t, w.keys["alice"])
	miner := &handMiner{t: t, node: node, to: alice.hash(), last: chainwatch.ParamsOf(frame.Regtest).Genesis.Hash(),
		time: time.Now().Add(-400 * 24 * time.Hour)}
	first := miner.mine()
	for range 100 { // until the first coinbase may be spent
		miner.mine()
	}
	alice.receive(first)
	register, greeting := alice.register("old"), alice.message("old", "while it was mine", w.keys["bob"].KeyHash())
	miner.mine(register.raw)
	miner.mine(greeting.raw)
	// A node whose tip is old tells nobody of its blocks. One of now changes that,
	// and no median time.
	testnode.Mine(t, node, 1)

	s := serve(t, following(node)...)
	s.awaitTip(node)
	if n := s.name("old"); n.State != client.NameValid || n.Address != alice.address() {
		t.Fatalf("at its registration the name is %s, %s's; want valid, %s's", n.State, n.Address, alice.address())
	}
	testnode.Mine(t, node, 6) // more than half of the eleven that make the median time
	s.awaitTip(node)
	if n := s.name("old"); n.State != client.NameExpired {
		t.Errorf("400 days later the name is %s, want expired", n.State)
	}
	before := s.info()
	cmd := w.command(s.url, "send", "--from", "bob", "--to", "old", "are you there?")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	want := regexp.MustCompile(`^metaim: name "old" expired on \d{4}-\d\d-\d\d [\d:]+; it was ` + alice.address() + `'s\n$`)
	if cmd.ProcessState.ExitCode() != 1 || len(out) > 0 || !want.MatchString(said.String()) {
		t.Errorf("send ended with %v, printed %q and said %q; want status 1, nothing and %s", err, out, said.String(), want)
	}
	s.checkUnchanged(before)
	// What was said while the name was valid stays so; what is said now isn't.
	u := subscribe(t, s, client.Filter{State: []string{"confirmed", "refused", "seen"}})
	late := alice.message("old", "too late", w.keys["bob"].KeyHash())
	submit(t, late.raw, node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	for _, tt := range []struct{ name, id, want string }{
		{"while it was valid", greeting.id.String(), "confirmed valid"},
		{"after it expired", late.id.String(), "refused unknown_name"},
	} {
		m, err := s.client.Message(within(t), tt.id)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := m.State + " " + m.Verdict; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := u.kinds(greeting.id.String()); len(got) != 1 || got[0] != "confirmed" {
		t.Errorf("the old message was told of as %q, want confirmed", got)
	}
	// The name is free for anyone again.
	bob := authorOf(t, w.keys["bob"])
	coins := alice.pay(bob.hash(), 10_000)
	submit(t, coins, node)
	bob.receive(coins)
	submit(t, bob.register("old").raw, node)
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	if n := s.name("old"); n.State != client.NameValid || n.Address != bob.address() {
		t.Errorf("registered again the name is %s, %s's; want valid, bob's %s", n.State, n.Address, bob.address())
	}
	s.checkFresh(node)
}

// pay pays somebody and returns the transaction.
func (a *author) pay(to frame.KeyHash, satoshis uint64) []byte {
	a.t.Helper()
	return a.build(signer.Request{Pay: []signer.Output{{KeyHash: to, Satoshis: satoshis}}})
}

// A handMiner makes blocks with headers of any time and hands them to a node.
type handMiner struct {
	t      testing.TB
	node   *devnet.Node
	to     frame.KeyHash // who is paid
	last   frame.Hash
	height int32
	time   time.Time // of the last block
}

// mine adds a block, a minute after the last, and returns its coinbase.
func (m *handMiner) mine(txs ...[]byte) (coinbase []byte) {
	m.t.Helper()
	m.height++
	m.time = m.time.Add(time.Minute)
	coinbase = m.coinbase()
	txs = append([][]byte{coinbase}, txs...)
	var block bytes.Buffer
	block.Write(m.header(txs))
	block.WriteByte(byte(len(txs))) // fewer than 253
	for _, tx := range txs {
		block.Write(tx)
	}
	if err := m.node.RPC().SubmitBlock(within(m.t), block.Bytes()); err != nil {
		m.t.Fatalf("block %d, made by hand: %v", m.height, err)
	}
	m.last = frame.HashOf(block.Bytes()[:chainwatch.HeaderSize])
	return coinbase
}

// coinbase pays 50 BSV, the subsidy of regtest's first 150 blocks.
func (m *handMiner) coinbase() []byte {
	script := append([]byte{3, byte(m.height), byte(m.height >> 8), 0}, "by hand"...)
	var tx bytes.Buffer
	tx.Write([]byte{1, 0, 0, 0, 1})
	tx.Write(make([]byte, 32))
	tx.Write([]byte{0xff, 0xff, 0xff, 0xff, byte(len(script))})
	tx.Write(script)
	tx.Write([]byte{0xff, 0xff, 0xff, 0xff, 1})
	tx.Write(binary.LittleEndian.AppendUint64(nil, 50_0000_0000))
	tx.Write([]byte{25, 0x76, 0xa9, 20})
	tx.Write(m.to[:])
	tx.Write([]byte{0x88, 0xac, 0, 0, 0, 0})
	return tx.Bytes()
}

// header finds a nonce: on regtest every second one is good.
func (m *handMiner) header(txs [][]byte) []byte {
	m.t.Helper()
	root := frame.HashOf(txs[0])
	if len(txs) == 2 {
		second := frame.HashOf(txs[1])
		root = frame.HashOf(append(root[:], second[:]...))
	}
	if len(txs) > 2 {
		m.t.Fatal("blocks made by hand hold one transaction at most")
	}
	h := []byte{0, 0, 0, 0x20}
	h = append(append(h, m.last[:]...), root[:]...)
	h = binary.LittleEndian.AppendUint32(h, uint32(m.time.Unix()))
	h = binary.LittleEndian.AppendUint32(h, 0x207fffff)
	h = binary.LittleEndian.AppendUint32(h, 0)
	for {
		once := sha256.Sum256(h)
		if twice := sha256.Sum256(once[:]); twice[31] < 0x7f {
			return h
		}
		binary.LittleEndian.PutUint32(h[76:], binary.LittleEndian.Uint32(h[76:])+1)
	}
}
