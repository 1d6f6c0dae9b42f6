package junglebus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

const (
	idleMost  = 5 * time.Second // that a stream waits: what it has buffered then is too old
	nearTip   = 100             // blocks that may still be replaced
	matchMost = 1_000_000       // transactions that match in one block
)

// errReorg says that the service changed its branch while it streamed.
var errReorg = errors.New("the service reorganises its chain")

// errPassed says that a later block is done, and nothing was said of the one
// asked for: nothing matches in it, or the message was meant for another stream.
var errPassed = errors.New("the service says that a later block is done, and nothing of this one")

// A lossError says that fewer transactions came than the service counts.
type lossError struct {
	height    uint32
	got, want uint64
}

func (e *lossError) Error() string {
	return fmt.Sprintf("of block %d the service counts %d transactions and gave %d", e.height, e.want, e.got)
}

// A stream is a connection on which blocks come one after the other.
type stream struct {
	*conn
	end  context.CancelFunc
	next uint32 // the block that comes next
	used time.Time
	held []told // of blocks beyond
	past uint32 // blocks before this one are done, whatever was said of them
}

// Block implements [chainwatch.Source]: it fails with ErrNoBlocks.
func (s *Source) Block(ctx context.Context, _ frame.Hash) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, ErrNoBlocks
}

// Selection implements [chainwatch.Selector]. It fails with ErrReplaced when the
// service has another block at this height.
func (s *Source) Selection(ctx context.Context, hash frame.Hash) (*chainwatch.Selection, error) {
	if err := s.trust.Dropped(); err != nil {
		return nil, err
	}
	k, err := s.whole(ctx, hash)
	if err != nil {
		return nil, s.failed(err)
	}
	list, err := s.collect(ctx, k.height)
	if err != nil {
		return nil, s.failed(fmt.Errorf("block %d from service %s: %w", k.height, s.name, err))
	}
	picked := &chainwatch.Selection{Header: k.header, Transactions: make([]chainwatch.Selected, len(list))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Concurrency)
	for i := range list {
		g.Go(func() (err error) {
			picked.Transactions[i], err = s.prove(gctx, &list[i], hash, &k)
			return err
		})
	}
	err = g.Wait()
	if err == nil || !errors.Is(err, ErrReplaced) {
		err = errors.Join(s.stillThere(ctx, k.height, hash), err)
	}
	var lie *service.LieError
	if errors.Is(err, ErrReplaced) && errors.As(err, &lie) {
		err = ErrReplaced // the proof is that of another block
	}
	if err != nil {
		return nil, s.failed(fmt.Errorf("block %d from service %s: %w", k.height, s.name, err))
	}
	slices.SortFunc(picked.Transactions, func(a, b chainwatch.Selected) int { return int(a.Index) - int(b.Index) })
	picked.Transactions = slices.CompactFunc(picked.Transactions, func(a, b chainwatch.Selected) bool { return a.Index == b.Index })
	return picked, nil
}

// stillThere fails with ErrReplaced when the service has another block at a height
// near its tip: then what it gave, or gave none of, is of that one.
func (s *Source) stillThere(ctx context.Context, height uint32, hash frame.Hash) error {
	s.mu.Lock()
	tip := s.height
	s.mu.Unlock()
	if int64(height)+nearTip < int64(tip) {
		return nil
	}
	list, err := s.list(ctx, height, 1)
	switch {
	case err != nil:
		return err
	case len(list) != 1 || list[0].Hash != hash.String():
		return ErrReplaced
	}
	return nil
}

// prove checks a transaction's bytes and finds the path that shows where it
// stands.
func (s *Source) prove(ctx context.Context, t *told, block frame.Hash, k *known) (p chainwatch.Selected, err error) {
	if t.block != "" && t.block != block.String() {
		return p, ErrReplaced
	}
	txid, err := frame.ParseHash(t.id)
	if err != nil {
		return p, errAnswer
	}
	if p.Raw = t.raw; len(p.Raw) == 0 {
		if p.Raw, err = s.transaction(ctx, txid); err != nil {
			return p, err
		}
	}
	if frame.HashOf(p.Raw) != txid {
		return p, s.trust.Lied("what it gives as transaction %s is another one", txid)
	}
	root := k.header.MerkleRoot()
	if p.Index, p.Path, err = readPath(t.merkle, txid); err == nil && index.FoldPath(txid, p.Index, p.Path) == root {
		return p, nil
	}
	if p.Index, p.Path, err = s.proof(ctx, txid); err != nil {
		return p, err
	}
	if index.FoldPath(txid, p.Index, p.Path) != root {
		return p, s.trust.Lied("it says that transaction %s is in block %d, and the Merkle path doesn't lead to the block's root", txid, k.height)
	}
	return p, nil
}

