package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsOrder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "metaim.toml")
	if err := os.WriteFile(file, []byte("server = \"http://file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, flag, variable, file, value, origin string
	}{
		{"nothing", "", "", "", defaultServer, fromDefault},
		{"file", "", "", file, "http://file", file + ":1"},
		{"environment and file", "", "http://env", file, "http://env", "METAIM_SERVER"},
		{"all", "http://flag", "http://env", file, "http://flag", fromFlag},
		{"flag alone", "http://flag", "", "", "http://flag", fromFlag},
	} {
		p, out, errs := testProgram(map[string]string{"METAIM_SERVER": tt.variable, "METAIM_CONFIG": tt.file, "XDG_CONFIG_HOME": t.TempDir()})
		args := []string{"config", "--json"}
		if tt.flag != "" {
			args = append(args, "--server", tt.flag)
		}
		if got := run(t.Context(), args, p); got != exitDone {
			t.Fatalf("%s: status %d: %s", tt.name, got, errs)
		}
		want := `{"setting":"server","value":"` + tt.value + `","from":"` + tt.origin + `"`
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: got %s, want %s", tt.name, out, want)
		}
	}
}

func TestParseSettings(t *testing.T) {
	for _, tt := range []struct{ name, text, says string }{
		{"empty", "", ""},
		{"good", "# x\nnetwork = \"test\"\npeer = [\"a:1\"]\n", ""},
		{"a list as one text", "origins = \"a,b\"\n", ""},
		{"unknown, near", "\n\nnetworks = \"test\"", `f:3: there is no setting "networks": is it "network"?`},
		{"unknown, as the variable", "METAIM_SERVER = \"x\"", `is it "server"?`},
		{"unknown, with an underscore", "node_rpc = \"x\"", `is it "node-rpc"?`},
		{"unknown, far", "xyzzy = 1", `f:1: there is no setting "xyzzy"`},
		{"a table", "[server]\nurl = 1", "f:1: server is a text in quotes, not a table"},
		{"dotted", "server.url = 1", "f:1: server is a text in quotes, not a table"},
		{"a number in a list", "peer = [1]", "f:1: peer is a text in quotes, or a list of them, not a list"},
		{"true", "home = true", "not true or false"},
		{"a date", "home = 2020-01-01", "f:1: home is"},
		{"a wrong value", "log = \"loud\"", `f:1: log level "loud" is none of`},
		{"profiles for everyone", "pprof = \"0.0.0.0:1\"", "is not on loopback"},
		{"a secret", "passphrase = \"x\"", "doesn't belong in this file"},
		{"twice", "log = \"info\"\nlog = \"warn\"", "f:2: "},
		{"no TOML", "hello", "f:1: "},
		{"an escape sequence as a key", "\"\\u001b[2J\" = 1", "there is no setting"},
		{"not UTF-8", "home = \"\xff\"", "f:1: "},
	} {
		values, err := parseSettings("f", tt.text)
		var usage usageError
		switch {
		case tt.says == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.says == "":
		case err == nil || !strings.Contains(err.Error(), tt.says) || !errors.As(err, &usage):
			t.Errorf("%s: got %v with %v, want %q", tt.name, values, err, tt.says)
		case strings.Contains(err.Error(), "\x1b"):
			t.Errorf("%s: an escape sequence is in %q", tt.name, err)
		}
	}
}

// TestSettingsTable: nothing is in the table twice, and every flag of a setting,
// of any command, is in it.
func TestSettingsTable(t *testing.T) {
	known := map[string]string{}
	for _, s := range settings() {
		if known[s.flag] != "" || s.usage == "" || !strings.HasPrefix(s.variable, "METAIM_") {
			t.Errorf("setting %q: variable %q, usage %q, or it is there twice", s.flag, s.variable, s.usage)
		}
		known[s.flag] = s.variable
		if err := s.refuse(s.fallback); err != nil {
			t.Errorf("setting %q refuses its own default: %v", s.flag, err)
		}
	}
	p, _, _ := testProgram(nil)
	for _, c := range everyCommand(newRoot(p)) {
		for _, name := range []string{"network", "server", "home", "devnet", "store", "source", "zmq", "peer", "node-rpc", "devnet-dir", "log", "origins", "pprof", "listen"} {
			f := c.Flags().Lookup(name)
			if f != nil && f.Annotations[asSetting] != nil && f.Annotations[asSetting][0] != known[name] {
				t.Errorf("%s --%s: variable %v, want %q", c.CommandPath(), name, f.Annotations[asSetting], known[name])
			}
		}
	}
}
