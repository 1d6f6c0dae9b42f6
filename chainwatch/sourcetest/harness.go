package sourcetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

// A Node says how to reach the node behind a source. It stays the same when the
// node is started again.
type Node struct {
	P2P string         // host:port
	RPC noderpc.Config // of the node itself, or of what passes questions on to it
	ZMQ []string       // where it publishes
}

var regtest = chainwatch.ParamsOf(frame.Regtest)

// BSVD starts bsvd with a branch that lost, and a second one to reorganise it.
func BSVD(t *testing.T, open func(t testing.TB, n Node) chainwatch.Source) *Harness {
	t.Helper()
	key := signer.NewKey()
	port, dir := freePort(t), t.TempDir()
	same := func(c *devnet.Config) { c.MinerKey, c.Dir, c.P2PPort = key, dir, port }
	a := testnode.Start(t, same)
	b := testnode.Start(t, func(c *devnet.Config) { c.MinerKey, c.Empty = key, true })
	testnode.Connect(t, a, b)
	testnode.Disconnect(t, a, b)
	stale := testnode.Mine(t, a, 2)
	testnode.Mine(t, b, 3)
	testnode.Connect(t, a, b)

	front := newFront(t, a)
	node := Node{P2P: a.Connection().P2P, RPC: noderpc.Config{URL: front.url}}
	h := newHarness(t, a.RPC(), stale)
	h.Open = func(t testing.TB) chainwatch.Source { return open(t, node) }
	h.Raw = func(t testing.TB, hash frame.Hash) []byte { return rawBlock(t, a.RPC(), hash) }
	payee := byte(0)
	h.Live = &Live{
		Mine: func(t testing.TB, blocks int) []frame.Hash { return testnode.Mine(t, a, blocks) },
		Pay: func(t testing.TB) []byte {
			payee++
			return testnode.Fund(t, a, frame.KeyHash{payee}, 1000)
		},
		Reorganise: func(t testing.TB) (gone, come []frame.Hash) {
			testnode.AwaitSameTip(t, a, b)
			testnode.Disconnect(t, a, b)
			gone, come = testnode.Mine(t, a, 1), testnode.Mine(t, b, 2)
			testnode.Connect(t, a, b)
			return gone, come
		},
		Restart: func(t testing.TB, meanwhile func()) {
			front.close(t)
			if err := a.Stop(); err != nil {
				t.Fatal(err)
			}
			meanwhile()
			a = testnode.Start(t, same)
			front.open(t, a)
		},
		Redelivers: true,
	}
	return h
}

// SVNode starts the svnode that SVNODE_BIN names, or skips the test. redelivers
// says whether the source can have the mempool delivered again.
func SVNode(t *testing.T, redelivers bool, open func(t testing.TB, n Node) chainwatch.Source) *Harness {
	t.Helper()
	n := testnode.StartSVNode(t)
	gone, _ := n.Replace(t)
	node := Node{P2P: n.P2P, RPC: n.RPCConfig, ZMQ: []string{n.ZMQ}}
	h := newHarness(t, n.RPC, []frame.Hash{gone})
	h.Open = func(t testing.TB) chainwatch.Source { return open(t, node) }
	h.Raw = func(t testing.TB, hash frame.Hash) []byte { return rawBlock(t, n.RPC, hash) }
	h.Live = &Live{
		Mine: n.Mine,
		Pay:  n.Pay,
		Reorganise: func(t testing.TB) (gone, come []frame.Hash) {
			old, come := n.Replace(t)
			return []frame.Hash{old}, come
		},
		Restart: func(t testing.TB, meanwhile func()) {
			n.Stop(t)
			meanwhile()
			n.Start(t)
		},
		Redelivers: redelivers,
	}
	return h
}

// Files writes the blocks of a bsvd, with the branch that lost first, to a block
// file.
func Files(t *testing.T, open func(t testing.TB, path string) chainwatch.Source) *Harness {
	t.Helper()
	h := BSVD(t, nil)
	var file []byte
	for _, hash := range append(slices.Clone(h.Stale), h.Best...) {
		raw := h.Raw(t, hash)
		file = binary.LittleEndian.AppendUint32(file, regtest.Magic)
		file = binary.LittleEndian.AppendUint32(file, uint32(len(raw)))
		file = append(file, raw...)
	}
	path := filepath.Join(t.TempDir(), "blk00000.dat")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	h.Open = func(t testing.TB) chainwatch.Source { return open(t, path) }
	h.Live = nil
	return h
}

// newHarness reads the best chain of a node.
func newHarness(t *testing.T, rpc *noderpc.Client, stale []frame.Hash) *Harness {
	t.Helper()
	h := &Harness{Params: regtest, Stale: stale}
	ctx := within(t)
	tip, err := rpc.GetBlockCount(ctx)
	for height := int32(1); height <= tip && err == nil; height++ {
		var hash frame.Hash
		hash, err = rpc.GetBlockHash(ctx, height)
		h.Best = append(h.Best, hash)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := chainwatch.Header(rawBlock(t, rpc, stale[0])[:chainwatch.HeaderSize])
	if h.Base = slices.Index(h.Best, first.Prev()) + 1; h.Base == 0 {
		t.Fatalf("branch %s doesn't follow the best chain", stale[0])
	}
	return h
}

func rawBlock(t testing.TB, rpc *noderpc.Client, hash frame.Hash) []byte {
	t.Helper()
	raw, err := rpc.GetRawBlock(within(t), hash)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A front passes RPC on to a node that has another port and password each time it
// is started.
type front struct {
	url     string
	address string
	server  *http.Server
	ended   chan error
}

func newFront(t testing.TB, n *devnet.Node) *front {
	t.Helper()
	f := &front{address: "127.0.0.1:0"}
	f.open(t, n)
	f.url = "http://" + f.address
	t.Cleanup(func() { f.close(t) })
	return f
}

func (f *front) open(t testing.TB, n *devnet.Node) {
	t.Helper()
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { passOn(w, r, n.Connection()) })
	f.server, f.ended = &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}, make(chan error, 1)
	server, ended := f.server, f.ended
	go func() { ended <- server.Serve(l) }()
}

// passOn asks the node and passes the answer on whole: bsvd's have no length, and
// a streaming proxy now and then cuts one off.
func passOn(w http.ResponseWriter, r *http.Request, to devnet.Connection) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // who asked is gone
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, to.RPC+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(to.RPCUser, to.RPCPassword)
	req.Close = true // bsvd does so anyway
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer) // who asked may be gone
}

func (f *front) close(t testing.TB) {
	t.Helper()
	if f.server == nil {
		return
	}
	err := errors.Join(f.server.Close(), <-f.ended)
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	f.server = nil
}
