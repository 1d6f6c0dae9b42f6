package signer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A LockError says that another process, or another part of this one, has a
// file in use.
type LockError struct {
	Path   string // of the file in use
	Holder string // who holds it, as it says itself; may be empty
	Err    error  // why waiting ended
}

func (e *LockError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("%s is in use by %s: close it first, or wait", e.Path, holder)
}

func (e *LockError) Unwrap() error { return e.Err }

// errHeld is what tryLock returns when someone else holds the lock.
var errHeld = errors.New("lock is held")

const (
	lockPoll      = 25 * time.Millisecond
	longestHolder = 200 // bytes shown of what a holder says of itself
)

// lockFile takes the lock of a file, path with ".lock" after it, and waits for
// it until ctx ends: it then fails with a *LockError that names the holder. The
// lock ends with the process at the latest.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	name := path + ".lock"
	for {
		f, err := tryLock(name)
		if err == nil {
			return holdLock(f)
		}
		if !errors.Is(err, errHeld) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, &LockError{Path: path, Holder: readHolder(name), Err: ctx.Err()}
		case <-time.After(lockPoll):
		}
	}
}

// holdLock writes into the lock file who holds it, for who waits.
func holdLock(f *os.File) (unlock func() error, err error) {
	holder := fmt.Sprintf("process %d (%s) since %s", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(holder+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(err, releaseLock(f))
	}
	return func() error { return errors.Join(f.Truncate(0), releaseLock(f)) }, nil
}

// readHolder reads who holds a lock. It is shown to people, so it must be one
// printable line.
func readHolder(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, longestHolder))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line)
}
