package signer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/metaim/metaim/improtocol/frame"
)

// A journal is a file of JSON lines that is only appended to: a header, then the
// records of a ledger. What was being written when the machine stopped, and only
// that, may be missing at its end.
type journal struct {
	file    *os.File
	written atomic.Int64 // bytes

	syncing sync.Mutex
	synced  int64 // bytes; guarded by syncing
}

// ErrJournal says that a file is no whole journal of this wallet.
var ErrJournal = errors.New("not a whole coin journal")

const (
	journalVersion = 1
	longestLine    = 64 << 20 // bytes
)

type journalHeader struct {
	Format  string        `json:"format"`
	Version int           `json:"version"`
	Network frame.Network `json:"network"`
}

func headerLine(n frame.Network) ([]byte, error) {
	return appendLine(nil, journalHeader{"metaim coins", journalVersion, n})
}

func appendLine(dst []byte, v any) ([]byte, error) {
	line, err := json.Marshal(v)
	return append(append(dst, line...), '\n'), err
}

// openJournal reads a journal into a ledger, makes it anew when much of it is
// history or its end was torn, and opens it for appending. The caller holds the
// journal's lock. A file that isn't a journal is left as it is.
func openJournal(path string, n frame.Network) (*journal, *ledger, error) {
	l := newLedger()
	size, whole, err := replay(path, n, l)
	if err != nil {
		return nil, nil, fmt.Errorf("coin journal %s: %w", path, err)
	}
	l.requeue()
	compact := int64(0)
	if err := writeJournal(io.Discard, n, l, &compact); err != nil {
		return nil, nil, err
	}
	if whole < size || size == 0 || compact < size/2 {
		write := func(w io.Writer) error { return writeJournal(w, n, l, new(int64)) }
		if err := replaceFile(path, write); err != nil {
			return nil, nil, fmt.Errorf("coin journal %s: %w", path, err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, privateFile)
	if err != nil {
		return nil, nil, err
	}
	return &journal{file: f}, l, nil
}

// replay reads the file. size is its length, whole how much of it counts: less
// when its last line was torn.
func replay(path string, n frame.Network, l *ledger) (size, whole int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, os.MkdirAll(filepath.Dir(path), privateDir)
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if err := checkMode(f); err != nil {
		return 0, 0, err
	}
	return replayLines(f, n, l)
}

func replayLines(r io.Reader, n frame.Network, l *ledger) (size, whole int64, err error) {
	lines := bufio.NewReaderSize(r, 1<<16)
	var bad error // what is wrong with the line before, forgiven if it is the last
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if err == io.EOF && len(line) == 0 {
			return size, whole, nil
		}
		if err != nil && err != io.EOF {
			return 0, 0, err
		}
		if bad != nil {
			return 0, 0, fmt.Errorf("%w: line %d: %w", ErrJournal, number-1, bad)
		}
		size += int64(len(line))
		torn := err == io.EOF
		switch {
		case number == 1:
			if err := checkHeader(line, n, torn); err != nil {
				return 0, 0, err
			}
		case torn:
			bad = io.ErrUnexpectedEOF
		default:
			bad = replayLine(line, l)
		}
		if bad == nil && !torn {
			whole = size
		}
	}
}

func replayLine(line []byte, l *ledger) error {
	var r record
	if err := decodeStrict(line, &r); err != nil {
		return err
	}
	_, err := l.apply(r)
	return err
}

// checkHeader reads the first line. A beginning of it is what is left when the
// machine stopped while the journal was made.
func checkHeader(line []byte, n frame.Network, torn bool) error {
	want, err := headerLine(n)
	if err != nil {
		return err
	}
	if torn && bytes.HasPrefix(want, line) {
		return nil
	}
	var h journalHeader
	switch err := decodeStrict(line, &h); {
	case torn, err != nil, h.Format != "metaim coins":
		return ErrJournal
	case h.Version != journalVersion:
		return fmt.Errorf("version %d is not one that this program reads", h.Version)
	case h.Network != n:
		return fmt.Errorf("it holds coins of network %q, not %q", h.Network, n)
	}
	return nil
}

// readLine reads a line with its end. It fails with io.EOF when the file ends
// before the line does.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > longestLine {
			return nil, fmt.Errorf("%w: a line is longer than %d bytes", ErrJournal, longestLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// writeJournal writes a ledger as a journal and counts its bytes.
func writeJournal(w io.Writer, n frame.Network, l *ledger, count *int64) error {
	buffered := bufio.NewWriterSize(w, 1<<16)
	line, err := headerLine(n)
	if err != nil {
		return err
	}
	put := func(line []byte) bool {
		_, err = buffered.Write(line)
		*count += int64(len(line))
		return err == nil
	}
	put(line)
	for r := range l.records {
		if err == nil {
			line, err = appendLine(line[:0], r)
		}
		if err != nil || !put(line) {
			return err
		}
	}
	return errors.Join(err, buffered.Flush())
}

// append writes a record and returns where it ends, for sync.
func (j *journal) append(r record) (int64, error) {
	line, err := appendLine(nil, r)
	if err == nil {
		_, err = j.file.Write(line)
	}
	if err != nil {
		return 0, fmt.Errorf("write the coin journal: %w", err)
	}
	return j.written.Add(int64(len(line))), nil
}

// sync makes what was written up to a place durable. Callers that wait together
// share one fsync.
func (j *journal) sync(end int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= end {
		return nil
	}
	upTo := j.written.Load()
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("write the coin journal: %w", err)
	}
	j.synced = upTo
	return nil
}

func (j *journal) close() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	err := errors.Join(j.file.Sync(), j.file.Close())
	if err == nil {
		j.synced = math.MaxInt64 // for who still waits
	}
	return err
}
