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

// Nullable keeps nil apart from no bytes.
func Nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// NullableAddress returns the bytes of an address, or null.
func NullableAddress(h *frame.KeyHash) any {
	if h == nil {
		return nil
	}
	return h[:]
}

// NullableHeight returns a height, or null for that of what is in no block.
func NullableHeight(height int32) any {
	if height < 0 {
		return nil
	}
	return int64(height)
}

// Position is the place in the block, and 0 of what is in none.
func Position(p *index.Placed) int64 {
	if p.State != index.Confirmed {
		return 0
	}
	return int64(p.Tx.Index)
}

// SignedKeys returns the keys of a decision, null where there is none.
func SignedKeys(d *index.Decision) (key, key2 any) {
	if len(d.Keys) > 0 {
		key = Nullable(d.Keys[0])
	}
	if len(d.Keys) > 1 {
		key2 = Nullable(d.Keys[1])
	}
	return key, key2
}

// TimeOrder returns the time stamp of a frame as an integer to compare by, see
// [Sortable], or null when it isn't a number.
func TimeOrder(f *index.Frame) any {
	if n, err := frame.ParseTimeStamp(f.TimeStamp()); err == nil {
		return Sortable(n)
	}
	return nil
}

// NeedsBody tells whether a message can't be judged again without its body: no
// key comes out of its signature, so that keys must be tried.
func NeedsBody(f *index.Frame) bool {
	s := f.Proofs[0].Signature
	return s.Readable() && !s.Recoverable()
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
