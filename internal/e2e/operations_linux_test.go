package e2e

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/internal/testpg"
)

// An operator follows docs/operations.md on a machine whose folders lie in one of
// their own and whose systemd is the operator: the programs are the real ones.
type operator struct {
	*dynasty
	t      *testing.T
	node   *devnet.Node
	work   string            // folder to be in
	places *strings.Replacer // from the document's machine to this one
	serves bool
	pg     *testpg.Server
	env    []string        // of PostgreSQL's programs
	did    map[string]bool // commands, by their first words
}

// TestOperations runs the commands of docs/operations.md that are for the machine's
// owner: installing, upgrading, backups and moving. The index says the same after each,
// and a copy what the original did.
func TestOperations(t *testing.T) {
	t.Parallel()
	machine := t.TempDir()
	o := &operator{t: t, node: testnode.Start(t), work: filepath.Join(machine, "work"), did: map[string]bool{}}
	for _, dir := range []string{"work", "usr/bin", "etc/systemd/system", "var/lib/metaim", "srv/backup"} {
		if err := os.MkdirAll(filepath.Join(machine, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := filepath.Abs(root())
	if err != nil {
		t.Fatal(err)
	}
	o.places = strings.NewReplacer("/usr/bin/", machine+"/usr/bin/", "/etc/", machine+"/etc/", "/var/lib/metaim/", machine+"/var/lib/metaim/",
		"/srv/backup/", machine+"/srv/backup/", "bin/metaim", plainProgram(t), "deploy/", filepath.Join(tree, "deploy")+"/")
	store := "sqlite:" + filepath.Join(machine, "var/lib/metaim/index-main.db")
	o.dynasty = newDynasty(t, filepath.Join(machine, "usr/bin"), store, following(o.node))
	t.Cleanup(func() {
		if o.serves {
			o.end()
		}
	})

	author := newAuthor(t)
	author.fund(o.node)
	submit(t, author.register("alice").raw, o.node)
	submit(t, author.message("", "kept by every copy", author.hash()).raw, o.node)
	testnode.Mine(t, o.node, 1)
	postgres := o.database()
	for _, l := range docLines(t) {
		if l.file != filepath.Join("docs", "operations.md") {
			continue
		}
		if command, ok := strings.CutPrefix(l.text, "sudo "); ok {
			o.run(l, strings.Fields(command))
		} else if strings.HasPrefix(l.text, "metaim config init") {
			o.program(exec.Command(plainProgram(t), strings.Fields(l.text)[1:]...))
		}
	}
	for _, what := range []string{"install", "systemctl enable", "systemctl reload", "systemctl stop", "systemctl start", "journalctl", "cp", "pg_dump", "pg_restore"} {
		if !o.did[what] {
			t.Errorf("docs/operations.md doesn't say %s any more", what)
		}
	}
	want := o.info()
	for name, store := range map[string]string{"the copy of the SQLite index": "sqlite:" + o.places.Replace("/srv/backup/index-main.db"), "the restored database": postgres} {
		if got := o.state(store); got != want.StateHash {
			t.Errorf("%s: got state %s, want %s", name, got, want.StateHash)
		}
	}
}

// run carries out a command of the document.
func (o *operator) run(l docLine, words []string) {
	o.t.Helper()
	if len(words) > 2 && words[0] == "-u" {
		words = words[2:]
	}
	for i := range words[1:] {
		words[1+i] = o.places.Replace(words[1+i])
	}
	what := words[0]
	switch what {
	case "systemctl":
		what += " " + words[1]
		o.systemctl(l, words[1])
	case "journalctl":
		if said := o.said(); !strings.Contains(said, "a new process has taken over") {
			o.t.Errorf("%s: the log says\n%s", l, said)
		}
	case "pg_restore":
		o.program(exec.Command(o.pg.Program("dropdb"), "metaim")) // the machine that one moves to has none
		fallthrough
	case "pg_dump":
		o.program(exec.Command(o.pg.Program(words[0]), words[1:]...))
	case "install", "cp":
		o.program(exec.Command(words[0], words[1:]...))
	default:
		o.t.Errorf("%s: nobody here knows how to do that", l)
	}
	o.did[what] = true
}

// systemctl does what systemd would, and looks at the index.
func (o *operator) systemctl(l docLine, verb string) {
	o.t.Helper()
	switch verb {
	case "enable", "start":
		args := append([]string{"--config", o.places.Replace("/etc/metaim/metaim.toml")}, o.follow...)
		o.begin(args...)
		o.serves = true
	case "stop":
		o.end()
		o.serves = false
		return
	case "reload":
		o.succeed()
		o.awaitEnd(o.past[len(o.past)-1])
	default:
		o.t.Errorf("%s: nobody here knows how to do that", l)
	}
	o.awaitTip(o.node)
}

// program runs a program to its end.
func (o *operator) program(cmd *exec.Cmd) {
	o.t.Helper()
	cmd.Dir, cmd.Env = o.work, environment(o.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// database fills the database that the document dumps, on a server of its own, and
// returns its URL.
func (o *operator) database() string {
	o.t.Helper()
	o.pg = testpg.Start(o.t)
	u, err := url.Parse(o.pg.URL(o.t))
	if err != nil {
		o.t.Fatal(err)
	}
	o.env = []string{"PGHOST=" + u.Query().Get("host"), "PGUSER=" + u.Query().Get("user")}
	o.program(exec.Command(o.pg.Program("createdb"), "metaim"))
	u.Path = "/metaim"
	filled := serveOn(o.t, u.String(), following(o.node)...)
	filled.awaitTip(o.node)
	if err := filled.stop(); err != nil {
		o.t.Fatal(err)
	}
	return u.String()
}

// state asks an index that nobody writes for its state hash.
func (o *operator) state(store string) string {
	o.t.Helper()
	cmd := exec.Command(plainProgram(o.t), "state", "--json", "--network", "regtest", "--store", store)
	cmd.Env = environment()
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var said struct {
		StateHash string `json:"state_hash"`
	}
	if err = errors.Join(err, json.Unmarshal(out, &said)); err != nil || slices.Contains([]string{"", strings.Repeat("0", 64)}, said.StateHash) {
		o.t.Fatalf("%s: %v\n%s%s", cmd, err, out, complaint.String())
	}
	return said.StateHash
}
