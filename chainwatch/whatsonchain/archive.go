package whatsonchain

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

const (
	fileMost   = 20_000     // headers in one file
	latestMost = fileMost   // and in the one that follows the last file
	linksBytes = 1 << 20    // of the list of files
	linksMost  = 10_000     // files
	linksKept  = time.Hour  // that the list of files is believed
	latestFile = "latest"   // the headers after the last file, up to the tip
	settled    = newestMost // blocks below the tip from which on a file is final
)

// A file holds headers of a range of heights, both included.
type file struct {
	name     string
	from, to int32
}

var fileName = regexp.MustCompile(`(?:^|/)(([0-9]{1,9})_([0-9]{1,9})_headers(?:\.bin)?)$`)

// An archive is what is known of the service's files of headers. One file is held:
// the headers of a whole chain come one file after the other.
type archive struct {
	files  []file
	listed time.Time
	held   file
	list   []chainwatch.Header
}

// readFile reads the end of a file's address. Files are asked for at the address
// that we were given, wherever the service says that they are.
func readFile(address string) (f file, ok bool) {
	m := fileName.FindStringSubmatch(address)
	if m == nil {
		return f, false
	}
	from, err := strconv.ParseInt(m[2], 10, 32)
	to, toErr := strconv.ParseInt(m[3], 10, 32)
	if errors.Join(err, toErr) != nil || from > to || to-from >= fileMost || to > math.MaxInt32-headersMost {
		return f, false
	}
	return file{m[1], int32(from), int32(to)}, true
}

// filed returns what follows a block in the file that is held, without a question,
// when it is far below the tip.
func (s *Source) filed(from frame.Hash) []chainwatch.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	height, ok := s.heights[from]
	a := &s.archive
	at := int64(height) + 1 - int64(a.held.from)
	if !ok || at < 0 || at >= int64(len(a.list)) || a.held.to > s.height-settled || a.list[at].Prev() != from {
		return nil
	}
	list := a.list[at:]
	list = list[:min(len(list), headersMost)]
	s.rememberLocked(list[len(list)-1].Hash(), height+int32(len(list)))
	return list
}

// fromFiles returns what follows a block in the service's files: nothing when none
// has it. It fails with errReplaced when another block is in its place.
func (s *Source) fromFiles(ctx context.Context, from frame.Hash, height int32) ([]chainwatch.Header, error) {
	files, err := s.files(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.from > height+1 || f.to <= height {
			continue
		}
		list, err := s.load(ctx, f)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		at := int(height + 1 - f.from)
		if at >= len(list) {
			break // it isn't full yet
		}
		if list[at].Prev() != from {
			return nil, errReplaced
		}
		return list[at:], nil
	}
	list, err := s.bulk(ctx, latestFile, 0, latestMost)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("headers after the last file: %w", err)
	}
	list, _ = after(list, from)
	return list, nil
}

// files lists the service's files of headers; none when it has none.
func (s *Source) files(ctx context.Context) ([]file, error) {
	s.mu.Lock()
	files, listed := s.archive.files, s.archive.listed
	s.mu.Unlock()
	if !listed.IsZero() && time.Since(listed) < linksKept {
		return files, nil
	}
	var answer struct {
		Files []string `json:"files"`
	}
	err := orNotFound(s.woc.AskJSON(ctx, "/block/headers/resources", linksBytes, &answer))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("the files of headers: %w", err)
	}
	files = nil
	for _, address := range answer.Files[:min(len(answer.Files), linksMost)] {
		if f, ok := readFile(address); ok {
			files = append(files, f)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.archive.files, s.archive.listed = files, time.Now()
	return files, nil
}

// load gets a file, and holds it.
func (s *Source) load(ctx context.Context, f file) ([]chainwatch.Header, error) {
	s.mu.Lock()
	held, list := s.archive.held, s.archive.list
	s.mu.Unlock()
	if held == f && int64(len(list)) == int64(f.to-f.from)+1 {
		return list, nil
	}
	list, err := s.bulk(ctx, f.name, 1, int64(f.to-f.from)+1)
	if err != nil {
		return nil, fmt.Errorf("headers %d to %d: %w", f.from, f.to, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.archive.held, s.archive.list = f, list
	return list, nil
}
