package chainwatch

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/metaim/metaim/chainwatch/doublesha"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

const (
	scanBuffer = 1 << 20 // bytes read at a time
	// MaxTransaction is the largest transaction that is read, in bytes: the
	// scanner holds one whole.
	MaxTransaction = 1 << 30
)

// Reasons why a block isn't what its header says.
var (
	ErrMerkleRoot = errors.New("the transactions don't have the header's Merkle root")
	ErrBlockSize  = errors.New("the block ends too early or too late")
)

// A Scan is what was found in one block.
type Scan struct {
	Header       Header
	Count        uint64               // transactions
	Bytes        int64                // of the whole block
	Transactions []*index.Transaction // those that carry frames, read but not proved
	Conflicts    []frame.Hash         // unconfirmed transactions that it double-spends, by bytes
	Proofs       *index.Proofs        // that the block holds Transactions; nil when there are none
	raw          [][]byte             // of Transactions
}

// A Scanner reads blocks as they stream by and picks out what is ours. It keeps
// one buffer and allocates nothing for foreign transactions. One goroutine uses
// it at a time.
type Scanner struct {
	network frame.Network
	buf     []byte
	r       io.Reader
	at, end int
	read    int64
	ids     doublesha.Queue
}

// NewScanner returns a scanner for blocks of a network.
func NewScanner(network frame.Network) *Scanner {
	return &Scanner{network: network, buf: make([]byte, scanBuffer)}
}

// A judged reader hears what becomes of its block: sources whose readers have a
// use for that give them these methods.
type judged interface {
	// OmitChecksum says, before anything is read, that a checksum of the
	// transport needn't be checked: the Merkle root proves more.
	OmitChecksum()
	// Refuse says that what was read isn't the block that its header promises.
	Refuse()
}

// Block reads a block to its end: header, count, transactions. It checks the
// Merkle root, not the header's work. spent says what unconfirmed transactions
// spend; it may be nil. It fails with ErrMerkleRoot, ErrBlockSize,
// ErrTransaction or what the reader fails with.
func (s *Scanner) Block(r io.Reader, spent Spent) (*Scan, error) {
	judge, ok := r.(judged)
	if ok {
		judge.OmitChecksum()
	}
	scan, err := s.block(r, spent)
	if ok && (errors.Is(err, ErrMerkleRoot) || errors.Is(err, ErrBlockSize) || errors.Is(err, ErrTransaction)) {
		judge.Refuse()
	}
	return scan, err
}

func (s *Scanner) block(r io.Reader, spent Spent) (*Scan, error) {
	s.r, s.at, s.end, s.read = r, 0, 0, 0
	if cap(s.buf) > 16*scanBuffer {
		s.buf = make([]byte, scanBuffer) // after a giant
	}
	scan := &Scan{}
	head, err := s.head(scan)
	if err != nil {
		return nil, err
	}
	scan.Count = head
	var look *conflicts
	if len(spent) > 0 {
		look = &conflicts{spent: spent, found: map[frame.Hash]bool{}}
	}
	var tree merkleTree
	s.ids.Reset()
	for i := range scan.Count {
		found := len(scan.Transactions)
		if err := s.transaction(scan, i, look); err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		if len(scan.Transactions) > found {
			tree.mark(i)
		}
		if s.ids.Full() {
			tree.addAll(s.ids.Take())
		}
	}
	tree.addAll(s.ids.Take())
	if err := s.finish(); err != nil {
		return nil, err
	}
	root, ok := tree.root()
	if !ok || root != scan.Header.MerkleRoot() {
		return nil, ErrMerkleRoot
	}
	if look != nil {
		scan.Conflicts = slices.SortedFunc(maps.Keys(look.found), func(a, b frame.Hash) int { return slices.Compare(a[:], b[:]) })
	}
	if tree.proofs != nil {
		scan.Proofs = tree.proofs
		scan.Proofs.Raw = scan.raw
	}
	scan.Bytes = s.read
	return scan, nil
}

