package p2p

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
)

// A blockStream reads a block from the connection that it has borrowed. The
// connection goes back at the end of the block, at a failure, or with Close.
type blockStream struct {
	session  *session
	block    frame.Hash
	checksum [4]byte
	sum      hash.Hash // of what was read; nil where there is no checksum
	ctx      context.Context
	release  func() bool // stops watching ctx

	mu     sync.Mutex // held while reading
	left   uint64     // bytes still on the connection; the session reads it after done
	err    error      // of the last read, kept
	closed bool

	once sync.Once
	done chan struct{} // closed when the connection goes back
}

func newBlockStream(s *session, block frame.Hash, m message) *blockStream {
	b := &blockStream{session: s, block: block, checksum: m.checksum, left: m.size, done: make(chan struct{})}
	if !m.extended {
		b.sum = sha256.New()
	}
	return b
}

// begin binds the stream to the context of whoever reads.
func (b *blockStream) begin(ctx context.Context) {
	b.ctx = ctx
	b.release = context.AfterFunc(ctx, func() {
		b.session.end(fmt.Errorf("%w: %w", errAbandoned, ctx.Err()))
	})
}

// OmitChecksum has the block read without the message's checksum, which costs as
// much as the scan, for a reader that checks the Merkle root: whoever sends a
// false block can give it a right checksum.
func (b *blockStream) OmitChecksum() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum = nil
}

// Refuse puts the node behind the others for the next blocks: what it sent isn't
// the block.
func (b *blockStream) Refuse() { b.session.source.blockFailed(b.session.slot) }

// Read implements io.Reader.
func (b *blockStream) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, ErrClosed
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	if uint64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.session.in.Read(p)
	b.left -= uint64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	switch {
	case err != nil:
		b.fail(readError(unexpected(err)))
	case b.left == 0:
		b.finish()
	}
	if n > 0 {
		return n, nil // the end or the failure is told by the next call
	}
	return 0, b.err
}

// finish checks the checksum of a whole block and gives the connection back.
func (b *blockStream) finish() {
	if b.sum != nil {
		sum := sha256.Sum256(b.sum.Sum(nil))
		if [4]byte(sum[:]) != b.checksum {
			b.fail(fmt.Errorf("%w (block)", ErrChecksum))
			return
		}
	}
	b.err = io.EOF
	b.session.source.blockServed(b.session.slot)
	b.giveBack()
}

// fail ends the connection and remembers why.
func (b *blockStream) fail(err error) {
	b.session.end(err)
	switch {
	case b.ctx.Err() != nil:
		b.err = b.ctx.Err()
	default:
		if cause := context.Cause(b.session.ctx); cause != nil {
			err = cause // what closed the connection, rather than that it is closed
		}
		b.session.source.blockFailed(b.session.slot)
	}
	if b.err == nil {
		b.err = fmt.Errorf("read block %s from node %s: %w", b.block, b.session.slot.addr, err)
	}
	b.giveBack()
}

func (b *blockStream) giveBack() {
	b.once.Do(func() {
		close(b.done)
		if b.release != nil { // else the turn is still that of whoever asked
			b.release()
			b.session.source.freeTurn(b.session)
		}
	})
}

// Close gives the connection back. Of a block that wasn't read to its end the
// rest is skipped when it is short; else the connection is dropped. It returns
// what the last read failed with.
func (b *blockStream) Close() error {
	if !b.mu.TryLock() {
		b.session.end(errAbandoned) // somebody is reading: that ends now
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	b.giveBack()
	if b.err == io.EOF {
		return nil
	}
	return b.err
}
