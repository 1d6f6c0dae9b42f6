package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/metaim/metaim/api/client"
)

func problem(status int, code, format string, args ...any) *client.Problem {
	return &client.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func badRequest(code, format string, args ...any) *client.Problem {
	return problem(http.StatusBadRequest, code, format, args...)
}

func notFound(format string, args ...any) *client.Problem {
	return problem(http.StatusNotFound, client.CodeNotFound, format, args...)
}

func unavailable(detail string) *client.Problem {
	return &client.Problem{Status: http.StatusServiceUnavailable, Code: client.CodeUnavailable, Detail: detail,
		Retryable: true, RetryAfter: 5}
}

// explain turns an error into what its cause may be told. What is not a problem
// already is ours to fix: it is logged, and the asker learns no more than that.
func (s *Server) explain(err error, id string) *client.Problem {
	var p *client.Problem
	switch {
	case errors.As(err, &p):
		c := *p
		p = &c
	case errors.Is(err, context.DeadlineExceeded):
		p = unavailable("the index didn't answer in time")
	case errors.Is(err, context.Canceled):
		p = unavailable("the request was given up")
	default:
		s.log.Error("request failed", "request_id", id, "error", err)
		p = problem(http.StatusInternalServerError, "internal", "something failed in this server; its log has the request id")
		p.Retryable = true
	}
	if p.Code == client.CodeQuota {
		s.counts.limited.Add(1)
	}
	p.Type, p.Title, p.RequestID = "urn:metaim:problem:"+p.Code, http.StatusText(p.Status), id
	return p
}

var usableRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// handle is the one place where an error becomes an answer.
func (s *Server) handle(rt *route) http.Handler {
	h := s.answer(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rt.raw {
			w = &patient{ResponseWriter: w, control: http.NewResponseController(w), wait: s.timing.Write, http2: r.ProtoMajor == 2}
		}
		if err := h(w, r); err != nil {
			s.writeProblem(w, r, err)
		}
	})
}

// A patient writer gives each piece of an answer its time: who reads nothing for
// so long is cut off, however large the answer.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	wait    time.Duration
	http2   bool
	until   atomic.Int64 // when it must be over, Unix nanoseconds; 0: whenever
}

// pieceBytes is how much of an answer has Timing.Write to be taken.
const pieceBytes = 64 << 10

func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *patient) extend() {
	at := time.Now().Add(p.wait)
	if end := p.until.Load(); end != 0 && end < at.UnixNano() {
		at = time.Unix(0, end)
	}
	_ = p.control.SetWriteDeadline(at) // unsupported by test recorders
}

// rest lets a stream be silent: in HTTP/2 a deadline that passes ends a stream
// even though nothing waits to be written. A connection that takes no bytes is
// closed by who listens.
func (p *patient) rest() {
	if p.http2 && p.until.Load() == 0 {
		_ = p.control.SetWriteDeadline(time.Time{})
	}
}

// hasten bounds how long a request can keep its connection by itself: with a body
// that nobody reads, or by taking no answer. Handlers put the end off.
func (s *Server) hasten(w http.ResponseWriter, r *http.Request) {
	control, now := http.NewResponseController(w), time.Now()
	_ = control.SetWriteDeadline(now.Add(s.timing.Request + s.timing.Write)) // unsupported by test recorders
	if r.Body != nil && r.Body != http.NoBody {
		_ = control.SetReadDeadline(now.Add(s.timing.Request))
		if r.Method != http.MethodPost {
			w.Header().Set("Connection", "close") // else net/http would wait for it
		}
	}
}

func (p *patient) WriteHeader(status int) {
	p.extend()
	p.ResponseWriter.WriteHeader(status)
}

func (p *patient) Write(b []byte) (n int, err error) {
	for {
		p.extend()
		m, err := p.ResponseWriter.Write(b[n:min(n+pieceBytes, len(b))])
		if n += m; err != nil || n == len(b) {
			return n, err
		}
	}
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := s.explain(err, requestID(r.Context()))
	body, err := json.Marshal(p)
	if err != nil {
		s.log.Error("problem can't be written", "error", err)
	}
	h := w.Header()
	for _, name := range []string{"Content-Disposition", "Content-Security-Policy", "Content-Length", "ETag"} {
		h.Del(name)
	}
	h.Set("Content-Type", kindProblem)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who asked is gone, then
}

