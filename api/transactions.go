package api

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/signer/broadcast"
)

func (s *Server) postTransaction(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Submit == nil {
		return errNoSubmit
	}
	if !askingOf(r.Context()).writes {
		return errKeyRequired
	}
	held := s.claim(askingOf(r.Context()))
	defer held.release()
	r.Body = io.NopCloser(&countedBody{r.Body, &held})
	raw, err := s.readTransaction(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.timing.Request)
	defer cancel()
	submitted, err := s.once(w, r, raw, func() (client.Submitted, error) { return s.submit(ctx, raw) })
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusAccepted, submitted)
}

var (
	errNoSubmit    = problem(http.StatusNotImplemented, "no_submit", "this server takes no transactions")
	errKeyRequired = problem(http.StatusUnauthorized, "key_required", "this server takes transactions from those who show a key that is good for it: send Authorization: Bearer KEY")
)

// submitCost is what handing in a transaction costs of a quota, in units.
const submitCost = 5

// readTransaction reads the body as its media type says: raw bytes, hexadecimal
// text, or JSON {"raw": hexadecimal}.
func (s *Server) readTransaction(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	most := s.limits.TransactionBytes
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/octet-stream" && kind != "text/plain" && kind != kindJSON {
		return nil, problem(http.StatusUnsupportedMediaType, "media_type",
			"send application/octet-stream, text/plain (hexadecimal) or application/json, not %q", printable(r.Header.Get("Content-Type")))
	}
	room := int64(0)
	if kind != "application/octet-stream" {
		room = most + 4096 // two digits for a byte, and what stands around them
	}
	// writing this answer must outlive a slow upload, so the time is for reading only
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.timing.Request)) // unsupported by test recorders
	body, err := readBody(http.MaxBytesReader(w, r.Body, most+room), r.ContentLength)
	if err != nil {
		return nil, s.badBody(w, err)
	}
	switch kind {
	case "application/octet-stream":
	case "text/plain":
		body, err = unhex(bytes.TrimSpace(body))
	case kindJSON:
		var given rawTransaction
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&given); err != nil {
			return nil, badRequest("bad_body", `the body is not JSON {"raw": "hexadecimal"}`)
		}
		body, err = unhex([]byte(given.Raw))
	}
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0:
		return nil, badRequest("bad_body", "the body is empty")
	case int64(len(body)) > most:
		return nil, s.tooLarge()
	}
	return body, nil
}

// A rawTransaction is a transaction as JSON.
type rawTransaction struct {
	Raw string `json:"raw"` // the raw bytes in hexadecimal
}

// badBody says why a body couldn't be read to its end. The connection can't be
// used for another request then.
func (s *Server) badBody(w http.ResponseWriter, err error) error {
	w.Header().Set("Connection", "close")
	var large *http.MaxBytesError
	var full *client.Problem
	switch {
	case errors.As(err, &full):
		return full
	case errors.As(err, &large):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		p := problem(http.StatusRequestTimeout, "slow_body", "the body didn't come within %d s", seconds(s.timing.Request))
		p.Retryable = true
		return p
	}
	return badRequest("bad_body", "the body ends before its time")
}

// trusted is how many bytes of a body are allocated because its header claims
// them, before any has come.
const trusted = 64 << 10

