package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
	p.Type, p.Title, p.RequestID = "urn:metaim:problem:"+p.Code, http.StatusText(p.Status), id
	return p
}

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

var usableRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// handle is the one place where an error becomes an answer.
func (s *Server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.writeProblem(w, r, err)
		}
	})
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := s.explain(err, requestID(r.Context()))
	body, err := json.Marshal(p)
	if err != nil {
		s.log.Error("problem can't be written", "error", err)
	}
	h := w.Header()
	for _, name := range []string{"Content-Disposition", "Content-Security-Policy", "ETag"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who asked is gone, then
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // who asked is gone, then
	return nil
}

// guard gives every request an id, checks its origin, and turns what no route
// takes into a problem.
func (s *Server) guard(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !usableRequestID.MatchString(id) {
			id = rand.Text()
		}
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		allowed := s.originAllowed(r)
		if origin := r.Header.Get("Origin"); origin != "" {
			w.Header().Add("Vary", "Origin")
			if allowed {
				w.Header().Set("Access-Control-Allow-Origin", origin)
				w.Header().Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
			}
		}
		switch {
		case !allowed && r.Method != http.MethodGet && r.Method != http.MethodHead:
			s.writeProblem(w, r, errOrigin)
		case r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "":
			w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
			w.Header().Set("Access-Control-Allow-Headers", "Content-Type, X-Request-Id, Range")
			w.Header().Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
		default:
			s.route(mux, w, r)
		}
	})
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
	if pattern != "" {
		mux.ServeHTTP(w, r)
		return
	}
	probe := &statusProbe{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		s.writeProblem(w, r, problem(probe.status, "method_not_allowed", "this route takes %s, not %s", allow, r.Method))
		return
	}
	s.writeProblem(w, r, notFound("there is no route %s", r.URL.Path))
}

// A statusProbe takes what the mux would answer and keeps its status.
type statusProbe struct {
	header http.Header
	status int
}

func (p *statusProbe) Header() http.Header         { return p.header }
func (p *statusProbe) Write(b []byte) (int, error) { return len(b), nil }
func (p *statusProbe) WriteHeader(status int)      { p.status = status }