// writeJSON answers with a value. A GET gets a strong entity tag, and nothing but
// that when it has the same already.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeBody(w, r, status, kindJSON, append(body, '\n'))
}

func writeBody(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) error {
	h := w.Header()
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		sum := sha256.Sum256(body)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
		h.Set("ETag", tag)
		if known(r, tag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked is gone, then
	return nil
}

// known tells whether If-None-Match names an entity tag (RFC 9110, section 13.1.2:
// compared weakly).
func known(r *http.Request, tag string) bool {
	for _, line := range r.Header.Values("If-None-Match") {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// headersMost bounds the names and values of a request's headers, in bytes.
const headersMost = 32 << 10

// guard gives every request an id, checks its size and origin, finds out who asks,
// and turns what no route takes into a problem.
func (s *Server) guard(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &asking{id: r.Header.Get("X-Request-Id")}
		if !usableRequestID.MatchString(a.id) {
			a.id = rand.Text()
		}
		r = r.WithContext(context.WithValue(r.Context(), askingKey{}, a))
		w, answered := s.watch(w, r, a)
		defer answered()
		s.hasten(w, r)
		h := w.Header()
		h.Set("X-Request-Id", a.id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Add("Vary", "Origin")
		allowed := s.originAllowed(r)
		if origin := r.Header.Get("Origin"); origin != "" && allowed {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, ETag, Idempotency-Replayed")
		}
		if err := s.bounded(r); err != nil {
			h.Set("Connection", "close")
			s.writeProblem(w, r, err)
			return
		}
		switch err := s.identify(r, a); {
		case err != nil:
			s.writeProblem(w, r, err)
		case !allowed && r.Method != http.MethodGet && r.Method != http.MethodHead:
			s.writeProblem(w, r, errOrigin)
		case r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "":
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Range, X-Request-Id")
			h.Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
		default:
			s.route(mux, w, r)
		}
	})
}

// bounded refuses what is larger than any request of ours needs to be.
func (s *Server) bounded(r *http.Request) error {
	if len(r.RequestURI) > s.limits.URIBytes {
		return problem(http.StatusRequestURITooLong, "uri_too_long", "path and query may have %d bytes", s.limits.URIBytes)
	}
	bytes := 0
	for name, values := range r.Header {
		for _, v := range values {
			bytes += len(name) + len(v)
		}
	}
	if bytes > headersMost {
		return problem(http.StatusRequestHeaderFieldsTooLarge, "headers_too_large", "the headers may have %d bytes", headersMost)
	}
	return nil
}

var errOrigin = problem(http.StatusForbidden, "origin_refused", "pages of this origin may not use this server")

// originAllowed tells whether the page that asks may: none (a program), our own,
// or one of the configured.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return true
	}
	return slices.Contains(s.cfg.AllowedOrigins, "*") || slices.Contains(s.cfg.AllowedOrigins, origin)
}

func (s *Server) route(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	h, pattern := mux.Handler(r)
	tidy := clean(r.URL.EscapedPath())
	if pattern != "" && tidy {
		mux.ServeHTTP(w, r)
		return
	}
	if err := s.charge(w, askingOf(r.Context()), 1); err != nil {
		s.writeProblem(w, r, err)
		return
	}
	probe := &statusProbe{header: http.Header{}}
	if tidy {
		h.ServeHTTP(probe, r)
	}
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		s.writeProblem(w, r, problem(probe.status, "method_not_allowed", "this route takes %s, not %s", allow, printable(r.Method)))
		return
	}
	s.writeProblem(w, r, notFound("there is no route %s", printable(r.URL.Path)))
}

// printable is a text of the asker's as it may stand in a sentence.
func printable(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most]
	}
	quoted := strconv.QuoteToGraphic(strings.ToValidUTF8(text, "\uFFFD"))
	return quoted[1 : len(quoted)-1]
}

// A statusProbe takes what the mux would answer and keeps its status.
type statusProbe struct {
	header http.Header
	status int
}

func (p *statusProbe) Header() http.Header         { return p.header }
func (p *statusProbe) Write(b []byte) (int, error) { return len(b), nil }
func (p *statusProbe) WriteHeader(status int)      { p.status = status }
