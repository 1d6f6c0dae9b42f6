package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

func newTrust() *Trust { return NewTrust("https://service", slog.New(slog.DiscardHandler)) }

// woken tells whether somebody was woken.
func woken(t *Trust) bool {
	select {
	case <-t.Wake():
		return true
	default:
		return false
	}
}

// TestDropped: a lie ends the trust for a minute, in which the service isn't looked
// at, and is named.
func TestDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trust := newTrust()
		var looks atomic.Int32
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- trust.Watch(ctx, time.Second, func(context.Context) error { looks.Add(1); return nil })
		}()
		time.Sleep(10*time.Second + time.Millisecond)
		if n := looks.Load(); n != 11 {
			t.Errorf("got %d looks in ten seconds, want 11", n)
		}
		trust.Drop(trust.Lied("it said %d", 5))
		if trouble, _ := trust.Trouble(); trouble != "dropped for a while: service https://service: it said 5" || trust.Dropped() == nil {
			t.Errorf("after a lie: got %q, %v", trouble, trust.Dropped())
		}
		time.Sleep(DropFor - 2*time.Second)
		if n := looks.Load(); n != 11 || woken(trust) {
			t.Errorf("while it is dropped: got %d looks, want 11, and nobody woken", n)
		}
		time.Sleep(3 * time.Second)
		if trouble, _ := trust.Trouble(); looks.Load() == 11 || trouble != "" || trust.Dropped() != nil || !woken(trust) {
			t.Errorf("afterwards: got %d looks, trouble %q, %v, want more, none, and somebody woken", looks.Load(), trouble, trust.Dropped())
		}
		trust.Drop(trust.Lied("again"))
		trust.Forgive()
		if err := trust.Dropped(); err != nil {
			t.Errorf("forgiven: got %v", err)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

// TestWatch: what a look ends with is kept, and a service of another network ends the
// watch.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trust := newTrust()
		other := &NetworkError{"https://service", `chain "x"`, frame.Main}
		answers := []error{nil, errors.New("it is down"), nil, other}
		began := time.Now()
		var heard []time.Duration
		var troubles []string
		err := trust.Watch(t.Context(), time.Second, func(context.Context) error {
			trouble, at := trust.Trouble()
			troubles, heard = append(troubles, trouble), append(heard, at.Sub(began))
			next := answers[0]
			answers = answers[1:]
			return next
		})
		if !errors.Is(err, other) || !strings.Contains(err.Error(), `has chain "x", which isn't that of network main`) {
			t.Errorf("the watch ended with %v", err)
		}
		if got, want := strings.Join(troubles, ","), ",,service https://service: it is down,"; got != want {
			t.Errorf("troubles: got %q, want %q", got, want)
		}
		if heard[2] != 0 || heard[3] != 2*time.Second || !woken(trust) {
			t.Errorf("heard at %v, want at 0 after a failure and at 2 s after an answer, with somebody woken", heard)
		}
		trust.Hear()
		if _, at := trust.Trouble(); at.Sub(began) != 3*time.Second {
			t.Errorf("heard after %s, want 3 s", at.Sub(began))
		}
	})
}
