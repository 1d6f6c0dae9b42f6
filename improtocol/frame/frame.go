package frame

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Form is one of the three ways in which a frame is written into a script.
// docs/spec/frame.md, "Forms".
type Form uint8

// The forms.
const (
	Pushes    Form = iota // one data push for each field; what is written
	Bracketed             // one push that holds [f1][f2]...[fn]
	Raw                   // [f1][f2]...[fn] with no push opcode; read only
)

func (f Form) String() string {
	return [...]string{"pushes", "bracketed", "raw"}[f]
}

const (
	maxFields    = 8
	messageField = 4 // of a frame under IMPI, counted from 0
)

// A Frame is one protocol unit in one transaction output: its fields, the
// identifier first, signatures last. The fields alias the script. Their bytes
// obey the rules of docs/spec/frame.md, "Fields"; what they mean is for
// improtocol and nprotocol.
type Frame struct {
	Protocol Protocol
	Form     Form
	Fields   [][]byte
}

// Reasons why a script isn't a frame. All but ErrNotOurs arrive inside a
// [*ParseError].
var (
	ErrNotOurs    = errors.New("not a frame of these protocols")
	ErrPush       = errors.New("no whole data push")
	ErrFieldCount = errors.New("wrong number of fields")
	ErrBrackets   = errors.New("text is not wrapped in brackets")
	ErrTrailing   = errors.New("something other than | follows the frame")
	ErrUTF8       = errors.New("field is not UTF-8")
	ErrFieldBytes = errors.New("field holds a bracket")
	ErrChainField = errors.New("field is the chaining mark |")
)

// A ParseError says that a script begins as a frame and can't be read as one:
// its verdict is [Malformed].
type ParseError struct {
	Protocol Protocol // as its number of fields says
	Field    int      // the field that was refused, counted from 1; 0 if none
	Err      error    // ErrPush, ErrFieldCount, ...
}

func (e *ParseError) Error() string {
	if e.Field == 0 {
		return fmt.Sprintf("malformed %s frame: %v", e.Protocol, e.Err)
	}
	return fmt.Sprintf("malformed %s frame: field %d: %v", e.Protocol, e.Field, e.Err)
}

func (e *ParseError) Unwrap() error { return e.Err }

// Read reads an output script. It fails with ErrNotOurs or a *ParseError.
func Read(script []byte) (Frame, error) {
	body, ok := payload(script)
	if !ok {
		return Frame{}, ErrNotOurs
	}
	form, id, ok := identify(body)
	if !ok {
		return Frame{}, ErrNotOurs
	}
	var fields [][]byte
	var err error
	switch form {
	case Pushes:
		fields, err = readPushes(body, id)
	case Bracketed:
		text, n, _ := push(body)
		if fields, err = readText(text, id); err == nil && !chained(body[n:]) {
			err = ErrTrailing
		}
	case Raw:
		fields, err = readText(body, id)
	}
	f := Frame{Protocol: protocol(id, len(fields)), Form: form, Fields: fields}
	if err != nil {
		return Frame{}, &ParseError{Protocol: f.Protocol, Err: err}
	}
	if err := f.check(id); err != nil {
		return Frame{}, err
	}
	return f, nil
}

func protocol(id string, fields int) Protocol {
	switch {
	case id == NPI:
		return N
	case fields == 6 || fields == 7:
		return P
	}
	return IM
}

// readPushes returns the fields of the pushes form, up to the push that is
// exactly "|". It reads at most one field too many.
func readPushes(body []byte, id string) ([][]byte, error) {
	fields := make([][]byte, 0, maxFields)
	for len(body) > 0 {
		data, n, ok := push(body)
		if !ok {
			return nil, ErrPush // how many fields there were meant to be isn't known
		}
		body = body[n:]
		message := id == IMPI && len(fields) == messageField
		if bytes.Equal(data, chain) && !message {
			return fields, nil
		}
		if len(fields) == maxFields {
			return append(fields, data), ErrFieldCount
		}
		fields = append(fields, data)
	}
	return fields, nil
}

var between = []byte("][")

