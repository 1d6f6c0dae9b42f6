package devnet

import (
	"errors"
	"syscall"
)

// errSharing is ERROR_SHARING_VIOLATION: another process has the file open.
const errSharing = syscall.Errno(32)

// lockFile takes a lock that ends with unlock or with this process, however it
// ends: the file is opened shared with nobody. It fails with errLocked while
// another holds it.
func lockFile(path string) (unlock func(), err error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errSharing):
		return nil, errLocked
	case err != nil:
		return nil, err
	}
	return func() { _ = syscall.CloseHandle(h) }, nil // the process's end would do it, too
}
