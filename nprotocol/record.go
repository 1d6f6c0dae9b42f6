// Package nprotocol reads and writes the records of the N protocol (names) and
// the P protocol (peers), and folds them into who holds which name.
//
// Use [Parse] on an output script; [ErrNotRecord] means that it belongs to
// someone else. Use [Record.Sign] and [Record.AppendScript] to write one, and a
// [Ledger] to fold records in canonical order. The package is pure: no network,
// no files, no clock, no global state. docs/spec/nprotocol.md has the rules.
package nprotocol

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol/frame"
)

// An Operation is what a record does.
type Operation string

// The operations. A transfer exists for names only.
const (
	Register Operation = "register"
	Delete   Operation = "delete"
	Transfer Operation = "transfer"
)

// A Record is one frame of the N or the P protocol. docs/spec/nprotocol.md,
// "Operations".
type Record struct {
	Protocol   frame.Protocol // N or P
	Operation  Operation
	Name       string        // N
	IP         string        // P: IPv4, IPv4:port or IPv6
	Address    frame.KeyHash // of the holder, or who holds it now in a transfer
	NewAddress frame.KeyHash // in a transfer
	Other      string        // other information
	TimeStamp  string        // a decimal uint64; Unix milliseconds when we write it
	Signatures [][]byte      // by Address; in a transfer a second by NewAddress
}

// ErrNotRecord says that a script holds no frame of the N or P protocol.
var ErrNotRecord = errors.New("not a record of the N or P protocol")

// Reasons why a frame is no record. They arrive inside a [*frame.ParseError].
var (
	ErrName      = errors.New("not a valid name")
	ErrIP        = errors.New("not an IPv4 or IPv6 address in its usual form")
	ErrOperation = errors.New("no such operation")
	ErrSelf      = errors.New("a transfer from an address to itself")
)

const deleteWord = "delete"

// Parse reads an output script as a record. It fails with ErrNotRecord or a
// [*frame.ParseError].
func Parse(script []byte, network frame.Network) (*Record, error) {
	f, err := frame.Read(script)
	var refused *frame.ParseError
	switch {
	case errors.As(err, &refused) && refused.Protocol != frame.IM:
		return nil, err
	case err != nil || f.Protocol == frame.IM:
		return nil, ErrNotRecord
	}
	return FromFrame(f, network)
}

// FromFrame gives the fields of a frame of the N or P protocol their meaning.
// Addresses must be the network's. It fails with a [*frame.ParseError].
func FromFrame(f frame.Frame, network frame.Network) (*Record, error) {
	if f.Protocol != frame.N && f.Protocol != frame.P {
		return nil, ErrNotRecord
	}
	p := parser{frame: f, network: network}
	n := len(f.Fields)
	signatures := n - f.Signatures()
	r := &Record{
		Protocol:   f.Protocol,
		TimeStamp:  string(f.Fields[signatures-1]),
		Signatures: f.Fields[signatures:],
	}
	if f.Protocol == frame.N {
		p.name(r)
	} else {
		p.peer(r)
	}
	if p.err != nil {
		return nil, p.err
	}
	return r, nil
}

// A parser reads the fields of one frame and keeps the first error.
type parser struct {
	frame   frame.Frame
	network frame.Network
	err     error
}

func (p *parser) refuse(field int, err error) {
	if p.err == nil {
		p.err = &frame.ParseError{Protocol: p.frame.Protocol, Field: field + 1, Err: err}
	}
}

func (p *parser) text(i int) string { return string(p.frame.Fields[i]) }

func (p *parser) address(i int) frame.KeyHash {
	h, err := p.network.ParseAddress(p.text(i))
	if err != nil {
		p.refuse(i, err)
	}
	return h
}

// word checks that the field says "delete".
func (p *parser) word(i int) {
	if p.text(i) != deleteWord {
		p.refuse(i, fmt.Errorf("%w: the word %q is missing", ErrOperation, deleteWord))
	}
}

func (p *parser) name(r *Record) {
	r.Name = p.text(1)
	if err := CheckName(r.Name); err != nil {
		p.refuse(1, err)
	}
	r.Address = p.address(2)
	switch len(p.frame.Fields) {
	case 6:
		r.Operation, r.Other = Register, p.text(3)
	case 7:
		r.Operation, r.Other = Delete, p.text(3)
		p.word(4)
	case 8:
		r.Operation, r.NewAddress, r.Other = Transfer, p.address(3), p.text(4)
		if r.Address == r.NewAddress {
			p.refuse(3, ErrSelf)
		}
		if r.Other == deleteWord {
			p.refuse(4, fmt.Errorf("%w: a transfer can't have the preimage of a delete", ErrOperation))
		}
	}
}

