//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package signer

import (
	"errors"
	"io/fs"
	"os"
)

// tryLock creates the lock file, or fails with errHeld when it is there. Where
// no kernel lock is known, a process that was killed leaves its file behind: its
// user removes it.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, privateFile)
	if errors.Is(err, fs.ErrExist) {
		return nil, errHeld
	}
	return f, err
}

func releaseLock(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }
