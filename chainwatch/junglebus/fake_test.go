package junglebus

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/proof"
)

const fakeSubscription = "2dfb47cb42e93df9c8bf693ee3c4fcd4f3c2a2a9a5c4d1a0"

// A backend is the chain behind a fake service.
type backend interface {
	height() (int32, error)
	at(height int32) (frame.Hash, error)
	heightOf(hash frame.Hash) (int32, error) // on the best branch; errNone
	block(hash frame.Hash) ([]byte, error)
}

var errNone = errors.New("none such")

// faults say how a fake service misbehaves.
type faults struct {
	down        bool // answers 502, and closes connections
	slow        bool // doesn't answer
	refuse      int  // so many questions more are answered with 429
	lite        bool // tells of transactions without bytes and without paths
	wrongPath   bool // a path has another sibling
	foreign     bool // tells of a transaction that isn't in the block, with the path of one that is
	wrongBytes  bool // gives another transaction's bytes
	wrongHash   bool // a header isn't what it is said to be
	noWork      bool // a header whose work is missing follows the tip
	lose        bool // leaves a transaction out, and counts it
	otherBlock  bool // says that transactions are of another block
	giant       bool // answers with more than anybody wants
	garbage     bool // answers with what is no JSON, and frames that are none
	forgets     bool // keeps nothing of the mempool channel
	skipMempool int  // so many publications of the mempool channel get lost
	hush        bool // streams nothing of blocks
	passes      bool // says nothing of blocks in which nothing matches; coinbases don't
}

// A fake is a JungleBus service in front of a backend.
type fake struct {
	t       testing.TB
	backend backend
	server  *httptest.Server

	mu      sync.Mutex
	faults  faults
	conns   map[*fakeConn]bool
	entered [][]byte // in the mempool, in the order of their offsets
	asked   map[string]int
	extra   map[frame.Hash][]byte
	closed  bool
	streams sync.WaitGroup
}

type fakeConn struct {
	fake *fake
	ws   *websocket.Conn
	done chan struct{}
	mu   sync.Mutex // writes
	on   map[string]bool
}

func newFake(t testing.TB, b backend) *fake {
	t.Helper()
	f := &fake{t: t, backend: b, conns: map[*fakeConn]bool{}, asked: map[string]int{}, extra: map[frame.Hash][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/user/subscription-token", f.token)
	mux.HandleFunc("/v1/block_header/tip", f.tipHeader)
	mux.HandleFunc("/v1/block_header/get/{which}", f.getHeader)
	mux.HandleFunc("/v1/block_header/list/{from}", f.listHeaders)
	mux.HandleFunc("/v1/transaction/get/{id}", f.getTransaction)
	mux.HandleFunc("/v1/transaction/proof/{id}/bin", f.getProof)
	mux.HandleFunc("/connection/websocket", f.connect)
	f.server = httptest.NewServer(f.guard(mux))
	t.Cleanup(func() {
		f.set(func(x *faults) { *x = faults{} })
		f.hangUp()
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		f.server.CloseClientConnections()
		f.server.Close()
		f.streams.Wait()
	})
	return f
}

func (f *fake) url() string { return f.server.URL + "/" + fakeSubscription }

func (f *fake) set(how func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(&f.faults)
}

func (f *fake) now() faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

// hangUp closes all connections.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.ws.Close()
	}
}

