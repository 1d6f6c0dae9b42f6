package index

import (
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
)

// What a query may ask for at once.
const (
	mostEntries   = 1_000
	mostEvents    = 10_000
	mostAddresses = 5_000
)

// An EntryQuery says which frames of the IM protocol to list. What is not set
// doesn't restrict.
type EntryQuery struct {
	Address *frame.KeyHash // source or recipient
	Peer    *frame.KeyHash // with Address: only what one of the two sent to the other
	Type    string         // message type
	States  []State        // none: seen and confirmed
	Refused bool           // list the refused ones instead of those that count
	After   int64          // arrival greater than this
	Before  int64          // arrival less than this; 0: no bound
	Limit   int            // 1 to 1,000
	Newest  bool           // newest first
	// Words are what the text of a message must have, each as Words gives it: a
	// plain message of type text in UTF-8. One that ends in * is the beginning of a
	// word, of two bytes at least. 32 at most.
	Words []string
	// Repeats lists every occurrence; otherwise, of occurrences of one message
	// that concern Address (or, with no Address, of all its occurrences), only
	// the one that arrived first.
	Repeats bool
}

// Check tells why a store refuses the query.
func (q *EntryQuery) Check() error {
	if err := checkLimit(q.Limit, mostEntries); err != nil {
		return err
	}
	if q.Peer != nil && q.Address == nil {
		return errors.New("a peer without an address")
	}
	return checkTerms(q.Words)
}

// An EventQuery says which events to read.
type EventQuery struct {
	After     int64           // seq greater than this
	Upto      int64           // seq at most this; 0: no bound
	Addresses []frame.KeyHash // only of frames that one of these sent or received; none: all events; 5,000 at most
	Blocks    bool            // with Addresses: events of blocks too
	Among     []int64         // with Addresses: only these seqs, ascending, as Seqs gave them; nil: any
	Limit     int             // 1 to 10,000
}

// Check tells why a store refuses the query.
func (q *EventQuery) Check() error {
	if err := checkLimit(q.Limit, mostEvents); err != nil {
		return err
	}
	if len(q.Addresses) > mostAddresses {
		return fmt.Errorf("%d addresses, not up to %d", len(q.Addresses), mostAddresses)
	}
	return nil
}

// checkLimit refuses a page size that the contract doesn't know.
func checkLimit(limit, most int) error {
	if limit < 1 || limit > most {
		return fmt.Errorf("a limit of %d, not 1 to %d", limit, most)
	}
	return nil
}
