//go:build unix

package api

import (
	"errors"
	"syscall"
)

// writeNow writes to a socket as much as it takes at once.
func writeNow(fd uintptr, out []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), out) //nolint:gosec // that is what a descriptor is here
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		}
		return n, nil
	}
}
