package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/internal/simchain"
)

// A library is a store filled with very many messages, measured at each power of
// ten as it grew. Filling takes minutes, so all comparisons share it.
type library struct {
	at       *place
	spec     string
	store    index.Store
	messages int
	growth   map[string][]measure.Point // by what was measured
}

// libraryMessages is how many messages a library is filled with.
var libraryMessages = 10_000_000

// What is measured of a library as it grows.
const (
	growsCost  = "CPU of a message"
	growsBytes = "bytes beside the payload"
	growsPage  = "page of 50"
)

// libraries keeps what was filled until the program ends.
type libraries struct {
	mu   sync.Mutex
	of   map[string]*library
	ends []func()
}

var shelves = &libraries{of: map[string]*library{}}

// end removes all of them.
func (l *libraries) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range l.ends {
		end()
	}
	l.of, l.ends = map[string]*library{}, nil
}

func (l *libraries) get(ctx context.Context, kind string, size measure.Size) (*library, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[kind] != nil {
		return l.of[kind], nil
	}
	at, end, err := newPlace(kind)
	if end != nil {
		l.ends = append(l.ends, end)
	}
	if err != nil {
		return nil, err
	}
	lib := &library{at: at, growth: map[string][]measure.Point{}}
	if lib.spec, err = at.fresh(); err != nil {
		return nil, err
	}
	if lib.store, err = openStore(ctx, lib.spec); err != nil {
		return nil, err
	}
	l.ends = append([]func(){func() { _ = lib.store.Close() }}, l.ends...)
	if err := lib.fill(ctx, measure.Pick(size, libraryMessages, 20_000)); err != nil {
		return nil, err
	}
	l.of[kind] = lib
	return lib, nil
}

// fill connects blocks of 1,000 messages: judged and saved as the follower does,
// ten at a time, with signatures that were proved before.
func (l *library) fill(ctx context.Context, messages int) error {
	empty, err := l.bytes(ctx)
	if err != nil {
		return err
	}
	writer := index.NewWriter(l.store, index.DefaultRules(simchain.Network), nil)
	prev := frame.Hash{}
	next := 10_000
	for l.messages < messages {
		var blocks []*index.Block
		for range 10 {
			b := blockOf(int32(l.messages/messagesInBlock), prev)
			prev = b.Hash
			blocks = append(blocks, b)
			l.messages += len(b.Transactions)
		}
		pids := append([]int{0}, l.at.pids...)
		before := measure.CPU(pids...)
		if err := writer.Connect(ctx, blocks); err != nil {
			return err
		}
		if l.messages < next {
			continue
		}
		next *= 10
		cost := float64((measure.CPU(pids...) - before).Nanoseconds()) / 1e3 / float64(10*messagesInBlock)
		if err := l.note(ctx, cost, empty); err != nil {
			return err
		}
	}
	return l.check(ctx)
}

// note measures the library as it is now.
func (l *library) note(ctx context.Context, cost, empty float64) error {
	size, err := l.bytes(ctx)
	if err != nil {
		return err
	}
	pages, err := l.pages(ctx, 300, 50)
	if err != nil {
		return err
	}
	x := float64(l.messages)
	for what, y := range map[string]float64{
		growsCost: cost, growsBytes: (size-empty)/x - messageBytes, growsPage: measure.Sample{Latency: pages}.Percentile(0.5)} {
		l.growth[what] = append(l.growth[what], measure.Point{X: x, Y: y, Low: y, High: y})
	}
	fmt.Fprintf(os.Stderr, "bench: %s holds %s messages\n", l.at.kind, measure.Number(x))
	return nil
}

// check makes sure that what is measured is an index of valid messages.
func (l *library) check(ctx context.Context) error {
	return l.store.View(ctx, func(v index.View) error {
		counts, err := v.Counts()
		if err == nil && counts[frame.Valid] != int64(l.messages) {
			err = fmt.Errorf("the index holds %v, not %d valid messages", counts, l.messages)
		}
		return err
	})
}

// blockOf makes a block of messages that were proved.
func blockOf(height int32, prev frame.Hash) *index.Block {
	b := &index.Block{Height: height, MedianTime: 1_700_000_000 + int64(height)*600}
	copy(b.Header[4:36], prev[:])
	binary.LittleEndian.PutUint32(b.Header[68:], uint32(b.MedianTime))
	b.Hash = frame.HashOf(b.Header[:])
	for _, p := range indextest.Batch(height, messagesInBlock) {
		b.Transactions = append(b.Transactions, p.Tx)
	}
	return b
}

// recipient is one of those that blockOf addresses.
func recipient(n int) *frame.KeyHash {
	h := frame.HashKey(fmt.Append(nil, "recipient ", n%recipientsOfThem))
	return &h
}

// pages reads pages of inboxes, each of somebody and somewhere, and returns how
// long each took.
func (l *library) pages(ctx context.Context, n, limit int) ([]time.Duration, error) {
	r := rand.New(rand.NewPCG(1, uint64(limit)))
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := l.page(ctx, r, limit); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	return took, nil
}

func (l *library) page(ctx context.Context, r *rand.Rand, limit int) error {
	q := index.EntryQuery{Address: recipient(r.IntN(recipientsOfThem)), Limit: limit, Newest: true,
		Before: 1 + int64(l.messages/10) + r.Int64N(int64(l.messages))}
	want := min(limit, l.messages/10/recipientsOfThem) // there are as many before
	return l.store.View(ctx, func(v index.View) error {
		list, err := v.Entries(q)
		if err == nil && len(list) < want {
			err = fmt.Errorf("a page of %d messages, not %d", len(list), want)
		}
		return err
	})
}

// bytes is what the store takes on the disk: files with their journal folded in,
// or the database.
func (l *library) bytes(ctx context.Context) (float64, error) {
	if l.at.kind == "sqlite" {
		var sum int64
		err := filepath.WalkDir(l.at.folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "-wal") || strings.HasSuffix(path, "-shm") {
				return err
			}
			info, err := d.Info()
			if err == nil {
				sum += info.Size()
			}
			return err
		})
		return float64(sum), err
	}
	conn, err := pgx.Connect(ctx, l.spec)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx) //nolint:errcheck // what counts is the answer
	var size int64
	err = conn.QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&size)
	return float64(size), err
}
