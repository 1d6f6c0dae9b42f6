package blockfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why files are no chain, or don't give a block.
var (
	ErrNoBlocks  = errors.New("the files hold no blocks")
	ErrNoGenesis = errors.New("no block of the files follows the genesis block")
	ErrNotFound  = errors.New("the files don't hold the block")
)

const (
	headersMost  = 2000
	warningsMost = 100
	progressStep = 1 << 20 // bytes between two calls of Options.Progress
)

// Options change how files are opened. The zero Options are good.
type Options struct {
	Logger *slog.Logger
	// Progress, if set, is told how many bytes of the files the pass has gone
	// over: at the beginning, at most once a MiB, and at the end with done equal
	// to total. Compressed files count as they are on the disk.
	Progress func(done, total int64)
}

// A Warning says what was passed over.
type Warning struct {
	File   string
	Offset int64 // in the file's content, after decompression
	What   string
}

func (w Warning) String() string { return fmt.Sprintf("%s, offset %d: %s", w.File, w.Offset, w.What) }

// A Report says what the pass found.
type Report struct {
	Files    int
	Blocks   int   // different ones, with proof of work
	Doubles  int   // further copies of them
	Height   int32 // of the best branch
	BadWork  int   // headers without their proof of work
	Cut      int   // records that are cut short
	Garbage  int   // stretches of bytes that are no records
	Orphans  int   // blocks whose predecessors aren't in the files
	Warnings []Warning
}

// A Source answers from block files. It is safe for concurrent use.
type Source struct {
	params *chainwatch.Params
	files  []*file
	tree   *tree
	report Report
	speaks string // the network whose magic the first record has; empty for plain blocks
	opened time.Time
	txs    chan []byte
	wake   chan struct{}

	mu     sync.Mutex
	intact map[frame.Hash]copyOf // which of several copies is whole
}

var _ chainwatch.Source = (*Source)(nil)

// Open reads files once, and folders' block files in the order of their names
// (*.dat but for rev*.dat, *.blk, *.bin, *.zst), and returns a source that
// answers from them. Files count in the order given: of branches with equal work
// the one whose last block stands first is best. It fails with ErrNoBlocks,
// ErrNoGenesis, ErrNotBlocks, and with what a file or ctx fails with.
//
// Memory: about 500 bytes for each block while it runs, 200 afterwards, however
// long the blocks are.
func Open(ctx context.Context, paths []string, params *chainwatch.Params, options Options) (*Source, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	names, err := expand(paths)
	if err != nil {
		return nil, err
	}
	s := &Source{params: params, tree: newTree(), txs: make(chan []byte), wake: make(chan struct{}, 1),
		intact: map[frame.Hash]copyOf{}}
	for _, name := range names {
		s.files = append(s.files, &file{path: name})
	}
	if err := s.pass(ctx, options); err != nil {
		return nil, fmt.Errorf("read block files: %w", err)
	}
	if err := s.choose(); err != nil {
		return nil, fmt.Errorf("read block files: %w", err)
	}
	s.opened = time.Now()
	s.log(options.Logger)
	return s, nil
}

// pass reads all files.
func (s *Source) pass(ctx context.Context, options Options) error {
	progress, err := newProgress(s.files, options.Progress)
	if err != nil {
		return err
	}
	progress.tell(0)
	for i, f := range s.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := &pass{
			params: s.params,
			found:  func(h chainwatch.Header, at place) { s.tree.add(h, int32(i), at) },
			warn:   func(what fault, at, size int64) { s.warn(f.path, what, at, size) },
		}
		if err := f.index(p, &watched{ctx: ctx, tell: progress.tell}); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if s.speaks == "" {
			s.speaks = p.speaks
		}
		progress.file(i)
	}
	return nil
}

func (s *Source) warn(path string, what fault, at, size int64) {
	switch what {
	case faultWork:
		s.report.BadWork++
	case faultCut:
		s.report.Cut++
	default:
		s.report.Garbage++
	}
	if len(s.report.Warnings) < warningsMost {
		s.report.Warnings = append(s.report.Warnings, Warning{File: path, Offset: at, What: what.describe(size)})
	}
}

// choose finds the best branch.
func (s *Source) choose() error {
	t := s.tree
	r := &s.report
	r.Files, r.Blocks = len(s.files), len(t.blocks)
	for _, c := range t.copies {
		r.Doubles += len(c)
	}
	if r.Blocks == 0 {
		return fmt.Errorf("%w (of %d files)", ErrNoBlocks, r.Files)
	}
	orphans, first, err := t.choose(s.params)
	if err != nil {
		return err
	}
	r.Orphans, r.Height = orphans, int32(len(t.best))
	if r.Height > 0 || orphans == 0 {
		return nil
	}
	magic := ""
	if s.speaks != "" {
		magic = fmt.Sprintf(" (the records have the magic of %s)", s.speaks)
	}
	return fmt.Errorf("%w of network %s%s: block %s in %s at offset %d follows block %s, which isn't there, and its height is unknown",
		ErrNoGenesis, s.params.Network, magic, first.hash, s.files[first.file].path, first.at, first.header.Prev())
}

