package load

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Go's monotonic clock is the kernel's, counted from another beginning, and
// reading it needs no system call.
var (
	started   = time.Now()
	startedAt = kernelNow()
)

// Now is the time since the machine started, in nanoseconds: the same clock
// (CLOCK_MONOTONIC) in every process.
func Now() int64 { return startedAt + int64(time.Since(started)) }

func kernelNow() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // Linux has had this clock since 2.6
	}
	return t.Nano()
}

// sleepUntil sleeps by the kernel's timer: Go's rounds up to milliseconds.
func sleepUntil(at int64) {
	for t := unix.NsecToTimespec(at); Now() < at; {
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
