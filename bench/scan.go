package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/blockfile"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
)

const (
	scanNote = "a block of 31 MB of foreign transactions: 63 of 64 spend one P2PKH output and make two (226 bytes), the others carry 8 kB of data of another protocol"

	sideMetaim   = "metaim"
	sideCopy     = "memory copy"
	sideParser   = "go-bt v2.2.5"
	sideHash     = "double SHA-256 alone"
	sideInMemory = "in memory"
)

func scanComparisons() []*measure.Comparison {
	return []*measure.Comparison{scanForeign(), scanMerkle(), scanFile(), scanSocket()}
}

// A foreign is a block without any frame in it.
type foreign struct {
	raw  []byte
	hash frame.Hash
	txs  [][]byte // within raw
}

// foreignBlock makes a block of about a size, in bytes, on the genesis block. The
// same size makes the same block.
func foreignBlock(size int) *foreign {
	tree := simchain.NewTree()
	key := append([]byte{2}, bytes.Repeat([]byte{7}, 32)...)
	var txs [][]byte
	for n, sum := uint64(0), 0; sum < size; n++ {
		tx := &simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(n), key)}}
		if n%64 == 63 {
			data := frame.AppendPush([]byte{0x00, 0x6a}, []byte("19HxigV4QyBv3tHpQVcUEQyq1pzZVdoAut"))
			tx.Outputs = append(tx.Outputs, simchain.Data(frame.AppendPush(data, make([]byte, 8000))))
		} else {
			tx.Outputs = append(tx.Outputs, simchain.Pay(frame.KeyHash{byte(n)}, n))
		}
		tx.Outputs = append(tx.Outputs, simchain.Pay(frame.KeyHash{1, byte(n)}, n))
		raw := tx.Bytes()
		txs, sum = append(txs, raw), sum+len(raw)
	}
	mined := tree.Mine(tree.Genesis, 1_700_000_000, txs)
	f := &foreign{raw: mined.Bytes(), hash: mined.Hash}
	rest := len(f.raw)
	for _, tx := range mined.Txs {
		rest -= len(tx)
	}
	for _, tx := range mined.Txs {
		f.txs = append(f.txs, f.raw[rest:rest+len(tx)])
		rest += len(tx)
	}
	return f
}

func scanSize(size measure.Size) int { return measure.Pick(size, 31<<20, 200<<10) }

// passes is how often a side goes over the block in a round, so that it takes a
// tenth of a second or more.
func passes(size measure.Size, full int) int { return measure.Pick(size, full, 1) }

// times runs work several times over a block and counts the bytes; of what it
// allocates it notes the number for each transaction.
func (f *foreign) times(r *measure.Round, n int, work func() error) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.Start()
	for range n {
		if err := work(); err != nil {
			return err
		}
	}
	r.Stop(float64(n * len(f.raw)))
	runtime.ReadMemStats(&after)
	r.Set("allocations", float64(after.Mallocs-before.Mallocs)/float64(n*len(f.txs)))
	return nil
}

func scanForeign() *measure.Comparison {
	return &measure.Comparison{
		Name: "scan/foreign", Title: "Scan of a block in memory, foreign transactions, no ids", Note: scanNote,
		Prepare: func(_ context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
			block := foreignBlock(scanSize(size))
			to := make([]byte, len(block.raw))
			side := func(name string, n int, work func() error) measure.Side {
				return measure.Side{Name: name, Run: func(_ context.Context, r *measure.Round) error {
					return block.times(r, passes(size, n), work)
				}}
			}
			c.Sides = []measure.Side{
				side(sideMetaim, 30, block.walk),
				side(sideCopy, 30, func() error { copy(to, block.raw); return nil }),
				side(sideParser, 2, block.parse),
			}
			return nil, nil
		},
		Figures: []measure.Figure{
			perCPU("bytes scanned, of a memory copy", sideMetaim, sideCopy, measure.AtLeast(0.6)),
			perCPU("bytes scanned, of go-bt's parser", sideMetaim, sideParser, measure.AtLeast(15)),
			scanAllocations(measure.AtMost(0.001)),
			gigabytes(sideMetaim), gigabytes(sideCopy), gigabytes(sideParser),
		},
	}
}

func (f *foreign) walk() error {
	count, err := chainwatch.Walk(f.raw, func(uint64, []byte) {})
	if err == nil && count != uint64(len(f.txs)) {
		err = fmt.Errorf("walked over %d transactions of %d", count, len(f.txs))
	}
	return err
}

func (f *foreign) parse() error {
	var txs bt.Txs
	if _, err := txs.ReadFrom(bytes.NewReader(f.raw[chainwatch.HeaderSize:])); err != nil {
		return err
	}
	if len(txs) != len(f.txs) {
		return fmt.Errorf("parsed %d transactions of %d", len(txs), len(f.txs))
	}
	return nil
}

