package noderpc

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a node may say, whatever its make.
var (
	ErrAlreadyKnown  = errors.New("the node has it already")
	ErrDoubleSpend   = errors.New("a coin is already spent by another transaction")
	ErrMissingInputs = errors.New("a coin is unknown to the node or already spent")
	ErrSafeMode      = errors.New("the node is in safe mode") // try again later
	ErrBusy          = errors.New("the node is busy")         // try again later
	ErrNotFound      = errors.New("the node doesn't have it")
	ErrUnauthorized  = errors.New("the node refuses the user or the password")
	ErrAnswer        = errors.New("the node's answer makes no sense")
	ErrUnreachable   = errors.New("the node doesn't answer")
	ErrUnsent        = errors.New("nothing was sent to the node")              // with ErrUnreachable
	ErrNoREST        = errors.New("the node doesn't give the block over REST") // it may over RPC
)

// An RPCError is an error that the node itself gave. errors.Is finds the reason
// beneath it where it is one of this package's.
type RPCError struct {
	Code    int    // the node's: other makes use other codes
	Message string // the node's words, made printable and short
	kind    error
}

func (e *RPCError) Error() string {
	if e.kind != nil {
		return fmt.Sprintf("%v (%d: %s)", e.kind, e.Code, e.Message)
	}
	return fmt.Sprintf("the node says %d: %s", e.Code, e.Message)
}

func (e *RPCError) Unwrap() error { return e.kind }

func newRPCError(code int, message string) *RPCError {
	message = Clean(message)
	return &RPCError{Code: code, Message: message, kind: kindOf(code, message)}
}

// Codes that mean one thing only. -22 (bsvd) and -25, -26 (svnode) cover every
// kind of refusal: there the text decides.
const (
	codeSafeMode     = -2
	codeNotFound     = -5
	codeVerify       = -25
	codeAlreadyKnown = -27
	codeWarmUp       = -28
)

// phrases are what nodes write, in lower case, and what it means. The first that
// the text holds counts.
var phrases = []struct {
	text string
	kind error
}{
	{"already have transaction", ErrAlreadyKnown},        // bsvd, mempool
	{"transaction already exists", ErrAlreadyKnown},      // bsvd, chain
	{"txn-already-in-mempool", ErrAlreadyKnown},          // svnode
	{"txn-already-known", ErrAlreadyKnown},               // svnode
	{"already in block chain", ErrAlreadyKnown},          // svnode
	{"already in the mempool", ErrAlreadyKnown},          // svnode
	{"already have block", ErrAlreadyKnown},              // bsvd, submitblock
	{"already spent by transaction", ErrDoubleSpend},     // bsvd
	{"txn-mempool-conflict", ErrDoubleSpend},             // svnode
	{"txn-double-spend-detected", ErrDoubleSpend},        // svnode
	{"unknown or fully-spent", ErrMissingInputs},         // bsvd
	{"missing inputs", ErrMissingInputs},                 // svnode
	{"missing-inputs", ErrMissingInputs},                 // svnode
	{"bad-txns-inputs-missingorspent", ErrMissingInputs}, // svnode
	{"bad-txns-inputs-spent", ErrMissingInputs},          // svnode
	{"work queue depth exceeded", ErrBusy},               // svnode
	{"mempool full", ErrBusy},                            // svnode
	{"already cpu mining", ErrBusy},                      // bsvd, generate
	{"block height out of range", ErrNotFound},           // svnode, -8
	{"block number out of range", ErrNotFound},           // bsvd, -1
}

// Meaning finds which of this package's errors a node's words mean, nil when it is
// none: services that stand in front of nodes pass their words on. Safe mode is
// found too, which a node itself tells by a code.
func Meaning(text string) error {
	text = Clean(text)
	if strings.Contains(strings.ToLower(text), "safe mode") {
		return ErrSafeMode
	}
	return kindOf(0, text)
}

func kindOf(code int, message string) error {
	switch code {
	case codeSafeMode:
		return ErrSafeMode
	case codeAlreadyKnown:
		return ErrAlreadyKnown
	case codeWarmUp:
		return ErrBusy
	case codeNotFound:
		return ErrNotFound
	}
	lower := strings.ToLower(message)
	for _, p := range phrases {
		if strings.Contains(lower, p.text) {
			return p.kind
		}
	}
	return nil
}

const longestMessage = 240 // characters

// Clean makes a stranger's text fit for a log or a terminal: one line, printable
// characters only, at most 240 of them.
func Clean(s string) string {
	if len(s) > longestMessage*utf8.UTFMax {
		s = s[:longestMessage*utf8.UTFMax]
	}
	var b strings.Builder
	n := 0
	for _, r := range strings.TrimSpace(s) {
		if n == longestMessage {
			b.WriteString("...")
			break
		}
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '?'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
