//go:build !linux

package load

import "time"

// Now is the time in nanoseconds, by a clock that every process shares.
func Now() int64 { return time.Now().UnixNano() }

func sleepUntil(at int64) { time.Sleep(time.Duration(at - Now())) }
