package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
)

func TestTokens(t *testing.T) {
	hash := "sha256:" + hex.EncodeToString(bytes.Repeat([]byte{0xab}, 32))
	for _, test := range []struct{ name, text, want, fault string }{
		{"one", "alice " + hash, "alice 0/0", ""},
		{"with a quota", "alice " + hash + " 600/60", "alice 600/60", ""},
		{"several, comments, empty lines", "# friends\n\nalice " + hash + "\r\n  bob@example.org\t" + hash + " 1/1 \n", "alice 0/0, bob@example.org 1/1", ""},
		{"none", "", "", ""},
		{"no hash", "alice", "", "line 1: it is not NAME"},
		{"too much", "alice " + hash + " 1/1 x", "", "line 1: it is not NAME"},
		{"the token itself", "alice metaim_CANARY", "", "the token itself doesn't belong here"},
		{"the token as a name", "metaim_CANARY " + hash, "", "doesn't belong here"},
		{"a short hash", "alice sha256:abcd", "", "line 1: the hash"},
		{"capitals", "alice " + strings.ToUpper(hash), "", "line 1: the hash"},
		{"another hash", "alice md5:" + hash, "", "line 1: the hash"},
		{"a name with control characters", "al\x1b[2Jice " + hash, "", "line 1: a name"},
		{"a quota of nothing", "alice " + hash + " 0/60", "", "line 1: a quota"},
		{"a quota of too much", "alice " + hash + " 9999999999/60", "", "line 1: a quota"},
		{"twice", "alice " + hash + "\nalice " + hash, "", "line 2: the name alice stands twice"},
		{"two faults", "x\nalice " + hash + "\ny", "", "line 3"},
		{"too many", manyTokens(tokensMost+1, hash), "", "over 1000 tokens"},
		{"too long", strings.Repeat("#", tokenFileBytes+1), "", "over 1048576 bytes"},
	} {
		keys, err := parseTokens(strings.NewReader(test.text), true)
		var got []string
		for _, k := range keys {
			if !k.Writes || hex.EncodeToString(k.Hash[:]) != strings.Repeat("ab", 32) {
				t.Errorf("%s: got %+v, want the hash and writes", test.name, k)
			}
			got = append(got, fmt.Sprintf("%s %d/%d", k.Name, k.Quota.Units, k.Quota.Seconds))
		}
		switch {
		case test.fault == "" && (err != nil || strings.Join(got, ", ") != test.want):
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
			t.Errorf("%s: got error %v, want one with %q", test.name, err, test.fault)
		case err != nil && (strings.Contains(err.Error(), "CANARY") && strings.Contains(test.name, "itself") || strings.Contains(err.Error(), "\x1b")):
			t.Errorf("%s: the error repeats what it shouldn't: %v", test.name, err)
		}
	}
}

func manyTokens(n int, hash string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d %s\n", i, hash)
	}
	return b.String()
}

// TestTokenNew: what is printed is the token whose hash is in the line, each time
// another; a file that others read is refused.
func TestTokenNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	ask := func(args ...string) (string, int) {
		var out, said bytes.Buffer
		status := run(t.Context(), append([]string{"token", "new"}, args...), &program{in: strings.NewReader(""), out: &out, err: &said, getenv: func(string) string { return "" }})
		return out.String(), status
	}
	out, status := ask("alice", "--quota", "600/60")
	lines := regexp.MustCompile(`^(metaim_[A-Z2-7]{52})\nalice sha256:([0-9a-f]{64}) 600/60\n$`).FindStringSubmatch(out)
	if status != exitDone || lines == nil {
		t.Fatalf("got %q, status %d, want a token and its line", out, status)
	}
	if sum := sha256.Sum256([]byte(lines[1])); hex.EncodeToString(sum[:]) != lines[2] {
		t.Errorf("got hash %s, want that of the token", lines[2])
	}
	first, status := ask("bob", "--append", path)
	second, again := ask("carol", "--append", path)
	if status != exitDone || again != exitDone || first == second || strings.Count(first, "\n") != 1 {
		t.Errorf("appended: got %q and %q, want two tokens", first, second)
	}
	keys, err := readTokens(path, false)
	if err != nil || len(keys) != 2 || keys[1].Hash != sha256.Sum256([]byte(strings.TrimSpace(second))) || keys[1].Quota != (client.Quota{}) {
		t.Errorf("read again: got %+v, %v, want bob and carol", keys, err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"bad name", "--append", path}, {"dave", "--quota", "1", "--append", path}} {
		if _, status := ask(args...); status != exitUsage {
			t.Errorf("%q: got status %d, want %d", args, status, exitUsage)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, status := ask("eve", "--append", path); status != exitFailed || out != "" {
		t.Errorf("a file that others read: got %q, status %d, want %d", out, status, exitFailed)
	}
	if _, err := readTokens(path, true); err == nil {
		t.Error("a file that others read is taken by a server")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("what was refused changed the file: %q, %v", after, err)
	}
}

func TestPrefixSettings(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
		fault            bool
	}{
		{"an address", "192.0.2.1", "[192.0.2.1/32]", false},
		{"prefixes", "10.0.0.0/8,2001:db8::/32", "[10.0.0.0/8 2001:db8::/32]", false},
		{"not at its border", "10.1.2.3/8", "[10.0.0.0/8]", false},
		{"nothing", "", "[]", false},
		{"a name", "proxy", "", true},
		{"too many bits", "10.0.0.0/33", "", true},
	} {
		got, err := prefixes(test.text)
		if (err != nil) != test.fault || err == nil && fmt.Sprint(got) != test.want {
			t.Errorf("%s: got %v, %v, want %s", test.name, got, err, test.want)
		}
	}
	g := &guard{proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for from, want := range map[string]bool{"127.0.0.1": true, "::1": true, "192.0.2.7": true, "198.51.100.1": false} {
		if got := g.exempt(netip.MustParseAddr(from)); got != want {
			t.Errorf("%s: got exempt %v, want %v", from, got, want)
		}
	}
	g.loopback = true
	if g.exempt(netip.MustParseAddr("127.0.0.1")) {
		t.Error("with limit-loopback: loopback is exempt")
	}
}
