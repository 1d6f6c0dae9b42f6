package whatsonchain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

const (
	blockBytes = 64 << 20 // of what the service tells of a block: a thousand ids, and the coinbase in words
	pageBytes  = 16 << 20 // of a page of ids, which has up to 50,000
	bulkBytes  = 32 << 20 // of an answer with several transactions
	batchTries = 3        // for transactions, when the connection breaks
)

// toldBlock is what the service tells of a block: of up to a thousand transactions
// all ids, else some of the first, and the rest in pages.
type toldBlock struct {
	toldHeader
	Count  uint64   `json:"txcount"`
	Number uint64   `json:"num_tx"` // the same, in some answers
	IDs    []string `json:"tx"`
}

// Block implements [chainwatch.Source]. It fails with ErrNotFound, and reading with
// ErrTooLarge beyond Config.MaxBlock, or with a *service.LieError.
func (s *Source) Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.trust.Dropped(); err != nil {
		return nil, err
	}
	b, err := s.open(ctx, hash)
	if err != nil {
		return nil, s.failed(fmt.Errorf("block %s: %w", hash, err))
	}
	return b, nil
}

func (s *Source) open(ctx context.Context, hash frame.Hash) (*blockReader, error) {
	var t toldBlock
	if err := orNotFound(s.woc.AskJSON(ctx, "/block/hash/"+hash.String(), blockBytes, &t)); err != nil {
		return nil, err
	}
	if t.Hash == "" {
		return nil, ErrNotFound
	}
	header, err := s.header(&t.toldHeader)
	if err != nil {
		return nil, err
	}
	if header.Hash() != hash {
		return nil, s.trust.Lied("asked for block %s it gives another one", hash)
	}
	ids, err := readIDs(t.IDs)
	if err != nil {
		return nil, err
	}
	count := max(t.Count, t.Number)
	if len(ids) == 0 || uint64(len(ids)) > count || count > math.MaxUint32 {
		return nil, s.trust.Lied("of block %s it counts %d transactions and lists %d", hash, count, len(ids))
	}
	b := &blockReader{source: s, hash: hash, count: count, ids: ids, listed: uint64(len(ids)), left: s.cfg.MaxBlock,
		ready: [][]byte{appendCount(header[:], count)}}
	b.ctx, b.end = context.WithCancel(ctx)
	if b.listed < count {
		if err := b.firstPage(); err != nil {
			b.end()
			return nil, err
		}
	}
	return b, nil
}

// readIDs reads ids as the service lists them.
func readIDs(list []string) ([]frame.Hash, error) {
	ids := make([]frame.Hash, len(list))
	for i := range list {
		id, err := frame.ParseHash(list[i])
		if err != nil {
			return nil, woc.ErrAnswer
		}
		ids[i] = id
	}
	return ids, nil
}

// appendCount appends the number of transactions as on Bitcoin's wire.
func appendCount(b []byte, n uint64) []byte {
	switch {
	case n < 0xfd:
		return append(b, byte(n))
	case n <= math.MaxUint16:
		return append(b, 0xfd, byte(n), byte(n>>8))
	}
	return append(b, 0xfe, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) // count is compared with MaxUint32
}

// A blockReader puts a block together while it is read. It is the follower's to
// judge: see chainwatch.Scanner.
type blockReader struct {
	source *Source
	hash   frame.Hash
	count  uint64 // transactions of the block
	ctx    context.Context
	end    context.CancelFunc

	mu     sync.Mutex
	ids    []frame.Hash // that come next
	listed uint64       // ids that were told of
	page   int          // that was read last
	given  uint64       // transactions that were asked for
	ready  [][]byte     // what is to be read
	left   int64        // bytes that the block may still have
	failed error
	closed bool
}

// OmitChecksum is for a judge: there is none here.
func (b *blockReader) OmitChecksum() {}

// Refuse is told by the judge when this isn't the block that the header promises:
// then the list was wrong, as each transaction has its id.
func (b *blockReader) Refuse() {
	b.source.drop(b.source.trust.Lied("what it gives as block %s isn't that block", b.hash))
}

// Read implements io.Reader.
func (b *blockReader) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.closed:
			return 0, ErrClosed
		case b.ctx.Err() != nil:
			return 0, b.ctx.Err()
		case b.failed != nil:
			return 0, b.failed
		case len(b.ready) > 0 && len(b.ready[0]) == 0:
			b.ready[0], b.ready = nil, b.ready[1:]
		case len(b.ready) > 0:
			n := copy(p, b.ready[0])
			b.ready[0] = b.ready[0][n:]
			return n, nil
		case b.given == b.count:
			return 0, io.EOF
		default:
			b.failed = b.more()
		}
	}
}

