package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

const patience = 20 * time.Second // for what must happen

var regtest = chainwatch.ParamsOf(frame.Regtest)

// A fakeNode answers RPC, and REST if it has it, as svnode does.
type fakeNode struct {
	addr string

	mu      sync.Mutex
	server  *httptest.Server
	params  *chainwatch.Params
	blocks  map[frame.Hash][]byte
	best    []frame.Hash // height 0 first
	mempool map[frame.Hash][]byte
	hidden  bool // the mempool is listed empty
	rest    bool
	status  int // other than 200: all that is answered
	asked   map[string]int
}

func startFake(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{addr: "127.0.0.1:0", asked: map[string]int{}}
	n.wipe(regtest)
	n.listen(t)
	t.Cleanup(n.stop)
	return n
}

func (n *fakeNode) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	n.server = httptest.NewUnstartedServer(n)
	n.server.Listener.Close()
	n.server.Listener = l
	n.server.Start()
}

func (n *fakeNode) stop() {
	n.server.CloseClientConnections()
	n.server.Close()
}

// wipe leaves the genesis block of a network.
func (n *fakeNode) wipe(params *chainwatch.Params) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.params, n.mempool = params, map[frame.Hash][]byte{}
	genesis := params.Genesis.Hash()
	n.blocks, n.best = map[frame.Hash][]byte{genesis: params.Genesis[:]}, []frame.Hash{genesis}
}

// mine puts blocks on the best chain after a height.
func (n *fakeNode) mine(after int, tags ...byte) (hashes []frame.Hash) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.best = n.best[:after+1]
	for _, tag := range tags {
		raw := make([]byte, 5000)
		raw[0] = tag
		copy(raw[4:], n.best[len(n.best)-1][:])
		hash := frame.HashOf(raw[:80])
		n.blocks[hash] = raw
		n.best = append(n.best, hash)
		hashes = append(hashes, hash)
	}
	return hashes
}

func (n *fakeNode) pay(raw string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mempool[frame.HashOf([]byte(raw))] = []byte(raw)
}

func (n *fakeNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *fakeNode) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[method]
}

func (n *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status != 0 {
		w.WriteHeader(n.status)
		return
	}
	if path, ok := strings.CutPrefix(r.URL.Path, "/rest/block/"); ok {
		n.asked["rest"]++
		hash, _ := frame.ParseHash(strings.TrimSuffix(path, ".bin"))
		raw, ok := n.blocks[hash]
		if !ok || !n.rest {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(raw)
		return
	}
	var q struct {
		ID     int
		Method string
		Params []any
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.asked[q.Method]++
	result, code := n.answer(q.Method, q.Params)
	reply := map[string]any{"result": result, "error": nil, "id": q.ID}
	if code != 0 {
		reply["error"] = map[string]any{"code": code, "message": "no"}
		w.WriteHeader(http.StatusInternalServerError)
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func (n *fakeNode) answer(method string, params []any) (result any, code int) {
	tip := len(n.best) - 1
	var hash frame.Hash
	if len(params) > 0 {
		text, _ := params[0].(string)
		hash, _ = frame.ParseHash(text)
	}
	switch method {
	case "getblockcount":
		return tip, 0
	case "getbestblockhash":
		return n.best[tip].String(), 0
	case "getblockhash":
		if h := int(params[0].(float64)); h <= tip {
			return n.best[h].String(), 0
		}
		return nil, -5
	case "getrawmempool":
		list := []string{}
		for txid := range n.mempool {
			if !n.hidden {
				list = append(list, txid.String())
			}
		}
		return list, 0
	case "getrawtransaction":
		if raw, ok := n.mempool[hash]; ok {
			return hex.EncodeToString(raw), 0
		}
		return nil, -5
	case "getblock", "getblockheader":
		return n.block(method, hash, params[1])
	}
	return nil, -32601
}

func (n *fakeNode) block(method string, hash frame.Hash, verbose any) (result any, code int) {
	raw, ok := n.blocks[hash]
	if !ok {
		return nil, -5
	}
	if method == "getblock" {
		return hex.EncodeToString(raw), 0
	}
	if verbose == false {
		return hex.EncodeToString(raw[:80]), 0
	}
	for height, h := range n.best {
		if h == hash {
			return map[string]any{"height": height, "confirmations": len(n.best) - height}, 0
		}
	}
	return map[string]any{"height": 1, "confirmations": -1}, 0
}

// quick is a configuration that doesn't let tests wait.
func quick(n *fakeNode, zmq ...string) Config {
	return Config{Params: regtest, RPC: noderpc.Config{URL: "http://" + n.addr, User: "u", Password: "p"}, ZMQ: zmq,
		Poll: 10 * time.Millisecond, BackoffMost: 200 * time.Millisecond}
}

func newSource(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a source until the test ends.
func run(t *testing.T, cfg Config) *Source {
	t.Helper()
	s := newSource(t, cfg)
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
			t.Error("Run doesn't end with its context")
		}
	})
	return s
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %s", patience, what)
		}
	}
}

func expect(t *testing.T, s *Source, want string) {
	t.Helper()
	select {
	case got := <-s.Transactions():
		if string(got) != want {
			t.Fatalf("got transaction %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("transaction %q doesn't arrive", want)
	}
}

func awaitWake(t *testing.T, s *Source) {
	t.Helper()
	select {
	case <-s.Wake():
	case <-time.After(patience):
		t.Fatal("nothing wakes")
	}
}