func (s *Source) log(log *slog.Logger) {
	const most = 20
	r := &s.report
	for _, w := range r.Warnings[:min(most, len(r.Warnings))] {
		log.Warn("something in a block file is passed over", "file", w.File, "offset", w.Offset, "what", w.What)
	}
	log.Info("block files are read", "files", r.Files, "blocks", r.Blocks, "height", r.Height, "doubles", r.Doubles,
		"orphans", r.Orphans, "cut", r.Cut, "bad_work", r.BadWork, "garbage", r.Garbage)
}

// Report tells what the pass found.
func (s *Source) Report() Report { return s.report }

// Run implements [chainwatch.Source]: it waits for the end of ctx, and closes
// what is open between two blocks.
func (s *Source) Run(ctx context.Context) error {
	<-ctx.Done()
	for _, f := range s.files {
		f.end()
	}
	return nil
}

// Headers implements [chainwatch.Source].
func (s *Source) Headers(ctx context.Context, locator []frame.Hash) ([]chainwatch.Header, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from, ok := s.after(locator)
	if !ok {
		return nil, fmt.Errorf("the files know none of the %d blocks asked for, not even the genesis block of network %s", len(locator), s.params.Network)
	}
	best := s.tree.best[from:min(from+headersMost, len(s.tree.best))]
	headers := make([]chainwatch.Header, 0, len(best))
	for _, i := range best {
		headers = append(headers, s.tree.blocks[i].header)
	}
	return headers, nil
}

// after returns the height of the first block of a locator that is on the best
// branch.
func (s *Source) after(locator []frame.Hash) (height int, ok bool) {
	for _, hash := range locator {
		if hash == s.params.Genesis.Hash() {
			return 0, true
		}
		if i, ok := s.tree.index[hash]; ok && s.tree.blocks[i].height > 0 {
			return int(s.tree.blocks[i].height), true
		}
	}
	return 0, false
}

// Block implements [chainwatch.Source]. Reading is fast in the order of the
// files; in a compressed file, a block that stands before the one read last costs
// decompressing from the beginning of its zstd frame. It fails with ErrNotFound,
// or when the file isn't what it was.
func (s *Source) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i, ok := s.tree.index[hash]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", hash, ErrNotFound)
	}
	b := &s.tree.blocks[i]
	where := copyOf{place: b.place, file: b.file}
	if others := s.tree.copies[hash]; len(others) > 0 {
		where = s.whole(ctx, hash, where, others)
	}
	r, err := s.files[where.file].open(ctx, hash, where.place)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", hash, err)
	}
	return r, nil
}

// whole chooses among copies the first whose transactions have the Merkle root:
// a file may hold the torso that a crash left, and then the block again.
func (s *Source) whole(ctx context.Context, hash frame.Hash, first copyOf, others []copyOf) copyOf {
	s.mu.Lock()
	chosen, ok := s.intact[hash]
	s.mu.Unlock()
	if ok {
		return chosen
	}
	chosen = first
	for _, c := range append([]copyOf{first}, others...) {
		if s.check(ctx, hash, c) {
			chosen = c
			break
		}
	}
	if ctx.Err() == nil {
		s.mu.Lock()
		s.intact[hash] = chosen
		s.mu.Unlock()
	}
	return chosen
}

func (s *Source) check(ctx context.Context, hash frame.Hash, c copyOf) bool {
	r, err := s.files[c.file].open(ctx, hash, c.place)
	if err != nil {
		return false
	}
	defer r.Close()
	_, err = chainwatch.NewScanner(s.params.Network).Block(r, nil)
	return err == nil
}

// Transactions implements [chainwatch.Source]: files have no mempool, so nothing
// ever comes.
func (s *Source) Transactions() <-chan []byte { return s.txs }

// Wake implements [chainwatch.Source]. Nothing ever comes.
func (s *Source) Wake() <-chan struct{} { return s.wake }

// Status implements [chainwatch.Source]. Connected is the number of files.
func (s *Source) Status() chainwatch.Status {
	return chainwatch.Status{Connected: len(s.files), Height: s.report.Height, LastHeard: s.opened, Trouble: s.trouble()}
}

func (s *Source) trouble() string {
	r := &s.report
	switch n := r.BadWork + r.Cut + r.Garbage; {
	case n > 0:
		return fmt.Sprintf("%d faults in the block files were passed over, the first in %s", n, r.Warnings[0])
	case r.Orphans > 0:
		return fmt.Sprintf("%d blocks follow blocks that aren't in the files", r.Orphans)
	}
	return ""
}
