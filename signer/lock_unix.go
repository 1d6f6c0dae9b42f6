//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package signer

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock opens and locks a lock file, or fails with errHeld. The kernel drops
// the lock when the process ends, however it ends.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = errHeld
	}
	f.Close()
	return nil, err
}

// releaseLock unlocks by closing. The file stays: removing it would let two
// processes lock two files of one name.
func releaseLock(f *os.File) error { return f.Close() }
