package broadcast

import (
	"context"
	"fmt"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/metaim/metaim/signer"
)

// Bounds of a fee rate that we believe, in satoshis for 1,000 bytes.
const (
	leastFee = 1
	mostFee  = 2000 // 20 times what is usual
	mostUnit = 1_000_000_000
)

// saneFee checks a fee rate that a service names.
func saneFee(satoshis, bytes int64) (signer.FeeRate, error) {
	if satoshis <= 0 || bytes <= 0 || bytes > mostUnit {
		return signer.FeeRate{}, fmt.Errorf("a fee of %d satoshis for %d bytes", satoshis, bytes)
	}
	hi, lo := bits.Mul64(uint64(satoshis), 1000)
	if hi > 0 || lo > mostFee*uint64(bytes) || lo < leastFee*uint64(bytes) {
		return signer.FeeRate{}, fmt.Errorf("a fee of %d satoshis for %d bytes, which is not between %d and %d for 1,000", satoshis, bytes, leastFee, mostFee)
	}
	return signer.FeeRate{Satoshis: uint64(satoshis), Bytes: uint64(bytes)}, nil
}

// Times of [Fees].
const (
	feeTime     = 10 * time.Minute // how long a rate is good
	feeDeadline = 20 * time.Second // for one question
)

// Fees keeps the fee rate that services ask for: the highest of them, so that all
// take a transaction that pays it.
type Fees struct {
	ways []Way
	log  *slog.Logger
	rate atomic.Pointer[signer.FeeRate]
}

// NewFees returns what keeps the rates of ways that name one. It asks nobody before
// Run.
func NewFees(ways []Way, logger *slog.Logger) *Fees {
	f := &Fees{log: logger}
	for _, w := range ways {
		if w.Fee != nil {
			f.ways = append(f.ways, w)
		}
	}
	return f
}

// Rate returns the rate that is asked for, signer.DefaultFeeRate while nobody has
// named one that can be believed.
func (f *Fees) Rate() signer.FeeRate {
	if r := f.rate.Load(); r != nil {
		return *r
	}
	return signer.DefaultFeeRate
}

// Run asks every ten minutes or so until ctx ends. A service that doesn't answer or
// names a rate that can't be is taken at its last good word.
func (f *Fees) Run(ctx context.Context) error {
	good := make([]*signer.FeeRate, len(f.ways))
	for len(f.ways) > 0 {
		f.refresh(ctx, good)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(feeTime*3/4 + rand.N(feeTime/2)): // so that not all servers ask at once
		}
	}
	<-ctx.Done()
	return nil
}

func (f *Fees) refresh(ctx context.Context, good []*signer.FeeRate) {
	var highest *signer.FeeRate
	for i, w := range f.ways {
		asked, cancel := context.WithTimeout(ctx, feeDeadline)
		rate, err := w.Fee(asked)
		cancel()
		switch {
		case err == nil:
			good[i] = &rate
		case ctx.Err() == nil:
			f.log.Warn("a service names no fee: its last word or the usual rate counts", "way", w.Name, "error", err)
		}
		if good[i] != nil && (highest == nil || higher(*good[i], *highest)) {
			highest = good[i]
		}
	}
	if highest != nil {
		f.rate.Store(highest)
	}
}

// higher compares two sane rates.
func higher(a, b signer.FeeRate) bool { return a.Satoshis*b.Bytes > b.Satoshis*a.Bytes }
