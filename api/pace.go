package api

import "time"

// An allowance says when something may be done again that may be done once in so
// often, and so many times at once after a pause. It belongs to one goroutine at
// a time.
type allowance struct{ next time.Time }

// take uses the allowance once and returns for how long to wait before.
func (a *allowance) take(every time.Duration, atOnce int) time.Duration {
	now := time.Now()
	if earliest := now.Add(-every * time.Duration(atOnce)); a.next.Before(earliest) {
		a.next = earliest
	}
	a.next = a.next.Add(every)
	return max(0, a.next.Sub(now))
}

// A connection may ask so many times at once for what can't be, and then once in
// Timing.Fault. What is more is answered late, and nothing is read meanwhile;
// after so many late answers the connection is closed. Who comes back with more
// of it gets little done: he has waited first.
const (
	faultsAtOnce = 50
	faultsLate   = 50
)

// fault takes note of a request that can't be. It tells whether there were too
// many.
func (c *conn) fault() bool {
	wait := c.faults.take(c.server.timing.Fault, faultsAtOnce)
	if wait <= 0 {
		return false
	}
	c.late++
	return c.late > faultsLate || c.wait(wait) != nil
}

// pace waits until the connection may ask for more.
func (c *conn) pace() error {
	perSecond := c.server.limits.Requests
	return c.wait(c.requests.take(time.Second/time.Duration(perSecond), perSecond))
}

func (c *conn) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}
