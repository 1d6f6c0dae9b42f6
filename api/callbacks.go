package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer/broadcast"
)

// CallbackPath is where services tell what became of transactions.
const CallbackPath = "/v1/callbacks/arc"

// A Callback hears from services that took transactions (ARC, Arcade).
type Callback struct {
	Token string // that they must show
	// Told is told that a service says something of a transaction. It must not
	// take long, and shouldn't believe what was said.
	Told func(txid frame.Hash)
}

// longestCallback is in bytes: a Merkle path may be in it.
const longestCallback = 64 << 10

var errCallback = problem(http.StatusUnauthorized, "bad_callback", "the callback must show the token that was given for it")

func (s *Server) callbackRoutes() []*route {
	if s.cfg.Callback == nil {
		return nil
	}
	return []*route{{
		method: http.MethodPost, path: CallbackPath, name: "tellStatus", group: "Transactions", cost: 1,
		summary:  "What became of a transaction, told by the service that it was submitted through",
		detail:   "For ARC and Arcade, with the token that this server gave them. What they say only makes the server look for itself.",
		body:     []media{{kind: kindJSON, value: map[string]any{}}},
		replies:  jsonReply("it was heard", client.Status{}),
		problems: []string{"bad_callback", "bad_body", "slow_body", "too_large", "media_type", "origin_refused"},
		serve:    s.postCallback,
	}}
}

func (s *Server) postCallback(w http.ResponseWriter, r *http.Request) error {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.cfg.Callback.Token)) // of one length, however long
	if s.cfg.Callback.Token == "" || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		return errCallback
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.timing.Request)) // unsupported by test recorders
	body, err := readBody(http.MaxBytesReader(w, r.Body, longestCallback), r.ContentLength)
	if err != nil {
		return s.badBody(w, err)
	}
	status, err := broadcast.ReadStatus(body)
	if err != nil {
		return badRequest("bad_body", "%v", err)
	}
	s.cfg.Callback.Told(status.TxID)
	return writeJSON(w, r, http.StatusOK, client.Status{Status: "ok"})
}
