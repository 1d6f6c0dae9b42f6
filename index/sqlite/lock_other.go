//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sqlite

// A lockFile does nothing on systems without flock. SQLite still lets one
// connection write at a time; that only one process writes is for whoever runs
// it there to see to.
type lockFile struct{}

func acquire(string) (*lockFile, error) { return &lockFile{}, nil }

func (l *lockFile) release() error { return nil }