func (p *parser) peer(r *Record) {
	r.Address, r.IP, r.Other = p.address(1), p.text(2), p.text(3)
	if err := CheckIP(r.IP); err != nil {
		p.refuse(2, err)
	}
	r.Operation = Register
	if len(p.frame.Fields) == 7 {
		r.Operation = Delete
		p.word(4)
	}
}

// CheckName tells why a text can't be a name: names are 1 to 64 bytes of UTF-8
// with no control characters, none of [ ] | @ : /, no space at either end, and
// no address of any network. The rule depends on no table of characters, so that
// it never changes. docs/spec/nprotocol.md, "Names".
func CheckName(name string) error {
	switch {
	case len(name) == 0 || len(name) > 64:
		return fmt.Errorf("%w: %d bytes, not 1 to 64", ErrName, len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not UTF-8", ErrName)
	case strings.ContainsAny(name, "[]|@:/"):
		return fmt.Errorf("%w: it holds one of [ ] | @ : /", ErrName)
	case name[0] == ' ' || name[len(name)-1] == ' ':
		return fmt.Errorf("%w: a space at one end", ErrName)
	case strings.ContainsFunc(name, control):
		return fmt.Errorf("%w: it holds a control character", ErrName)
	case frame.IsAddress(name):
		return fmt.Errorf("%w: it is an address", ErrName)
	}
	return nil
}

func control(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f }

// CheckIP tells why a text is no IP of the P protocol: an IPv4 address, which
// may carry a port 1 to 65535 without a leading zero, or an IPv6 address without
// zone. docs/spec/nprotocol.md, "IP".
func CheckIP(ip string) error {
	if strings.Contains(ip, ".") {
		if host, port, ok := strings.Cut(ip, ":"); ok && !strings.Contains(port, ":") {
			return checkHostPort(host, port)
		}
	}
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Zone() != "" {
		return ErrIP
	}
	return nil
}

func checkHostPort(host, port string) error {
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Is4() {
		return ErrIP
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%w: port %q is not 1 to 65535", ErrIP, port)
	}
	return nil
}

// fields returns the fields before the signatures, the identifier first.
func (r *Record) fields(network frame.Network) [][]byte {
	var f []string
	switch {
	case r.Protocol == frame.P:
		f = []string{frame.IMPI, network.Address(r.Address), r.IP}
	case r.Operation == Transfer:
		f = []string{frame.NPI, r.Name, network.Address(r.Address), network.Address(r.NewAddress)}
	default:
		f = []string{frame.NPI, r.Name, network.Address(r.Address)}
	}
	f = append(f, r.Other)
	if r.Operation == Delete {
		f = append(f, deleteWord)
	}
	f = append(f, r.TimeStamp)
	out := make([][]byte, len(f))
	for i, s := range f {
		out[i] = []byte(s)
	}
	return out
}

// Preimage returns the text that all signatures of the record sign.
func (r *Record) Preimage(network frame.Network) []byte {
	return frame.AppendPreimage(nil, r.fields(network)...)
}

// Time returns the time stamp as a number. It fails with
// [frame.ErrTimeStamp].
func (r *Record) Time() (uint64, error) { return frame.ParseTimeStamp(r.TimeStamp) }

// Signers returns the addresses that must have signed, in the order of the
// signatures.
func (r *Record) Signers() []frame.KeyHash {
	if r.Operation == Transfer {
		return []frame.KeyHash{r.Address, r.NewAddress}
	}
	return []frame.KeyHash{r.Address}
}

// Sign signs the record with the keys given, one for each of Signers in their
// order. It fails when a key is of another address.
func (r *Record) Sign(network frame.Network, keys ...frame.PrivateKey) error {
	signers := r.Signers()
	if len(keys) != len(signers) {
		return fmt.Errorf("%d keys for %d signatures", len(keys), len(signers))
	}
	preimage := r.Preimage(network)
	r.Signatures = make([][]byte, len(keys))
	for i, key := range keys {
		if key.KeyHash() != signers[i] {
			return fmt.Errorf("signature %d must be by the key of %s", i+1, network.Address(signers[i]))
		}
		r.Signatures[i] = key.Sign(preimage)
	}
	return nil
}

// AppendScript appends the output script in the form given, Pushes or Bracketed;
// the output's value is 0 satoshis. It fails when a reader would not read back
// the same record.
func (r *Record) AppendScript(dst []byte, network frame.Network, form frame.Form) ([]byte, error) {
	if _, err := r.Time(); err != nil {
		return nil, err
	}
	start := len(dst)
	dst, err := frame.AppendScript(dst, form, append(r.fields(network), r.Signatures...)...)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(dst[start:], network); err != nil {
		return nil, err
	}
	return dst, nil
}
