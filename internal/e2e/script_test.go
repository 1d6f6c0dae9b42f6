package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// TestScripts runs testdata/*.txtar: the command line as a user types it, with a
// devnet and a server that all scripts share. Each script has a folder of its own
// with the keys alice, bob and poor, whose addresses stand in $ALICE, $BOB and
// $POOR; $BOB_TYPO is mistyped, $BOB_MAIN is bob's on mainnet.
//
// Beside the commands of testscript there are
//
//	exits STATUS PROGRAM ARGS...  what exec does, and the exit status is this one
//	until PATTERN FILE PROGRAM ARGS...  run until standard output matches, then
//	                              interrupt, which must end it with status 0; both
//	                              outputs are in FILE
//	digest DIR FILE               write names and digests of all files in DIR to FILE
//	fill FILE BYTES               make a file of so many bytes
//	id FILE NAME                  set a variable to the first "id" in a file
func TestScripts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "devnet")
	local := startDevnet(t, dir)
	s := serve(t, "--devnet-dir", dir)
	s.awaitReady()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return setUp(env, s.url, local.control) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "digest": digest, "fill": fill, "id": id,
		},
	})
}

// setUp gives a script its environment.
func setUp(env *testscript.Env, server, control string) error {
	path, err := plain()
	if err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("METAIM_HOME", home)
	env.Setenv("METAIM_PASSPHRASE", passphrase)
	env.Setenv("METAIM_NETWORK", "regtest")
	env.Setenv("METAIM_SERVER", server)
	env.Setenv("METAIM_DEVNET", control)
	store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 10}
	for _, label := range []string{"alice", "bob", "poor"} {
		key := signer.NewKey()
		if _, err := store.Add(env.T().(testing.TB).Context(), passphrase, label, key); err != nil {
			return err
		}
		env.Setenv(strings.ToUpper(label), key.Address(frame.Regtest))
		if label == "bob" {
			env.Setenv("BOB_TYPO", mistype(key.Address(frame.Regtest)))
			env.Setenv("BOB_MAIN", key.Address(frame.Main))
		}
	}
	return nil
}

// mistype changes one letter of an address.
func mistype(address string) string {
	b := []byte(address)
	if b[10]++; b[10] > 'y' || b[10] == '0'+10 || b[10] == 'Z'+1 || b[10] == 'I' || b[10] == 'O' || b[10] == 'l' {
		b[10] = '2'
	}
	return string(b)
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS...")
	}
	got := 0
	var failed *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%v ended with status %d, want %d", args[1:], got, want)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until PATTERN FILE PROGRAM ARGS...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	cmd := exec.Command(args[2], args[3:]...)
	if args[2] == "metaim" {
		path, err := plain()
		ts.Check(err)
		cmd.Path, cmd.Err = path, nil
	}
	out := &transcript{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), out, out
	cmd.Env = scriptEnvironment(ts)
	dieWithUs(cmd)
	ts.Check(cmd.Start())
	deadline := time.Now().Add(patience)
	for !re.MatchString(out.String()) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	err = cmd.Wait()
	if !re.MatchString(out.String()) {
		ts.Fatalf("%v doesn't say %q within %s but\n%s", args[2:], args[0], patience, out)
	}
	if err != nil {
		ts.Fatalf("%v, interrupted, ended with %v", args[2:], err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o600))
}

// scriptEnvironment returns what of a script's environment metaim reads.
func scriptEnvironment(ts *testscript.TestScript) []string {
	env := environment()
	for _, name := range []string{"METAIM_HOME", "METAIM_PASSPHRASE", "METAIM_NETWORK", "METAIM_SERVER", "METAIM_DEVNET"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return append(env, cacheOf(ts.Getenv("WORK")))
}

func digest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: digest DIR FILE")
	}
	var list bytes.Buffer
	root := ts.MkAbs(args[0])
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		fmt.Fprintf(&list, "%s %x\n", name, sha256.Sum256(text))
		return err
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), list.Bytes(), 0o600))
}

func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fill FILE BYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("x"), n), 0o600))
}

var idField = regexp.MustCompile(`"id":"([0-9a-f]{64})"`)

func id(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: id FILE NAME")
	}
	found := idField.FindStringSubmatch(ts.ReadFile(args[0]))
	if found == nil {
		ts.Fatalf("%s has no id", args[0])
	}
	ts.Setenv(args[1], found[1])
}
