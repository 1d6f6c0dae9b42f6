package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/metaim/metaim/chainwatch"
)

// ErrNotBlocks says that a file holds something else than blocks.
var ErrNotBlocks = errors.New("what stands here is no block")

// errNoTransaction says that a block's transactions can't be walked.
var errNoTransaction = errors.New("not a transaction")

const (
	shortHead = 8  // magic and length
	longHead  = 16 // magic, ffffffff and a length of eight bytes: 4 GB and more
	// smallest is a header, a count, and one transaction of one input and one
	// output.
	smallest = chainwatch.HeaderSize + 1 + 60
)

// magics are the first bytes of a record. The reference node has other ones in
// its files (the first of each network here) than on the wire.
var magics = []struct {
	bytes   string
	network string // as people call it
}{
	{"\xf9\xbe\xb4\xd9", "mainnet"},
	{"\xe3\xe1\xf3\xe8", "mainnet"},
	{"\x0b\x11\x09\x07", "testnet"},
	{"\xf4\xe5\xf3\xf4", "testnet"},
	{"\xfb\xce\xc4\xf9", "stn"},
	{"\xfa\xbf\xb5\xda", "regtest"},
}

// A place is where a block stands in the content of a file.
type place struct {
	at   int64 // of the header, in bytes
	size int64
}

// What a pass warns of.
type fault int

const (
	faultWork fault = iota
	faultCut
	faultGarbage
)

// A pass reads one file from its beginning to its end and reports each block that
// has its proof of work.
type pass struct {
	s      *stream
	params *chainwatch.Params
	found  func(h chainwatch.Header, p place)
	warn   func(f fault, at, size int64)
	magics [][]byte // that begin a record in this file
	quiet  bool     // the bytes up to the next magic were warned of
	any    bool     // a record has been found, good or bad
	speaks string   // the network whose magic the first record has
	junk   int64    // where the first bytes stand that are no record, or -1
}

// run finds out what the file is and reads it. It fails with ErrNotBlocks, and
// with what the file fails with.
func (p *pass) run() error {
	p.junk = -1
	b, err := p.s.peek(shortHead + chainwatch.HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, m := range magics {
		p.magics = append(p.magics, []byte(m.bytes))
	}
	own := binary.LittleEndian.AppendUint32(nil, p.params.Magic)
	p.magics = append(p.magics, own)
	known := func(m []byte) bool { return bytes.HasPrefix(b, m) }
	switch {
	case slices.ContainsFunc(p.magics, known):
	case p.proved(b):
		return p.plain()
	case len(b) > shortHead && b[0] != 0 && p.proved(b[shortHead:]):
		p.magics = [][]byte{bytes.Clone(b[:4])} // of some other network
	}
	if err := p.framed(); err != nil {
		return err
	}
	if !p.any && p.junk >= 0 {
		return fmt.Errorf("offset %d: %w, nor a record of a block file", p.junk, ErrNotBlocks)
	}
	return nil
}

// proved tells whether bytes begin with a header that has its proof of work.
func (p *pass) proved(b []byte) bool {
	return len(b) >= chainwatch.HeaderSize && p.params.CheckWork((*chainwatch.Header)(b)) == nil
}

// framed reads records.
func (p *pass) framed() error {
	for {
		found, err := p.toMagic()
		if err != nil || !found {
			return err
		}
		p.any = true
		if err := p.record(); err != nil {
			return err
		}
	}
}

// toMagic goes on to the next magic, over padding and over what is no record.
func (p *pass) toMagic() (found bool, err error) {
	junk := int64(-1)
	defer func() {
		if junk >= 0 && !p.quiet {
			p.warn(faultGarbage, junk, p.s.at-junk)
		}
		if junk >= 0 && p.junk < 0 {
			p.junk = junk
		}
		p.quiet = false
	}()
	for {
		b, err := p.s.window(4)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		n := p.next(b)
		found = n >= 0
		switch {
		case found:
		case len(b) < 4:
			n = len(b)
		default:
			n = len(b) - 3 // a magic may begin in the last three
		}
		zeros := n - len(bytes.TrimLeft(b[:n], "\x00"))
		if junk < 0 && zeros < n {
			junk = p.s.at + int64(zeros)
		}
		ended := len(b) < 4
		if err := p.s.skip(uint64(n)); err != nil {
			return false, err
		}
		if found || ended {
			return found, nil
		}
	}
}

// next returns where the first magic begins, or -1.
func (p *pass) next(b []byte) int {
	first := -1
	for _, m := range p.magics {
		if bytes.HasPrefix(b, m) {
			return 0
		}
		if i := bytes.Index(b, m); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// record reads the record that begins here. One that is none is left after its
// magic, so that a true record inside it is found.
func (p *pass) record() error {
	at := p.s.at
	b, err := p.s.peek(longHead + chainwatch.HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if p.speaks == "" {
		p.speaks = networkOf(b)
	}
	head, size, ok := readHead(b)
	switch {
	case !ok || len(b) < head+chainwatch.HeaderSize || !p.s.fits(uint64(head)+size):
		return p.refuse(faultCut, at, int64(len(b)))
	case size < smallest:
		return p.refuse(faultGarbage, at, int64(head))
	case !p.proved(b[head:]):
		return p.refuse(faultWork, at, int64(size))
	}
	h := chainwatch.Header(b[head:])
	err = p.s.skip(uint64(head) + size)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		p.warn(faultCut, at, p.s.at-at) // compressed: only now it is known
		return nil
	}
	if err == nil {
		p.found(h, place{at: at + int64(head), size: int64(size)})
	}
	return err
}

// networkOf names the network that a magic belongs to.
func networkOf(b []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.bytes)) {
			return m.network
		}
	}
	return "an unknown network"
}

