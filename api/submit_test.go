package api_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer/broadcast"
)

func TestSubmit(t *testing.T) {
	w := newWorld(t)
	raw := []byte("a transaction")
	var submit error
	s := w.serve(func(c *api.Config) {
		c.Limits.TransactionBytes = 100
		c.Preview = func(_ context.Context, b []byte) ([]client.FrameVerdict, error) {
			if !bytes.Equal(b, raw) {
				return nil, fmt.Errorf("%w: it ends early", api.ErrNotTransaction)
			}
			return []client.FrameVerdict{{Protocol: "im", Verdict: "valid"}}, nil
		}
		c.Submit = func(_ context.Context, b []byte) (frame.Hash, error) { return frame.HashOf(b), submit }
	})
	text := hex.EncodeToString(raw)
	for _, test := range []struct {
		name, kind, body string
		fails            error
		status           int
		code             string
	}{
		{"bytes", "application/octet-stream", string(raw), nil, 202, ""},
		{"hexadecimal", "text/plain; charset=utf-8", text + "\n", nil, 202, ""},
		{"json", "application/json", `{"raw":"` + text + `"}`, nil, 202, ""},
		{"refused", "text/plain", text, &broadcast.Refused{Reason: "fee too low"}, 422, "node_refused"},
		{"unavailable", "text/plain", text, broadcast.ErrUnavailable, 503, "unavailable"},
		{"node says anything else", "text/plain", text, errors.New("secret of the node"), 503, "unavailable"},
		{"no transaction", "text/plain", "00", nil, 400, "bad_transaction"},
		{"no hexadecimal", "text/plain", "xyz", nil, 400, "bad_body"},
		{"json of another shape", "application/json", `{"rawtx":"00"}`, nil, 400, "bad_body"},
		{"empty", "text/plain", "", nil, 400, "bad_body"},
		{"unknown type", "text/html", text, nil, 415, "media_type"},
		{"no type", "", text, nil, 415, "media_type"},
		{"too large", "application/octet-stream", strings.Repeat("x", 101), nil, 413, "too_large"},
		{"too large in hexadecimal", "text/plain", strings.Repeat("00", 101), nil, 413, "too_large"},
		{"far too large", "application/json", strings.Repeat(" ", 10000), nil, 413, "too_large"},
	} {
		submit = test.fails
		resp, body := s.ask(t, http.MethodPost, "/v1/transactions", test.body, "Content-Type", test.kind)
		equal(t, test.name+": status", resp.StatusCode, test.status)
		if test.status == 202 {
			var got client.Submitted
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			equal(t, test.name, got, client.Submitted{TxID: frame.HashOf(raw).String(), Frames: []client.FrameVerdict{{Protocol: "im", Verdict: "valid"}}})
			continue
		}
		checkProblem(t, test.name, resp, body, test.code)
		equal(t, test.name+": names a time", resp.Header.Get("Retry-After") != "", test.status == 503)
		if strings.Contains(body, "secret") {
			t.Errorf("%s: the answer tells what is the server's own: %s", test.name, body)
		}
	}
	var refused *client.Problem
	submit = &broadcast.Refused{Reason: "fee too low"}
	if _, err := s.client.Submit(t.Context(), raw); !errors.As(err, &refused) || refused.Detail != "the transaction is refused: fee too low" {
		t.Errorf("client: got %v, want the node's reason", err)
	}
}
