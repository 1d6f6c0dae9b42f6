package broadcast_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaim/metaim/internal/testarc"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// TestPolicyFee: what no service can mean is no fee, whichever way names it.
func TestPolicyFee(t *testing.T) {
	for _, tt := range []struct {
		name string
		fee  [2]int64
		want signer.FeeRate // zero: refused
	}{
		{"usual", [2]int64{100, 1000}, signer.FeeRate{Satoshis: 100, Bytes: 1000}},
		{"one for a thousand", [2]int64{1, 1000}, signer.FeeRate{Satoshis: 1, Bytes: 1000}},
		{"one for a byte", [2]int64{1, 1}, signer.FeeRate{Satoshis: 1, Bytes: 1}},
		{"the most that is believed", [2]int64{2000, 1000}, signer.FeeRate{Satoshis: 2000, Bytes: 1000}},
		{"more than that", [2]int64{2001, 1000}, signer.FeeRate{}},
		{"zero", [2]int64{0, 1000}, signer.FeeRate{}},
		{"zero for zero", [2]int64{0, 0}, signer.FeeRate{}},
		{"negative", [2]int64{-100, 1000}, signer.FeeRate{}},
		{"twice negative", [2]int64{-100, -1000}, signer.FeeRate{}},
		{"for no bytes", [2]int64{100, 0}, signer.FeeRate{}},
		{"almost nothing", [2]int64{1, 1_000_000}, signer.FeeRate{}},
		{"all that there is", [2]int64{math.MaxInt64, 1}, signer.FeeRate{}},
		{"as much as overflows", [2]int64{math.MaxInt64, math.MaxInt64}, signer.FeeRate{}},
	} {
		s := testarc.New(t, nil)
		s.Behave(testarc.Behaviour{Fee: &tt.fee})
		for name, way := range map[string]broadcast.Way{"arc": arcOf(t, s, nil).Way(), "mapi": mapiOf(t, s, "").Way()} {
			got, err := way.Fee(t.Context())
			refused := tt.want == signer.FeeRate{}
			if refused != errors.Is(err, broadcast.ErrUnavailable) || !refused && got != tt.want {
				t.Errorf("%s, %s: got %v, %v, want %v", tt.name, name, got, err, tt.want)
			}
		}
	}
}

// TestFees: the highest rate counts, a service that fails is taken at its last good
// word, and nobody is asked more often than he should be.
func TestFees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var low, high atomic.Uint64 // rates; 0: the service fails
		var questions atomic.Int32
		way := func(rate *atomic.Uint64) broadcast.Way {
			return broadcast.Way{Name: "test", Fee: func(context.Context) (signer.FeeRate, error) {
				questions.Add(1)
				if rate.Load() == 0 {
					return signer.FeeRate{}, broadcast.ErrUnavailable
				}
				return signer.FeeRate{Satoshis: rate.Load(), Bytes: 1000}, nil
			}}
		}
		fees := broadcast.NewFees([]broadcast.Way{way(&low), {Name: "node"}, way(&high)}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- fees.Run(ctx) }()
		for _, step := range []struct {
			name      string
			low, high uint64
			want      uint64
		}{
			{"nobody has said anything", 0, 0, 100},
			{"one has", 50, 0, 50},
			{"the higher one counts", 50, 120, 120},
			{"its last word is kept", 60, 0, 120},
			{"it comes down", 60, 40, 60},
		} {
			low.Store(step.low)
			high.Store(step.high)
			time.Sleep(16 * time.Minute)
			synctest.Wait()
			if got := fees.Rate(); got != (signer.FeeRate{Satoshis: step.want, Bytes: 1000}) {
				t.Errorf("%s: got %v, want %d for 1000", step.name, got, step.want)
			}
		}
		asked := int(questions.Load())
		if least, most := 2*4, 2*12; asked < least || asked > most {
			t.Errorf("in 80 minutes %d questions were asked, want %d to %d", asked, least, most)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}
