//go:build unix

package devnet_test

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

func TestHandler(t *testing.T) {
	n := testnode.Start(t)
	server := httptest.NewServer(devnet.Handler(n))
	defer server.Close()
	address := frame.Regtest.Address(stranger())
	ask := func(t *testing.T, method, path, body string, set func(*http.Request)) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
		}
		if set != nil {
			set(req)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}

	t.Run("faucet", func(t *testing.T) {
		status, text := ask(t, "POST", "/faucet", `{"address":"`+address+`","satoshis":5000,"coins":3}`, nil)
		var got devnet.Funded
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 {
			t.Fatalf("got %d %s (%v)", status, text, err)
		}
		raw, err := hex.DecodeString(got.Raw)
		if err != nil || frame.HashOf(raw).String() != got.TxID {
			t.Errorf("txid %s isn't the raw transaction's (%v)", got.TxID, err)
		}
		hash, _ := frame.ParseHash(got.TxID)
		if !mempool(t, n)[hash] {
			t.Errorf("%s isn't in the mempool", got.TxID)
		}
	})
	t.Run("mine", func(t *testing.T) {
		status, text := ask(t, "POST", "/mine", `{"blocks":2}`, nil)
		var got devnet.Mined
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || len(got.Blocks) != 2 {
			t.Fatalf("got %d %s (%v)", status, text, err)
		}
		if want := testnode.Tip(t, n).String(); got.Blocks[1] != want {
			t.Errorf("the last block is %s, want the tip %s", got.Blocks[1], want)
		}
	})
	t.Run("info", func(t *testing.T) {
		status, text := ask(t, "GET", "/info", "", nil)
		var got devnet.Info
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 {
			t.Fatalf("got %d %s (%v)", status, text, err)
		}
		want := devnet.Info{Network: frame.Regtest, Height: 112, Best: testnode.Tip(t, n).String(), P2P: n.Connection().P2P, RPC: n.Connection().RPC}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})

	before := height(t, n)
	for _, tt := range []struct {
		name, method, path, body string
		set                      func(*http.Request)
		status                   int
		want                     string // in the answer
	}{
		{"page of another site", "POST", "/mine", `{"blocks":1}`, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, "browsers"},
		{"page that reads", "GET", "/info", "", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403, "browsers"},
		{"name that points to loopback", "POST", "/mine", `{"blocks":1}`, func(r *http.Request) { r.Host = "evil.example:80" }, 403, "loopback"},
		{"name that begins like loopback", "GET", "/info", "", func(r *http.Request) { r.Host = "127.0.0.1.evil.example" }, 403, "loopback"},
		{"form", "POST", "/mine", `{"blocks":1}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 403, "application/json"},
		{"no media type", "POST", "/mine", `{"blocks":1}`, func(r *http.Request) { r.Header.Del("Content-Type") }, 403, "application/json"},
		{"wrong method", "GET", "/mine", "", nil, 405, ""},
		{"no such path", "GET", "/", "", nil, 404, ""},
		{"no JSON", "POST", "/mine", `blocks`, nil, 400, "read the question"},
		{"unknown field", "POST", "/mine", `{"block":1}`, nil, 400, "block"},
		{"too long", "POST", "/mine", strings.Repeat(" ", 5000) + `{"blocks":1}`, nil, 400, "too large"},
		{"no blocks", "POST", "/mine", `{}`, nil, 400, "from 1 to"},
		{"too many blocks", "POST", "/mine", `{"blocks":1000000}`, nil, 400, "from 1 to"},
		{"negative amount", "POST", "/faucet", `{"address":"` + address + `","satoshis":-1}`, nil, 400, "satoshis"},
		{"no amount", "POST", "/faucet", `{"address":"` + address + `"}`, nil, 400, "1 satoshi or more"},
		{"mistyped address", "POST", "/faucet", `{"address":"` + address[:len(address)-1] + `x","satoshis":1}`, nil, 400, "address"},
		{"address of mainnet", "POST", "/faucet", `{"address":"` + frame.Main.Address(stranger()) + `","satoshis":1}`, nil, 400, "another network"},
		{"more than it has", "POST", "/faucet", `{"address":"` + address + `","satoshis":1000000000000}`, nil, 409, "mine blocks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, text := ask(t, tt.method, tt.path, tt.body, tt.set)
			if status != tt.status || !strings.Contains(text, tt.want) {
				t.Errorf("got %d %s, want %d with %q", status, text, tt.status, tt.want)
			}
		})
	}
	if got := height(t, n); got != before {
		t.Errorf("refused requests mined %d blocks", got-before)
	}
}
