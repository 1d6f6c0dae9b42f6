package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
)

// signedOffer returns an offer by two new keys, signed by both or by the holder.
func signedOffer(t *testing.T, stamp string, both bool) offer {
	t.Helper()
	from, to := signer.NewKey(), signer.NewKey()
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: "alice & <bob>", Address: from.KeyHash(),
		NewAddress: to.KeyHash(), TimeStamp: stamp}
	if err := r.Sign(frame.Regtest, from.Private(), to.Private()); err != nil {
		t.Fatal(err)
	}
	if !both {
		r.Signatures = r.Signatures[:1]
	}
	return newOffer(r, frame.Regtest)
}

func TestParseOffer(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	good := signedOffer(t, "1800000000000", true)
	edit := func(change func(o *offer)) string {
		o := good
		change(&o)
		text, err := o.text()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	whole := edit(func(*offer) {})
	for _, tt := range []struct {
		name, text, says string // says "": it is read
	}{
		{"signed by both", whole, ""},
		{"signed by the holder", edit(func(o *offer) { o.SignedTo = "" }), ""},
		{"on one line", strings.ReplaceAll(strings.ReplaceAll(whole, "\n", ""), "  ", ""), ""},
		{"empty", "", "isn't the JSON"},
		{"no JSON", "hello", "isn't the JSON"},
		{"a list", "[]", "isn't the JSON"},
		{"null", "null", "format"},
		{"cut off", whole[:len(whole)/2], "isn't the JSON"},
		{"something behind", whole + "{}", "something follows"},
		{"a field more", strings.Replace(whole, `"name"`, `"note": "", "name"`, 1), "isn't the JSON"},
		{"a field twice", strings.Replace(whole, `"name"`, `"name": "mallory", "name"`, 1), "each once"},
		{"a field in capitals", strings.Replace(whole, `"name"`, `"NAME"`, 1), "each once"},
		{"a field left out", strings.Replace(whole, `  "other": "",`+"\n", "", 1), "each once"},
		{"a number for a text", strings.Replace(whole, `"1800000000000"`, `1800000000000`, 1), "isn't the JSON"},
		{"another format", edit(func(o *offer) { o.Format = "x" }), `format is "x"`},
		{"a later version", edit(func(o *offer) { o.Version = 2 }), "version is 2"},
		{"another network", edit(func(o *offer) { o.Network = "main" }), `of network "main", not "regtest"`},
		{"an address of another network", edit(func(o *offer) { o.From = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT" }), "from: "},
		{"no name", edit(func(o *offer) { o.Name = "" }), "not a valid name"},
		{"a name with an escape", edit(func(o *offer) { o.Name = "a\x1b[2J" }), "not a valid name"},
		{"another name", edit(func(o *offer) { o.Name = "alice" }), "isn't by " + good.From},
		{"another heir", edit(func(o *offer) { o.To = "mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8" }), "isn't by " + good.From},
		{"to itself", edit(func(o *offer) { o.To = o.From }), "to itself"},
		{"another time", edit(func(o *offer) { o.TimeStamp = "1800000000001" }), "isn't by " + good.From},
		{"no time", edit(func(o *offer) { o.TimeStamp = "yesterday" }), "time stamp: "},
		{"a time beyond a day ahead", edit(func(o *offer) { o.TimeStamp = "18446744073709551615" }), "over a day ahead"},
		{"other information put in", edit(func(o *offer) { o.Other = "x=1" }), "isn't by " + good.From},
		{"no signature", edit(func(o *offer) { o.SignedFrom = "" }), "no text of 88 letters"},
		{"signatures the wrong way round", edit(func(o *offer) { o.SignedFrom, o.SignedTo = o.SignedTo, o.SignedFrom }), "isn't by " + good.From},
		{"the holder's signature twice", edit(func(o *offer) { o.SignedTo = o.SignedFrom }), "isn't by " + good.To},
		{"a signature of nothing", edit(func(o *offer) { o.SignedTo = strings.Repeat("A", 88) }), "isn't by " + good.To},
	} {
		r, err := parseOffer([]byte(tt.text), frame.Regtest, now)
		switch {
		case tt.says == "" && (err != nil || r.Name != good.Name):
			t.Errorf("%s: got %v, want it read", tt.name, err)
		case tt.says != "" && (!errors.Is(err, errOffer) || !strings.Contains(err.Error(), tt.says) || r != nil):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
		case tt.says != "" && strings.Contains(err.Error(), "\x1b"):
			t.Errorf("%s: an escape sequence is in %q", tt.name, err)
		}
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add([]byte(`{"format":"metaim name transfer","version":1}`))
	f.Add([]byte(`null`))
	// Whatever is read has a signature that holds, and is written as it was read.
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseOffer(text, frame.Regtest, time.Now())
		if err != nil {
			return
		}
		again, err := newOffer(r, frame.Regtest).text()
		if err != nil || len(r.Signatures) == 0 {
			t.Fatalf("%q is read and can't be written: %v", text, err)
		}
		if _, err := parseOffer([]byte(again), frame.Regtest, time.Now()); err != nil {
			t.Fatalf("%q is written as %q: %v", text, again, err)
		}
	})
}

// nameServer tells of one name that has so many seconds left.
func nameServer(t *testing.T, left int64) *httptest.Server {
	t.Helper()
	const now = 1_800_000_000
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tip := client.Tip{MedianTime: now}
		var answer any = client.Info{Network: "regtest", Tip: tip}
		if strings.HasPrefix(r.URL.Path, "/v1/addresses/") {
			answer = client.Address{Names: []client.Name{{Name: "al ice\x1b", State: client.NameValid, ExpiresAt: now + left}}, Tip: tip}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRemind(t *testing.T) {
	const day = 86_400
	for _, tt := range []struct {
		name string
		left int64 // seconds
		says string
	}{
		{"a year", 365 * day, ""},
		{"thirty days", 30 * day, ""},
		{"a second less", 30*day - 1, "expires in 29 days, on "},
		{"a day", day, "expires in 1 day, on "},
		{"an hour", 3600, "expires in less than a day, on "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 1}
			if _, err := store.Add(t.Context(), "x", "anna", signer.NewKey()); err != nil {
				t.Fatal(err)
			}
			env := map[string]string{"METAIM_HOME": home, "METAIM_SERVER": nameServer(t, tt.left).URL, "XDG_CACHE_HOME": filepath.Join(home, "cache")}
			ask := func() string {
				p, _, errs := testProgram(env)
				if got := run(t.Context(), []string{"name", "show", "x"}, p); got != exitDone {
					t.Fatalf("status %d: %s", got, errs)
				}
				return errs.String()
			}
			first := ask()
			if (tt.says == "") != (first == "") || !strings.Contains(first, tt.says) || strings.Contains(first, "\x1b") {
				t.Errorf("got %q, want %q", first, tt.says)
			}
			if again := ask(); again != "" {
				t.Errorf("the same day: got %q, want nothing", again)
			}
			kept, err := filepath.Glob(filepath.Join(home, "cache", "metaim", "names-regtest-*.json"))
			if err != nil || len(kept) != 1 {
				t.Fatalf("kept: %v, %v", kept, err)
			}
			yesterday := time.Now().Add(-25 * time.Hour)
			if err := os.Chtimes(kept[0], yesterday, yesterday); err != nil {
				t.Fatal(err)
			}
			if next := ask(); next != first {
				t.Errorf("the next day: got %q, want %q", next, first)
			}
		})
	}
}
