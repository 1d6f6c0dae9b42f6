package signer

import "context"

// LockFile takes the lock of a file that only its owner may reach, path with
// ".lock" after it, for who keeps a file beside the coins. It waits until ctx
// ends, then fails with a *LockError that says who holds it. The lock ends with
// the process at the latest.
func LockFile(ctx context.Context, path string) (unlock func() error, err error) {
	return lockFile(ctx, path)
}

// ReplaceFile puts a new file of mode 0600 in the place of path, whole or not at
// all, and durably.
func ReplaceFile(path string, content []byte) error { return replaceFile(path, writing(content)) }

// ReadPrivate reads a file of at most limit bytes. It fails with a *ModeError when
// others can reach the file.
func ReadPrivate(path string, limit int64) ([]byte, error) { return readPrivate(path, limit) }