// Close gives up what wasn't read, and ends a reading that is under way.
func (b *blockReader) Close() error {
	b.end()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.ready, b.ids = true, nil, nil
	return nil
}

// more gets the next transactions.
func (b *blockReader) more() error {
	err := b.transactions()
	if err == nil || b.ctx.Err() != nil {
		return errors.Join(err, b.ctx.Err())
	}
	return b.source.failed(fmt.Errorf("block %s: %w", b.hash, err))
}

func (b *blockReader) transactions() error {
	if len(b.ids) == 0 {
		ids, err := b.nextPage()
		if err != nil {
			return err
		}
		b.ids = ids
	}
	now := b.ids[:min(len(b.ids), woc.BulkMost*b.source.cfg.Concurrency)]
	b.ids = b.ids[len(now):]
	batches := slices.Collect(slices.Chunk(now, woc.BulkMost))
	raws := make([][][]byte, len(batches))
	g, ctx := errgroup.WithContext(b.ctx)
	for i, ids := range batches {
		g.Go(func() (err error) {
			raws[i], err = b.source.batch(ctx, ids)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.given += uint64(len(now))
	for _, raw := range slices.Concat(raws...) {
		if b.left -= int64(len(raw)); b.left < 0 {
			return ErrTooLarge
		}
		b.ready = append(b.ready, raw)
	}
	return nil
}

// firstPage gets the first page. It has all ids from the block's first one on, or
// those that come after the short list.
func (b *blockReader) firstPage() error {
	short := b.ids
	b.listed = 0
	ids, err := b.nextPage()
	if err != nil {
		return err
	}
	if ids[0] != short[0] {
		ids = slices.Concat(short, ids)
		b.listed += uint64(len(short))
		if b.listed > b.count {
			return b.source.trust.Lied("of block %s it counts %d transactions and lists more", b.hash, b.count)
		}
	}
	b.ids = ids
	return nil
}

// nextPage gets the next page of ids, at least one.
func (b *blockReader) nextPage() ([]frame.Hash, error) {
	b.page++
	var list []string
	err := orNotFound(b.source.woc.AskJSON(b.ctx, "/block/hash/"+b.hash.String()+"/page/"+strconv.Itoa(b.page), pageBytes, &list))
	if errors.Is(err, ErrNotFound) || err == nil && len(list) == 0 {
		return nil, fmt.Errorf("%d transactions are counted and %d are listed: page %d is missing", b.count, b.listed, b.page)
	}
	var ids []frame.Hash
	if err == nil {
		ids, err = readIDs(list)
	}
	if err != nil {
		return nil, fmt.Errorf("page %d of its transactions: %w", b.page, err)
	}
	if b.listed += uint64(len(ids)); b.listed > b.count {
		return nil, b.source.trust.Lied("of block %s it counts %d transactions and lists more", b.hash, b.count)
	}
	return ids, nil
}

// batch gets transactions, in the order of their ids.
func (s *Source) batch(ctx context.Context, ids []frame.Hash) ([][]byte, error) {
	var got map[frame.Hash][]byte
	var err error
	for i, wait := 1, s.cfg.Backoff; ; i, wait = i+1, 2*wait {
		got, err = s.woc.Transactions(ctx, ids, woc.Bounds{Answer: bulkBytes, Alone: s.cfg.MaxTx})
		if err == nil || i == batchTries || ctx.Err() != nil || !broken(err) {
			break
		}
		if err := woc.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
	list := make([][]byte, len(ids))
	for i := 0; i < len(ids) && err == nil; i++ {
		raw, ok := got[ids[i]]
		if !ok { // the service says nothing of it among many
			raw, err = s.woc.Transaction(ctx, ids[i], s.cfg.MaxTx)
		}
		list[i] = raw
	}
	if errors.Is(err, woc.ErrNotIt) {
		err = s.trust.Lied("%v", err)
	}
	return list, err
}

// broken tells an answer that never came, or not to its end, from one that says
// no: a long block mustn't begin anew for it.
func broken(err error) bool {
	var status *woc.StatusError
	return !errors.As(err, &status) && !errors.Is(err, woc.ErrNotIt) && !errors.Is(err, woc.ErrMissing) && !errors.Is(err, woc.ErrTooLong)
}
