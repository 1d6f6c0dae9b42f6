package devnet

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer/broadcast"
)

// A Funding is what POST /faucet asks for.
type Funding struct {
	Address  string `json:"address"`         // of regtest
	Satoshis uint64 `json:"satoshis"`        // of each coin
	Coins    int    `json:"coins,omitempty"` // 0 is one
}

// Funded is its answer.
type Funded struct {
	TxID string `json:"txid"`
	Raw  string `json:"raw"` // hexadecimal
}

// Mining is what POST /mine asks for, Mined its answer.
type Mining struct {
	Blocks int `json:"blocks"`
}

// Mined lists the hashes of the blocks.
type Mined struct {
	Blocks []string `json:"blocks"`
}

// largestQuestion is the length of the longest body that is read, in bytes.
const largestQuestion = 4096

// Handler lets other programs of this machine use a node: POST /faucet takes a
// Funding and answers with Funded, POST /mine takes Mining and answers with
// Mined, GET /info answers with Info; errors are {"error": "..."}. Serve it on
// loopback only. No page in a browser can use it: it wants JSON, a Host that is
// loopback, and no Origin.
func Handler(n *Node) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /faucet", answer(n.serveFaucet))
	mux.Handle("POST /mine", answer(n.serveMine))
	mux.Handle("GET /info", answer(func(r *http.Request) (any, error) { return n.Info(r.Context()) }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := notBrowser(r); err != nil {
			writeJSON(w, http.StatusForbidden, failure{err.Error()})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (n *Node) serveFaucet(r *http.Request) (any, error) {
	var want Funding
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	to, err := frame.Regtest.ParseAddress(want.Address)
	if err != nil {
		return nil, &badRequest{fmt.Errorf("address: %w", err)}
	}
	if want.Coins == 0 {
		want.Coins = 1
	}
	raw, err := n.FundMany(r.Context(), to, want.Satoshis, want.Coins)
	if err != nil {
		return nil, err
	}
	return Funded{TxID: frame.HashOf(raw).String(), Raw: hex.EncodeToString(raw)}, nil
}

func (n *Node) serveMine(r *http.Request) (any, error) {
	var want Mining
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	if want.Blocks < 1 || want.Blocks > MaxMine {
		return nil, &badRequest{fmt.Errorf("blocks: from 1 to %d", MaxMine)}
	}
	hashes, err := n.Mine(r.Context(), want.Blocks)
	if err != nil {
		return nil, err
	}
	mined := Mined{Blocks: make([]string, len(hashes))}
	for i, hash := range hashes {
		mined.Blocks[i] = hash.String()
	}
	return mined, nil
}

// A badRequest is an error that the one who asks can mend.
type badRequest struct{ error }

func (e *badRequest) Unwrap() error { return e.error }

type failure struct {
	Error string `json:"error"`
}

// notBrowser tells why a request may come from a page in a browser: pages of
// other sites can reach loopback, some by a host name that points there.
func notBrowser(r *http.Request) error {
	if r.Header.Get("Origin") != "" {
		return errors.New("requests of browsers are refused")
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return errors.New("the Host of the request is not loopback")
	}
	if r.Method != http.MethodPost {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return errors.New("the Content-Type must be application/json")
	}
	return nil
}

func decode(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, largestQuestion))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &badRequest{fmt.Errorf("read the question: %w", err)}
	}
	return nil
}

// answer turns what a handler returns into an answer.
func answer(serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result, err := serve(r)
		var bad *badRequest
		var refused *broadcast.Refused
		switch {
		case err == nil:
			writeJSON(w, http.StatusOK, result)
		case errors.As(err, &bad) || errors.Is(err, ErrFunding):
			writeJSON(w, http.StatusBadRequest, failure{err.Error()})
		case errors.As(err, &refused) || errors.Is(err, ErrFaucetEmpty):
			writeJSON(w, http.StatusConflict, failure{err.Error()})
		default:
			writeJSON(w, http.StatusServiceUnavailable, failure{err.Error()})
		}
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails when the other side is gone
}
