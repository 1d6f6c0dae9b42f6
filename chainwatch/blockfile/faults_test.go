package blockfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// TestForgiven reads files with faults: what is good in them counts, and the
// report says what was passed over, and where.
func TestForgiven(t *testing.T) {
	genesis := regtest.Genesis.Hash()
	chain := line(genesis, 1, 4)
	all := framed(chain...)
	last := len(all) - len(chain[3]) - 8
	weak := header(hashOf(chain[1]), frame.Hash{}, regtest, false)
	weakBlock := append(append(weak[:], 1), transaction(9, nil)...)
	long := slices.Concat(all[:4], []byte{0xff, 0xff, 0xff, 0xff}, binary.LittleEndian.AppendUint64(nil, uint64(len(chain[0]))), chain[0])
	damaged := bytes.Clone(all) // the second record claims more than there is
	second := 8 + len(chain[0])
	binary.LittleEndian.PutUint32(damaged[second+4:], 1e9)
	tests := []struct {
		name  string
		files [][]byte
		want  Report // without Files and Warnings
		where []int64
	}{
		{"nothing", [][]byte{all}, Report{Blocks: 4, Height: 4}, nil},
		{"genesis block in it", [][]byte{append(framed(genesisBlock()), all...)}, Report{Blocks: 5, Height: 4}, nil},
		{"length in eight bytes", [][]byte{append(long, framed(chain[1:]...)...)}, Report{Blocks: 4, Height: 4}, nil},
		{"magic of the wire of mainnet", [][]byte{slices.Concat(record(0xe8f3e1e3, chain[0]), record(0xd9b4bef9, chain[1]), framed(chain[2:]...))},
			Report{Blocks: 4, Height: 4}, nil},
		{"magic that nobody knows", [][]byte{slices.Concat(record(0x01020304, chain[0]), record(0x01020304, chain[1]))}, Report{Blocks: 2, Height: 2}, nil},
		{"last record cut in its block", [][]byte{all[:len(all)-1]}, Report{Blocks: 3, Height: 3, Cut: 1}, []int64{int64(last)}},
		{"last record cut in its header", [][]byte{all[:last+50]}, Report{Blocks: 3, Height: 3, Cut: 1}, []int64{int64(last)}},
		{"last record cut in its length", [][]byte{all[:last+6]}, Report{Blocks: 3, Height: 3, Cut: 1}, []int64{int64(last)}},
		{"last record cut in its magic", [][]byte{all[:last+3]}, Report{Blocks: 3, Height: 3, Garbage: 1}, []int64{int64(last)}},
		{"cut record, whole in the next file", [][]byte{all[:len(all)-1], framed(chain[3])}, Report{Blocks: 4, Height: 4, Cut: 1}, []int64{int64(last)}},
		{"cut record, compressed", [][]byte{compress(t, all[:len(all)-1])}, Report{Blocks: 3, Height: 3, Cut: 1}, []int64{int64(last)}},
		{"length of one record is wrong", [][]byte{damaged}, Report{Blocks: 3, Height: 1, Orphans: 2, Cut: 1}, []int64{int64(second)}},
		{"length of nothing", [][]byte{append(record(regtest.Magic, nil), all...)}, Report{Blocks: 4, Height: 4, Garbage: 1}, []int64{0}},
		{"garbage before", [][]byte{append([]byte("garbage"), all...)}, Report{Blocks: 4, Height: 4, Garbage: 1}, []int64{0}},
		{"garbage between, behind padding", [][]byte{slices.Concat(all[:last], []byte{0, 0, 7, 0, 7}, all[last:])},
			Report{Blocks: 4, Height: 4, Garbage: 1}, []int64{int64(last) + 2}},
		{"garbage of a megabyte", [][]byte{slices.Concat(all[:last], bytes.Repeat([]byte{7}, 1<<20), all[last:])},
			Report{Blocks: 4, Height: 4, Garbage: 1}, []int64{int64(last)}},
		{"garbage behind", [][]byte{append(bytes.Clone(all), "garbage"...)}, Report{Blocks: 4, Height: 4, Garbage: 1}, []int64{int64(len(all))}},
		{"no proof of work", [][]byte{slices.Concat(all[:second], framed(weakBlock), all[second:])}, Report{Blocks: 4, Height: 4, BadWork: 1}, []int64{int64(second)}},
		{"plain", [][]byte{slices.Concat(chain...)}, Report{Blocks: 4, Height: 4}, nil},
		{"plain, cut", [][]byte{slices.Concat(chain...)[:len(chain[0])+100]}, Report{Blocks: 1, Height: 1, Cut: 1}, []int64{int64(len(chain[0]))}},
		{"plain, cut in a header", [][]byte{slices.Concat(chain...)[:len(chain[0])+50]}, Report{Blocks: 1, Height: 1, Cut: 1}, []int64{int64(len(chain[0]))}},
		{"plain, no proof of work", [][]byte{slices.Concat(chain[0], weakBlock, chain[1])}, Report{Blocks: 2, Height: 2, BadWork: 1}, []int64{int64(len(chain[0]))}},
		{"an empty file beside", [][]byte{nil, all, make([]byte, 5000)}, Report{Blocks: 4, Height: 4}, nil},
		{"blocks of another chain beside", [][]byte{framed(line(frame.Hash{7}, 1, 3)...), all}, Report{Blocks: 7, Height: 4, Orphans: 3}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, write(t, tt.files...)...)
			got := s.Report()
			var where []int64
			for _, w := range got.Warnings {
				where = append(where, w.Offset)
			}
			if !slices.Equal(where, tt.where) {
				t.Errorf("warned of %v, want offsets %v", got.Warnings, tt.where)
			}
			doubtful := got.BadWork+got.Cut+got.Garbage+got.Orphans > 0
			if st := s.Status(); (st.Trouble != "") != doubtful || st.Height != tt.want.Height {
				t.Errorf("got status %+v, want height %d, trouble %t", st, tt.want.Height, doubtful)
			}
			got.Files, got.Warnings = 0, nil
			if g, w := reportOf(got), reportOf(tt.want); g != w {
				t.Errorf("got %+v, want %+v", g, w)
			}
			if _, height := tip(t, s); height != tt.want.Height {
				t.Errorf("the headers end at %d, want %d", height, tt.want.Height)
			}
		})
	}
}

