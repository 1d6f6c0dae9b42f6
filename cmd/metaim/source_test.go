package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// TestSourceForms lists what may stand in --source.
func TestSourceForms(t *testing.T) {
	for spec, ok := range map[string]bool{
		"whatsonchain:":                        true,
		"whatsonchain:https://host/path":       true,
		"whatsonchain:ftp://host":              false,
		"whatsonchain:https://user:secret@h":   false,
		"whatsonchain:https://host?key=secret": false,
		"whatsonchain":                         false,
		"woc:":                                 false,
		"junglebus:":                           false,
		"rpc:":                                 false,
		"p2p:":                                 false,
		"blocks:":                              false,
		"junglebus:https://host/subscription":  true,
	} {
		p, _, _ := testProgram(nil)
		err := checkSource(spec)
		if err == nil {
			_, err = openSource(t.Context(), spec, "", chainwatch.ParamsOf(frame.Main), slog.New(slog.DiscardHandler), p)
		}
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want success %v and no secret", spec, err, ok)
		}
	}
}

// TestWOCKey: the key comes from the environment or a file that only its owner can
// read, is shown to the service, and stands neither in the list of settings nor in
// an error.
func TestWOCKey(t *testing.T) {
	var mu sync.Mutex
	shown := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		shown[r.Header.Get("woc-api-key")]++
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	private := file("private", "topsecret\n", 0o600)
	tests := []struct {
		name string
		env  map[string]string
		key  string // shown
		ok   bool
	}{
		{"none", nil, "", true},
		{"in the environment", map[string]string{"METAIM_WOC_KEY": "topsecret", "METAIM_WOC_RATE": "40"}, "topsecret", true},
		{"in a file", map[string]string{"METAIM_WOC_KEY_FILE": private}, "topsecret", true},
		{"in a file that all can read", map[string]string{"METAIM_WOC_KEY_FILE": file("open", "topsecret", 0o644)}, "", false},
		{"in an empty file", map[string]string{"METAIM_WOC_KEY_FILE": file("empty", " \n", 0o600)}, "", false},
		{"in no file", map[string]string{"METAIM_WOC_KEY_FILE": filepath.Join(dir, "none")}, "", false},
		{"of two words", map[string]string{"METAIM_WOC_KEY": "topsecret words"}, "", false},
		{"no rate", map[string]string{"METAIM_WOC_RATE": "0"}, "", false},
		{"a rate that is none", map[string]string{"METAIM_WOC_RATE": "NaN"}, "", false},
		{"a rate beyond all", map[string]string{"METAIM_WOC_RATE": "1e9"}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, out, _ := testProgram(tt.env)
			source, err := openSource(t.Context(), "whatsonchain:"+server.URL, "", chainwatch.ParamsOf(frame.Main), slog.New(slog.DiscardHandler), p)
			if (err == nil) != tt.ok || err != nil && strings.Contains(err.Error(), "topsecret") {
				t.Fatalf("got %v, want success %v and no key", err, tt.ok)
			}
			if run(t.Context(), []string{"config"}, p); strings.Contains(out.String(), "topsecret") {
				t.Errorf("the list of settings has the key: %s", out)
			}
			if err != nil {
				return
			}
			mu.Lock()
			clear(shown)
			mu.Unlock()
			if _, err := source.Headers(t.Context(), []frame.Hash{chainwatch.ParamsOf(frame.Main).Genesis.Hash()}); err == nil || strings.Contains(err.Error(), "topsecret") {
				t.Errorf("got %v, want an error without the key", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(shown) != 1 || shown[tt.key] == 0 {
				t.Errorf("the service was shown %v, want %q alone", shown, tt.key)
			}
		})
	}
}

// TestDoctorWOC: the doctor connects to the service as `metaim serve` would.
func TestDoctorWOC(t *testing.T) {
	network := "main"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"chain":"` + network + `","blocks":635302,"bestblockhash":"000000000000000002a40d7410a6c08109521c14f4cf354e7b352b4eab8aa4ea"}`))
	}))
	defer server.Close()
	for _, tt := range []struct{ network, says string }{
		{"main", "1 nodes are connected, and claim height 635302 on main"},
		{"test", `has chain \"test\", which isn't that of network main`},
	} {
		network = tt.network
		p, out, errs := testProgram(map[string]string{"XDG_CONFIG_HOME": t.TempDir(), "XDG_DATA_HOME": t.TempDir()})
		start := time.Now()
		run(t.Context(), []string{"doctor", "node", "--json", "--network", "main", "--source", "whatsonchain:" + server.URL}, p)
		if !strings.Contains(out.String(), tt.says) {
			t.Errorf("%s: got %s%s after %s, want %q", tt.network, out, errs, time.Since(start), tt.says)
		}
	}
}
