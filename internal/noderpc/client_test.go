package noderpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

const password = "correct-horse"

// fakeNode answers every question with a status and a text, in which ID stands
// for the id of the question.
func fakeNode(t *testing.T, status int, text string) *Client {
	t.Helper()
	id := regexp.MustCompile(`"id":(\d+)`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		found := id.FindSubmatch(question)
		if found == nil {
			t.Errorf("a question without an id: %s", question)
			return
		}
		w.WriteHeader(status)
		io.WriteString(w, strings.ReplaceAll(text, "ID", string(found[1])))
	}))
	t.Cleanup(server.Close)
	return newClient(t, Config{URL: server.URL, User: "user", Password: password, MaxAnswer: 2000})
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func rpcError(code int, message string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`{"result":null,"error":{"code":%d,"message":%s},"id":ID}`, code, text)
}

func TestErrorsAreTheSameForEveryNode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		text   string
		want   error
	}{
		{"svnode has it in the mempool", 500, rpcError(-27, "Transaction already in the mempool"), ErrAlreadyKnown},
		{"svnode knows it", 500, rpcError(-26, "257: txn-already-known"), ErrAlreadyKnown},
		{"bsvd has it in the mempool", 200, rpcError(-22, "TX rejected: already have transaction 00"), ErrAlreadyKnown},
		{"bsvd has it in the chain", 200, rpcError(-22, "TX rejected: transaction already exists"), ErrAlreadyKnown},
		{"svnode sees a conflict", 500, rpcError(-26, "258: txn-mempool-conflict"), ErrDoubleSpend},
		{"bsvd sees a conflict", 200, rpcError(-22, "TX rejected: output a:0 already spent by transaction b in the memory pool"), ErrDoubleSpend},
		{"svnode misses inputs", 500, rpcError(-25, "Missing inputs"), ErrMissingInputs},
		{"bsvd misses inputs", 200, rpcError(-22, "TX rejected: orphan transaction a references outputs of unknown or fully-spent transaction b"), ErrMissingInputs},
		{"svnode is in safe mode", 500, rpcError(-2, "Safe mode: Warning: we do not appear to agree with our peers"), ErrSafeMode},
		{"svnode warms up", 500, rpcError(-28, "Loading block index..."), ErrBusy},
		{"svnode's queue is full", 500, "Work queue depth exceeded", ErrBusy},
		{"bsvd has too many clients", 503, "503 Too busy.  Try again later.", ErrBusy},
		{"no such block", 500, rpcError(-5, "Block not found"), ErrNotFound},
		{"no such height on svnode", 500, rpcError(-8, "Block height out of range"), ErrNotFound},
		{"no such height on bsvd", 200, rpcError(-1, "Block number out of range"), ErrNotFound},
		{"wrong password", 401, "401 Unauthorized.", ErrUnauthorized},
		{"address not allowed", 403, "", ErrUnauthorized},
		{"no JSON", 200, "<html>", ErrAnswer},
		{"nothing", 200, "", ErrAnswer},
		{"JSON of something else", 200, `{"a":1}`, ErrAnswer},
		{"error status with a result", 500, `{"result":"00","error":null,"id":ID}`, ErrAnswer},
		{"answer to another question", 200, `{"result":"00","error":null,"id":123456}`, ErrAnswer},
		{"answer of another type", 200, `{"result":{"a":1},"error":null,"id":ID}`, ErrAnswer},
		{"result is no hash", 200, `{"result":"00","error":null,"id":ID}`, ErrAnswer},
		{"redirect", 307, "", ErrAnswer},
		{"answer too long", 200, `{"result":"` + strings.Repeat("0", 2000) + `","error":null,"id":ID}`, ErrAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := fakeNode(t, tt.status, tt.text).SendRawTransaction(t.Context(), []byte{1})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestOtherRefusalsKeepCodeAndText(t *testing.T) {
	_, err := fakeNode(t, 500, rpcError(-26, "66: insufficient\x1b[31m\npriority "+strings.Repeat("x", 500))).SendRawTransaction(t.Context(), []byte{1})
	var e *RPCError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *RPCError", err)
	}
	want := "66: insufficient?[31m priority "
	if e.Code != -26 || !strings.HasPrefix(e.Message, want) || len(e.Message) > longestMessage+3 {
		t.Errorf("got code %d, message %q; want -26, %q... of at most %d bytes", e.Code, e.Message, want, longestMessage+3)
	}
}

func TestSubmitBlockVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name, result string
		want         error // nil: accepted
		refused      bool
	}{
		{"accepted", `null`, nil, false},
		{"on a side branch of svnode", `"inconclusive"`, nil, false},
		{"known to svnode", `"duplicate"`, ErrAlreadyKnown, true},
		{"known to bsvd", `"rejected: already have block 00"`, ErrAlreadyKnown, true},
		{"bad", `"bad-txnmrklroot"`, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := fakeNode(t, 200, `{"result":`+tt.result+`,"error":null,"id":ID}`).SubmitBlock(t.Context(), []byte{1})
			if (err != nil) != tt.refused || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want refused %t, %v", err, tt.refused, tt.want)
			}
		})
	}
}

func TestPasswordIsInNoError(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	host := strings.TrimPrefix(closed.URL, "http://")
	for name, address := range map[string]string{
		"nobody listens": "http://user:" + password + "@" + host,
		"no such scheme": "ftp://user:" + password + "@" + host,
		"no URL":         "http://user:" + password + "@[::1",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(Config{URL: address})
			if err == nil {
				if c.password != password {
					t.Errorf("the password of the URL isn't used")
				}
				err = c.Ping(t.Context())
				if !errors.Is(err, ErrUnreachable) {
					t.Errorf("got %v, want %v", err, ErrUnreachable)
				}
			}
			if err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("got %v, want an error without the password", err)
			}
		})
	}
}

func TestSlowNode(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)

	t.Run("time limit of a call", func(t *testing.T) {
		err := newClient(t, Config{URL: server.URL, Timeout: 20 * time.Millisecond}).Ping(t.Context())
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v, want %v", err, ErrUnreachable)
		}
	})
	t.Run("the caller's own end", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := newClient(t, Config{URL: server.URL}).Ping(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestQuestionIsAuthenticated(t *testing.T) {
	var user, pass string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ = r.BasicAuth()
		io.WriteString(w, `{"result":7,"error":null,"id":1}`)
	}))
	defer server.Close()
	height, err := newClient(t, Config{URL: server.URL, User: "user", Password: password}).GetBlockCount(t.Context())
	if err != nil || height != 7 || user != "user" || pass != password {
		t.Errorf("got height %d, error %v, asked by %q with password right %t; want 7 by \"user\"", height, err, user, pass == password)
	}
}
