package api

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Whatever a request asks for by Range, what checkRange lets pass is served: the
// standard library, which would refuse it in plain text, never has to.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=0-0,2-3", "bytes= 1-2 , 9-", "bytes=9223372036854775807-", "bytes=-", "bytes=", "bytes=,,", "items=1-2", "bytes=+1-2", "bytes=2-1"} {
		f.Add(seed, uint8(7), false)
	}
	f.Fuzz(func(t *testing.T, asked string, size uint8, depends bool) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Range", asked)
		if depends {
			r.Header.Set("If-Range", `"x"`)
		}
		if checkRange(r, int(size)) != nil {
			return
		}
		w := httptest.NewRecorder()
		w.Header().Set("ETag", `"x"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, size)))
		if w.Code != http.StatusOK && w.Code != http.StatusPartialContent {
			t.Errorf("range %q of %d bytes: got %d, want 200 or 206", asked, size, w.Code)
		}
	})
}

func TestAccepted(t *testing.T) {
	offered := []string{kindJSON, kindLines, kindSSE}
	for _, test := range []struct {
		name   string
		accept []string
		want   string
	}{
		{"nothing said", nil, kindJSON},
		{"anything", []string{"*/*"}, kindJSON},
		{"one", []string{"text/event-stream"}, kindSSE},
		{"one in capitals with a parameter", []string{"Text/Event-Stream; charset=utf-8"}, kindSSE},
		{"the better liked", []string{"application/json;q=0.5, application/x-ndjson;q=0.6"}, kindLines},
		{"of equals the first offered", []string{"application/x-ndjson, application/json"}, kindJSON},
		{"in two lines", []string{"text/html", "application/x-ndjson"}, kindLines},
		{"a range", []string{"text/*"}, kindSSE},
		{"all but one", []string{"application/json;q=0, */*"}, kindLines},
		{"a browser's", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, kindJSON},
		{"none of them", []string{"image/png"}, ""},
		{"none at all", []string{"*/*;q=0"}, ""},
		{"a weight that is none", []string{"*/*;q=x"}, ""},
		{"a weight beyond one", []string{"*/*;q=2"}, ""},
		{"a weight that is no number", []string{"*/*;q=NaN"}, ""},
		{"nothing that can be read", []string{";;,,"}, ""},
		{"empty", []string{""}, kindJSON},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for _, line := range test.accept {
			r.Header.Add("Accept", line)
		}
		if got := accepted(r, offered...); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
