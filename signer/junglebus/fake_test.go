package junglebus

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/signer"
)

var genesis = frame.HashOf([]byte("genesis"))

// A fake is a JungleBus service that knows some transactions, all of which concern
// every address that is asked for.
type fake struct {
	t     testing.TB
	order []frame.Hash
	known map[frame.Hash]*fakeTx
	named map[string]frame.Hash // what the service says to spend an output, by ID_N

	size    int    // of a part of a list; 0: all at once
	old     bool   // knows no height in a question, and tells none
	refuse  int    // so many questions are answered with status
	status  int    // of a refusal
	after   string // Retry-After of a refusal
	genesis string // told instead of the true one
	answer  func(path string) (string, bool)

	mu    sync.Mutex
	asked []string
}

type fakeTx struct {
	raw    []byte
	height int32 // 0: in no block
	hidden bool  // not listed
}

func newFake(t testing.TB) *fake {
	return &fake{t: t, known: map[frame.Hash]*fakeTx{}, named: map[string]frame.Hash{}}
}

// add makes a transaction known.
func (f *fake) add(height int32, tx simchain.Tx) frame.Hash {
	raw := tx.Bytes()
	id := frame.HashOf(raw)
	f.order = append(f.order, id)
	f.known[id] = &fakeTx{raw: raw, height: height}
	return id
}

// block is the hash that is told of the block at a height.
func block(height int32) string {
	if height == 0 {
		return ""
	}
	return frame.HashOf([]byte{byte(height)}).String()
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, path)
	if f.refuse > 0 {
		f.refuse--
		w.Header().Set("Retry-After", f.after)
		w.WriteHeader(f.status)
		return
	}
	if f.answer != nil {
		if text, ok := f.answer(path); ok {
			fmt.Fprint(w, text)
			return
		}
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "/block_header/get/0" && f.genesis != "":
		fmt.Fprintf(w, `{"hash":%q,"height":0}`, f.genesis)
	case path == "/block_header/get/0":
		fmt.Fprintf(w, `{"hash":%q,"height":0}`, genesis)
	case strings.HasPrefix(path, "/address/get/") && len(parts) == 4 && !f.old:
		from, err := strconv.Atoi(parts[3])
		if err != nil {
			f.t.Errorf("asked for %s", path)
		}
		f.tell(w, int32(from))
	case strings.HasPrefix(path, "/address/get/") && len(parts) == 3:
		f.tell(w, 0)
	case strings.HasPrefix(path, "/transaction/get/"):
		id, err := frame.ParseHash(parts[2])
		tx := f.known[id]
		if err != nil || tx == nil {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id.String(), "transaction": tx.raw, "block_hash": block(tx.height), "block_height": tx.height})
	case strings.HasPrefix(path, "/txo/spend/"):
		if id, ok := f.named[parts[2]]; ok {
			b, _ := hex.DecodeString(id.String())
			_, _ = w.Write(b)
		}
	default:
		http.NotFound(w, r)
	}
}

// tell lists transactions from a height on.
func (f *fake) tell(w http.ResponseWriter, from int32) {
	list := []map[string]any{}
	for _, id := range f.order {
		tx := f.known[id]
		if tx.hidden || tx.height < from || f.size > 0 && len(list) == f.size {
			continue
		}
		e := map[string]any{"id": "1", "transaction_id": id.String(), "block_hash": block(tx.height), "block_index": 1}
		if !f.old {
			e["block_height"], e["block_page"] = tx.height, 0
		}
		list = append(list, e)
	}
	_ = json.NewEncoder(w).Encode(list)
}

// client returns a client of a service that doesn't wait long.
func (f *fake) client() *Client {
	f.t.Helper()
	s := httptest.NewServer(f)
	f.t.Cleanup(s.Close)
	c, err := New(s.URL+"/", genesis)
	if err != nil {
		f.t.Fatal(err)
	}
	c.service.Backoff = time.Millisecond
	return c
}

var (
	alice = signer.NewKey()
	bob   = signer.NewKey()
)

func to(key signer.Key, satoshis uint64) simchain.Output {
	return simchain.Pay(key.KeyHash(), satoshis)
}

// pay makes a transaction with outputs that spends coins with alice's key.
func pay(outputs []simchain.Output, spends ...index.Outpoint) simchain.Tx {
	tx := simchain.Tx{Outputs: outputs}
	for _, coin := range spends {
		tx.Inputs = append(tx.Inputs, simchain.Spend(coin, alice.PublicKey()))
	}
	return tx
}
