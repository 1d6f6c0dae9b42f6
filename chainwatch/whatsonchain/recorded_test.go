package whatsonchain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/doublesha"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecorded: answers as the service's documentation shows them are understood,
// and asked for where it says.
func TestRecorded(t *testing.T) {
	const root = "/v1/bsv/main"
	hash, err := frame.ParseHash("000000000000000004a288072ebb35e37233f419918f9783d499979cb6ac33eb")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"GET " + root + "/chain/info":                         "info.json",
		"GET " + root + "/block/" + hash.String() + "/header": "header.json",
		"GET " + root + "/block/575045/header":                "header.json",
		"GET " + root + "/block/hash/" + hash.String():        "block.json",
		"GET " + root + "/block/headers/resources":            "resources.json",
		"POST " + root + "/txs/hex":                           "bulk.json",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := files[r.Method+" "+r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(recorded(t, name))
	}))
	defer server.Close()
	s, err := New(Config{Params: chainwatch.ParamsOf(frame.Main), URL: server.URL + "/v1/bsv", PerSecond: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	defer s.woc.Close()
	if err := s.lookAtTip(t.Context()); err != nil || s.height != 635302 {
		t.Errorf("the tip: got height %d, %v, want 635302", s.height, err)
	}
	for _, which := range []string{hash.String(), "575045"} {
		if h, height, err := s.one(t.Context(), which); err != nil || h.Hash() != hash || height != 575045 {
			t.Errorf("header %s: got %s at %d, %v, want %s at 575045", which, h.Hash(), height, err, hash)
		}
	}
	if list, err := s.files(t.Context()); err != nil || len(list) != 3 || list[2] != (file{"906001_908000_headers.bin", 906001, 908000}) {
		t.Errorf("files: got %v, %v, want three", list, err)
	}
	b, err := s.open(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	header := chainwatch.Header(b.ready[0])
	if root := fold(b.ids); b.count != 5 || root != header.MerkleRoot() || header.Hash() != hash {
		t.Errorf("block: got %d ids with root %s, want 5 with %s", b.count, root, header.MerkleRoot())
	}
	raws, err := s.woc.Transactions(t.Context(), b.ids, woc.Bounds{Answer: 1 << 20, Alone: 1 << 20})
	if err != nil || len(raws) != 1 || frame.HashOf(raws[b.ids[0]]) != b.ids[0] {
		t.Errorf("transactions: got %d, %v, want the coinbase alone", len(raws), err)
	}
	if _, err := s.batch(t.Context(), b.ids); !errors.Is(err, woc.ErrMissing) {
		t.Errorf("all transactions: got %v, want %v", err, woc.ErrMissing)
	}
}

// fold is a Merkle root.
func fold(ids []frame.Hash) frame.Hash {
	level := append([]frame.Hash(nil), ids...)
	for len(level) > 1 {
		if len(level)%2 == 1 {
			level = append(level, level[len(level)-1])
		}
		level = doublesha.Pairs(level)
	}
	return level[0]
}

// TestFileNames lists what is taken for a file of headers.
func TestFileNames(t *testing.T) {
	for address, want := range map[string]file{
		"https://api.whatsonchain.com/v1/bsv/main/block/headers/0_10000_headers.bin": {"0_10000_headers.bin", 0, 10000},
		"906001_908000_headers":                        {"906001_908000_headers", 906001, 908000},
		"https://host/latest":                          {},
		"https://host/20_10_headers.bin":               {},
		"https://host/0_99999999_headers.bin":          {},
		"https://host/0_999999999999_headers":          {},
		"https://host/x_10_headers.bin":                {},
		"https://host/0_10_headers.bin?../../x":        {},
		"https://host/999999998_999999999_headers.bin": {"999999998_999999999_headers.bin", 999999998, 999999999},
	} {
		got, ok := readFile(address)
		if got != want || ok != (want != file{}) {
			t.Errorf("%s: got %v, %v, want %v", address, got, ok, want)
		}
	}
}

// FuzzAnswers: whatever the service says of a header or a block, either it is refused
// or the header has the hash that it is said to have, and a block that the follower
// takes has that header.
func FuzzAnswers(f *testing.F) {
	f.Add(recorded(f, "header.json"), []byte(`[]`), []byte(`[]`))
	f.Add(recorded(f, "block.json"), []byte(`["x"]`), recorded(f, "bulk.json"))
	one := five()
	raw, height, err := one.block(one.tip.Ancestor(1).Hash)
	if err != nil {
		f.Fatal(err)
	}
	tx := split(f, raw)[0]
	told := headerJSON(raw, height)
	told["txcount"], told["tx"] = 1, []string{frame.HashOf(tx).String()}
	block, err := json.Marshal(told)
	if err != nil {
		f.Fatal(err)
	}
	bulk := []byte(`[{"txid":"` + frame.HashOf(tx).String() + `","hex":"` + hex.EncodeToString(tx) + `"}]`)
	f.Add(block, []byte(`[]`), bulk)
	f.Add(bytes.Replace(block, []byte(`"txcount":1`), []byte(`"txcount":2`), 1), []byte(`["`+frame.HashOf(tx).String()+`"]`), bulk)
	f.Fuzz(func(t *testing.T, block, page, bulk []byte) {
		s, err := New(Config{Params: chainwatch.ParamsOf(frame.Regtest), URL: "http://woc.example", PerSecond: 1e9, Backoff: 1, MaxTx: 1 << 20, MaxBlock: 1 << 12,
			transport: scripted{block, page, bulk}})
		if err != nil {
			t.Fatal(err)
		}
		var told toldHeader
		if json.Unmarshal(block, &told) != nil {
			return
		}
		h, err := s.header(&told)
		if err == nil && h.Hash().String() != strings.ToLower(told.Hash) {
			t.Fatalf("header %x has hash %s, not %s", h, h.Hash(), told.Hash)
		}
		r, err := s.Block(t.Context(), h.Hash())
		if err != nil {
			return
		}
		defer r.Close()
		if scan, err := chainwatch.NewScanner(frame.Regtest).Block(r, nil); err == nil && scan.Header != h {
			t.Fatalf("the block has header %x, want %x", scan.Header, h)
		}
	})
}

// A scripted transport says the same whatever it is asked.
type scripted struct{ block, page, bulk []byte }

func (s scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	switch {
	case strings.Contains(r.URL.Path, "/page/"):
		rec.Body.Write(s.page)
	case strings.Contains(r.URL.Path, "/block/"):
		rec.Body.Write(s.block)
	case strings.HasSuffix(r.URL.Path, "/txs/hex"):
		rec.Body.Write(s.bulk)
	default:
		rec.WriteHeader(http.StatusNotFound)
	}
	return rec.Result(), nil
}
