package api

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/metaim/metaim/api/client"
)

// longestIdempotencyKey is in bytes.
const longestIdempotencyKey = 255

// Answers to requests with an Idempotency-Key are kept for an hour at least as
// long as there are few of them: in two generations, of which the old one is
// forgotten when the young one is full or that time has passed.
const (
	answersKept = 8192 // in one generation
	answersLast = time.Hour
)

// An idempotencyKey is one that a visitor has chosen.
type idempotencyKey struct {
	who visitor
	key [32]byte // SHA-256 of the text, so that all take the same room
}

// An answered request is what one with a key got.
type answered struct {
	body    [32]byte // SHA-256 of the request's
	done    client.Submitted
	problem *client.Problem
}

// answers remembers them. It never holds more than two generations.
type answers struct {
	mu         sync.Mutex
	running    map[idempotencyKey]struct{}
	young, old map[idempotencyKey]*answered
	began      time.Time // of the young generation
}

func newAnswers() *answers {
	return &answers{running: map[idempotencyKey]struct{}{}, young: map[idempotencyKey]*answered{}}
}

var (
	errIdempotencyKey  = badRequest("bad_idempotency_key", "Idempotency-Key must have 1 to %d printable ASCII characters", longestIdempotencyKey)
	errIdempotencyBody = problem(http.StatusUnprocessableEntity, "idempotency_conflict", "this Idempotency-Key was used for another body: choose a new one for each transaction")
	errIdempotencyBusy = &client.Problem{Status: http.StatusConflict, Code: "idempotency_busy", Retryable: true, RetryAfter: 1,
		Detail: "a request with this Idempotency-Key is being answered: ask again"}
)

// idempotencyKeyOf reads the key of a request, if it has one.
func idempotencyKeyOf(r *http.Request) (key idempotencyKey, given bool, err error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return key, false, nil
	}
	text := values[0]
	if len(values) > 1 || text == "" || len(text) > longestIdempotencyKey {
		return key, false, errIdempotencyKey
	}
	for _, c := range []byte(text) {
		if c < 0x20 || c > 0x7e {
			return key, false, errIdempotencyKey
		}
	}
	return idempotencyKey{askingOf(r.Context()).who, sha256.Sum256([]byte(text))}, true, nil
}

// begin finds the answer that was given to a key, or reserves the key until end.
func (a *answers) begin(key idempotencyKey, body [32]byte, now time.Time) (*answered, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.age(now)
	was := a.young[key]
	if was == nil {
		was = a.old[key]
	}
	if was != nil && was.body != body {
		return nil, errIdempotencyBody
	}
	if was != nil {
		return was, nil
	}
	if _, busy := a.running[key]; busy {
		return nil, errIdempotencyBusy
	}
	a.running[key] = struct{}{}
	return nil, nil
}

// end gives the key back, and remembers what was answered unless trying again may
// give another answer.
func (a *answers) end(key idempotencyKey, got *answered, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, key)
	if got == nil {
		return
	}
	a.age(now)
	a.young[key] = got
}

func (a *answers) age(now time.Time) {
	if len(a.young) < answersKept && now.Sub(a.began) < answersLast {
		return
	}
	a.old, a.young, a.began = a.young, map[idempotencyKey]*answered{}, now
}

// once submits a transaction, or with a key that was used for the same bytes
// returns the answer of that time.
func (s *Server) once(w http.ResponseWriter, r *http.Request, raw []byte, submit func() (client.Submitted, error)) (client.Submitted, error) {
	key, given, err := idempotencyKeyOf(r)
	if err != nil || !given {
		if err != nil {
			return client.Submitted{}, err
		}
		return submit()
	}
	body := sha256.Sum256(raw)
	was, err := s.answers.begin(key, body, time.Now())
	if err != nil {
		return client.Submitted{}, err
	}
	if was != nil {
		w.Header().Set("Idempotency-Replayed", "true")
		if was.problem != nil {
			return client.Submitted{}, was.problem
		}
		return was.done, nil
	}
	var got *answered
	defer func() { s.answers.end(key, got, time.Now()) }() // a panic too gives the key back
	done, err := submit()
	var p *client.Problem
	switch {
	case err == nil:
		got = &answered{body: body, done: done}
	case errors.As(err, &p) && !p.Retryable:
		got = &answered{body: body, problem: p}
	}
	return done, err
}