// reportOf is what of a report can be compared.
func reportOf(r Report) [7]int {
	return [7]int{r.Blocks, r.Doubles, int(r.Height), r.BadWork, r.Cut, r.Garbage, r.Orphans}
}

func genesisBlock() []byte {
	return append(append(regtest.Genesis[:], 1), transaction(0, nil)...) // its transaction is nobody's business here
}

func TestRefused(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 3)
	plain := slices.Concat(chain...)
	main := header(frame.Hash{1}, frame.Hash{}, regtest, true)
	tests := []struct {
		name    string
		content []byte
		want    error
		says    string
	}{
		{"empty", nil, ErrNoBlocks, "1 files"},
		{"padding only", make([]byte, 100000), ErrNoBlocks, ""},
		{"text", []byte("these are no blocks, but a text that is longer than a header and a record's head would be, by far"), ErrNotBlocks, "offset 0"},
		{"short text", []byte("text"), ErrNotBlocks, "offset 0"},
		{"text behind padding", append(make([]byte, 100000), "text"...), ErrNotBlocks, "offset 100000"},
		{"records without work", framed(make([]byte, 200)), ErrNoBlocks, ""},
		{"blocks from the middle of the chain", framed(chain[1:]...), ErrNoGenesis, "follows block " + hashOf(chain[0]).String()},
		{"of another network", record(0xd9b4bef9, append(main[:], make([]byte, 200)...)), ErrNoGenesis, "the magic of mainnet"},
		{"plain, garbage behind", append(bytes.Clone(plain), bytes.Repeat([]byte("garbage"), 50)...), ErrNotBlocks, "offset " + strconv.Itoa(len(plain))},
		{"plain, garbage behind padding", slices.Concat(plain, make([]byte, 100000), []byte{7}), ErrNotBlocks, "offset " + strconv.Itoa(len(plain)+100000)},
		{"zstd of text", compress(t, bytes.Repeat([]byte("text"), 100)), ErrNotBlocks, "offset 0"},
		{"zstd, something behind", append(compress(t, framed(chain...)), "garbage"...), errZstd, "offset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.content)[0]
			_, err := Open(t.Context(), []string{path}, regtest, Options{})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want %v with %q", err, tt.want, tt.says)
			}
			if tt.want != ErrNoBlocks && !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want it to name the file", err)
			}
		})
	}
}

// TestZstdFaults damages a compressed file.
func TestZstdFaults(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 50)
	whole := slices.Concat(compress(t, framed(chain[:25]...)), streamed(t, framed(chain[25:]...)))
	first := len(compress(t, framed(chain[:25]...)))
	t.Run("every length", func(t *testing.T) {
		for n := first; n < len(whole); n += 7 {
			s := open(t, write(t, whole[:n])...)
			if _, height := tip(t, s); height < 25 || height > 50 || n > first && s.Report().Cut == 0 {
				t.Fatalf("cut to %d of %d bytes: got height %d, %+v, want at least 25 and a warning", n, len(whole), height, s.Report())
			}
		}
	})
	t.Run("every byte", func(t *testing.T) {
		for i := 0; i < len(whole); i += 3 {
			b := bytes.Clone(whole)
			b[i] ^= 0x55
			s, err := Open(t.Context(), write(t, b), regtest, Options{})
			if err == nil {
				_, _ = tip(t, s) // it must not hang or panic; what it finds has its work
			}
		}
	})
}