// readBody reads a body to its end, that of a usual length without growing.
func readBody(r io.Reader, claimed int64) ([]byte, error) {
	var b bytes.Buffer
	if claimed > 0 {
		b.Grow(int(min(claimed, trusted)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

func (s *Server) tooLarge() *client.Problem {
	return problem(http.StatusRequestEntityTooLarge, "too_large", "a transaction may have %d bytes", s.limits.TransactionBytes)
}

func unhex(text []byte) ([]byte, error) {
	raw := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(raw, text); err != nil {
		return nil, badRequest("bad_body", "the transaction is not in hexadecimal: %v", err)
	}
	return raw, nil
}

// submit hands a transaction to the network and then to the index, and tells how
// its frames are judged. Twice the same is no harm. Signatures are looked at only
// when the network has taken the transaction: who floods this server with bad
// ones pays for each.
func (s *Server) submit(ctx context.Context, body []byte) (client.Submitted, error) {
	done := client.Submitted{Frames: []client.FrameVerdict{}}
	form, err := broadcast.Read(body)
	if err != nil {
		return done, badTransaction(err)
	}
	raw := form.Raw
	var tx *index.Transaction
	if s.cfg.Read != nil {
		var err error
		if tx, err = s.cfg.Read(raw); err != nil {
			return done, badTransaction(err)
		}
	}
	txid, err := s.handOn(ctx, form)
	if err != nil {
		return done, s.notSubmitted(err)
	}
	done.TxID = txid.String()
	if tx == nil || len(tx.Frames) == 0 {
		return done, nil
	}
	var decisions []index.Decision
	if decisions, done.Indexed = s.publish(ctx, tx, len(raw)); len(decisions) == len(tx.Frames) {
		done.Frames = verdicts(tx, decisions)
	}
	return done, nil
}

// handOn hands a transaction to the network in the form that is wanted there.
func (s *Server) handOn(ctx context.Context, form *broadcast.Transaction) (frame.Hash, error) {
	if s.cfg.SubmitExtended != nil && form.Extended != nil {
		return s.cfg.SubmitExtended(ctx, form.Raw, form.Extended)
	}
	return s.cfg.Submit(ctx, form.Raw)
}

// notSubmitted tells why the network doesn't have a transaction: refused for good,
// or undecided, which says nothing against it.
func (s *Server) notSubmitted(err error) error {
	var refused *broadcast.Refused
	switch {
	case errors.Is(err, broadcast.ErrDoubleSpend) && errors.As(err, &refused):
		detail := "the transaction is refused: " + refused.Reason
		if len(refused.Competing) > 0 {
			detail += ", such as " + refused.Competing[0].String()
		}
		return problem(http.StatusUnprocessableEntity, client.CodeDoubleSpend, "%s", detail)
	case errors.As(err, &refused):
		return problem(http.StatusUnprocessableEntity, client.CodeRefused, "the transaction is refused: %s", refused.Reason)
	case errors.Is(err, ErrNotTransaction):
		return badTransaction(err)
	}
	s.log.Warn("transaction not submitted", "error", err)
	switch {
	case errors.Is(err, broadcast.ErrSafeMode):
		return unavailable("the node is in safe mode and takes no transactions now: send it again later, the same bytes do no harm")
	case errors.Is(err, broadcast.ErrOrphan):
		return unavailable("the network doesn't know a transaction whose coins it spends yet: hand that one in, then this one again, the same bytes do no harm")
	case errors.Is(err, broadcast.ErrHeld):
		return unavailable("a service keeps the transaction and hasn't seen it on the network yet: send it again later, the same bytes do no harm")
	}
	return unavailable("nobody could be asked to take the transaction, or the answer didn't come: send it again later, the same bytes do no harm")
}

// publish puts a transaction of the network into the index, or where that can't
// be within the time for it, judges it as it would be there. Whatever happens, the
// network has the transaction.
func (s *Server) publish(ctx context.Context, tx *index.Transaction, size int) (decisions []index.Decision, indexed bool) {
	s.cfg.Prove(tx)
	if s.cfg.Offer != nil {
		decisions, err := s.offer(ctx, tx, size)
		if err == nil {
			return decisions, true
		}
		s.log.Debug("a submitted transaction isn't in the index yet", "txid", tx.ID, "error", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timing.Commit)
	defer cancel()
	err := s.cfg.Index.View(ctx, func(v index.View) (err error) {
		decisions, err = index.Preview(v, &s.cfg.Rules, tx)
		return err
	})
	if err != nil {
		s.log.Warn("a submitted transaction can't be judged", "txid", tx.ID, "error", err)
		return nil, false
	}
	return decisions, false
}

func (s *Server) offer(ctx context.Context, tx *index.Transaction, size int) ([]index.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.Commit)
	defer cancel()
	return s.cfg.Offer(ctx, tx, size)
}

// verdicts shows decisions on a transaction's frames.
func verdicts(tx *index.Transaction, decisions []index.Decision) []client.FrameVerdict {
	shown := make([]client.FrameVerdict, len(tx.Frames))
	for i, f := range tx.Frames {
		shown[i] = client.FrameVerdict{Output: f.Output, Protocol: string(f.Protocol), Operation: f.Operation(),
			Verdict: string(decisions[i].Verdict), Reason: f.Malformed}
		if f.Malformed == "" {
			shown[i].ID = f.ID.String()
		}
	}
	return shown
}

func badTransaction(err error) error { return badRequest("bad_transaction", "%v", err) }

func (s *Server) getTransaction(w http.ResponseWriter, r *http.Request) error {
	txid, err := frame.ParseHash(r.PathValue("txid"))
	if err != nil {
		return badRequest("bad_id", "%q is no transaction id: %v", r.PathValue("txid"), err)
	}
	var reply client.Transaction
	err = s.view(r, func(v *view) error {
		entries, err := v.InTransaction(txid)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return notFound("the index holds no transaction %s; it keeps only those that carry frames", txid)
		}
		first := entries[0]
		reply = client.Transaction{TxID: txid.String(), State: string(first.State), Height: first.Height,
			Block: block(first), Tip: v.tipJSON()}
		for _, e := range entries {
			reply.Frames = append(reply.Frames, v.frame(e))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, reply)
}
