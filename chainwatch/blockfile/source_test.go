package blockfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

func TestHeaders(t *testing.T) {
	genesis := regtest.Genesis.Hash()
	best, stale := line(genesis, 1, 2100), line(genesis, 2, 3)
	s := open(t, write(t, framed(slices.Concat(stale, best)...))...)
	at := func(i int) frame.Hash { return hashOf(best[i]) }
	tests := []struct {
		name    string
		locator []frame.Hash
		first   frame.Hash
		count   int
	}{
		{"from genesis", []frame.Hash{genesis}, at(0), 2000},
		{"from the middle", []frame.Hash{at(1999), at(5), genesis}, at(2000), 100},
		{"from a stale branch", []frame.Hash{hashOf(stale[2]), hashOf(stale[0]), genesis}, at(0), 2000},
		{"unknown first", []frame.Hash{{1}, at(2097)}, at(2098), 2},
		{"tip", []frame.Hash{at(2099), genesis}, frame.Hash{}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Headers(t.Context(), tt.locator)
			if err != nil || len(got) != tt.count || tt.count > 0 && got[0].Hash() != tt.first {
				t.Errorf("got %d headers, %v, want %d from %s on", len(got), err, tt.count, tt.first)
			}
		})
	}
	if got, err := s.Headers(t.Context(), []frame.Hash{{1}}); err == nil {
		t.Errorf("a locator of another chain: got %d headers, want an error", len(got))
	}
}

// TestParallelReaders reads all blocks in random order by several goroutines, and
// leaves every fifth unread.
func TestParallelReaders(t *testing.T) {
	blocks := split(slices.Concat(readFile(t, filepath.Join(vectors, "base.dat")), readFile(t, filepath.Join(vectors, "reorg.dat"))))
	third := len(blocks) / 3
	files := map[string][]byte{
		"plain": slices.Concat(blocks...), "framed": framed(blocks...), "zstd": streamed(t, framed(blocks...)),
		"zstd of three frames": compress(t, framed(blocks[:third]...), framed(blocks[third:2*third]...), framed(blocks[2*third:]...)),
	}
	for name, content := range files {
		t.Run(name, func(t *testing.T) {
			s := open(t, write(t, content)...)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for _, i := range rand.Perm(len(blocks)) {
						readOne(t, s, blocks[i], i%5 == 0)
					}
				})
			}
			wg.Wait()
		})
	}
}

func readOne(t *testing.T, s *Source, want []byte, early bool) {
	r, err := s.Block(t.Context(), hashOf(want))
	if err != nil {
		t.Error(err)
		return
	}
	in := io.Reader(r)
	if early {
		want = want[:len(want)/2]
		in = io.LimitReader(r, int64(len(want)))
	}
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, want) {
		t.Errorf("block %s: got %d bytes, %v, want %d", hashOf(want), len(got), err, len(want))
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: got %v, want %v", err, ErrClosed)
	}
}

// TestOrderOfTheFileIsFast counts the decoders that reading a compressed file in
// its order opens: one.
func TestOrderOfTheFileIsFast(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 200)
	path := write(t, streamed(t, framed(chain...)))[0]
	s := open(t, path)
	var used *cursor
	for _, b := range chain {
		r, err := s.Block(t.Context(), hashOf(b))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		c := r.(*blockReader).cursor
		if used != nil && c != used {
			t.Fatal("another decoder was opened for the next block")
		}
		used = c
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run ended with %v, want nil", err)
	}
	if n := len(s.files[0].idle); n != 0 {
		t.Errorf("%d decoders are open after Run, want 0", n)
	}
}

// TestPoints reads a block in the last of many frames: the decoder begins near
// it.
func TestPoints(t *testing.T) {
	genesis := regtest.Genesis.Hash()
	a := mine(genesis, 1, make([]byte, 3<<20))
	b := mine(hashOf(a), 1, make([]byte, 3<<20))
	c := mine(hashOf(b), 1, nil)
	s := open(t, write(t, compress(t, framed(a), framed(b), framed(c)))...)
	if got := len(s.files[0].points); got != 3 {
		t.Errorf("got %d points, want 3", got)
	}
	r, err := s.Block(t.Context(), hashOf(c))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, c) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(c))
	}
	if read := r.(*blockReader).cursor.dec.at.file; read >= s.files[0].points[2].file+100 || read < s.files[0].points[2].file {
		t.Errorf("the decoder counts %d bytes of the file, want it to have begun at %d", read, s.files[0].points[2].file)
	}
}

