package woc

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// A replies transport answers from memory, and keeps when it was asked.
type replies struct {
	status []int // of the first answers; then 200
	after  string
	asked  []time.Duration // since the first question
	first  time.Time
}

func (r *replies) RoundTrip(*http.Request) (*http.Response, error) {
	if len(r.asked) == 0 {
		r.first = time.Now()
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}
	if len(r.asked) < len(r.status) {
		resp.StatusCode = r.status[len(r.asked)]
		resp.Header.Set("Retry-After", r.after)
	}
	r.asked = append(r.asked, time.Since(r.first))
	return resp, nil
}

// TestWaits: after a refusal the next question waits, longer each time, and as long
// as the service says, up to a minute.
func TestWaits(t *testing.T) {
	const busy, broken = http.StatusTooManyRequests, http.StatusInternalServerError
	tests := []struct {
		name   string
		status []int
		after  string
		waits  []time.Duration // at least, before each question but the first
		ok     bool
	}{
		{"none", nil, "", nil, true},
		{"too often", []int{busy, busy, busy}, "", []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, true},
		{"fails", []int{broken, 502, 503}, "", []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, true},
		{"says how long", []int{busy}, "17", []time.Duration{17 * time.Second}, true},
		{"says too long", []int{busy}, "3000", []time.Duration{time.Minute}, true},
		{"says nonsense", []int{busy}, "-5", []time.Duration{time.Second}, true},
		{"says a date", []int{busy}, "Wed, 21 Oct 2026 07:28:00 GMT", []time.Duration{time.Second}, true},
		{"for ever", slices.Repeat([]int{busy}, 20), "", []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}, false},
		{"says no", []int{http.StatusForbidden}, "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &replies{status: tt.status, after: tt.after}
				c, err := New(Config{Network: frame.Main, Transport: r})
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Ask(t.Context(), http.MethodGet, "/x", nil, 10)
				var status *StatusError
				if (err == nil) != tt.ok || !tt.ok && !errors.As(err, &status) || len(r.asked) != len(tt.waits)+1 {
					t.Fatalf("got %v after %d questions, want success %v after %d", err, len(r.asked), tt.ok, len(tt.waits)+1)
				}
				for i, want := range tt.waits {
					if got := r.asked[i+1] - r.asked[i]; got < want || got > want+time.Second {
						t.Errorf("question %d comes %s after the one before, want %s", i+2, got, want)
					}
				}
			})
		})
	}
}

// TestPace: the first questions don't come faster than the others.
func TestPace(t *testing.T) {
	for perSecond, span := range map[float64]time.Duration{0: time.Second, 3: time.Second, 20: time.Second, 0.1: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := &replies{}
			c, err := New(Config{Network: frame.Main, Transport: r, PerSecond: perSecond})
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				if _, err := c.Once(t.Context(), http.MethodGet, "/x", nil, 10); err != nil {
					t.Fatal(err)
				}
			}
			most := int(max(1, span.Seconds()*perSecond))
			if perSecond == 0 {
				most = PerSecond
			}
			for i := range len(r.asked) - most {
				if r.asked[i+most]-r.asked[i] < span {
					t.Errorf("%v a second: questions %d to %d come within %s", perSecond, i, i+most, r.asked[i+most]-r.asked[i])
				}
			}
		})
	}
}

// TestPatience: a service that doesn't answer is given up, and a context that ends
// is told from that.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Network: frame.Main, Transport: never{}, Patience: 7 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = c.Ask(t.Context(), http.MethodGet, "/x", nil, 10)
		if err == nil || !strings.Contains(err.Error(), "within 7s") || time.Since(start) != 7*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Ask(ctx, http.MethodGet, "/x", nil, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

type never struct{}

func (never) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestKey: the key goes to the service, also where it sends us on within its host,
// and to nobody else.
func TestKey(t *testing.T) {
	var elsewhere, here []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get(keyHeader))
	}))
	defer other.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here = append(here, r.Header.Get(keyHeader))
		switch r.URL.Path {
		case "/main/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/main/within":
			http.Redirect(w, r, "/main/there", http.StatusFound)
		case "/main/round":
			http.Redirect(w, r, "/main/round", http.StatusFound)
		}
	}))
	defer service.Close()
	c, err := New(Config{URL: service.URL, Network: frame.Main, Key: "topsecret", PerSecond: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for path, ok := range map[string]bool{"/away": true, "/within": true, "/round": false} {
		if _, err := c.Once(t.Context(), http.MethodGet, path, nil, 10); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: got %v, want success %v, and no key", path, err, ok)
		}
	}
	if !slices.Equal(elsewhere, []string{""}) || slices.Contains(here, "") || len(here) < 4 {
		t.Errorf("got keys %q elsewhere and %q at the service, want none there and all here", elsewhere, here)
	}
}

