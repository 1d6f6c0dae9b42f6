package devnet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

const (
	recordHead = 8         // magic and length, little endian, as in blk*.dat
	largest    = 128 << 20 // bytes of a block; bsvd is told to stay far below
)

var regtest = chainwatch.ParamsOf(frame.Regtest)

// A chainFile keeps the blocks that bsvd forgets at every start: raw, each after
// the network's magic and its length, parents before children. Blocks that lost
// against others stay in it. The last one is the tip.
type chainFile struct {
	f      *os.File
	size   int64 // of the whole records
	blocks map[frame.Hash]record
	tip    frame.Hash // the genesis block's when the file is empty
}

// A record is where a block stands in the file.
type record struct {
	parent frame.Hash
	at     int64 // of the raw block
	size   int
}

// openChainFile opens or makes the file and calls visit with each block, in
// order. A record that a crash cut short at the end is dropped; any other damage
// is an error.
func openChainFile(path string, visit func(raw []byte) error) (*chainFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	c := &chainFile{f: f, blocks: make(map[frame.Hash]record), tip: regtest.Genesis.Hash()}
	if err := c.read(visit); err != nil {
		f.Close()
		return nil, fmt.Errorf("read the kept chain %s: %w", path, err)
	}
	return c, nil
}

func (c *chainFile) read(visit func(raw []byte) error) error {
	info, err := c.f.Stat()
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(c.f, 1<<20)
	for {
		raw, err := readRecord(r, info.Size()-c.size)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return c.f.Truncate(c.size)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(raw)
		}
		if err != nil {
			return fmt.Errorf("block %d of the file: %w", len(c.blocks)+1, err)
		}
		c.note(raw)
	}
}

// readRecord reads one block. left is the number of bytes that the file still
// has: a length is compared with it before anything is allocated.
func readRecord(r io.Reader, left int64) ([]byte, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if magic := binary.LittleEndian.Uint32(head[:]); magic != regtest.Magic {
		return nil, fmt.Errorf("magic %08x is not regtest's", magic)
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size < chainwatch.HeaderSize || size > largest {
		return nil, fmt.Errorf("%d bytes are no block", size)
	}
	if int64(size) > left-recordHead {
		return nil, io.ErrUnexpectedEOF
	}
	raw := make([]byte, size)
	_, err := io.ReadFull(r, raw)
	return raw, err
}

func (c *chainFile) note(raw []byte) {
	c.tip = blockHash(raw)
	c.blocks[c.tip] = record{parent: blockParent(raw), at: c.size + recordHead, size: len(raw)}
	c.size += recordHead + int64(len(raw))
}

// append writes blocks, parents first, and returns when they are on the disk.
func (c *chainFile) append(blocks [][]byte) error {
	if len(blocks) == 0 {
		return nil
	}
	if err := c.write(blocks); err != nil {
		return fmt.Errorf("keep the chain: %w", errors.Join(err, c.f.Truncate(c.size)))
	}
	for _, raw := range blocks {
		c.note(raw)
	}
	return nil
}

func (c *chainFile) write(blocks [][]byte) error {
	at := c.size
	for _, raw := range blocks {
		if len(raw) < chainwatch.HeaderSize || len(raw) > largest {
			return fmt.Errorf("%d bytes are no block", len(raw))
		}
		b := binary.LittleEndian.AppendUint32(make([]byte, 0, recordHead+len(raw)), regtest.Magic)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(raw)))
		if _, err := c.f.WriteAt(append(b, raw...), at); err != nil {
			return err
		}
		at += recordHead + int64(len(raw))
	}
	return c.f.Sync()
}

// best calls visit with the blocks of the best chain, oldest first, without the
// genesis block.
func (c *chainFile) best(visit func(height int32, raw []byte) error) error {
	var path []record
	for hash := c.tip; hash != regtest.Genesis.Hash(); {
		r, ok := c.blocks[hash]
		if !ok {
			return fmt.Errorf("read the kept chain: block %s is missing", hash)
		}
		path = append(path, r)
		hash = r.parent
	}
	for i, r := range slices.Backward(path) {
		raw := make([]byte, r.size)
		if _, err := c.f.ReadAt(raw, r.at); err != nil {
			return fmt.Errorf("read the kept chain: %w", err)
		}
		if err := visit(int32(len(path)-i), raw); err != nil {
			return err
		}
	}
	return nil
}

func (c *chainFile) close() error { return c.f.Close() }

// blockHash returns the hash of a block of at least 80 bytes.
func blockHash(raw []byte) frame.Hash { return frame.HashOf(raw[:chainwatch.HeaderSize]) }

// blockParent returns the hash of the block before.
func blockParent(raw []byte) frame.Hash { return frame.Hash(raw[4:36]) }
