package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/improtocol/frame"
)

// TestCallbackRoute: the route is there and in the document where it is configured
// only, and its token opens nothing else.
func TestCallbackRoute(t *testing.T) {
	w := newWorld(t)
	var told atomic.Pointer[frame.Hash]
	on := w.serve(func(c *api.Config) {
		c.Callback = &api.Callback{Token: "the token", Told: func(h frame.Hash) { told.Store(&h) }}
		c.WriteKeys = true
		c.Fee = func() (uint64, uint64) { return 250, 1000 }
	})
	off := w.serve()
	id := strings.Repeat("ab", 32)
	body := `{"txid":"` + id + `","txStatus":"SEEN_ON_NETWORK"}`
	for _, tt := range []struct {
		name        string
		s           *served
		token, body string
		status      int
		code        string
		wantTold    bool
	}{
		{"not configured", off, "", body, 404, "not_found", false},
		{"no token", on, "", body, 401, "bad_callback", false},
		{"another token", on, "Bearer other", body, 401, "bad_key", false},
		{"no status", on, "Bearer the token", `{}`, 400, "bad_body", false},
		{"right", on, "Bearer the token", body, 200, "", true},
	} {
		told.Store(nil)
		headers := []string{"Content-Type", "application/json"}
		if tt.token != "" {
			headers = append(headers, "Authorization", tt.token)
		}
		resp, got := tt.s.ask(t, http.MethodPost, api.CallbackPath, tt.body, headers...)
		equal(t, tt.name+": status", resp.StatusCode, tt.status)
		if tt.code != "" {
			checkProblem(t, tt.name, resp, got, tt.code)
		}
		h := told.Load()
		equal(t, tt.name+": told", h != nil && h.String() == id, tt.wantTold)
	}
	resp, _ := on.ask(t, http.MethodPost, "/v1/transactions", "00", "Content-Type", "text/plain", "Authorization", "Bearer the token")
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("a transaction with the callback's token: got %d, want it refused", resp.StatusCode)
	}
	for _, tt := range []struct {
		s    *served
		want bool
	}{{on, true}, {off, false}} {
		_, text := tt.s.ask(t, http.MethodGet, "/openapi.json", "")
		var doc struct{ Paths map[string]any }
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		_, ok := doc.Paths[api.CallbackPath]
		equal(t, "the route is in the document", ok, tt.want)
	}
	info, err := on.client.Info(t.Context())
	if err != nil || info.Fee == nil || info.Fee.Satoshis != 250 || info.Fee.Bytes != 1000 {
		t.Errorf("info: got %v, %v, want a fee of 250 for 1000", info.Fee, err)
	}
}
