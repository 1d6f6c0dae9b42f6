package junglebus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

const (
	headerBytes = 1000    // that a header may take in a list, in JSON
	tokenBytes  = 1 << 16 // of the answer to a request for a token
	proofBytes  = 1 << 20 // of a Merkle path
	tries       = 4       // for a question that the service is too busy for
	longestWait = 30 * time.Second
)

// A statusError says what status the service answered with.
type statusError struct {
	status int
	after  time.Duration // until it may be asked again; 0: not said
}

func (e *statusError) Error() string {
	switch e.status {
	case http.StatusTooManyRequests:
		return "the service is asked too often (status 429)"
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("the service doesn't let us in (status %d): the subscription's id may be wrong", e.status)
	}
	return fmt.Sprintf("the service answers with status %d", e.status)
}

func (e *statusError) busy() bool {
	return e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable
}

// ask asks the service, and again, more and more slowly, while it is too busy.
func (s *Source) ask(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	wait := s.cfg.Backoff
	for i := 1; ; i++ {
		answer, err := s.askOnce(ctx, method, path, body, most)
		var status *statusError
		if !errors.As(err, &status) || !status.busy() || i == tries {
			return answer, err
		}
		if err := sleep(ctx, min(max(wait, status.after), longestWait)); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

func (s *Source) askOnce(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Patience, fmt.Errorf("the service doesn't answer within %s", s.cfg.Patience))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.base.String()+"/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, s.because(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, ErrNotFound
	case resp.StatusCode != http.StatusOK:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 0 || seconds > 3600 {
			seconds = 0
		}
		return nil, &statusError{resp.StatusCode, time.Duration(seconds) * time.Second}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, s.because(ctx, err)
	}
	if int64(len(answer)) > most {
		return nil, errTooLong
	}
	return answer, nil
}

// because gives the reason of a context that has ended.
func (s *Source) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// askJSON asks with GET and reads the answer into out.
func (s *Source) askJSON(ctx context.Context, path string, most int64, out any) error {
	answer, err := s.ask(ctx, http.MethodGet, path, nil, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return errAnswer
	}
	return nil
}

// token gets what lets a connection in: the subscription's id is all it takes.
func (s *Source) token(ctx context.Context) (string, error) {
	question, err := json.Marshal(map[string]string{"id": s.subscription})
	if err != nil {
		return "", err
	}
	answer, err := s.ask(ctx, http.MethodPost, "/user/subscription-token", question, tokenBytes)
	if err != nil {
		return "", fmt.Errorf("a token for subscription %s: %w", s.subscription, err)
	}
	var login struct{ Token string }
	if json.Unmarshal(answer, &login) != nil || login.Token == "" {
		return "", fmt.Errorf("a token for subscription %s: %w", s.subscription, errAnswer)
	}
	return login.Token, nil
}

// transaction gets a transaction that was told of without its bytes.
func (s *Source) transaction(ctx context.Context, txid frame.Hash) ([]byte, error) {
	var tx struct{ Transaction []byte }
	if err := s.askJSON(ctx, "/transaction/get/"+txid.String(), 3*int64(s.cfg.MaxTx)+1<<20, &tx); err != nil {
		return nil, fmt.Errorf("transaction %s: %w", txid, err)
	}
	return tx.Transaction, nil
}

// proof gets the Merkle path of a transaction.
func (s *Source) proof(ctx context.Context, txid frame.Hash) (place uint32, path []frame.Hash, err error) {
	answer, err := s.ask(ctx, http.MethodGet, "/transaction/proof/"+txid.String()+"/bin", nil, proofBytes)
	if err == nil {
		place, path, err = readPath(answer, txid)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("the Merkle path of transaction %s: %w", txid, err)
	}
	return place, path, nil
}

// sleep waits, or fails with the context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
