package main

import (
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
)

func TestJudgeClock(t *testing.T) {
	median := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name    string
		now     time.Time
		network frame.Network
		state   string
		says    string
	}{
		{"an hour after it, as is usual", median.Add(time.Hour), frame.Main, stateOK, "agrees"},
		{"a little before it", median.Add(-time.Hour), frame.Main, stateOK, "agrees"},
		{"a day late", median.Add(-24 * time.Hour), frame.Main, stateFail, "24 hours behind the chain's median time"},
		{"a day late on regtest", median.Add(-24 * time.Hour), frame.Regtest, stateFail, "24 hours behind"},
		{"a day ahead", median.Add(25 * time.Hour), frame.Main, stateFail, "25 hours ahead"},
		{"nothing mined on regtest for a week", median.Add(7 * 24 * time.Hour), frame.Regtest, stateOK, "7 days old"},
		{"a median time from the end of time", time.Unix(1<<40, 0), frame.Main, stateFail, "ahead"},
	} {
		state, try, says := judgeClock(c.now, median, c.network)
		if state != c.state || !strings.Contains(says, c.says) || (state != stateOK) != (try != "") {
			t.Errorf("%s: got %s %q (try %q), want %s %q", c.name, state, says, try, c.state, c.says)
		}
	}
}

func TestOneName(t *testing.T) {
	const now = 1_800_000_000
	day := int64(24 * 60 * 60)
	for _, c := range []struct {
		name       string
		n          client.Name
		held, soon int
		says       string
	}{
		{"a year left", client.Name{Name: "alice", State: client.NameValid, ExpiresAt: now + 365*day}, 1, 0, ""},
		{"ten days left", client.Name{Name: "alice", State: client.NameValid, ExpiresAt: now + 10*day}, 1, 1, `the name "alice" expires in 10 days`},
		{"overdue by the block to come", client.Name{Name: "alice", State: client.NameValid, ExpiresAt: now - 5}, 1, 1, `expires in 0 seconds`},
		{"expired", client.Name{Name: "alice", State: client.NameExpired, ExpiresAt: now - day}, 0, 0, ""},
		{"never", client.Name{Name: "alice", State: client.NameValid, ExpiresAt: 1<<63 - 1}, 1, 0, ""},
		{"a server that lies", client.Name{Name: "a'; rm -rf /\x1b[2J", State: client.NameValid, ExpiresAt: -1 << 62}, 1, 1, "expires in"},
	} {
		d := &doctor{}
		held, soon := d.oneName(c.n, "my key", now)
		if held != c.held || soon != c.soon {
			t.Errorf("%s: got %d held, %d soon; want %d, %d", c.name, held, soon, c.held, c.soon)
		}
		says := ""
		for _, f := range d.found {
			says += f.Says + f.Try
			if strings.ContainsRune(f.Says+f.Try, 0x1b) {
				t.Errorf("%s: a control character reaches the terminal: %q", c.name, f)
			}
		}
		if !strings.Contains(says, c.says) || (says == "") != (c.says == "") {
			t.Errorf("%s: got %q, want %q", c.name, says, c.says)
		}
	}
}

func TestShellWord(t *testing.T) {
	for given, want := range map[string]string{
		"alice": "alice", "/a/b-c_d.e": "/a/b-c_d.e", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(rm x)": "'$(rm x)'", "\x1b[2J": "'\x1b[2J'",
	} {
		if got := shellWord(given); got != want {
			t.Errorf("%q: got %s, want %s", given, got, want)
		}
	}
}
