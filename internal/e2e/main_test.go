package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/devnet"
)

// patience is how long anything may take. It is much longer than it takes on a
// machine that does nothing else.
const patience = 45 * time.Second

// built is the folder of the programs, nil when no test needed one.
var built atomic.Pointer[string]

func TestMain(m *testing.M) {
	status := m.Run()
	if dir := built.Load(); dir != nil {
		if err := os.RemoveAll(*dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// build builds the program once, with the race detector if the tests have it.
// plain builds it without: under the race detector each passphrase costs seconds,
// so that lines which are typed one after the other are tried with this one.
var (
	build = sync.OnceValues(func() (string, error) { return buildAs("race", raceEnabled) })
	plain = sync.OnceValues(func() (string, error) {
		if !raceEnabled {
			return build()
		}
		return buildAs("plain", false)
	})
	folder = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "metaim-e2e-")
		built.Store(&dir)
		return dir, err
	})
)

// buildAs builds the program into a folder of its own, which can stand in PATH.
func buildAs(name string, race bool) (string, error) {
	dir, err := folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name, "metaim")
	args := []string{"build", "-o", path, fmt.Sprintf("-race=%t", race), "./cmd/metaim"}
	cmd := exec.Command("go", args...)
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return path, nil
}

// root is the folder of the module: tests run in that of their package.
func root() string { return filepath.Join("..", "..") }

// program returns the path of the built program.
func program(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// plainProgram is program without the race detector.
func plainProgram(t testing.TB) string {
	t.Helper()
	path, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// bsvd returns the path of the node's program.
func bsvd(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	path, err := devnet.Build(ctx, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// rounds is how often a test repeats what depends on chance.
func rounds(usual, long int) int {
	if os.Getenv("METAIM_LONG") == "1" {
		return long
	}
	return usual
}

// await asks again and again until nothing is missing, or fails the test with
// what still is.
func await(t testing.TB, missing func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		what := missing()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %s", patience, what)
		}
	}
}

// within returns a context that ends before the test is given up.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
