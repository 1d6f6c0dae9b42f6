// Package testarc is a stand-in for the services that submit transactions: it
// speaks ARC (below /v1), Arcade (the same paths without it) and mAPI (below /mapi)
// in front of a real node, and does whatever is wrong on demand.
package testarc

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer/broadcast"
)

// A Fault is something that a service does wrong.
type Fault string

// The faults. Each holds for submissions and questions alike.
const (
	Down       Fault = "down"        // connections are closed without an answer
	Slow       Fault = "slow"        // no answer before the asker gives up
	Drop       Fault = "drop"        // says SEEN_ON_NETWORK and throws the transaction away
	WrongTxID  Fault = "wrong txid"  // answers about another transaction
	Big        Fault = "10 MB"       // answers with 10 MB of JSON
	HTML       Fault = "HTML"        // answers 200 with a page
	Forbidding Fault = "HTML 422"    // answers 422 with a page
	Garbage    Fault = "garbage"     // answers with bytes
	Redirect   Fault = "redirect"    // sends elsewhere
	Elsewhere  Fault = "elsewhere"   // a list of answers, none about the transaction
	TakesDies  Fault = "takes, dies" // hands it to the node and closes the connection
)

// A Behaviour says what the service does. The zero Behaviour does what is right.
type Behaviour struct {
	Fault Fault
	// State is answered to a submission, and Later to a question, instead of what
	// is so; the node gets the transaction unless Keep.
	State, Later broadcast.State
	Keep         bool
	Competing    []string // with StateDoubleSpend
	Info         string   // extraInfo; of mAPI the description
	// Status answers a submission with an error in ARC's form, or with a plain one
	// below 460 that isn't 400, 409 or 422.
	Status     int
	RetryAfter string
	// Busy is how many submissions get Status; then all is right. 0: all.
	Busy int
	// Fee is answered as the policy, satoshis and bytes; nil: 100 and 1000.
	Fee *[2]int64
	// Token must be sent as bearer token; empty: none.
	Token string
	// Raw is the answer to everything of mAPI, as it stands, with status 200.
	Raw string
}

// A Request is what the service was asked.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// A Server is a running stand-in.
type Server struct {
	t    testing.TB
	node *noderpc.Client // nil: every transaction is taken
	http *httptest.Server
	done chan struct{}

	mu        sync.Mutex
	behaviour Behaviour
	asked     []Request
	took      map[frame.Hash]broadcast.State // what the node said when it got it
}

