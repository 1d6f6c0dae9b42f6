// Package broadcast submits signed transactions to the network.
//
// [NodeRPC] submits through a node of one's own. Whatever the way, the outcome is
// one of four: accepted; known already, which counts as accepted, so that
// submitting twice does no harm; a [*Refused], which trying again doesn't help;
// or [ErrUnavailable], after which the caller may try again.
package broadcast

import (
	"errors"
	"fmt"

	"github.com/metaim/metaim/internal/noderpc"
)

// ErrUnavailable says that nobody decided about the transaction: the node didn't
// answer, or was busy for as long as we waited. It may have been accepted.
var ErrUnavailable = errors.New("the transaction couldn't be submitted")

// Reasons for a refusal that callers tell apart.
var (
	ErrDoubleSpend   = errors.New("a coin that it spends is already spent by another transaction")
	ErrMissingInputs = errors.New("a coin that it spends is unknown or already spent")
)

// Refused says that the network won't have a transaction. errors.Is finds
// ErrDoubleSpend or ErrMissingInputs beneath it where that is the reason.
type Refused struct {
	Reason string // a printable sentence of some 260 characters at most; it may quote the node
	kind   error
}

func (e *Refused) Error() string { return "the transaction is refused: " + e.Reason }

func (e *Refused) Unwrap() error { return e.kind }

// refuse makes a Refused of what a node said.
func refuse(said *noderpc.RPCError) *Refused {
	switch {
	case errors.Is(said, noderpc.ErrDoubleSpend):
		return &Refused{Reason: ErrDoubleSpend.Error(), kind: ErrDoubleSpend}
	case errors.Is(said, noderpc.ErrMissingInputs):
		return &Refused{Reason: ErrMissingInputs.Error(), kind: ErrMissingInputs}
	}
	return &Refused{Reason: fmt.Sprintf("the node says %q", said.Message)}
}
