package signer

import (
	"fmt"
	"math/bits"
)

// A FeeRate is what miners ask for: Satoshis for each Bytes bytes. The zero
// FeeRate is [DefaultFeeRate].
type FeeRate struct {
	Satoshis uint64
	Bytes    uint64
}

var (
	// DefaultFeeRate is what most miners ask for today.
	DefaultFeeRate = FeeRate{Satoshis: 100, Bytes: 1000}
	// DefaultMaxFeeRate is the highest rate that a wallet pays unless it is
	// told otherwise: a broadcaster that names its own price can't empty it.
	DefaultMaxFeeRate = FeeRate{Satoshis: 10_000, Bytes: 1000}
)

func (r FeeRate) String() string {
	return fmt.Sprintf("%d satoshis for %d bytes", r.Satoshis, r.Bytes)
}

// Fee returns the satoshis for a size in bytes: rounded up, at least 1, and at
// most all the satoshis that there are.
func (r FeeRate) Fee(size int) uint64 {
	if r.Bytes == 0 { // also what a broken policy says (0 satoshis for 0 bytes)
		r = DefaultFeeRate
	}
	hi, lo := bits.Mul64(uint64(max(size, 0)), r.Satoshis)
	if hi >= r.Bytes {
		return maxSatoshis
	}
	fee, rest := bits.Div64(hi, lo, r.Bytes)
	if rest > 0 && fee < maxSatoshis {
		fee++
	}
	return min(max(fee, 1), maxSatoshis)
}

// above tells whether the rate is higher than another. Neither may be zero.
func (r FeeRate) above(limit FeeRate) bool {
	hi1, lo1 := bits.Mul64(r.Satoshis, limit.Bytes)
	hi2, lo2 := bits.Mul64(limit.Satoshis, r.Bytes)
	return hi1 > hi2 || hi1 == hi2 && lo1 > lo2
}

// A RateError says that a fee rate is higher than the wallet pays.
type RateError struct {
	Rate, Limit FeeRate
}

func (e *RateError) Error() string {
	return fmt.Sprintf("a fee of %v is more than the limit of %v", e.Rate, e.Limit)
}

// A FundsError says that a key's coins don't cover a transaction.
type FundsError struct {
	Need    uint64 // satoshis, the fee for one more coin included
	Have    uint64 // satoshis that the key can spend
	Address string // to send the missing ones to
}

// Missing returns how many satoshis, sent to the address in one coin, suffice.
func (e *FundsError) Missing() uint64 { return e.Need - min(e.Have, e.Need) }

func (e *FundsError) Error() string {
	return fmt.Sprintf("%d satoshis are missing (%d needed, %d there): send them to %s", e.Missing(), e.Need, e.Have, e.Address)
}

// A SizeError says that a transaction would be too large.
type SizeError struct {
	Size, Limit int // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("the transaction would take %d bytes, and the limit is %d", e.Size, e.Limit)
}
