package whatsonchain

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

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// How a fake service cuts what the real one cuts larger.
const (
	fakeFile = 20 // headers in a file; the first has one more
	fakeList = 6  // transactions up to which a block lists all ids
	fakeTop  = 2  // that it lists when there are more
	fakePage = 4  // ids in a page
)

// faults say how a fake service misbehaves.
type faults struct {
	down       bool // answers 502
	refuse     int  // so many questions more are answered with 429
	retryAfter int  // seconds that it asks for then
	fail       int  // so many questions more are answered with 500
	slow       bool // doesn't answer
	truncated  bool // answers end in the middle, as if that were all
	cut        int  // so many answers more break off
	giant      bool // answers with more than anybody wants
	garbage    bool // answers with what is none
	wrongBytes bool // gives another transaction's bytes
	missing    bool // hasn't got a transaction of each block
	reluctant  bool // gives a transaction of each block alone only
	unlinked   bool // newest headers don't follow each other
	wrongHash  bool // a header isn't what it is said to be
	noWork     bool // a header whose work is missing follows the tip
	pageless   bool // the second page is missing
	remainder  bool // pages begin where the short list ends
	order      bool // lists ids in another order
	short      bool // lists and counts one transaction less
	excess     bool // lists a transaction twice
	noBulk     bool // has headers one by one only
	noLatest   bool // has no newest headers beside the files
	otherNet   bool // is of another network
	otherBlock bool // gives another block than the one asked for
}

// A fake is WhatsOnChain in front of a backend.
type fake struct {
	t       testing.TB
	backend backend
	url     string
	handler http.Handler

	mu     sync.Mutex
	faults faults
	asked  map[string]int
	txs    map[frame.Hash][]byte // of the blocks that were told of
	odd    map[frame.Hash]bool   // one of each block
	keys   map[string]bool       // that were shown
}

func newFake(t testing.TB, b backend) *fake {
	t.Helper()
	f := &fake{t: t, backend: b, asked: map[string]int{}, txs: map[frame.Hash][]byte{}, odd: map[frame.Hash]bool{}, keys: map[string]bool{}}
	mux := http.NewServeMux()
	const root = "/v1/bsv/test"
	mux.HandleFunc("GET "+root+"/chain/info", f.info)
	mux.HandleFunc("GET "+root+"/block/headers/resources", f.resources)
	mux.HandleFunc("GET "+root+"/block/{which}/{name}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("which") == "headers" {
			f.headers(w, r)
		} else {
			f.header(w, r)
		}
	})
	mux.HandleFunc("GET "+root+"/block/hash/{hash}", f.block)
	mux.HandleFunc("GET "+root+"/block/hash/{hash}/page/{page}", f.page)
	mux.HandleFunc("POST "+root+"/txs/hex", f.bulk)
	mux.HandleFunc("GET "+root+"/tx/{id}/bin", f.alone)
	f.handler = f.guard(mux)
	server := httptest.NewServer(f.handler)
	f.url = server.URL + "/v1/bsv"
	t.Cleanup(func() {
		f.set(func(x *faults) { *x = faults{} })
		server.CloseClientConnections()
		server.Close()
	})
	return f
}

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

func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[what]
}

