// Package frame reads and writes what the IM, N and P protocols share: a frame
// in a transaction output, its three forms, its fields, its preimage, its
// signatures, and the addresses of a network.
//
// Use [Read] on an output script; [ErrNotOurs] means that it belongs to someone
// else, a [*ParseError] that it begins as ours and can't be read. The packages
// improtocol and nprotocol give the fields their meaning. The package is pure:
// no network, no files, no clock, no global state. docs/spec/frame.md has the
// format.
package frame

// Identifiers of the protocols. The P protocol (peers) uses [IMPI] too: the
// number of fields tells them apart. docs/spec/frame.md, "Identifiers".
const (
	IMPI = "17KUVffFHVpxueePCBzp5gJWAJsz9nx5cr" // IM messages and P records
	NPI  = "1NXhhVE88Fp5SoTV1v5Hhb9WBP14NKa9Zy" // N records
)

// A Protocol is the protocol that a frame belongs to.
type Protocol string

// The protocols.
const (
	IM Protocol = "im"
	N  Protocol = "n"
	P  Protocol = "p"
)

// A Verdict is what the rules say of a frame. docs/spec/index.md, "Verdicts".
type Verdict string

// The verdicts, in the order in which they are looked for: the first that holds
// is the frame's.
const (
	Malformed        Verdict = "malformed"
	BadTimeStamp     Verdict = "bad_timestamp"
	Unpaid           Verdict = "unpaid"
	UnknownName      Verdict = "unknown_name"
	PublicKeyUnknown Verdict = "public_key_unknown"
	BadSignature     Verdict = "bad_signature"
	Duplicate        Verdict = "duplicate"
	StaleTimeStamp   Verdict = "stale_timestamp"
	Taken            Verdict = "taken"
	NotHolder        Verdict = "not_holder"
	Valid            Verdict = "valid"
)

// Verdicts lists all verdicts in the order in which they are looked for.
var Verdicts = []Verdict{Malformed, BadTimeStamp, Unpaid, UnknownName, PublicKeyUnknown, BadSignature,
	Duplicate, StaleTimeStamp, Taken, NotHolder, Valid}
