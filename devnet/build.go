package devnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // bsvd.mod and bsvd.sum
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/metaim/metaim/internal/noderpc"
)

// BinaryVariable is the environment variable that names a ready bsvd binary.
const BinaryVariable = "METAIM_BSVD"

const bsvdPackage = "github.com/bitcoinsv/bsvd"

// bsvd has no go.mod of its own: these pin it and all it needs, exactly.
var (
	//go:embed bsvd.mod
	bsvdMod []byte
	//go:embed bsvd.sum
	bsvdSum []byte
)

// Build returns the path of a bsvd binary: the one that METAIM_BSVD names, or
// one that was built from the pinned modules, kept in the user's cache folder. The
// first time takes half a minute and needs Go and its module proxy; Build says so
// on logw. Any number of processes may build at once: one does, the others wait.
func Build(ctx context.Context, logw io.Writer) (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		return ready(path)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the bsvd binary: %w", err)
	}
	return buildIn(ctx, filepath.Join(cache, "metaim"), logw)
}

// ready checks that a path names a program.
func ready(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", BinaryVariable, err)
	case !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s: %s is no program", BinaryVariable, path)
	}
	return filepath.Abs(path)
}

// binaryName is different for each set of pinned modules.
func binaryName() string {
	sum := sha256.Sum256(append(bytes.Clone(bsvdMod), bsvdSum...))
	name := fmt.Sprintf("bsvd-%s-%s-%x", runtime.GOOS, runtime.GOARCH, sum[:6])
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return name
}

func buildIn(ctx context.Context, folder string, logw io.Writer) (string, error) {
	path := filepath.Join(folder, binaryName())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	// #nosec G301 -- a program for everybody
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for the bsvd binary: %w", err)
	}
	unlock, err := waitForLock(ctx, path+".lock")
	if err != nil {
		return "", fmt.Errorf("wait for another process that builds bsvd: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil // built while we waited
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("a local network needs the node bsvd: install Go, with which it is built, or name a binary in %s", BinaryVariable)
	}
	began := time.Now()
	fmt.Fprintln(logw, "building the node bsvd, once: this takes about half a minute")
	if err := build(ctx, tool, path); err != nil {
		return "", fmt.Errorf("build bsvd: %w", err)
	}
	fmt.Fprintf(logw, "built %s in %s\n", path, time.Since(began).Round(time.Second))
	return path, nil
}

// build builds bsvd in a module of its own, made for that, so that it works
// outside a checkout and bsvd's old modules stay out of ours.
func build(ctx context.Context, tool, path string) error {
	module, err := os.MkdirTemp("", "metaim-bsvd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(module)
	err = errors.Join(
		os.WriteFile(filepath.Join(module, "go.mod"), bsvdMod, 0o644), // #nosec G306 -- no secret
		os.WriteFile(filepath.Join(module, "go.sum"), bsvdSum, 0o644)) // #nosec G306 -- no secret
	if err != nil {
		return err
	}
	// Beside its place, so that the renaming is one step on one disk.
	built := path + ".new"
	defer os.Remove(built)
	cmd := exec.CommandContext(ctx, tool, "build", "-o", built, bsvdPackage)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %s", err, noderpc.Clean(string(out)))
	}
	return os.Rename(built, path)
}

// waitForLock takes a lock that another process may hold for a while.
func waitForLock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		unlock, err := lockFile(path)
		if !errors.Is(err, errLocked) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
