// Package junglebus asks a JungleBus service over HTTP, for the source that follows
// a chain with it and for the wallet that finds coins with it. Answers are bounded,
// and a service that is too busy is asked again, more and more slowly.
package junglebus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

const (
	tries       = 4 // for a question that the service is too busy for
	longestWait = 30 * time.Second
)

// Reasons why the service didn't give what it was asked for. Others are a
// *[StatusError], and what net/http fails with.
var (
	ErrNotFound = errors.New("the service doesn't have it")
	ErrTooLong  = errors.New("the answer is over the limit")
	ErrAnswer   = errors.New("the answer isn't what it should be")
)

// A StatusError says what HTTP status the service answered with.
type StatusError struct {
	Status int
	after  time.Duration // until it may be asked again; 0: not said
}

func (e *StatusError) Error() string {
	switch e.Status {
	case http.StatusTooManyRequests:
		return "the service is asked too often (status 429)"
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("the service doesn't let us in (status %d)", e.Status)
	}
	return fmt.Sprintf("the service answers with status %d", e.Status)
}

// A Service is one that can be asked, by many goroutines. All fields must be given.
type Service struct {
	URL      string // without /v1 and without a slash at the end
	HTTP     *http.Client
	Turns    chan struct{} // its capacity is how many questions may be open
	Patience time.Duration // for an answer
	Backoff  time.Duration // before it is asked again; doubles, up to 30 s
	Insist   bool          // ask again when it fails too (status 5xx), not only when it is too busy
}

// ParseURL reads the address of a service: http or https, a host, perhaps a path,
// and nothing else. ok is false for another one.
func ParseURL(address string) (u *url.URL, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, false
	}
	u.RawPath, u.Fragment, u.Path = "", "", strings.TrimSuffix(u.Path, "/")
	return u, true
}

// Ask asks for a path below /v1 and returns an answer of at most so many bytes. It
// fails with ErrNotFound, ErrTooLong, a *StatusError or the reason why ctx ended.
func (s *Service) Ask(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	select {
	case s.Turns <- struct{}{}:
		defer func() { <-s.Turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	wait := s.Backoff
	for i := 1; ; i++ {
		answer, err := s.askOnce(ctx, method, path, body, most)
		var status *StatusError
		if !errors.As(err, &status) || !s.again(status.Status) || i == tries {
			return answer, err
		}
		if err := Sleep(ctx, min(max(wait, status.after), longestWait)); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// again tells whether a status may be another one a little later.
func (s *Service) again(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || s.Insist && status >= 500
}

func (s *Service) askOnce(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.Patience, fmt.Errorf("the service doesn't answer within %s", s.Patience))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return nil, Because(ctx, err)
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
		return nil, &StatusError{resp.StatusCode, time.Duration(seconds) * time.Second}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, Because(ctx, err)
	}
	if int64(len(answer)) > most {
		return nil, ErrTooLong
	}
	return answer, nil
}

// AskJSON asks with GET and reads the answer into out. It fails as [Service.Ask]
// does, and with ErrAnswer.
func (s *Service) AskJSON(ctx context.Context, path string, most int64, out any) error {
	answer, err := s.Ask(ctx, http.MethodGet, path, nil, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return ErrAnswer
	}
	return nil
}

// A Transaction is one as the service tells it.
type Transaction struct {
	Raw   []byte `json:"transaction"` // as on the wire; perhaps of another transaction
	Block string `json:"block_hash"`  // empty when it is in none
}

// Transaction gets a transaction in an answer of at most so many bytes. Nothing of
// it is checked.
func (s *Service) Transaction(ctx context.Context, txid frame.Hash, most int64) (t Transaction, err error) {
	err = s.AskJSON(ctx, "/transaction/get/"+txid.String(), most, &t)
	return t, err
}

// Because gives the reason of a context that has ended, else the error.
func Because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Sleep waits, or fails with the context.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
