// Package broadcast submits signed transactions to the network.
//
// A [Way] is one service that takes them: a node of one's own ([NodeRPC]), ARC or
// Arcade ([ARC]), or mAPI ([MAPI]); [Multi] uses several at once. Whatever the way,
// the outcome is one of four: accepted; known already, which counts as accepted, so
// that submitting twice does no harm; a [*Refused], which trying again doesn't
// help; or [ErrUnavailable], after which the caller may try again. The id of a
// transaction is always computed here, and an answer about another one decides
// nothing.
//
// [Watch] follows what was accepted into a block, [Fees] keeps the fee rate that
// the services ask for, and [Read] reads the forms in which people hand
// transactions in.
package broadcast

import (
	"context"
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer"
)

// ErrUnavailable says that nobody decided about the transaction: the node didn't
// answer, or was busy for as long as we waited. It may have been accepted.
var ErrUnavailable = errors.New("the transaction couldn't be submitted")

// Reasons for a refusal that callers tell apart.
var (
	ErrDoubleSpend   = errors.New("a coin that it spends is already spent by another transaction")
	ErrMissingInputs = errors.New("a coin that it spends is unknown or already spent")
	ErrFeeTooLow     = errors.New("its fee is too low")
	ErrNeedsExtended = errors.New("it is wanted in extended format (BRC-30)")
)

// Reasons beneath ErrUnavailable that callers tell apart.
var (
	ErrSafeMode     = errors.New("the node is in safe mode")
	ErrUnauthorized = errors.New("the service refuses our token")
	ErrOrphan       = errors.New("the network doesn't know a transaction whose coins it spends yet")
	ErrHeld         = errors.New("the service keeps it, and hasn't said that the network has it")

	// errUntouched stands beneath an ErrUnavailable when the service can't have
	// the transaction: what another one says of it is final then.
	errUntouched = errors.New("the service didn't take it")
)

// Refused says that the network won't have a transaction. errors.Is finds
// ErrDoubleSpend, ErrMissingInputs, ErrFeeTooLow or ErrNeedsExtended beneath it
// where that is the reason.
type Refused struct {
	Reason    string       // a printable sentence of some 260 characters at most; it may quote the node
	Competing []frame.Hash // of a double spend: the other transactions, where they were named
	kind      error
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

// judge turns the words with which a service explains why it doesn't have a
// transaction into an outcome: services pass on what their nodes say.
func judge(words string) error {
	words = noderpc.Clean(words)
	switch meaning := noderpc.Meaning(words); {
	case errors.Is(meaning, noderpc.ErrAlreadyKnown):
		return nil
	case errors.Is(meaning, noderpc.ErrSafeMode):
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrSafeMode)
	case errors.Is(meaning, noderpc.ErrBusy):
		return fmt.Errorf("%w: the service says %q", ErrUnavailable, words)
	case errors.Is(meaning, noderpc.ErrDoubleSpend):
		return &Refused{Reason: ErrDoubleSpend.Error(), kind: ErrDoubleSpend}
	case errors.Is(meaning, noderpc.ErrMissingInputs):
		return &Refused{Reason: ErrMissingInputs.Error(), kind: ErrMissingInputs}
	}
	return &Refused{Reason: fmt.Sprintf("the service says %q", words)}
}

// A Way is one service that transactions are submitted through.
type Way struct {
	Name string // kind and host: for logs
	// Submit hands a transaction in. It fails with a *Refused or ErrUnavailable.
	Submit func(ctx context.Context, tx *Transaction) error
	// Status asks what became of a transaction; nil: the service can't say. It
	// fails with ErrUnknown when the service never had it.
	Status func(ctx context.Context, txid frame.Hash) (*Status, error)
	// Fee asks for the fee rate that the service wants; nil: it names none.
	Fee func(ctx context.Context) (signer.FeeRate, error)
	// Extended says that the service wants the extended format.
	Extended bool
}

// Way returns the node as one of several ways.
func (n *NodeRPC) Way() Way {
	return Way{
		Name: "node",
		Submit: func(ctx context.Context, tx *Transaction) error {
			_, err := n.Submit(ctx, tx.Raw)
			return err
		},
		Status: func(ctx context.Context, txid frame.Hash) (*Status, error) {
			if !n.has(ctx, txid) { // or it can't tell: then it is submitted again, which does no harm
				return nil, ErrUnknown
			}
			return &Status{TxID: txid, State: StateSeen}, nil
		},
	}
}
