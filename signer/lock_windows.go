package signer

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// The locked byte lies far behind the text, which others may then still read:
// locks of Windows bind readers too.
const lockOffset = 1 << 30

// tryLock opens and locks a lock file, or fails with errHeld. The kernel drops
// the lock when the process ends, however it ends.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return nil, err
	}
	at := windows.Overlapped{Offset: lockOffset}
	const how = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, &at)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		err = errHeld
	}
	f.Close()
	return nil, err
}

func releaseLock(f *os.File) error { return f.Close() }