// TestEqualWork has two branches of one length: the one whose last block stands
// first in the files stays, wherever its other blocks stand.
func TestEqualWork(t *testing.T) {
	genesis := regtest.Genesis.Hash()
	a, b := line(genesis, 1, 3), line(genesis, 2, 3)
	more := append(slices.Clone(a), mine(hashOf(a[2]), 1, nil))
	tests := []struct {
		name  string
		files [][][]byte
		want  []byte
	}{
		{"one behind the other", [][][]byte{{a[0], a[1], a[2], b[0], b[1], b[2]}}, a[2]},
		{"the other way round", [][][]byte{{b[0], b[1], b[2], a[0], a[1], a[2]}}, b[2]},
		{"last block first of all", [][][]byte{{b[2], a[0], a[1], a[2], b[1], b[0]}}, b[2]},
		{"last block first, the rest in another file", [][][]byte{{b[2]}, {a[0], a[1], a[2]}, {b[1], b[0]}}, b[2]},
		{"first blocks first, last block later", [][][]byte{{b[0], b[1], a[0], a[1], a[2], b[2]}}, a[2]},
		{"all reversed", [][][]byte{{a[2], b[2], a[1], b[1], a[0], b[0]}}, a[2]},
		{"a double that stands first", [][][]byte{{b[2], a[2], a[0], a[1], a[2], b[0], b[1], b[2]}}, b[2]},
		{"more work stands last", [][][]byte{{b[0], b[1], b[2], more[3], a[2], a[1], a[0]}}, more[3]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var files [][]byte
			for _, f := range tt.files {
				files = append(files, framed(f...))
			}
			if got, _ := tip(t, open(t, write(t, files...)...)); got != hashOf(tt.want) {
				t.Errorf("got tip %s, want %s", got, hashOf(tt.want))
			}
		})
	}
}

// TestTorsoBeforeTheBlock has a copy of a block with wrong transactions before
// the right one: the right one is given.
func TestTorsoBeforeTheBlock(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 2)
	torso := bytes.Clone(chain[1])
	torso[len(torso)-6] ^= 1
	for _, order := range [][][]byte{{chain[0], torso, chain[1], torso}, {chain[0], chain[1], torso}} {
		s := open(t, write(t, framed(order...))...)
		r, err := s.Block(t.Context(), hashOf(chain[1]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, chain[1]) {
			t.Errorf("got %x, %v, want the copy that has the Merkle root", got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFolder(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 6)
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"blk00001.dat": framed(chain[1]), "blk00000.dat": framed(chain[0]), "export.blk": framed(chain[2]), "more.bin": chain[3],
		"z.dat.zst": compress(t, framed(chain[4])), "rev00000.dat": []byte("undo data, no blocks"), "notes.txt": []byte("text"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "index.dat"), 0o700); err != nil {
		t.Fatal(err)
	}
	var names []string
	files, err := expand([]string{dir})
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	want := []string{"blk00000.dat", "blk00001.dat", "export.blk", "more.bin", "z.dat.zst"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("got %v, %v, want %v", names, err, want)
	}
	if _, height := tip(t, open(t, dir)); height != 5 {
		t.Errorf("got height %d, want 5", height)
	}
	for name, paths := range map[string][]string{"none": nil, "missing": {filepath.Join(dir, "missing")}, "empty folder": {t.TempDir()}} {
		if _, err := Open(t.Context(), paths, regtest, Options{}); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestFilesChange has a file cut, rewritten and removed after it was indexed.
func TestFilesChange(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 3)
	for _, compressed := range []bool{false, true} {
		form := func(b []byte) []byte {
			if compressed {
				return compress(t, b)
			}
			return b
		}
		path := write(t, form(framed(chain...)))[0]
		s := open(t, path)
		for name, content := range map[string][]byte{
			"cut":       form(framed(chain[:2]...)),
			"rewritten": form(framed(chain[0], chain[2], chain[1])),
		} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Block(t.Context(), hashOf(chain[2])); err == nil {
				t.Errorf("%s: got %v, want an error", name, r)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Block(t.Context(), hashOf(chain[0])); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("removed: got %v, want %v", err, os.ErrNotExist)
		}
	}
}

// TestOpenEndsWithItsContext ends it at the first byte that is read.
func TestOpenEndsWithItsContext(t *testing.T) {
	path := write(t, framed(line(regtest.Genesis.Hash(), 1, 3)...))[0]
	ctx, cancel := context.WithCancel(t.Context())
	progress := func(int64, int64) { cancel() }
	if _, err := Open(ctx, []string{path}, regtest, Options{Progress: progress}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestProgress(t *testing.T) {
	big := mine(regtest.Genesis.Hash(), 1, make([]byte, 5<<20))
	plain := slices.Concat(big, line(hashOf(big), 1, 2)[0])
	paths := write(t, plain, streamed(t, framed(line(regtest.Genesis.Hash(), 2, 100)...)))
	var want, last int64
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		want += info.Size()
	}
	calls := 0
	_, err := Open(t.Context(), paths, regtest, Options{Progress: func(done, total int64) {
		if done < last || total != want || calls == 0 && done != 0 {
			t.Errorf("call %d: got %d of %d after %d, want it to grow to %d", calls, done, total, last, want)
		}
		last = done
		calls++
	}})
	if err != nil || last != want || calls < 3 {
		t.Errorf("got %d of %d in %d calls, %v, want the end in at least 3", last, want, calls, err)
	}
}