// guard counts questions, and misbehaves in the ways that all answers share.
func (f *fake) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked[strings.Split(r.URL.Path, "/")[4]]++
		f.asked["all"]++
		f.keys[r.Header.Get("woc-api-key")] = true
		x := f.faults
		f.faults.refuse = max(0, x.refuse-1)
		if x.refuse == 0 {
			f.faults.fail = max(0, x.fail-1)
			f.faults.cut = max(0, x.cut-1)
		}
		f.mu.Unlock()
		switch {
		case x.down:
			w.WriteHeader(http.StatusBadGateway)
		case x.refuse > 0:
			w.Header().Set("Retry-After", strconv.Itoa(x.retryAfter))
			w.WriteHeader(http.StatusTooManyRequests)
		case x.fail > 0:
			w.WriteHeader(http.StatusInternalServerError)
		case x.slow:
			for f.now().slow && r.Context().Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
			w.WriteHeader(http.StatusBadGateway)
		case x.giant:
			piece := make([]byte, 1<<20)
			for r.Context().Err() == nil && f.now().giant {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case x.garbage:
			_, _ = w.Write([]byte("<html>maintenance</html>"))
		case x.truncated || x.cut > 0:
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			if x.cut > 0 {
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(body[:len(body)/2-1])
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

func (f *fake) info(w http.ResponseWriter, _ *http.Request) {
	height, err := f.backend.height()
	var best frame.Hash
	if err == nil {
		best, err = f.backend.at(height)
	}
	chain := "regtest"
	if f.now().otherNet {
		chain = "stn"
	}
	f.answer(w, map[string]any{"chain": chain, "blocks": height, "headers": height, "bestblockhash": best.String(), "pruned": false}, err)
}

// files are as many as are full.
func (f *fake) resources(w http.ResponseWriter, _ *http.Request) {
	height, err := f.backend.height()
	if f.now().noBulk {
		err = errNone
	}
	files := []string{}
	for to := int32(fakeFile); to <= height; to += fakeFile {
		from := to - fakeFile + 1
		if to == fakeFile {
			from = 0
		}
		files = append(files, fmt.Sprintf("https://elsewhere.example/headers/%d_%d_headers.bin", from, to))
	}
	f.answer(w, map[string]any{"files": append(files, "https://elsewhere.example/headers/latest")}, err)
}

func (f *fake) headers(w http.ResponseWriter, r *http.Request) {
	tip, err := f.backend.height()
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	x := f.now()
	name := r.PathValue("name")
	newest := name == "latest"
	if x.noBulk || newest && x.noLatest {
		f.answer(w, nil, errNone)
		return
	}
	from, to := tip/fakeFile*fakeFile+1, tip
	if count, err := strconv.Atoi(r.URL.Query().Get("count")); newest && err == nil {
		from = max(0, tip-int32(min(count, newestMost))+1)
	}
	if !newest {
		file, ok := readFile(name)
		if !ok || file.to > tip {
			f.answer(w, nil, errNone)
			return
		}
		from, to = file.from, file.to
	}
	f.sendHeaders(w, from, to, newest && x.unlinked, newest && x.noWork)
}

func (f *fake) sendHeaders(w http.ResponseWriter, from, to int32, unlinked, noWork bool) {
	var answer []byte
	for height := from; height <= to; height++ {
		hash, err := f.backend.at(height)
		var raw []byte
		if err == nil {
			raw, _, err = f.backend.block(hash)
		}
		if err != nil {
			f.answer(w, nil, err)
			return
		}
		if unlinked && height == to-1 {
			continue
		}
		answer = append(answer, raw[:chainwatch.HeaderSize]...)
	}
	if noWork {
		last := chainwatch.Header(answer[len(answer)-chainwatch.HeaderSize:])
		idle, hash := last, last.Hash()
		copy(idle[4:36], hash[:])
		for hash := idle.Hash(); hash[31] < 0x80; hash = idle.Hash() {
			idle[76]++
		}
		answer = append(answer, idle[:]...)
	}
	_, _ = w.Write(answer) // who asked may be gone
}

func headerJSON(raw []byte, height int32) map[string]any {
	h := chainwatch.Header(raw[:chainwatch.HeaderSize])
	version := binary.LittleEndian.Uint32(h[:4])
	told := map[string]any{"hash": h.Hash().String(), "confirmations": 1, "height": height, "version": version, "versionHex": fmt.Sprintf("%08x", version),
		"merkleroot": h.MerkleRoot().String(), "time": h.Time(), "mediantime": h.Time(), "nonce": binary.LittleEndian.Uint32(h[76:]),
		"bits": fmt.Sprintf("%08x", h.Bits()), "difficulty": 1, "chainwork": "00", "previousblockhash": h.Prev().String()}
	if height == 0 {
		delete(told, "previousblockhash")
	}
	return told
}

// find finds a block by its hash or height.
func (f *fake) find(which string) (raw []byte, height int32, err error) {
	hash, err := frame.ParseHash(which)
	if err != nil {
		n, _ := strconv.Atoi(which)
		if hash, err = f.backend.at(int32(n)); err != nil {
			return nil, 0, err
		}
	}
	return f.backend.block(hash)
}

func (f *fake) header(w http.ResponseWriter, r *http.Request) {
	raw, height, err := f.find(r.PathValue("which"))
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	told := headerJSON(raw, height)
	if f.now().wrongHash {
		told["nonce"] = 7
	}
	f.answer(w, told, nil)
}

// ids lists the transactions of a block, with the faults, and keeps their bytes.
func (f *fake) ids(raw []byte) (ids []string) {
	txs := split(f.t, raw)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, tx := range txs {
		id := frame.HashOf(tx)
		f.txs[id] = tx
		f.odd[id] = i == len(txs)-1
		ids = append(ids, id.String())
	}
	switch last := len(ids) - 1; {
	case f.faults.order && last > 0:
		ids[0], ids[last] = ids[last], ids[0]
	case f.faults.short && last > 0:
		ids = ids[:last]
	}
	return ids
}

func (f *fake) block(w http.ResponseWriter, r *http.Request) {
	raw, height, err := f.find(r.PathValue("hash"))
	x := f.now()
	if err == nil && x.otherBlock && height > 1 {
		raw, height, err = f.find(strconv.Itoa(int(height - 1)))
	}
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	ids, told := f.ids(raw), headerJSON(raw, height)
	told["size"], told["txcount"], told["num_tx"], told["nTx"], told["pages"] = len(raw), len(ids), len(ids), 0, nil
	switch {
	case len(ids) > fakeList:
		told["pages"] = map[string]any{"uri": []string{"/block/hash/" + r.PathValue("hash") + "/page/1"}, "size": fakePage}
		ids = ids[:fakeTop]
	case x.excess:
		ids = append(ids, ids[0])
	}
	if x.wrongHash {
		told["nonce"] = 7
	}
	told["tx"] = ids
	f.answer(w, told, nil)
}

func (f *fake) page(w http.ResponseWriter, r *http.Request) {
	raw, _, err := f.find(r.PathValue("hash"))
	page, _ := strconv.Atoi(r.PathValue("page"))
	x := f.now()
	if err == nil && x.pageless && page == 2 {
		err = errNone
	}
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	ids := f.ids(raw)
	if x.remainder {
		ids = ids[fakeTop:]
	}
	from := min((page-1)*fakePage, len(ids))
	list := ids[from:min(from+fakePage, len(ids))]
	if x.excess {
		list = append(list[:len(list):len(list)], ids[0])
	}
	if len(list) == 0 {
		err = errNone
	}
	f.answer(w, list, err)
}

func (f *fake) bulk(w http.ResponseWriter, r *http.Request) {
	var q struct{ TxIDs []string }
	if json.NewDecoder(r.Body).Decode(&q) != nil || len(q.TxIDs) == 0 || len(q.TxIDs) > 20 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []map[string]any
	for _, text := range q.TxIDs {
		id, err := frame.ParseHash(text)
		raw := f.txs[id]
		if err != nil || raw == nil || f.odd[id] && (f.faults.missing || f.faults.reluctant) {
			list = append(list, map[string]any{"txid": text, "error": "unknown"})
			continue
		}
		if f.odd[id] && f.faults.wrongBytes {
			raw = append([]byte{9}, raw[1:]...)
		}
		list = append([]map[string]any{{"txid": text, "hex": hex.EncodeToString(raw), "confirmations": 1}}, list...) // in no order
	}
	f.answer(w, list, nil)
}

func (f *fake) alone(w http.ResponseWriter, r *http.Request) {
	id, err := frame.ParseHash(r.PathValue("id"))
	f.mu.Lock()
	defer f.mu.Unlock()
	raw := f.txs[id]
	if err != nil || raw == nil || f.odd[id] && f.faults.missing {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(raw) // who asked may be gone
}

// split takes a block apart.
func split(t testing.TB, block []byte) (txs [][]byte) {
	rest := block[chainwatch.HeaderSize:]
	count, n := bt.NewVarIntFromBytes(rest)
	rest = rest[n:]
	for range uint64(count) {
		_, size, err := bt.NewTxFromStream(rest)
		if err != nil {
			t.Errorf("the fake's own block: %v", err)
			return txs
		}
		txs, rest = append(txs, rest[:size]), rest[size:]
	}
	return txs
}