// guard counts questions, and misbehaves in the ways that all answers share.
func (f *fake) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		x := f.faults
		f.asked[strings.Split(r.URL.Path+"//", "/")[2]]++
		if x.refuse > 0 {
			f.faults.refuse--
		}
		f.mu.Unlock()
		switch {
		case x.down:
			w.WriteHeader(http.StatusBadGateway)
		case x.refuse > 0:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case x.slow:
			for f.now().slow && r.Context().Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
			w.WriteHeader(http.StatusBadGateway)
		case x.giant:
			piece := make([]byte, 1<<16)
			for r.Context().Err() == nil && f.now().giant {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case x.garbage:
			_, _ = w.Write([]byte("<html>maintenance</html>"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (f *fake) answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, errNone):
		w.WriteHeader(http.StatusNotFound)
	case err != nil:
		w.WriteHeader(http.StatusBadGateway)
	default:
		_ = json.NewEncoder(w).Encode(v) // who asked may be gone
	}
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	var q struct{ ID string }
	if json.NewDecoder(r.Body).Decode(&q) != nil || q.ID != fakeSubscription || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	f.answer(w, map[string]string{"token": "a token"}, nil)
}

func (f *fake) headerAt(height int32) (map[string]any, error) {
	hash, err := f.backend.at(height)
	if err != nil {
		return nil, err
	}
	raw, err := f.backend.block(hash)
	if err != nil {
		return nil, err
	}
	return headerJSON(raw, height), nil
}

func headerJSON(raw []byte, height int32) map[string]any {
	h := chainwatch.Header(raw[:80])
	return map[string]any{"hash": h.Hash().String(), "coin": 1, "height": height, "time": h.Time(), "nonce": binary.LittleEndian.Uint32(h[76:]),
		"version": binary.LittleEndian.Uint32(h[:4]), "merkleroot": h.MerkleRoot().String(), "bits": fmt.Sprintf("%08x", h.Bits()), "synced": 1}
}

func (f *fake) tipHeader(w http.ResponseWriter, _ *http.Request) {
	height, err := f.backend.height()
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	h, err := f.headerAt(height)
	f.answer(w, h, err)
}

func (f *fake) getHeader(w http.ResponseWriter, r *http.Request) {
	which := r.PathValue("which")
	height, err := strconv.Atoi(which)
	if len(which) == 64 {
		hash, _ := frame.ParseHash(which)
		var h int32
		h, err = f.backend.heightOf(hash)
		height = int(h)
	}
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	h, err := f.headerAt(int32(height))
	f.answer(w, h, err)
}

func (f *fake) listHeaders(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.PathValue("from"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	tip, err := f.backend.height()
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	list := []map[string]any{}
	x := f.now()
	for h := int32(from); h <= tip && len(list) < limit; h++ {
		one, err := f.headerAt(h)
		if err != nil {
			f.answer(w, nil, err)
			return
		}
		if x.wrongHash && len(list) == 1 {
			one["nonce"] = uint32(7)
		}
		list = append(list, one)
	}
	if x.noWork && len(list) < limit {
		list = append(list, f.idle(tip))
	}
	f.answer(w, list, nil)
}

// idle is a header after the tip for which nobody worked.
func (f *fake) idle(tip int32) map[string]any {
	prev, _ := f.backend.at(tip)
	h := chainwatch.ParamsOf(frame.Regtest).Genesis
	copy(h[4:], prev[:])
	for h.Hash()[31] < 0x80 {
		h[76]++
	}
	return headerJSON(h[:], tip+1)
}

// find returns the block that holds a transaction, and where.
func (f *fake) find(id frame.Hash) (height int32, txs [][]byte, i int, err error) {
	tip, err := f.backend.height()
	for height = tip; height > 0 && err == nil; height-- {
		var hash frame.Hash
		var raw []byte
		if hash, err = f.backend.at(height); err != nil {
			break
		}
		if raw, err = f.backend.block(hash); err != nil {
			break
		}
		txs = transactionsOf(f.t, raw)
		for i = range txs {
			if frame.HashOf(txs[i]) == id {
				return height, txs, i, nil
			}
		}
	}
	return 0, nil, 0, errors.Join(err, errNone)
}

func (f *fake) getTransaction(w http.ResponseWriter, r *http.Request) {
	id, _ := frame.ParseHash(r.PathValue("id"))
	raw := f.extraOf(id)
	if raw == nil {
		_, txs, i, err := f.find(id)
		if err != nil {
			f.answer(w, nil, err)
			return
		}
		raw = txs[i]
	}
	if f.now().wrongBytes {
		raw = append(raw[:len(raw)-1:len(raw)-1], raw[len(raw)-1]^1)
	}
	f.answer(w, map[string]any{"id": id.String(), "transaction": raw}, nil)
}

func (f *fake) extraOf(id frame.Hash) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.extra[id]
}

func (f *fake) getProof(w http.ResponseWriter, r *http.Request) {
	id, _ := frame.ParseHash(r.PathValue("id"))
	if f.extraOf(id) != nil && f.now().foreign {
		tip, _ := f.backend.height()
		hash, _ := f.backend.at(tip)
		raw, _ := f.backend.block(hash)
		_, _ = w.Write(f.bump(tip, transactionsOf(f.t, raw), 0, id))
		return
	}
	height, txs, i, err := f.find(id)
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	_, _ = w.Write(f.bump(height, txs, i, id))
}

// bump is the Merkle path of a transaction, under the id given.
func (f *fake) bump(height int32, txs [][]byte, i int, id frame.Hash) []byte {
	var level []frame.Hash
	for _, tx := range txs {
		level = append(level, frame.HashOf(tx))
	}
	b := proof.BUMP{Height: uint32(height), Index: uint32(i), TxID: id}
	for at := i; len(level) > 1; at /= 2 {
		if at^1 < len(level) {
			b.Path = append(b.Path, level[at^1])
		} else {
			b.Path = append(b.Path, frame.Hash{})
		}
		var up []frame.Hash
		for j := 0; j < len(level); j += 2 {
			pair := append(level[j][:], level[min(j+1, len(level)-1)][:]...)
			up = append(up, frame.HashOf(pair))
		}
		level = up
	}
	if f.now().wrongPath && len(b.Path) > 0 {
		b.Path[len(b.Path)-1] = frame.Hash{1}
	}
	return b.Append(nil)
}

func transactionsOf(t testing.TB, block []byte) (txs [][]byte) {
	rest := block[80:]
	count, n := protoless(rest)
	rest = rest[n:]
	for range count {
		_, size, err := bt.NewTxFromStream(rest)
		if err != nil {
			t.Errorf("the fake's own block: %v in %s", err, hex.EncodeToString(rest[:min(40, len(rest))]))
			return txs
		}
		txs = append(txs, rest[:size])
		rest = rest[size:]
	}
	return txs
}

// protoless reads a count as on Bitcoin's wire.
func protoless(b []byte) (count uint64, size int) {
	switch {
	case b[0] == 0xfd:
		return uint64(binary.LittleEndian.Uint16(b[1:])), 3
	case b[0] == 0xfe:
		return uint64(binary.LittleEndian.Uint32(b[1:])), 5
	}
	return uint64(b[0]), 1
}
