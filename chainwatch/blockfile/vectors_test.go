package blockfile

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/sqlite"
)

// TestVectors reads the shared chains in every form.
func TestVectors(t *testing.T) {
	base, reorg := readFile(t, filepath.Join(vectors, "base.dat")), readFile(t, filepath.Join(vectors, "reorg.dat"))
	m := readMeta(t)
	all := slices.Concat(base, reorg)
	blocks := split(all)
	reversed := slices.Clone(blocks)
	slices.Reverse(reversed)
	padded := slices.Concat(make([]byte, 777), base, make([]byte, 1<<20), reorg, make([]byte, 3<<20))
	third := len(blocks) / 3
	tests := []struct {
		name  string
		files [][]byte
		reorg bool
	}{
		{"base", [][]byte{base}, false},
		{"base and reorg", [][]byte{base, reorg}, true},
		{"reorg before base", [][]byte{reorg, base}, true},
		{"concatenated", [][]byte{all}, true},
		{"records reversed", [][]byte{framed(reversed...)}, true},
		{"plain", [][]byte{slices.Concat(blocks...)}, true},
		{"plain, reversed, padded", [][]byte{append(slices.Concat(reversed...), make([]byte, 1<<20)...)}, true},
		{"in three files", [][]byte{framed(blocks[:third]...), framed(blocks[third : 2*third]...), framed(blocks[2*third:]...)}, true},
		{"padded", [][]byte{padded}, true},
		{"twice", [][]byte{all, all}, true},
		{"zstd", [][]byte{compress(t, all)}, true},
		{"zstd, streamed", [][]byte{streamed(t, padded)}, true},
		{"zstd, two files", [][]byte{compress(t, base), compress(t, reorg)}, true},
		{"zstd, a frame for each block, with a frame to be skipped", [][]byte{slices.Concat(
			compress(t, blocks[:third]...), []byte{0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, compress(t, blocks[third:]...))}, true},
		{"zstd of plain, beside one that isn't compressed", [][]byte{compress(t, slices.Concat(blocks[:third]...)), framed(blocks[third:]...)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := m.Base
			if tt.reorg {
				want = m.Reorg
			}
			paths := write(t, tt.files...)
			s := open(t, filepath.Dir(paths[0]))
			if hash, height := tip(t, s); hash.String() != want.Tip || height != want.Height {
				t.Fatalf("got tip %s at %d, want %s at %d", hash, height, want.Tip, want.Height)
			}
			if got := s.Report(); len(got.Warnings) != 0 || got.Orphans != 0 {
				t.Errorf("got %+v, want nothing to warn of", got)
			}
			compareBlocks(t, s, blocks)
		})
	}
}

// TestVectorsIntoAnIndex follows the files into an index: with the reorganised
// chain there from the beginning, from a compressed file against the order of the
// chain, and with the winning branch in a file that comes when the first is
// indexed already. All must end alike.
func TestVectorsIntoAnIndex(t *testing.T) {
	if testing.Short() {
		t.Skip("proves 2,500 signatures")
	}
	base, reorg := readFile(t, filepath.Join(vectors, "base.dat")), readFile(t, filepath.Join(vectors, "reorg.dat"))
	m := readMeta(t)
	reversed := split(slices.Concat(base, reorg))
	slices.Reverse(reversed)
	later, straight := newWriter(t), newWriter(t)

	first := follow(t, open(t, write(t, base)...), later)
	if first.Hash.String() != m.Base.Tip || first.Height != m.Base.Height {
		t.Errorf("base: the index ends with %s at %d, want %s at %d", first.Hash, first.Height, m.Base.Tip, m.Base.Height)
	}
	got := follow(t, open(t, write(t, base, reorg)...), later)
	want := follow(t, open(t, write(t, compress(t, framed(reversed...)))...), straight)
	if got != want || got.Hash.String() != m.Reorg.Tip || got.Height != m.Reorg.Height {
		t.Errorf("reorganised: the index ends with %+v, want %+v with tip %s at %d", got, want, m.Reorg.Tip, m.Reorg.Height)
	}
}

func newWriter(t *testing.T) *index.Writer {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "index.db"), sqlite.Config{Network: frame.Regtest})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return index.NewWriter(store, index.DefaultRules(frame.Regtest), nil)
}

// follow brings an index to the end of a source.
func follow(t *testing.T, s *Source, w *index.Writer) index.Tip {
	t.Helper()
	f := chainwatch.NewFollower(s, w, chainwatch.Config{Params: regtest})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	tip, err := w.Tip(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return tip
}

// compareBlocks reads every block of the best branch, from the tip to the first
// and so against the order of the files, and stale ones too.
func compareBlocks(t *testing.T, s *Source, blocks [][]byte) {
	t.Helper()
	for _, want := range slices.Backward(blocks) {
		if _, ok := s.tree.index[hashOf(want)]; !ok {
			continue // of the file that isn't there
		}
		r, err := s.Block(t.Context(), hashOf(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("block %s: got %d bytes, %v, want %d", hashOf(want), len(got), err, len(want))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMainnetBlock walks a real block that stands alone in a file, where the
// folder of shared data is.
func TestMainnetBlock(t *testing.T) {
	shared := os.Getenv("METAIM_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(shared, "data", "mainnet-block-705985.bin")
	info, err := os.Stat(path)
	if err != nil {
		t.Skip("no shared data: set METAIM_SHARED to its folder")
	}
	var found []place
	var height chainwatch.Header
	p := &pass{
		params: chainwatch.ParamsOf(frame.Main),
		found:  func(h chainwatch.Header, at place) { height, found = h, append(found, at) },
		warn:   func(f fault, at, size int64) { t.Errorf("offset %d: %s", at, f.describe(size)) },
	}
	f := &file{path: path}
	if err := f.index(p, &watched{ctx: t.Context()}); err != nil {
		t.Fatal(err)
	}
	if want := (place{0, info.Size()}); len(found) != 1 || found[0] != want {
		t.Fatalf("got blocks at %+v, want one at %+v", found, want)
	}
	r, err := f.open(t.Context(), height.Hash(), found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	scan, err := chainwatch.NewScanner(frame.Main).Block(r, nil)
	if err != nil || scan.Count != 648 {
		t.Errorf("got %+v, %v, want 648 transactions", scan, err)
	}
}
