package broadcast

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// ErrUnknown says that a service doesn't know a transaction.
var ErrUnknown = errors.New("the service doesn't know the transaction")

// A State is how far a transaction has come, in ARC's words.
type State string

// The states of ARC and Arcade.
const (
	StateQueued      State = "QUEUED"
	StateReceived    State = "RECEIVED"
	StateStored      State = "STORED"
	StateAnnounced   State = "ANNOUNCED_TO_NETWORK"
	StateRequested   State = "REQUESTED_BY_NETWORK"
	StateSent        State = "SENT_TO_NETWORK"
	StateAccepted    State = "ACCEPTED_BY_NETWORK"
	StateOrphan      State = "SEEN_IN_ORPHAN_MEMPOOL"
	StateSeen        State = "SEEN_ON_NETWORK"
	StateDoubleSpend State = "DOUBLE_SPEND_ATTEMPTED"
	StateRejected    State = "REJECTED"
	StateStale       State = "MINED_IN_STALE_BLOCK"
	StateMined       State = "MINED"
)

// States are all states, in the order in which a transaction may pass them.
var States = []State{StateQueued, StateReceived, StateStored, StateAnnounced, StateRequested, StateSent, StateAccepted,
	StateOrphan, StateSeen, StateDoubleSpend, StateRejected, StateStale, StateMined}

// ParseState reads a state as a service writes it.
func ParseState(text string) (State, error) {
	if s := State(text); slices.Contains(States, s) {
		return s, nil
	}
	return "", fmt.Errorf("%q is no state of a transaction", noderpc.Clean(text))
}

// A Status is what a service says became of a transaction.
type Status struct {
	TxID      frame.Hash
	State     State
	Info      string // the service's words, printable, may be empty
	Competing []frame.Hash
}

// alive tells whether the service still does something with the transaction, or
// the network has it.
func (s *Status) alive() bool {
	return s.State != StateRejected && s.State != StateDoubleSpend && s.State != StateStale && s.State != StateOrphan
}

// outcome is what the state means for who submitted: nil is accepted. What the
// network hasn't been seen to have is undecided, never accepted: nobody would
// submit it again. A transaction in a block that lost was good, and its miners have
// it.
func (s *Status) outcome() error {
	switch s.State {
	case StateAccepted, StateSeen, StateMined, StateStale:
		return nil
	case StateDoubleSpend:
		return &Refused{Reason: ErrDoubleSpend.Error(), Competing: s.Competing, kind: ErrDoubleSpend}
	case StateRejected:
		return judge(s.Info)
	case StateOrphan:
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrOrphan)
	}
	return fmt.Errorf("%w: %w (%s)", ErrUnavailable, ErrHeld, s.State)
}

// A statusAnswer is a transaction's status as ARC and Arcade write it, in answers
// and callbacks. Errors have the same form, with a status of HTTP.
type statusAnswer struct {
	TxID      string   `json:"txid"`
	State     string   `json:"txStatus"`
	Info      string   `json:"extraInfo"`
	Competing []string `json:"competingTxs"`
	Status    int      `json:"status"`
	Title     string   `json:"title"`
	Detail    string   `json:"detail"`
}

// mostCompeting is how many transactions of a double spend are kept.
const mostCompeting = 100

func (a *statusAnswer) read() (*Status, error) {
	txid, err := frame.ParseHash(a.TxID)
	if err != nil {
		return nil, fmt.Errorf("%q is no transaction id", noderpc.Clean(a.TxID))
	}
	state, err := ParseState(a.State)
	if err != nil {
		return nil, err
	}
	s := &Status{TxID: txid, State: state, Info: noderpc.Clean(a.Info)}
	for _, text := range a.Competing[:min(len(a.Competing), mostCompeting)] {
		if h, err := frame.ParseHash(text); err == nil {
			s.Competing = append(s.Competing, h)
		}
	}
	return s, nil
}

// ReadStatus reads the body of a callback of ARC or Arcade: one JSON object, with a
// transaction id and a state that exist.
func ReadStatus(body []byte) (*Status, error) {
	var a statusAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, errors.New("the body is no JSON object of a transaction's status")
	}
	return a.read()
}
