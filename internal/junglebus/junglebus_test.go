package junglebus

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAsk: what a service answers with becomes an answer or one of the errors, and it
// is asked again only where that may help.
func TestAsk(t *testing.T) {
	var status *StatusError
	isStatus := func(want int) func(error) bool {
		return func(err error) bool { return errors.As(err, &status) && status.Status == want }
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	tests := []struct {
		name     string
		insist   bool
		refusals int64 // with status
		status   int
		answer   string
		want     func(error) bool // nil: an answer
		asked    int64
	}{
		{"answered", false, 0, 0, "[1]", nil, 1},
		{"as long as allowed", false, 0, 0, strings.Repeat("1", 8), nil, 1},
		{"a byte longer", false, 0, 0, strings.Repeat("1", 9), is(ErrTooLong), 1},
		{"not there", false, 9, 404, "", is(ErrNotFound), 1},
		{"no JSON", false, 0, 0, "[1", is(ErrAnswer), 1},
		{"too busy at first", false, 3, 429, "[1]", nil, 4},
		{"too busy for long", false, 9, 503, "", isStatus(503), 4},
		{"it fails", false, 1, 502, "[1]", isStatus(502), 1},
		{"it fails, and we insist", true, 1, 502, "[1]", nil, 2},
		{"we aren't let in", true, 1, 401, "[1]", isStatus(401), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/what" || r.Method != http.MethodGet {
					t.Errorf("asked %s %s", r.Method, r.URL.Path)
				}
				if asked.Add(1) <= tt.refusals {
					w.WriteHeader(tt.status)
					return
				}
				fmt.Fprint(w, tt.answer)
			}))
			defer server.Close()
			s := &Service{URL: server.URL, HTTP: server.Client(), Turns: make(chan struct{}, 1), Patience: time.Minute, Backoff: time.Millisecond, Insist: tt.insist}
			var got any
			err := s.AskJSON(t.Context(), "/what", 8, &got)
			if (err == nil) != (tt.want == nil) || err != nil && !tt.want(err) {
				t.Errorf("got %v, %v, want another", got, err)
			}
			if asked.Load() != tt.asked || len(s.Turns) > 0 {
				t.Errorf("asked %d times, %d turns are held, want %d and none", asked.Load(), len(s.Turns), tt.asked)
			}
		})
	}
}

func TestParseURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://host": "https://host", "http://host:1/a/b/": "http://host:1/a/b", "https://host#x": "https://host",
		"": "", "host": "", "ftp://host": "", "https://": "", "https://u@host": "", "https://host?q": "", "http://%zz": "",
	} {
		got := ""
		if u, ok := ParseURL(address); ok {
			got = u.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}
