package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/devnet"
)

// patience is how long anything may take. It is much longer than it takes on a
// machine that does nothing else.
const patience = 45 * time.Second

// built is the folder of the program, or "" when no test needed it.
var built string

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		if err := os.RemoveAll(built); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// build builds the program once, with the race detector if the tests have it.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "metaim-e2e-")
	if err != nil {
		return "", err
	}
	built = dir
	args := []string{"build", "-o", filepath.Join(dir, "metaim")}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/metaim")...)
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return filepath.Join(dir, "metaim"), nil
})

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
