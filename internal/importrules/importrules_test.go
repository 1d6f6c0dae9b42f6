// Package importrules holds the picture of docs/architecture.md as a test: a
// package imports lower floors only.
package importrules

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/metaim/metaim/"

// floors is the picture. A package that isn't named here has no place yet: give
// it one.
var floors = []struct {
	what     string
	packages []string
}{
	{"bytes", []string{"internal/handover", "improtocol/frame", "migrations", "internal/safetext"}},
	{"rules, hashes", []string{"improtocol", "nprotocol", "chainwatch/doublesha", "bench/measure"}},
	{"seals", []string{"improtocol/seal"}},
	{"signs, judges", []string{"signer", "index", "api/client", "internal/noderpc", "internal/junglebus", "internal/woc", "chainwatch/service"}},
	{"packs", []string{"index/rows"}},
	{"follows, stores, submits", []string{"chainwatch", "index/indextest", "index/memory", "index/postgres", "index/sqlite",
		"signer/broadcast", "signer/whatsonchain", "signer/junglebus", "internal/testpg"}},
	{"proves", []string{"proof"}},
	{"talks to the outside", []string{"api", "messenger", "devnet", "internal/door", "chainwatch/p2p", "chainwatch/node", "chainwatch/blockfile", "chainwatch/junglebus", "chainwatch/whatsonchain", "internal/simchain"}},
	{"helps to try", []string{"internal/testnode", "internal/testarc", "internal/simulate", "bench/load"}},
	{"shows conversations, counts", []string{"chat", "metrics"}},
	{"measures, tries the whole", []string{"bench", "bench/soak", "internal/e2e", "internal/interop", "internal/reliability", "chainwatch/sourcetest", "internal/simulate/run"}},
	{"picks, wires, exits", []string{"cmd/metaim", "docs/guide/bot"}},
	{"checks the house", []string{"internal/importrules", "internal/release"}},
}

// never lists imports that a floor would allow and the house doesn't.
var never = []struct{ from, to, why string }{
	{"api", "index/sqlite", "api knows no store: it declares what it reads"},
	{"api", "index/postgres", "api knows no store: it declares what it reads"},
	{"api", "signer", "api knows no key"},
	{"api", "improtocol/seal", "messages are opened where the key is, never on a server"},
	{"internal/simulate", "internal/testnode", "the simulator needs no node"},
	{"chainwatch", "index/sqlite", "chainwatch knows no store"},
	{"chainwatch", "index/postgres", "chainwatch knows no store"},
	{"devnet", "index", "devnet is a node and no more"},
	{"index", "signer", "the judge knows no private key"},
	{"chat", "signer", "chat is given what opens and what sends: it holds no key"},
}

// pure packages do no input or output and ask no clock.
var pure = map[string][]string{
	"improtocol/frame": {"os", "net", "net/http", "time", "log/slog", "database/sql"},
	"improtocol":       {"os", "net", "net/http", "time", "log/slog", "database/sql"},
	"improtocol/seal":  {"os", "net", "net/http", "time", "log/slog", "database/sql"},
	"nprotocol":        {"os", "net", "net/http", "time", "log/slog", "database/sql"},
	"index/rows":       {"os", "net", "net/http", "time", "database/sql", "math/rand", "math/rand/v2"},
	"index":            {"os", "net", "net/http", "time", "database/sql", "math/rand", "math/rand/v2"},
}

func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found", len(all))
	}
	return all
}

func TestFloors(t *testing.T) {
	floor := map[string]int{}
	for i, f := range floors {
		for _, p := range f.packages {
			floor[p] = i
		}
	}
	for p, imported := range imports(t) {
		mine, ok := floor[p]
		if !ok {
			t.Errorf("%s stands on no floor: give it a place in importrules and docs/architecture.md", p)
			continue
		}
		for _, path := range imported {
			to, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if theirs, ok := floor[to]; ok && theirs >= mine {
				t.Errorf("%s (%s) imports %s (%s): a package imports lower floors only", p, floors[mine].what, to, floors[theirs].what)
			}
		}
	}
}

func TestNever(t *testing.T) {
	all := imports(t)
	for _, rule := range never {
		for _, path := range all[rule.from] {
			if path == module+rule.to {
				t.Errorf("%s imports %s: %s", rule.from, rule.to, rule.why)
			}
		}
	}
}

func TestPure(t *testing.T) {
	all := imports(t)
	for p, banned := range pure {
		if len(all[p]) == 0 {
			t.Errorf("%s imports nothing, or isn't there", p)
		}
		for _, path := range all[p] {
			for _, b := range banned {
				if path == b {
					t.Errorf("%s imports %s: it is pure", p, b)
				}
			}
		}
	}
}