// readText returns the fields of [f1][f2]...[fn]. Under IMPI, more than eight
// are an IM message that holds "][" itself: the first four and the last three
// are the other fields.
func readText(text []byte, id string) ([][]byte, error) {
	if text[len(text)-1] != ']' {
		return nil, ErrBrackets
	}
	text = text[1 : len(text)-1]
	n := bytes.Count(text, between) + 1
	if n > maxFields && id != IMPI {
		return nil, ErrFieldCount
	}
	if n <= maxFields {
		return bytes.Split(text, between), nil
	}
	fields := make([][]byte, maxFields)
	for i := range messageField {
		fields[i], text, _ = bytes.Cut(text, between)
	}
	for i := maxFields - 1; i > messageField; i-- {
		at := bytes.LastIndex(text, between)
		fields[i], text = text[at+len(between):], text[:at]
	}
	fields[messageField] = text
	return fields, nil
}

// Signatures tells how many signatures end the frame: two in a transfer of a
// name, else one.
func (f Frame) Signatures() int {
	if f.Protocol == N && len(f.Fields) == 8 {
		return 2
	}
	return 1
}

// check applies the rules for the number of fields and for the bytes in them.
func (f Frame) check(id string) error {
	n := len(f.Fields)
	if n < 6 || n > maxFields {
		return &ParseError{Protocol: f.Protocol, Err: ErrFieldCount}
	}
	for i, field := range f.Fields {
		if f.Protocol == IM && i == messageField {
			continue
		}
		raw := i >= n-f.Signatures() // a signature may be raw bytes
		if err := checkField(field, raw, f.Form); err != nil {
			return &ParseError{Protocol: f.Protocol, Field: i + 1, Err: err}
		}
	}
	return nil
}

func checkField(field []byte, signature bool, form Form) error {
	switch {
	case bytes.Equal(field, chain):
		return ErrChainField
	case signature && form == Pushes:
		return nil
	case bytes.ContainsAny(field, "[]"):
		return ErrFieldBytes
	case !signature && !utf8.Valid(field):
		return ErrUTF8
	}
	return nil
}

// CheckText tells why a text can't be a field: it isn't UTF-8, holds a bracket
// or is exactly "|".
func CheckText(s string) error {
	switch {
	case !utf8.ValidString(s):
		return ErrUTF8
	case strings.ContainsAny(s, "[]"):
		return ErrFieldBytes
	case s == "|":
		return ErrChainField
	}
	return nil
}

// Preimage returns the text that the signatures sign: every field before them,
// in brackets, the same whatever the form.
func (f Frame) Preimage() []byte {
	return AppendPreimage(nil, f.Fields[:len(f.Fields)-f.Signatures()]...)
}

// AppendPreimage appends the fields as [f1][f2]...[fn].
func AppendPreimage(dst []byte, fields ...[]byte) []byte {
	for _, field := range fields {
		dst = append(dst, '[')
		dst = append(dst, field...)
		dst = append(dst, ']')
	}
	return dst
}

// An ID is a frame id or a content id: SHA-256 of fields as text. It is
// written as hexadecimal, first byte first.
type ID [32]byte

// IDOf returns the SHA-256 of a preimage.
func IDOf(preimage []byte) ID { return sha256.Sum256(preimage) }

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// AppendScript appends OP_FALSE OP_RETURN and the fields in the form given,
// which is Pushes or Bracketed. The output belongs to it with a value of 0
// satoshis. It fails when a reader would not read back the same fields.
func AppendScript(dst []byte, form Form, fields ...[]byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, opFalse, opReturn)
	switch form {
	case Pushes:
		for _, field := range fields {
			dst = AppendPush(dst, field)
		}
	case Bracketed:
		dst = AppendPush(dst, AppendPreimage(nil, fields...))
	default:
		return nil, fmt.Errorf("the %s form is read, never written", form)
	}
	f, err := Read(dst[start:])
	if err != nil {
		return nil, err
	}
	if len(f.Fields) != len(fields) {
		return nil, ErrFieldCount
	}
	for i, field := range fields {
		if !bytes.Equal(field, f.Fields[i]) { // "][" in it moved a part of it elsewhere
			return nil, &ParseError{Protocol: f.Protocol, Field: i + 1, Err: ErrFieldBytes}
		}
	}
	return dst, nil
}

// ErrTimeStamp says that a field is no time stamp: a decimal uint64 with no
// sign and no leading zero.
var ErrTimeStamp = errors.New("time stamp is not a decimal number below 2^64 without sign or leading zero")

// ParseTimeStamp reads a time stamp field.
func ParseTimeStamp(s string) (uint64, error) {
	if s == "" || len(s) > 20 || len(s) > 1 && s[0] == '0' || s[0] < '0' || s[0] > '9' {
		return 0, ErrTimeStamp
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, ErrTimeStamp
	}
	return n, nil
}