// Walk goes over a whole block in memory: header, count, transactions, as on the
// wire. It calls found with each transaction one of whose outputs begins as a
// frame, and its index in the block; the bytes are those of the block. It hashes
// nothing, so it is for blocks whose Merkle root was checked before. It returns
// how many transactions there are, and fails with ErrBlockSize when the block
// ends too early or too late.
func Walk(block []byte, found func(i uint64, tx []byte)) (count uint64, err error) {
	c := cursor{b: block}
	c.bytes(HeaderSize)
	count = c.varint()
	if c.short {
		return 0, ErrBlockSize
	}
	rest := block[c.at:]
	for i := range count {
		n, ours, err := walk(rest, nil)
		if err != nil {
			return 0, fmt.Errorf("transaction %d: %w", i, ErrBlockSize)
		}
		if ours {
			found(i, rest[:n])
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return 0, ErrBlockSize
	}
	return count, nil
}

// head reads the header and the number of transactions.
func (s *Scanner) head(scan *Scan) (count uint64, err error) {
	for {
		c := cursor{b: s.buf[s.at:s.end]}
		header := c.bytes(HeaderSize)
		count = c.varint()
		if !c.short {
			scan.Header = Header(header)
			s.at += c.at
			return count, nil
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// transaction walks the next transaction and queues its id.
func (s *Scanner) transaction(scan *Scan, i uint64, look *conflicts) error {
	for {
		window := s.buf[s.at:s.end]
		if look != nil {
			look.hits = look.hits[:0]
		}
		n, ours, err := walk(window, look)
		if err != nil {
			if err := s.fill(2 * len(window)); err != nil {
				return err
			}
			continue
		}
		s.at += n
		if ours {
			return s.take(scan, uint32(i), window[:n], look)
		}
		if look != nil && len(look.hits) > 0 {
			id := frame.HashOf(window[:n])
			look.settle(id)
			s.ids.AddSum(id)
			return nil
		}
		s.ids.Add(s.buf, s.at-n, s.at)
		return nil
	}
}

// take reads a transaction that carries frames.
func (s *Scanner) take(scan *Scan, i uint32, raw []byte, look *conflicts) error {
	raw = append([]byte(nil), raw...) // what is read of it aliases this, so keeping it takes no more
	tx, err := ReadTransaction(raw, s.network)
	if err != nil {
		return err
	}
	if look != nil {
		look.settle(tx.ID)
	}
	tx.Index = i
	scan.Transactions = append(scan.Transactions, tx)
	if len(raw) > index.MaxProved {
		raw = nil
	}
	scan.raw = append(scan.raw, raw)
	s.ids.AddSum(tx.ID)
	return nil
}

// fill reads on until the window holds so many bytes or the block ends, one byte
// at least. A transaction that didn't fit is walked again from its beginning:
// when the window has doubled each time, all these walks together are as long as
// two of the whole, however small the pieces are that the block arrives in.
func (s *Scanner) fill(want int) error {
	before := s.end - s.at
	for s.end-s.at == before || s.end-s.at < want {
		err := s.more()
		last := errors.Is(err, ErrBlockSize) || errors.Is(err, ErrTransaction)
		switch {
		case last && s.end-s.at > before:
			return nil // no more comes or fits: what is there may be the whole of it
		case err != nil:
			return err
		}
	}
	return nil
}

// more reads on behind what is in the buffer, making room first when little is
// left: what was walked goes, and a transaction larger than the buffer doubles it,
// so that memory follows what arrives and never what is claimed.
func (s *Scanner) more() error {
	if s.at > 0 && len(s.buf)-s.end < len(s.buf)/8 {
		s.ids.Flush() // what it reads moves
		copy(s.buf, s.buf[s.at:s.end])
		s.end -= s.at
		s.at = 0
	}
	if s.end == len(s.buf) {
		if len(s.buf) >= MaxTransaction {
			return fmt.Errorf("%w: over %d bytes", ErrTransaction, MaxTransaction)
		}
		s.ids.Flush()
		grown := make([]byte, 2*len(s.buf))
		copy(grown, s.buf)
		s.buf = grown
	}
	n, err := s.some(s.buf[s.end:])
	s.end += n
	s.read += int64(n)
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF):
		return ErrBlockSize
	}
	return err
}

// some reads at least one byte or fails. A reader that gives neither bytes nor
// an error, again and again, fails with io.ErrNoProgress.
func (s *Scanner) some(b []byte) (int, error) {
	for range 100 {
		if n, err := s.r.Read(b); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// finish checks that the block ends where it should.
func (s *Scanner) finish() error {
	if s.at != s.end {
		return ErrBlockSize
	}
	n, err := s.some(s.buf)
	switch {
	case n > 0:
		return ErrBlockSize
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}