// readHead reads magic and length.
func readHead(b []byte) (head int, size uint64, ok bool) {
	if len(b) < shortHead {
		return 0, 0, false
	}
	short := binary.LittleEndian.Uint32(b[4:])
	if short != 0xffffffff {
		return shortHead, uint64(short), true
	}
	if len(b) < longHead {
		return 0, 0, false
	}
	size = binary.LittleEndian.Uint64(b[8:])
	return longHead, size, size < 1<<62
}

func (p *pass) refuse(f fault, at, size int64) error {
	p.warn(f, at, size)
	p.quiet = true
	return p.s.skip(4)
}

// plain reads blocks that stand one behind the other.
func (p *pass) plain() error {
	for {
		at := p.s.at
		b, err := p.s.peek(chainwatch.HeaderSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(bytes.TrimLeft(b, "\x00")) == 0 {
			return p.zeros()
		}
		if len(b) < chainwatch.HeaderSize {
			p.warn(faultCut, at, int64(len(b)))
			return nil
		}
		h, good := chainwatch.Header(b), p.proved(b)
		err = p.walk()
		bad := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNoTransaction)
		switch {
		case good && errors.Is(err, io.ErrUnexpectedEOF):
			p.warn(faultCut, at, p.s.at-at)
			return nil
		case bad:
			return fmt.Errorf("offset %d: %w", at, ErrNotBlocks)
		case err != nil:
			return err
		case !good:
			p.warn(faultWork, at, p.s.at-at)
		default:
			p.found(h, place{at: at, size: p.s.at - at})
		}
	}
}

// zeros checks that only padding is left.
func (p *pass) zeros() error {
	for {
		b, err := p.s.window(1)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		if rest := len(bytes.TrimLeft(b, "\x00")); rest > 0 {
			return fmt.Errorf("offset %d: %w", p.s.at+int64(len(b)-rest), ErrNotBlocks)
		}
		if err := p.s.skip(uint64(len(b))); err != nil {
			return err
		}
	}
}

// walk goes over one block. It fails with errNoTransaction, and with
// io.ErrUnexpectedEOF when the file ends first.
func (p *pass) walk() error {
	if err := p.s.skip(chainwatch.HeaderSize); err != nil {
		return err
	}
	count, err := p.s.varint()
	if err == nil && count == 0 {
		err = errNoTransaction
	}
	for ; count > 0 && err == nil; count-- {
		err = p.transaction()
	}
	return err
}

func (p *pass) transaction() error {
	if err := p.s.skip(4); err != nil {
		return err
	}
	inputs, err := p.s.varint()
	if err == nil && inputs == 0 {
		err = errNoTransaction
	}
	for ; inputs > 0 && err == nil; inputs-- {
		err = p.around(36, 4)
	}
	if err != nil {
		return err
	}
	outputs, err := p.s.varint()
	for ; outputs > 0 && err == nil; outputs-- {
		err = p.around(8, 0)
	}
	if err != nil {
		return err
	}
	return p.s.skip(4)
}

// around goes over a script and the bytes before and after it.
func (p *pass) around(before, after uint64) error {
	if err := p.s.skip(before); err != nil {
		return err
	}
	script, err := p.s.varint()
	if err != nil {
		return err
	}
	if err := p.s.skip(script); err != nil {
		return err
	}
	return p.s.skip(after)
}