// TestConfig lists settings that are refused.
func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		ok     bool
	}{
		{"defaults", Config{}, true},
		{"a key", Config{Key: "mainnet_0123456789abcdef"}, true},
		{"a key over http", Config{Key: "secret", URL: "http://host"}, false},
		{"a key over http to this machine", Config{Key: "secret", URL: "http://127.0.0.1:1"}, true},
		{"a key with a line feed", Config{Key: "secret\nx: y"}, false},
		{"a key beyond ASCII", Config{Key: "secretä"}, false},
		{"a key that never ends", Config{Key: strings.Repeat("secret", 1000)}, false},
		{"less than none", Config{PerSecond: -1}, false},
		{"a query", Config{URL: "https://host/?key=secret"}, false},
		{"a password", Config{URL: "https://user:secret@host/"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.Network = frame.Main
			if _, err := New(tt.config); (err == nil) != tt.ok || err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want success %v and no secret", err, tt.ok)
			}
		})
	}
}

// TestTransactions: what is too long together is asked for in parts, and what is too
// long in hexadecimal alone.
func TestTransactions(t *testing.T) {
	small, large := []byte("small"), []byte(strings.Repeat("large", 100))
	ids := []frame.Hash{frame.HashOf(small), frame.HashOf(large)}
	known := map[string][]byte{ids[0].String(): small, ids[1].String(): large}
	tests := []struct {
		name    string
		bounds  Bounds
		instead []byte // given alone
		asked   []string
		err     error
	}{
		{"together", Bounds{5000, 1000}, nil, []string{"2"}, nil},
		{"in parts", Bounds{1100, 1000}, nil, []string{"2", "1", "1"}, nil},
		{"one alone", Bounds{500, 1000}, nil, []string{"2", "1", "1", "bin"}, nil},
		{"too long alone", Bounds{500, 400}, nil, []string{"2", "1", "1", "bin"}, ErrTooLong},
		{"another one alone", Bounds{500, 1000}, []byte("other"), []string{"2", "1", "1", "bin"}, ErrNotIt},
		{"none alone", Bounds{500, 1000}, []byte{}, []string{"2", "1", "1", "bin"}, ErrMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					asked = append(asked, "bin")
					raw := known[strings.Split(r.URL.Path, "/")[3]]
					if tt.instead != nil {
						raw = tt.instead
					}
					_, _ = w.Write(raw)
					return
				}
				var q struct{ TxIDs []string }
				if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
					t.Error(err)
				}
				asked = append(asked, fmt.Sprint(len(q.TxIDs)))
				var list []any
				for _, id := range q.TxIDs {
					list = append(list, map[string]string{"txid": id, "hex": hex.EncodeToString(known[id])})
				}
				_ = json.NewEncoder(w).Encode(list)
			}))
			defer s.Close()
			c, err := New(Config{URL: s.URL, Network: frame.Main, PerSecond: 1e6})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := c.Transactions(t.Context(), ids, tt.bounds)
			if !errors.Is(err, tt.err) || !slices.Equal(asked, tt.asked) {
				t.Errorf("got %v after questions %v, want %v after %v", err, asked, tt.err, tt.asked)
			}
			if tt.err == nil && (string(got[ids[0]]) != string(small) || string(got[ids[1]]) != string(large)) {
				t.Errorf("got %d transactions, want both as they are", len(got))
			}
		})
	}
}