// scan scans the block in memory.
func (f *foreign) scan(s *chainwatch.Scanner) error {
	_, err := s.Block(bytes.NewReader(f.raw), nil)
	return err
}

func scanMerkle() *measure.Comparison {
	return &measure.Comparison{
		Name: "scan/merkle", Title: "Scan of a block in memory with its Merkle root, on one core", Note: scanNote,
		Prepare: func(_ context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
			block := foreignBlock(scanSize(size))
			scanner := chainwatch.NewScanner(simchain.Network)
			c.Sides = []measure.Side{
				{Name: sideMetaim, Run: func(_ context.Context, r *measure.Round) error {
					return block.times(r, passes(size, 6), func() error { return block.scan(scanner) })
				}},
				{Name: sideHash, Run: func(_ context.Context, r *measure.Round) error {
					return block.times(r, passes(size, 3), block.hashAll)
				}},
			}
			return nil, nil
		},
		Figures: []measure.Figure{
			perCPU("bytes scanned, of crypto/sha256 twice over the transactions alone", sideMetaim, sideHash, measure.AtLeast(0.9)),
			scanAllocations(measure.AtMost(0.001)),
			gigabytes(sideMetaim), gigabytes(sideHash), cpuPerGB(sideMetaim),
		},
	}
}

func (f *foreign) hashAll() error {
	for _, tx := range f.txs {
		_ = frame.HashOf(tx)
	}
	return nil
}

// streaming compares a block that is streamed with the same in memory. open says
// where it comes from.
func streaming(c *measure.Comparison, what string, open func(ctx context.Context, size measure.Size, block *foreign) (chainwatch.Source, func(), error)) *measure.Comparison {
	c.Note = scanNote
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		block := foreignBlock(scanSize(size))
		source, end, err := open(ctx, size, block)
		if err != nil {
			return end, err
		}
		scanner := chainwatch.NewScanner(simchain.Network)
		c.Sides = []measure.Side{
			{Name: what, Run: func(ctx context.Context, r *measure.Round) error {
				return block.times(r, passes(size, 6), func() error {
					_, err := scanFrom(ctx, source, scanner, block.hash)
					return err
				})
			}},
			{Name: sideInMemory, Run: func(_ context.Context, r *measure.Round) error {
				return block.times(r, passes(size, 6), func() error { return block.scan(scanner) })
			}},
		}
		return end, nil
	}
	c.Figures = []measure.Figure{
		{Name: "bytes a second, of those in memory", Unit: "ratio", Goal: measure.AtLeast(0.8), Of: func(s map[string]measure.Sample) float64 {
			return s[what].Rate() / s[sideInMemory].Rate()
		}},
		perCPU("bytes for the CPU time, of those in memory", what, sideInMemory, nil),
		gigabytes(what), gigabytes(sideInMemory), cpuPerGB(what), cpuPerGB(sideInMemory),
	}
	return c
}

// scanFrom scans a block of a source with its Merkle root.
func scanFrom(ctx context.Context, source chainwatch.Source, scanner *chainwatch.Scanner, hash frame.Hash) (*chainwatch.Scan, error) {
	r, err := source.Block(ctx, hash)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return scanner.Block(r, nil)
}

func scanFile() *measure.Comparison {
	c := &measure.Comparison{Name: "scan/stream-file", Title: "Scan of a block streamed from a block file in the page cache, with its Merkle root"}
	return streaming(c, "block file", func(ctx context.Context, _ measure.Size, block *foreign) (chainwatch.Source, func(), error) {
		folder, err := os.MkdirTemp("", "metaim-bench-")
		if err != nil {
			return nil, nil, err
		}
		end := func() { _ = os.RemoveAll(folder) }
		path := filepath.Join(folder, "block.blk")
		if err := os.WriteFile(path, block.raw, 0o600); err != nil {
			return nil, end, err
		}
		source, err := blockfile.Open(ctx, []string{path}, chainwatch.ParamsOf(simchain.Network), blockfile.Options{})
		return source, end, err
	})
}

func perCPU(name, a, b string, goal *measure.Goal) measure.Figure {
	return measure.Figure{Name: name, Unit: "ratio", Goal: goal, Of: func(s map[string]measure.Sample) float64 {
		return s[a].PerCPU() / s[b].PerCPU()
	}}
}

func scanAllocations(goal *measure.Goal) measure.Figure {
	return measure.Figure{Name: "allocations a transaction", Unit: "", Goal: goal, Of: func(s map[string]measure.Sample) float64 {
		return s[sideMetaim].Values["allocations"]
	}}
}

func gigabytes(side string) measure.Figure {
	return measure.Figure{Name: side, Unit: "GB/s", Of: func(s map[string]measure.Sample) float64 { return s[side].Rate() / 1e9 }}
}

func cpuPerGB(side string) measure.Figure {
	return measure.Figure{Name: side + ", CPU time of a GB", Unit: "s", Of: func(s map[string]measure.Sample) float64 { return 1e9 / s[side].PerCPU() }}
}