// New starts a stand-in in front of a node, nil for none, and stops it when the
// test ends.
func New(t testing.TB, node *noderpc.Client) *Server {
	s := &Server{t: t, node: node, done: make(chan struct{}), took: map[frame.Hash]broadcast.State{}}
	mux := http.NewServeMux()
	for _, prefix := range []string{"/v1", ""} {
		arcade := prefix == ""
		mux.HandleFunc("POST "+prefix+"/tx", func(w http.ResponseWriter, r *http.Request) { s.submit(w, r, arcade) })
		mux.HandleFunc("POST "+prefix+"/txs", func(w http.ResponseWriter, r *http.Request) { s.submitMany(w, r, arcade) })
		mux.HandleFunc("GET "+prefix+"/tx/{txid}", s.query)
		mux.HandleFunc("GET "+prefix+"/policy", s.policy)
	}
	mux.HandleFunc("POST /mapi/tx", s.submitMAPI)
	mux.HandleFunc("GET /mapi/feeQuote", s.feeQuote)
	s.http = httptest.NewServer(s.faulty(mux))
	t.Cleanup(func() {
		close(s.done)
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// URL returns where the stand-in is.
func (s *Server) URL() string { return s.http.URL }

// Behave changes what the service does from now on.
func (s *Server) Behave(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

func (s *Server) now() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// Asked returns the requests whose path ends so, oldest first.
func (s *Server) Asked(tail string) (found []Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if strings.HasSuffix(r.Path, tail) {
			found = append(found, r)
		}
	}
	return found
}

// Has tells whether a transaction was handed to the node and taken.
func (s *Server) Has(txid frame.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.took[txid] == broadcast.StateSeen
}

// faulty stands before the routes: it keeps what is asked and commits the faults
// that need no transaction.
func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.mu.Lock()
		s.asked = append(s.asked, Request{r.Method, r.URL.Path, r.Header.Clone(), body})
		b := s.behaviour
		s.mu.Unlock()
		switch b.Fault {
		case Down:
			panic(http.ErrAbortHandler)
		case Slow:
			select {
			case <-r.Context().Done():
			case <-s.done:
			}
			panic(http.ErrAbortHandler)
		case Big:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"extraInfo":"`+strings.Repeat("x", 10_000_000)+`"}`)
			return
		case HTML, Forbidding:
			w.Header().Set("Content-Type", "text/html")
			if b.Fault == Forbidding {
				w.WriteHeader(http.StatusUnprocessableEntity)
			}
			io.WriteString(w, "<html><body>Welcome</body></html>")
			return
		case Garbage:
			w.Write([]byte{0xff, 0x00, 0x1b, '['})
			return
		case Redirect:
			http.Redirect(w, r, s.http.URL+"/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		if b.Token != "" && r.Header.Get("Authorization") != "Bearer "+b.Token {
			s.fail(w, http.StatusUnauthorized, "")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A status is what the service answers about a transaction.
type status struct {
	Timestamp string          `json:"timestamp"`
	TxID      string          `json:"txid"`
	State     broadcast.State `json:"txStatus"`
	Info      *string         `json:"extraInfo"`
	Competing []string        `json:"competingTxs"`
	Status    int             `json:"status"`
	Title     string          `json:"title"`
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // who asked is gone
}

// fail answers with an error in ARC's form.
func (s *Server) fail(w http.ResponseWriter, code int, info string) {
	answer(w, code, map[string]any{"type": "https://bitcoin-sv.github.io/arc/#/errors", "title": "error", "status": code,
		"detail": "the transaction can't be processed", "extraInfo": info, "instance": nil, "txid": nil})
}

func (s *Server) failing(w http.ResponseWriter, b Behaviour) bool {
	if b.Status == 0 {
		return false
	}
	if b.Busy > 0 {
		s.mu.Lock()
		if s.behaviour.Busy--; s.behaviour.Busy == 0 {
			s.behaviour.Status = 0
		}
		s.mu.Unlock()
	}
	if b.RetryAfter != "" {
		w.Header().Set("Retry-After", b.RetryAfter)
	}
	s.fail(w, b.Status, b.Info)
	return true
}

func (s *Server) submit(w http.ResponseWriter, r *http.Request, arcade bool) {
	b := s.now()
	if s.failing(w, b) {
		return
	}
	body, err := bodyOf(r)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	tx, err := broadcast.Read(body)
	switch {
	case err != nil:
		s.fail(w, 463, err.Error())
		return
	case arcade && tx.Extended == nil:
		s.fail(w, 460, "")
		return
	}
	code := http.StatusOK
	if arcade {
		code = http.StatusAccepted
	}
	answer(w, code, s.take(r.Context(), tx, b))
}

func bodyOf(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	switch r.Header.Get("Content-Type") {
	case "application/octet-stream":
		return body, nil
	case "text/plain":
		return hex.DecodeString(string(body))
	case "application/json":
		var item struct {
			Raw string `json:"rawTx"`
		}
		if err := json.Unmarshal(body, &item); err != nil {
			return nil, err
		}
		return hex.DecodeString(item.Raw)
	}
	return nil, errors.New("unknown content type")
}

// take hands a transaction to the node and says what became of it.
func (s *Server) take(ctx context.Context, tx *broadcast.Transaction, b Behaviour) status {
	said := status{Timestamp: time.Now().UTC().Format(time.RFC3339), TxID: tx.ID.String(), Status: 200, Title: "OK", Info: &b.Info, Competing: b.Competing}
	if b.Fault == WrongTxID {
		said.TxID = strings.Repeat("00", 31) + "01"
	}
	if b.Fault == Drop {
		said.State = broadcast.StateSeen
		return said
	}
	if !b.Keep {
		state, info := s.hand(ctx, tx)
		if b.State == "" {
			said.State, said.Info = state, &info
		}
	}
	if b.Fault == TakesDies {
		panic(http.ErrAbortHandler)
	}
	if b.State != "" {
		said.State = b.State
	}
	return said
}

func (s *Server) hand(ctx context.Context, tx *broadcast.Transaction) (state broadcast.State, info string) {
	state = broadcast.StateSeen
	if s.node != nil {
		_, err := s.node.SendRawTransaction(ctx, tx.Raw)
		var said *noderpc.RPCError
		switch {
		case err == nil || errors.Is(err, noderpc.ErrAlreadyKnown):
		case errors.Is(err, noderpc.ErrDoubleSpend):
			state = broadcast.StateDoubleSpend
		case errors.As(err, &said):
			state, info = broadcast.StateRejected, said.Message
		default:
			panic(http.ErrAbortHandler)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[tx.ID] = state
	return state, info
}

func (s *Server) submitMany(w http.ResponseWriter, r *http.Request, arcade bool) {
	b := s.now()
	if s.failing(w, b) {
		return
	}
	var items []struct {
		Raw string `json:"rawTx"`
	}
	if err := json.NewDecoder(r.Body).Decode(&items); err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	said := []status{}
	for _, item := range items {
		raw, err := hex.DecodeString(item.Raw)
		if err != nil {
			s.fail(w, http.StatusBadRequest, err.Error())
			return
		}
		tx, err := broadcast.Read(raw)
		switch {
		case err != nil:
			s.fail(w, http.StatusBadRequest, err.Error())
			return
		case arcade && tx.Extended == nil:
			said = append(said, status{TxID: tx.ID.String(), Status: 460, Title: "Not extended format"})
		default:
			said = append(said, s.take(r.Context(), tx, b))
		}
	}
	if b.Fault == Elsewhere {
		said = slices.Repeat([]status{{TxID: strings.Repeat("00", 31) + "01", State: broadcast.StateSeen, Status: 200}}, 3)
	}
	answer(w, http.StatusOK, said)
}

func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	b := s.now()
	txid, err := frame.ParseHash(r.PathValue("txid"))
	if err != nil {
		s.fail(w, http.StatusBadRequest, "")
		return
	}
	s.mu.Lock()
	state, ok := s.took[txid]
	s.mu.Unlock()
	if b.Fault == Drop {
		state, ok = broadcast.StateSeen, true
	}
	if b.Later != "" || b.State != "" {
		ok = true
		if state = b.Later; state == "" {
			state = b.State
		}
	} else if ok && s.mined(r.Context(), txid) {
		state = broadcast.StateMined
	}
	if !ok {
		s.fail(w, http.StatusNotFound, "")
		return
	}
	said := status{TxID: txid.String(), State: state, Info: &b.Info, Competing: b.Competing, Status: 200, Title: "OK"}
	if b.Fault == WrongTxID {
		said.TxID = strings.Repeat("00", 31) + "01"
	}
	answer(w, http.StatusOK, said)
}

// mined asks the node whether a transaction is in a block.
func (s *Server) mined(ctx context.Context, txid frame.Hash) bool {
	if s.node == nil {
		return false
	}
	var said struct {
		Confirmations int `json:"confirmations"`
	}
	return s.node.Call(ctx, "getrawtransaction", []any{txid.String(), 1}, &said) == nil && said.Confirmations > 0
}

func (s *Server) fee() (satoshis, bytes int64) {
	if fee := s.now().Fee; fee != nil {
		return fee[0], fee[1]
	}
	return 100, 1000
}

func (s *Server) policy(w http.ResponseWriter, _ *http.Request) {
	satoshis, bytes := s.fee()
	answer(w, http.StatusOK, map[string]any{"timestamp": time.Now().UTC().Format(time.RFC3339), "policy": map[string]any{
		"maxscriptsizepolicy": 100_000_000, "maxtxsigopscountspolicy": 4_294_967_295, "maxtxsizepolicy": 100_000_000,
		"miningFee": map[string]any{"satoshis": satoshis, "bytes": bytes}}})
}
