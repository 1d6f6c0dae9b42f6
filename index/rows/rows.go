// Package rows is what the SQL stores share: the rows of an index, how a Save is
// gathered into them, and how values are packed into columns. It knows no SQL.
package rows

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A CorruptError says that a column holds what was never written there.
type CorruptError struct{ Column string }

func (e *CorruptError) Error() string { return "the database is damaged: column " + e.Column }

// Fill reads a column of a fixed length, or fails with a *[CorruptError].
func Fill(dst []byte, column string, b []byte) error {
	if len(b) != len(dst) {
		return &CorruptError{column}
	}
	copy(dst, b)
	return nil
}

// Present turns nil into no bytes: null is for what isn't there, and drivers give
// nil for no bytes.
func Present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Prove makes a proof again from the signature and the key that was recovered
// from it: recovering is not repeated.
func Prove(signature, key []byte) frame.Proof {
	s, err := frame.ParseSignature(signature)
	if err != nil {
		return frame.Proof{}
	}
	return frame.Proof{Signature: s, Key: key}
}

// Arrivals returns the arrivals of the frames that events are about, each once.
func Arrivals(events []*index.Event) []int64 {
	var arrivals []int64
	asked := map[int64]bool{}
	for _, e := range events {
		if e.Arrival != 0 && !asked[e.Arrival] {
			asked[e.Arrival] = true
			arrivals = append(arrivals, e.Arrival)
		}
	}
	return arrivals
}
