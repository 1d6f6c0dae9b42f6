package noderpc

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// someBlock is a header and what follows it.
var someBlock = bytes.Repeat([]byte("0123456789"), 20000)

var someHash = frame.HashOf(someBlock[:headerSize])

func TestBlockStream(t *testing.T) {
	digits := hex.EncodeToString(someBlock)
	for _, tt := range []struct {
		name   string
		status int
		text   string
		want   error // nil: the whole block
	}{
		{"bsvd", 200, `{"result":"BLOCK","error":null,"id":ID}` + "\n", nil},
		{"spaces", 200, " {\n \"result\" :\t\"BLOCK\" , \"error\" : null , \"id\" : ID }\r\n", nil},
		{"other order", 200, `{"jsonrpc":"2.0","id":ID,"error":null,"more":{"result":"00","a":["result",{"b":"\"}"}]},"result":"BLOCK"}`, nil},
		{"capitals", 200, strings.ToUpper(`{"X":1,`) + `"result":"` + strings.ToUpper(digits) + `","error":null,"id":ID}`, nil},
		{"not found", 200, rpcError(-5, "Block not found"), ErrNotFound},
		{"not found, svnode", 500, rpcError(-5, "Block not found"), ErrNotFound},
		{"busy", 500, "Work queue depth exceeded", ErrBusy},
		{"wrong password", 401, "", ErrUnauthorized},
		{"no JSON", 200, "<html>", ErrAnswer},
		{"nothing", 200, "", ErrAnswer},
		{"no result", 200, `{"result":null,"error":null,"id":ID}`, ErrAnswer},
		{"result is a number", 200, `{"result":5,"error":null,"id":ID}`, ErrAnswer},
		{"result is an object", 200, `{"result":{"result":"BLOCK"},"error":null,"id":ID}`, ErrAnswer},
		{"empty", 200, `{"result":"","error":null,"id":ID}`, ErrAnswer},
		{"shorter than a header", 200, `{"result":"0001","error":null,"id":ID}`, ErrAnswer},
		{"another block", 200, `{"result":"` + strings.Repeat("00", 200) + `","error":null,"id":ID}`, ErrAnswer},
		{"odd digits", 200, `{"result":"BLOCK0","error":null,"id":ID}`, ErrAnswer},
		{"no digits", 200, `{"result":"BLOCKxx","error":null,"id":ID}`, ErrAnswer},
		{"escapes", 200, `{"result":"BLOCK\n","error":null,"id":ID}`, ErrAnswer},
		{"cut in the block", 200, `{"result":"BLOCK`, ErrAnswer},
		{"cut behind the block", 200, `{"result":"BLOCK"`, ErrAnswer},
		{"error behind the block", 200, `{"result":"BLOCK","error":{"code":-5,"message":"x"},"id":ID}`, ErrNotFound},
		{"of another question", 200, `{"result":"BLOCK","error":null,"id":123456}`, ErrAnswer},
		{"rubbish behind", 200, `{"result":"BLOCK","error":null,"id":ID}{`, ErrAnswer},
		{"too much before", 200, `{"x":"` + strings.Repeat("y", largestAround) + `","result":"BLOCK","error":null,"id":ID}`, ErrAnswer},
		{"too much behind", 200, `{"result":"BLOCK","error":null,"id":ID` + strings.Repeat(" ", largestAround) + "}", ErrAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fakeNode(t, tt.status, strings.ReplaceAll(tt.text, "BLOCK", digits))
			r, err := c.GetBlockStream(t.Context(), someHash)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 1000)))
				if err == nil {
					var rest []byte
					rest, err = io.ReadAll(r)
					got = append(got, rest...)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if !errors.Is(err, tt.want) || tt.want == nil && !bytes.Equal(got, someBlock) {
				t.Errorf("got %d bytes, %v, want %d, %v", len(got), err, len(someBlock), tt.want)
			}
		})
	}
}

func TestBlockREST(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		status     int
		body       []byte
		want       error
	}{
		{"svnode", "application/octet-stream", 200, someBlock, nil},
		{"not found, or no REST", "text/plain", 404, []byte("not found"), ErrNoREST},
		{"bsvd takes it for RPC", "application/json", 200, []byte(`{"result":null}`), ErrNoREST},
		{"still starting", "text/plain", 503, []byte("Service temporarily unavailable"), ErrBusy},
		{"another block", "application/octet-stream", 200, make([]byte, 200), ErrAnswer},
		{"short", "application/octet-stream", 200, make([]byte, 20), ErrAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := "/rest/block/" + someHash.String() + ".bin"; r.URL.Path != want || r.Method != http.MethodGet {
					t.Errorf("got %s %s, want GET %s", r.Method, r.URL.Path, want)
				}
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				_, _ = w.Write(tt.body)
			}))
			defer server.Close()
			r, err := newClient(t, Config{URL: server.URL + "/"}).GetBlockREST(t.Context(), someHash)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, someBlock) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, len(someBlock))
			}
		})
	}
}

// TestBlockStreamMemory reads a block of 30 MB that stands in one JSON string.
func TestBlockStreamMemory(t *testing.T) {
	const times = 150
	id := regexp.MustCompile(`"id":(\d+)`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, `{"result":"`)
		for range times {
			_, _ = hex.NewEncoder(w).Write(someBlock)
		}
		fmt.Fprintf(w, `","error":null,"id":%s}`, id.FindSubmatch(question)[1])
	}))
	defer server.Close()
	c := newClient(t, Config{URL: server.URL})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := c.GetBlockStream(t.Context(), someHash)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	runtime.ReadMemStats(&after)
	if want := int64(times * len(someBlock)); err != nil || n != want {
		t.Errorf("got %d bytes, %v, want %d", n, err, want)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d MB were allocated, want at most 8", got>>20)
	}
}

// TestBlockStreamEnds has a node that stops in the middle of a block.
func TestBlockStreamEnds(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"result":"`+hex.EncodeToString(someBlock[:1000]))
		w.(http.Flusher).Flush()
		<-hang
	}))
	defer server.Close()
	defer close(hang)
	for name, want := range map[string]error{"stall": ErrUnreachable, "context": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			patience := time.Minute
			if name == "stall" {
				patience = 200 * time.Millisecond
			}
			r, err := newClient(t, Config{URL: server.URL, Timeout: patience}).GetBlockStream(ctx, someHash)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if name == "context" {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			if n, err := io.Copy(io.Discard, r); !errors.Is(err, want) || n != 1000 {
				t.Errorf("got %d bytes, %v, want 1000 and %v", n, err, want)
			}
		})
	}
}

// FuzzBlockStream reads any answer. What is read without an error is what
// encoding/json finds as the result.
func FuzzBlockStream(f *testing.F) {
	short := bytes.Repeat([]byte{7}, 100)
	f.Add([]byte(`{"result":"` + hex.EncodeToString(short) + `","error":null,"id":1}`))
	f.Add([]byte(`{"id":1,"a":[{"result":"\""}],"result":"` + hex.EncodeToString(short) + `"}`))
	f.Add([]byte(`{"result":null,"error":{"code":-5,"message":"x"},"id":1}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		h := newHexStream(io.NopCloser(bytes.NewReader(answer)), 1)
		found, err := h.toResult()
		if err != nil || !found {
			return
		}
		got, err := io.ReadAll(h)
		if err != nil {
			return
		}
		var text string
		if err := decode(http.StatusOK, answer, 1, &text); err != nil {
			t.Fatalf("read %d bytes of an answer that is none: %v", len(got), err)
		}
		if want, err := hex.DecodeString(text); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x, %v", got, want, err)
		}
	})
}
