package load

import (
	"context"
	"time"
)

// Pace calls publish for so many messages at a rate a second, 0 for as fast as
// it goes, and returns how long that took. It tells publish when the message was
// due, as Now tells it: a message that is late because the ones before took their
// time keeps the time that it was due, so that who is behind isn't flattered.
func Pace(ctx context.Context, messages, rate int, publish func(i int, sent int64) error) (time.Duration, error) {
	begun := Now()
	for i := range messages {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		sent := Now()
		if rate > 0 {
			sent = begun + int64(i)*int64(time.Second)/int64(rate)
			sleepUntil(sent)
		}
		if err := publish(i, sent); err != nil {
			return 0, err
		}
	}
	return time.Duration(Now() - begun), nil
}
