package whatsonchain

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

// recorded are answers as the service's documentation and the tests of
// go-whatsonchain show them. None was recorded from the service itself.
const recorded = `{"address":"16ZqP5Tb22KJuvSAbjNkoiZs13mmRmexZA","script":"","result":[` +
	`{"height": 639302,"tx_pos": 3,"tx_hash": "33b9432a0ea203bbb6ec00592622cf6e90223849e4c9a76447a19a3ed43907d3","value": 2451680},` +
	`{"height": 0,"tx_pos": 0,"tx_hash": "4805041897a2ae59ffca85f0deb46e89d73d1ba4478bbd9c0fcd76ba0985ded2","value": 2744764}],"error":""}`

// client makes a client of a handler that doesn't wait.
func client(t *testing.T, network frame.Network, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := woc.New(woc.Config{URL: s.URL + "/v1/bsv/", Network: network, PerSecond: 1e6, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return &Client{c}
}

func TestUnspent(t *testing.T) {
	tests := []struct {
		name   string
		status int
		answer string
		coins  int
		err    error // nil with coins -1: any
	}{
		{"as recorded", 200, recorded, 2, nil},
		{"none", 200, `{"address":"x","script":"","result":[],"error":""}`, 0, nil},
		{"never used", 404, ``, 0, nil},
		{"the service's error", 200, `{"result":null,"error":"\u001b[2J"}`, -1, nil},
		{"no JSON", 200, `<html>`, -1, ErrAnswer},
		{"a hash that is none", 200, `{"result":[{"height":1,"tx_pos":0,"tx_hash":"be","value":1}]}`, -1, ErrAnswer},
		{"a negative value", 200, strings.Replace(recorded, "2451680", "-1", 1), -1, ErrAnswer},
		{"an output beyond 32 bits", 200, strings.Replace(recorded, `"tx_pos": 3`, `"tx_pos": 4294967296`, 1), -1, ErrAnswer},
		{"too long", 200, strings.Repeat(" ", listBytes+1), -1, ErrTooLong},
		{"refused", 403, ``, -1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := ""
			c := client(t, frame.Main, func(w http.ResponseWriter, r *http.Request) {
				path = r.URL.Path
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.answer)
			})
			coins, err := c.Unspent(t.Context(), "16ZqP5Tb22KJuvSAbjNkoiZs13mmRmexZA")
			if (err == nil) != (tt.coins >= 0) || len(coins) != max(tt.coins, 0) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v, want %d coins, %v", coins, err, tt.coins, tt.err)
			}
			if want := "/v1/bsv/main/address/16ZqP5Tb22KJuvSAbjNkoiZs13mmRmexZA/unspent/all"; path != want {
				t.Errorf("asked for %s, want %s", path, want)
			}
			if tt.name == "as recorded" && (coins[0].Height != 639302 || coins[0].Output != 3 || coins[0].Satoshis != 2451680 || coins[1].Height != 0) {
				t.Errorf("got %+v", coins)
			}
			if err != nil && strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("the error holds control characters: %q", err)
			}
		})
	}
}

func TestTransactions(t *testing.T) {
	good, other := []byte("one"), []byte("two")
	id := frame.HashOf(good)
	entry := func(id frame.Hash, raw []byte) map[string]string {
		return map[string]string{"txid": id.String(), "hex": hex.EncodeToString(raw)}
	}
	tests := []struct {
		name   string
		answer any
		got    int
		err    error
	}{
		{"given", []any{entry(id, good)}, 1, nil},
		{"missing", []any{}, 0, nil},
		{"without bytes", []any{entry(id, nil)}, 0, nil},
		{"another one under its id", []any{entry(id, other)}, 0, ErrNotIt},
		{"one that wasn't asked for", []any{entry(frame.HashOf(other), other)}, 0, ErrAnswer},
		{"no list", "no", 0, ErrAnswer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, frame.Test, func(w http.ResponseWriter, r *http.Request) {
				var q struct{ TxIDs []string }
				if json.NewDecoder(r.Body).Decode(&q) != nil || len(q.TxIDs) != 1 || r.URL.Path != "/v1/bsv/test/txs/hex" {
					t.Errorf("asked %s for %v", r.URL.Path, q)
				}
				_ = json.NewEncoder(w).Encode(tt.answer)
			})
			raws, err := c.Transactions(t.Context(), []frame.Hash{id})
			if len(raws) != tt.got || !errors.Is(err, tt.err) {
				t.Errorf("got %d, %v, want %d, %v", len(raws), err, tt.got, tt.err)
			}
		})
	}
	c := client(t, frame.Test, func(http.ResponseWriter, *http.Request) { t.Error("asked for more than is allowed") })
	if _, err := c.Transactions(t.Context(), make([]frame.Hash, BulkMost+1)); err == nil {
		t.Error("21 at once: no error")
	}
}

// TestTooOften: a service that refuses is asked again, not for ever. That it is asked
// three times a second at most is shown in internal/woc.
func TestTooOften(t *testing.T) {
	const tries = 5
	for refusals, ok := range map[int64]bool{tries - 1: true, 100: false} {
		var asked atomic.Int64
		c := client(t, frame.Main, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) <= refusals {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			fmt.Fprint(w, recorded)
		})
		_, err := c.Unspent(t.Context(), "x")
		var status *StatusError
		if (err == nil) != ok || !ok && !errors.As(err, &status) || asked.Load() > tries {
			t.Errorf("%d refusals: got %v after %d questions, want success %v", refusals, err, asked.Load(), ok)
		}
	}
	c, err := New("", frame.Main, "")
	if err != nil || c.woc.URL() != "https://api.whatsonchain.com/v1/bsv/main" {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, address := range []string{"host", "ftp://host", "https://user:secret@host", "https://host?key=secret"} {
		if _, err := New(address, frame.Main, ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without it", address, err)
		}
	}
}