// collect streams what matches in the block at a height. A stream that fails, or
// passes the block over, is opened once more, and a count that isn't met is asked
// for once more.
func (s *Source) collect(ctx context.Context, height uint32) ([]told, error) {
	select {
	case s.streaming <- struct{}{}:
		defer func() { <-s.streaming }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	list, err := s.collectOnce(ctx, height, false)
	if err == nil || ctx.Err() != nil {
		return list, err
	}
	first := err
	list, err = s.collectOnce(ctx, height, errors.Is(first, errPassed))
	var before, again *lossError
	if errors.As(first, &before) && errors.As(err, &again) && *before == *again {
		s.log.Warn("the service counts more transactions in a block than it gives, twice: what it gave is taken",
			"service", s.name, "height", height, "counted", again.want, "given", again.got)
		return list, nil
	}
	return list, err
}

func (s *Source) collectOnce(ctx context.Context, height uint32, passed bool) ([]told, error) {
	if st := s.stream; st != nil && (st.next != height || time.Since(st.used) > idleMost || s.turned()) {
		s.endStream()
	}
	if s.stream == nil {
		if err := s.openStream(ctx, height); err != nil {
			return nil, err
		}
	}
	st := s.stream
	release := context.AfterFunc(ctx, st.end)
	var quiet bool // written before the connection is closed, read after it failed
	silence := time.AfterFunc(s.cfg.Patience, func() { s.mu.Lock(); quiet = true; s.mu.Unlock(); st.end() })
	list, err := st.block(height, s.cfg, passed, func() { silence.Reset(s.cfg.Patience) })
	silence.Stop()
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		st.next, st.used = height+1, time.Now()
		return list, nil
	}
	s.endStream()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case quiet:
		return nil, fmt.Errorf("nothing more of it comes for %s", s.cfg.Patience)
	}
	return list, err
}

// turned tells, once, that a reorganisation was told of.
func (s *Source) turned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.reorg
	s.reorg = false
	return was
}

func (s *Source) openStream(ctx context.Context, height uint32) error {
	s.turned() // what comes from now on is of the branch after it
	whole, end := context.WithCancel(s.life)
	release := context.AfterFunc(ctx, end)
	c, err := s.dial(whole)
	if err == nil {
		if _, err = c.subscribe("query:"+s.subscription+":control", place{}); err == nil {
			_, err = c.subscribe("query:"+s.subscription+":"+strconv.FormatUint(uint64(height), 10)+":0", place{})
		}
		if err != nil {
			c.close()
		}
	}
	if !release() && err == nil {
		c.close()
		err = ctx.Err()
	}
	if err != nil {
		end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	s.stream = &stream{conn: c, end: end, next: height, used: time.Now()}
	return nil
}

func (s *Source) endStream() {
	if s.stream != nil {
		s.stream.close()
		s.stream.end()
		s.stream = nil
	}
}

// block reads until a block is done: the service says so of this very one, or gives
// transactions of a later one. Of a later one that is merely said to be done it is
// taken, with passed, that this one is; else that is errPassed. progress is called
// whenever something comes.
func (st *stream) block(height uint32, cfg Config, passed bool, progress func()) (list []told, err error) {
	var bytes int64
	held := st.held
	st.held = nil
	take := func(t told) error {
		if t.height < height {
			return nil // again
		}
		if bytes += int64(len(t.raw)); bytes > cfg.MaxBlock || len(list)+len(st.held) >= matchMost {
			return errTooLong
		}
		if t.height > height {
			st.held = append(st.held, t)
		} else if !slices.ContainsFunc(list, func(o told) bool { return o.id == t.id }) {
			list = append(list, t)
		}
		return nil
	}
	for _, t := range held {
		if err := take(t); err != nil {
			return nil, err
		}
	}
	for {
		if len(st.held) > 0 || height < st.past {
			return list, nil
		}
		p, err := st.conn.next()
		if err != nil {
			return nil, err
		}
		progress()
		if !strings.HasSuffix(p.channel, ":control") {
			t, err := readTold(clone(p).data)
			if err == nil {
				err = take(t)
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		c, err := readControl(p.data)
		switch {
		case err != nil:
			return nil, err
		case c.code == codeReorg:
			return nil, errReorg
		case c.code == codeBlockDone && c.block == uint64(height) && c.count > uint64(len(list)):
			return list, &lossError{height, uint64(len(list)), c.count}
		case c.code == codeBlockDone && c.block == uint64(height):
			return list, nil
		case c.code == codeBlockDone && c.block > uint64(height) && !passed:
			return nil, errPassed
		case c.code == codeBlockDone && c.block > uint64(height):
			st.past = uint32(min(c.block, math.MaxUint32-1)) + 1
		}
	}
}
