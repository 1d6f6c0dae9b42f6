package devnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// block makes bytes that a chain file takes for a block.
func block(parent frame.Hash, mark byte) []byte {
	raw := make([]byte, 100)
	copy(raw[4:], parent[:])
	raw[99], raw[36] = mark, mark
	return raw
}

func record8(raw []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, regtest.Magic)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(raw))), raw...)
}

func TestChainFileKeepsBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chain.dat")
	c, err := openChainFile(path, func([]byte) error { return errors.New("an empty file has a block") })
	if err != nil {
		t.Fatal(err)
	}
	one := block(regtest.Genesis.Hash(), 1)
	two := block(blockHash(one), 2)
	lost := block(blockHash(two), 3)
	three := block(blockHash(two), 4)
	four := block(blockHash(three), 5)
	for _, blocks := range [][][]byte{{one, two}, {lost}, {three, four}} {
		if err := c.append(blocks); err != nil {
			t.Fatal(err)
		}
	}
	c.close()

	var all [][]byte
	c, err = openChainFile(path, func(raw []byte) error { all = append(all, raw); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if want := [][]byte{one, two, lost, three, four}; !equal(all, want) {
		t.Errorf("read %d blocks, want all %d in order", len(all), len(want))
	}
	var best [][]byte
	err = c.best(func(height int32, raw []byte) error {
		best = append(best, raw)
		if int(height) != len(best) {
			t.Errorf("block %d has height %d", len(best), height)
		}
		return nil
	})
	if want := [][]byte{one, two, three, four}; err != nil || !equal(best, want) {
		t.Errorf("the best chain has %d blocks (%v), want %d without the lost one", len(best), err, len(want))
	}
}

func equal(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, []byte("|")), bytes.Join(b, []byte("|")))
}

func TestDamagedChainFile(t *testing.T) {
	one := record8(block(regtest.Genesis.Hash(), 1))
	huge := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, regtest.Magic), 0xffffffff)
	for _, tt := range []struct {
		name   string
		bytes  []byte
		blocks int
		fault  string // in the error; empty: none
	}{
		{"cut in a head", append(bytes.Clone(one), one[:5]...), 1, ""},
		{"cut in a block", append(bytes.Clone(one), one[:50]...), 1, ""},
		{"only a head", one[:8], 0, ""},
		{"another network", append(bytes.Clone(one), "\xf9\xbe\xb4\xd9\x50\x00\x00\x00"...), 1, "block 2 of the file: magic d9b4bef9 is not regtest's"},
		{"too long", huge, 0, "4294967295 bytes are no block"},
		{"too short", append(huge[:4:4], 79, 0, 0, 0), 0, "79 bytes are no block"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "chain.dat")
			if err := os.WriteFile(path, tt.bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			got := 0
			c, err := openChainFile(path, func([]byte) error { got++; return nil })
			if got != tt.blocks || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Fatalf("got %d blocks, error %v; want %d, %q", got, err, tt.blocks, tt.fault)
			}
			if err != nil {
				return
			}
			// What follows is read back: the cut record is gone.
			next := block(c.tip, 9)
			if err := c.append([][]byte{next}); err != nil {
				t.Fatal(err)
			}
			c.close()
			c, err = openChainFile(path, func([]byte) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			if c.tip != blockHash(next) || len(c.blocks) != tt.blocks+1 {
				t.Errorf("after one more block there are %d with tip %s, want %d with %s", len(c.blocks), c.tip, tt.blocks+1, blockHash(next))
			}
		})
	}
}

func TestRefusedBlockStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	bad := record8(block(regtest.Genesis.Hash(), 1))
	if err := os.WriteFile(filepath.Join(dir, "chain.dat"), bad, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), Config{Dir: dir})
	if err == nil {
		n.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "block 1 of the file") {
		t.Errorf("got %v, want that block 1 of the file is refused", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "chain.dat")); err != nil || !bytes.Equal(after, bad) {
		t.Errorf("the file was changed (%v)", err)
	}
}
