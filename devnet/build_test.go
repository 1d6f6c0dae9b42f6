//go:build unix

package devnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeGo puts a program called go into an otherwise empty PATH. It counts how
// often it runs, and builds a file that says "built".
func fakeGo(t *testing.T, script string) (ran func() int) {
	t.Helper()
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	text := "#!/bin/sh\necho x >> " + count + "\n" + script
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	return func() int {
		b, err := os.ReadFile(count)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte("x"))
	}
}

func TestBuildOnce(t *testing.T) {
	// The arguments are: build -o FILE PACKAGE.
	ran := fakeGo(t, `test -s go.mod && test -s go.sum && sleep 0.1 && echo built > "$3"`)
	folder := t.TempDir()
	var wg sync.WaitGroup
	paths := make([]string, 5)
	for i := range paths {
		wg.Go(func() {
			path, err := buildIn(t.Context(), folder, io.Discard)
			if err != nil {
				t.Error(err)
			}
			paths[i] = path
		})
	}
	wg.Wait()
	for _, path := range paths {
		if text, err := os.ReadFile(path); err != nil || string(text) != "built\n" {
			t.Errorf("%s holds %q (%v), want \"built\"", path, text, err)
		}
	}
	if got := ran(); got != 1 {
		t.Errorf("five builders ran go %d times, want once", got)
	}
	left, err := filepath.Glob(filepath.Join(folder, "*.new"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

func TestBuildFails(t *testing.T) {
	t.Run("compiler fails", func(t *testing.T) {
		fakeGo(t, "echo no network >&2; exit 1")
		_, err := buildIn(t.Context(), t.TempDir(), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "build bsvd: exit status 1: no network") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no go", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := buildIn(t.Context(), t.TempDir(), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "install Go") || !strings.Contains(err.Error(), BinaryVariable) {
			t.Errorf("got %v, want what to do", err)
		}
	})
	t.Run("told to stop", func(t *testing.T) {
		fakeGo(t, "exec sleep 60")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := buildIn(ctx, t.TempDir(), io.Discard); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestReadyBinary(t *testing.T) {
	dir := t.TempDir()
	program, text := filepath.Join(dir, "bsvd"), filepath.Join(dir, "text")
	if err := errors.Join(os.WriteFile(program, nil, 0o755), os.WriteFile(text, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		ok         bool
	}{
		{"program", program, true},
		{"no program", text, false},
		{"folder", dir, false},
		{"nothing", filepath.Join(dir, "none"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(BinaryVariable, tt.path)
			got, err := Build(t.Context(), io.Discard)
			if (err == nil) != tt.ok || tt.ok && got != tt.path {
				t.Errorf("got %q, %v; want ok %t", got, err, tt.ok)
			}
		})
	}
}
