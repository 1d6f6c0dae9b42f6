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
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/signer/broadcast"
)

func TestSubmit(t *testing.T) {
	w := newWorld(t)
	raw := []byte("a transaction")
	tx := w.send(1, 2, "hello")
	var submit error
	s := w.serve(func(c *api.Config) {
		c.Limits.TransactionBytes = 100
		c.Read = func(b []byte) (*index.Transaction, error) {
			if !bytes.Equal(b, raw) {
				return nil, errors.New("it ends early")
			}
			return tx, nil
		}
		c.Prove = func(*index.Transaction) {} // it is
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
			equal(t, test.name, got, client.Submitted{TxID: frame.HashOf(raw).String(), Frames: []client.FrameVerdict{
				{Protocol: "im", Operation: "message", ID: tx.Frames[0].ID.String(), Verdict: "valid"}}})
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

// A downIndex can be made to answer nothing.
type downIndex struct {
	api.Index
	down *atomic.Bool
}

func (d downIndex) View(ctx context.Context, read func(index.View) error) error {
	if d.down.Load() {
		return errors.New("the database is down")
	}
	return d.Index.View(ctx, read)
}

// TestSubmitIndexed: what the network took is answered with what the index has
// committed; where it can't be committed in time, with what would be said of it;
// and what the network didn't take is neither proved nor offered.
func TestSubmitIndexed(t *testing.T) {
	w := newWorld(t)
	hello := w.message(1, address(1), "hello")
	first, copied := w.tx(1, nil, hello), w.tx(1, nil, hello) // the copy is a duplicate of what is unconfirmed
	other, empty := w.send(1, 2, "other"), w.tx(1, nil)
	commit := func(ctx context.Context, tx *index.Transaction, _ int) ([]index.Decision, error) {
		decisions, err := w.writer.Seen(ctx, []*index.Transaction{tx})
		if err != nil {
			return nil, err
		}
		return decisions[0], nil
	}
	busy := func(context.Context, *index.Transaction, int) ([]index.Decision, error) {
		return nil, errors.New("busy")
	}
	never := func(ctx context.Context, _ *index.Transaction, _ int) ([]index.Decision, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	type offer = func(context.Context, *index.Transaction, int) ([]index.Decision, error)
	var now struct {
		tx     *index.Transaction
		offer  offer
		submit error
		calls  []string
		down   atomic.Bool
	}
	s := w.serve(func(c *api.Config) {
		c.Index, c.Timing.Commit = downIndex{w.store, &now.down}, 2*time.Second
		c.Timing.Poll = time.Hour // nothing else asks the index meanwhile
		c.Read = func([]byte) (*index.Transaction, error) { return now.tx, nil }
		c.Prove = func(*index.Transaction) { now.calls = append(now.calls, "prove") }
		c.Submit = func(context.Context, []byte) (frame.Hash, error) { return now.tx.ID, now.submit }
		c.Offer = func(ctx context.Context, tx *index.Transaction, size int) ([]index.Decision, error) {
			now.calls = append(now.calls, fmt.Sprint("offer ", size))
			return now.offer(ctx, tx, size)
		}
	})
	const tried = "prove, offer 3"
	for _, test := range []struct {
		name    string
		tx      *index.Transaction
		offer   offer
		submit  error
		down    bool
		status  int
		indexed bool
		verdict string // of the one frame; none where the answer has no frames
		calls   string
	}{
		{"committed", first, commit, nil, false, 202, true, "valid", tried},
		{"the same again", first, commit, nil, false, 202, true, "valid", tried},
		{"a copy of what is unconfirmed", copied, commit, nil, false, 202, true, "duplicate", tried},
		{"the follower is busy", other, busy, nil, false, 202, false, "valid", tried},
		{"the follower doesn't answer", other, never, nil, false, 202, false, "valid", tried},
		{"the database is down", other, busy, nil, true, 202, false, "", tried},
		{"no frames", empty, commit, nil, false, 202, false, "", ""},
		{"refused", other, commit, &broadcast.Refused{Reason: "fee too low"}, false, 422, false, "", ""},
		{"the answer was lost", other, commit, broadcast.ErrUnavailable, false, 503, false, "", ""},
	} {
		now.tx, now.offer, now.submit, now.calls = test.tx, test.offer, test.submit, nil
		now.down.Store(test.down)
		resp, body := s.ask(t, http.MethodPost, "/v1/transactions", "raw", "Content-Type", "application/octet-stream")
		equal(t, test.name+": status", resp.StatusCode, test.status)
		equal(t, test.name+": calls", strings.Join(now.calls, ", "), test.calls)
		if test.status != 202 {
			continue
		}
		var got client.Submitted
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		verdict := ""
		for _, f := range got.Frames {
			verdict += f.Verdict
		}
		equal(t, test.name, []any{got.TxID, got.Indexed, verdict}, []any{test.tx.ID.String(), test.indexed, test.verdict})
		if !strings.Contains(body, `"frames":[`) {
			t.Errorf("%s: got %s, want a list of frames in it", test.name, body)
		}
	}
}
