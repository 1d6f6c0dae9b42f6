//go:build linux || darwin

package main

import "syscall"

// freeBytes returns the bytes that a user may still write to the disk of a folder.
func freeBytes(folder string) (free uint64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil || s.Bsize <= 0 {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}

// mostFiles returns how many file descriptors this process may have.
func mostFiles() (most uint64, ok bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Cur), true
}