func TestCancelledBlock(t *testing.T) {
	chain := line(regtest.Genesis.Hash(), 1, 2)
	for name, content := range map[string][]byte{"plain": framed(chain...), "zstd": compress(t, framed(chain...))} {
		s := open(t, write(t, content)...)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := s.Block(ctx, hashOf(chain[1]))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Block(ctx, hashOf(chain[1])); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: opened with an ended context: got %v, want %v", name, err, context.Canceled)
		}
		if _, err := s.Headers(ctx, []frame.Hash{regtest.Genesis.Hash()}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: headers with an ended context: got %v, want %v", name, err, context.Canceled)
		}
	}
}

// TestGiantBlock indexes and streams a block of 4.1 GB, framed and plain, and
// watches the memory. The file is sparse.
func TestGiantBlock(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 4 GB of zeros")
	}
	const script = 4_100_000_000 // bytes
	tx := transaction(1, nil)
	head := len(tx) - 4 - 5
	start := append(bytes.Clone(tx[:head]), 0xff)
	start = binary.LittleEndian.AppendUint64(start, script)
	h := header(regtest.Genesis.Hash(), frame.Hash{3}, regtest, true)
	block := append(append(h[:], 1), start...)
	size := int64(len(block)) + script + 4
	framedHead := binary.LittleEndian.AppendUint32(nil, regtest.Magic)
	framedHead = binary.LittleEndian.AppendUint64(append(framedHead, 0xff, 0xff, 0xff, 0xff), uint64(size))

	next := line(h.Hash(), 1, 1)[0]
	for name, parts := range map[string][2][]byte{"framed": {framedHead, framed(next)}, "plain": {nil, next}} {
		t.Run(name, func(t *testing.T) {
			path := write(t, append(bytes.Clone(parts[0]), block...))[0]
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(parts[1], int64(len(parts[0]))+size)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s := open(t, path)
			if _, height := tip(t, s); height != 2 {
				t.Fatalf("got height %d, want 2", height)
			}
			r, err := s.Block(t.Context(), h.Hash())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			want := size
			if name == "plain" {
				want = 100 << 20 // the rest is read as in the other case
			}
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(r, want), make([]byte, 1<<20))
			if err != nil || n != want {
				t.Errorf("got %d bytes, %v, want %d", n, err, want)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
				t.Errorf("%d MB were allocated, want at most 64", got>>20)
			}
		})
	}
}

// FuzzRecords reads any bytes as a block file, plain and compressed alike. What
// is found lies within the file, in its order and without overlaps, has its proof
// of work, and is read again as it was found.
func FuzzRecords(f *testing.F) {
	chain := line(regtest.Genesis.Hash(), 1, 3)
	f.Add(framed(chain...))
	f.Add(slices.Concat(chain...))
	f.Add(slices.Concat(framed(chain[0]), []byte("garbage"), make([]byte, 50), framed(chain[1:]...)))
	f.Add(framed(chain...)[:500])
	f.Add(compress(f, framed(chain[0]), framed(chain[1:]...)))
	f.Add(streamed(f, framed(chain...)))
	f.Add(record(0xd9b4bef9, []byte{1, 2, 3}))
	f.Add([]byte("\xfa\xbf\xb5\xda\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "fuzz.dat")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		type found struct {
			place
			hash frame.Hash
		}
		var all []found
		end := int64(0)
		p := &pass{
			params: regtest,
			warn:   func(fault, int64, int64) {},
			found: func(h chainwatch.Header, at place) {
				if at.at < end || at.size < chainwatch.HeaderSize {
					t.Errorf("block at %d with %d bytes after one that ends at %d", at.at, at.size, end)
				}
				if err := regtest.CheckWork(&h); err != nil {
					t.Error(err)
				}
				end = at.at + at.size
				all = append(all, found{at, h.Hash()})
			},
		}
		file := &file{path: path}
		defer file.end()
		if err := file.index(p, &watched{ctx: t.Context()}); err != nil {
			return
		}
		if !file.zstd && end > int64(len(content)) {
			t.Errorf("the last block ends at %d of %d bytes", end, len(content))
		}
		for _, b := range all[:min(len(all), 20)] {
			r, err := file.open(t.Context(), b.hash, b.place)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != b.size {
				t.Errorf("block at %d: read %d bytes, %v, want %d", b.at, n, err, b.size)
			}
			_ = r.Close() // of a file that was only read
		}
	})
}
