package devnet

import "errors"

// errLocked says that another process holds a lock.
var errLocked = errors.New("another process holds the lock")
