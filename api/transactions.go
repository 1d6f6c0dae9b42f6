package api

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer/broadcast"
)

func (s *Server) postTransaction(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.cfg.Submit == nil {
		return errNoSubmit
	}
	raw, err := s.readTransaction(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.timing.Request)
	defer cancel()
	submitted, err := s.submit(ctx, raw)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, submitted)
}

var errNoSubmit = problem(http.StatusNotImplemented, "no_submit", "this server takes no transactions")

// readTransaction reads the body as its media type says: raw bytes, hexadecimal
// text, or JSON {"raw": hexadecimal}.
func (s *Server) readTransaction(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	most := s.limits.TransactionBytes
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	room := int64(0)
	if kind == "text/plain" || kind == "application/json" {
		room = most + 4096 // two digits for a byte, and what stands around them
	}
	// writing this answer must outlive a slow upload, so the time is for reading only
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.timing.Request)) // unsupported by test recorders
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most+room))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, s.tooLarge()
	case err != nil:
		return nil, badRequest("bad_body", "the body can't be read: %v", err)
	}
	switch kind {
	case "application/octet-stream":
	case "text/plain":
		body, err = unhex(bytes.TrimSpace(body))
	case "application/json":
		var given struct {
			Raw string `json:"raw"`
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&given); err != nil {
			return nil, badRequest("bad_body", `the body is not JSON {"raw": "hexadecimal"}: %v`, err)
		}
		body, err = unhex([]byte(given.Raw))
	default:
		return nil, problem(http.StatusUnsupportedMediaType, "media_type",
			"send application/octet-stream, text/plain (hexadecimal) or application/json, not %q", r.Header.Get("Content-Type"))
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

// submit judges a transaction's frames as they would be now and hands it to the
// network. Twice the same is no harm.
func (s *Server) submit(ctx context.Context, raw []byte) (client.Submitted, error) {
	var done client.Submitted
	if s.cfg.Preview != nil {
		frames, err := s.cfg.Preview(ctx, raw)
		if errors.Is(err, ErrNotTransaction) {
			return done, badTransaction(err)
		}
		if err != nil {
			return done, fmt.Errorf("preview: %w", err)
		}
		done.Frames = frames
	}
	if done.Frames == nil {
		done.Frames = []client.FrameVerdict{}
	}
	txid, err := s.cfg.Submit(ctx, raw)
	var refused *broadcast.Refused
	switch {
	case errors.As(err, &refused):
		return done, problem(http.StatusUnprocessableEntity, client.CodeRefused, "the transaction is refused: %s", refused.Reason)
	case errors.Is(err, ErrNotTransaction):
		return done, badTransaction(err)
	case err != nil:
		s.log.Warn("transaction not submitted", "error", err)
		return done, unavailable("nobody could be asked to take the transaction, or the answer didn't come: send it again later, the same bytes do no harm")
	}
	done.TxID = txid.String()
	return done, nil
}

func badTransaction(err error) error { return badRequest("bad_transaction", "%v", err) }

func (s *Server) getTransaction(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
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
	return writeJSON(w, http.StatusOK, reply)
}
