package broadcast_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// wallet makes a wallet that holds the coins of a transaction.
func wallet(t *testing.T, key signer.Key, raw []byte) *signer.Wallet {
	t.Helper()
	w, err := signer.OpenWallet(t.Context(), signer.Options{Network: frame.Regtest, Keys: []signer.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(raw); err != nil {
		t.Fatal(err)
	}
	return w
}

func build(t *testing.T, w *signer.Wallet, to frame.KeyHash, satoshis uint64) []byte {
	t.Helper()
	signed, err := w.Build(signer.Request{Pay: []signer.Output{{KeyHash: to, Satoshis: satoshis}}})
	if err != nil {
		t.Fatal(err)
	}
	return signed.Raw
}

func TestSubmitToARealNode(t *testing.T) {
	n := testnode.Start(t)
	submit := broadcast.NewNodeRPC(n.RPC())
	key, other := signer.NewKey(), signer.NewKey()
	coin := testnode.Fund(t, n, key.KeyHash(), 100_000)

	w := wallet(t, key, coin)
	good := build(t, w, other.KeyHash(), 90_000)
	next := build(t, w, other.KeyHash(), 2000) // spends the change of good
	rival := build(t, wallet(t, key, coin), other.KeyHash(), 50_000)
	spends := build(t, wallet(t, other, good), key.KeyHash(), 89_000)
	wrong := append([]byte(nil), rival...)
	wrong[60] ^= 1 // in the signature

	steps := []struct {
		name   string
		before func()
		raw    []byte
		want   error // nil: accepted; broadcast.Refused with any reason: errAny
	}{
		{"child before its parent", nil, next, broadcast.ErrMissingInputs},
		{"good", nil, good, nil},
		{"again", nil, good, nil},
		{"child", nil, next, nil},
		{"double spend in the mempool", nil, rival, broadcast.ErrDoubleSpend},
		{"again, when it is in a block", func() { testnode.Mine(t, n, 1) }, good, nil},
		{"all outputs spent", nil, spends, nil},
		{"again, when all it made is spent in blocks", func() { testnode.Mine(t, n, 1) }, good, nil},
		{"double spend of what is in a block", nil, rival, broadcast.ErrMissingInputs},
		{"wrong signature", nil, wrong, errAny},
		{"garbage", nil, []byte(strings.Repeat("garbage ", 20)), errAny},
		{"too short", nil, []byte{1}, errAny},
		{"empty", nil, nil, errAny},
	}
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		txid, err := submit.Submit(t.Context(), step.raw)
		if txid != frame.HashOf(step.raw) {
			t.Errorf("%s: id %s, want %s", step.name, txid, frame.HashOf(step.raw))
		}
		var refused *broadcast.Refused
		switch {
		case step.want == nil && err != nil,
			step.want != nil && !errors.As(err, &refused),
			step.want != nil && step.want != errAny && !errors.Is(err, step.want):
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
	}
}

var errAny = errors.New("refused for any reason")

// fakeNode answers the nth question with the nth answer, and with the last one
// from then on.
func fakeNode(t *testing.T, answers ...string) (*broadcast.NodeRPC, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct{ ID json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			t.Error(err)
		}
		text := answers[min(int(asked.Add(1)), len(answers))-1]
		if !strings.HasPrefix(text, "{") {
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, strings.ReplaceAll(text, "ID", string(question.ID)))
	}))
	t.Cleanup(server.Close)
	client, err := noderpc.New(noderpc.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return broadcast.NewNodeRPC(client), &asked
}

func TestSubmitOutcomes(t *testing.T) {
	raw := make([]byte, 100)
	accepted := `{"result":"` + frame.HashOf(raw).String() + `","error":null,"id":ID}`
	const (
		queue    = "Work queue depth exceeded"
		safeMode = `{"result":null,"error":{"code":-2,"message":"Safe mode: Warning"},"id":ID}`
		known    = `{"result":null,"error":{"code":-27,"message":"Transaction already in the mempool"},"id":ID}`
		conflict = `{"result":null,"error":{"code":-26,"message":"258: txn-mempool-conflict"},"id":ID}`
		missing  = `{"result":null,"error":{"code":-25,"message":"Missing inputs"},"id":ID}`
		unknown  = `{"result":null,"error":{"code":-5,"message":"No such mempool or blockchain transaction"},"id":ID}`
		method   = `{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":ID}`
		liar     = `{"result":"0000000000000000000000000000000000000000000000000000000000000001","error":null,"id":ID}`
		hostile  = `{"result":null,"error":{"code":-26,"message":"\u001b]0;x\u0007\u202e\nlong "},"id":ID}`
	)
	for _, tt := range []struct {
		name    string
		answers []string
		want    error // nil: accepted
		asked   int32
	}{
		{"accepted", []string{accepted}, nil, 1},
		{"known", []string{known}, nil, 1},
		{"busy, then accepted", []string{queue, queue, accepted}, nil, 3},
		{"safe mode, then accepted", []string{safeMode, accepted}, nil, 2},
		{"busy, then a conflict", []string{queue, conflict}, broadcast.ErrDoubleSpend, 2},
		{"missing inputs", []string{missing, unknown}, broadcast.ErrMissingInputs, 2},
		{"missing inputs, but in a block", []string{missing, `{"result":"` + strings.Repeat("00", 100) + `","error":null,"id":ID}`}, nil, 2},
		{"missing inputs, and another transaction", []string{missing, `{"result":"01","error":null,"id":ID}`}, broadcast.ErrMissingInputs, 2},
		{"hostile text", []string{hostile}, errAny, 1},
		{"node that lies about the id", []string{liar}, broadcast.ErrUnavailable, 1},
		{"node without the method", []string{method}, broadcast.ErrUnavailable, 1},
		{"no JSON-RPC", []string{"<html>"}, broadcast.ErrUnavailable, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			submit, asked := fakeNode(t, tt.answers...)
			_, err := submit.Submit(t.Context(), raw)
			var refused *broadcast.Refused
			isRefused := errors.As(err, &refused)
			if tt.want == errAny && !isRefused || tt.want != errAny && !errors.Is(err, tt.want) || isRefused && errors.Is(err, broadcast.ErrUnavailable) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if isRefused && (len(refused.Reason) > 300 || strings.ContainsFunc(refused.Reason, func(r rune) bool { return !unicode.IsPrint(r) })) {
				t.Errorf("reason %q is too long or can't be printed", refused.Reason)
			}
			if got := asked.Load(); got != tt.asked {
				t.Errorf("the node was asked %d times, want %d", got, tt.asked)
			}
		})
	}
}

func TestBusyUntilTheEnd(t *testing.T) {
	submit, asked := fakeNode(t, "Work queue depth exceeded")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := submit.Submit(ctx, make([]byte, 100))
	if !errors.Is(err, broadcast.ErrUnavailable) || asked.Load() < 2 {
		t.Errorf("got %v after %d questions, want %v after several", err, asked.Load(), broadcast.ErrUnavailable)
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client, err := noderpc.New(noderpc.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = broadcast.NewNodeRPC(client).Submit(t.Context(), make([]byte, 100))
	if !errors.Is(err, broadcast.ErrUnavailable) || !errors.Is(err, noderpc.ErrUnreachable) {
		t.Errorf("got %v, want %v and why", err, broadcast.ErrUnavailable)
	}
}
