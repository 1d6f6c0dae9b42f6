package chainwatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A Sink keeps what the follower finds: an [index.Writer].
type Sink interface {
	// Tip returns the block that the index ends with; Height is -1 when it is empty.
	Tip(ctx context.Context) (index.Tip, error)
	// Headers calls yield with the headers of the index's blocks, oldest first.
	Headers(ctx context.Context, yield func(height int32, header [HeaderSize]byte) error) error
	// Unconfirmed returns the unconfirmed transactions.
	Unconfirmed(ctx context.Context) ([]*index.Transaction, error)
	Connect(ctx context.Context, blocks []*index.Block) error
	Disconnect(ctx context.Context, height int32) error
	// Seen returns, for each transaction, how its frames are judged now.
	Seen(ctx context.Context, txs []*index.Transaction) ([][]index.Decision, error)
	// Drop says that unconfirmed transactions are gone, and why.
	Drop(ctx context.Context, txids []frame.Hash, reason string) error
}

// Config sets a follower up. What is zero takes a default.
type Config struct {
	Params  *Params
	Logger  *slog.Logger
	Poll    time.Duration // how often to ask when nothing wakes; 5 s
	Backoff time.Duration // after a failure; 200 ms, growing to 10 s
	Batch   Batch
	Until   int32 // the last height to connect; 0: no bound
	Expire  int32 // blocks that an unconfirmed transaction may wait; 2,016
	// Unconfirmed bounds what is kept before it is in a block. What comes beyond is
	// passed over until it is in one, or there is room and a node tells of it again.
	Unconfirmed Amount
}

// A Batch bounds what is saved in one transaction during backfill: what a kill
// can make us do again.
type Batch struct {
	Blocks int           // 500
	Frames int           // 2,000
	Delay  time.Duration // 1 s: since the first block of the batch
}

func (c *Config) defaults() {
	if c.Poll == 0 {
		c.Poll = 5 * time.Second
	}
	if c.Backoff == 0 {
		c.Backoff = 200 * time.Millisecond
	}
	if c.Expire == 0 {
		c.Expire = 2016 // two weeks, as long as nodes keep one
	}
	if c.Unconfirmed.Transactions == 0 {
		c.Unconfirmed.Transactions = 1_000_000
	}
	if c.Unconfirmed.Bytes == 0 {
		c.Unconfirmed.Bytes = 1 << 30
	}
	if c.Batch.Blocks == 0 {
		c.Batch.Blocks = 500
	}
	if c.Batch.Frames == 0 {
		c.Batch.Frames = 2000
	}
	if c.Batch.Delay == 0 {
		c.Batch.Delay = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// A Follower keeps a sink on the best branch of the chain that a source tells
// of. Backfill, live and reorganisations are one loop: ask for headers, take off
// the blocks that are no longer on the best branch, put on the next ones, and
// when there are none look at the mempool and wait to be woken. What the source
// pushes only wakes the loop.
type Follower struct {
	config  Config
	source  Source
	sink    Sink
	chain   *Chain
	tip     int32              // height of the sink
	mempool *mempool           // nil: must be read from the sink
	kept    Amount             // how much that was when it was last known
	passed  int                // transactions passed over since there was room
	known   bool               // some node has the best tip
	refused string             // why a header of the last round was refused, where that is the whole source's fault
	said    string             // what the log has of lost
	failed  map[frame.Hash]int // how often in a row a block couldn't be had
	unbar   time.Time          // when barred blocks are tried again
	health  health
	intake  intake
}

// NewFollower returns a follower; Run starts it.
func NewFollower(source Source, sink Sink, config Config) *Follower {
	config.defaults()
	return &Follower{config: config, source: source, sink: sink, failed: map[frame.Hash]int{}, intake: newIntake()}
}

// Run follows until ctx ends, which is no error, or the sink's blocks can't be
// of this network. Other failures, of the source or the sink, are logged and
// tried again: the index is as it was after the last commit. It runs once.
func (f *Follower) Run(ctx context.Context) error {
	defer close(f.intake.stopped)
	if err := f.Load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	for ctx.Err() == nil {
		if f.CatchUp(ctx) != nil {
			break
		}
		if err := f.tidy(ctx); err != nil && ctx.Err() == nil {
			f.config.Logger.Warn("looking through the mempool", "error", err)
		}
		f.wait(ctx)
	}
	return nil
}

// CatchUp runs rounds until the sink is at the tip of the best branch that the
// source tells of, or at Config.Until. Failures are logged and tried again; only
// the end of ctx is an error.
func (f *Follower) CatchUp(ctx context.Context) error {
	for backoff := f.config.Backoff; ; backoff = min(2*backoff, 10*time.Second) {
		err := f.Sync(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		f.config.Logger.Warn("following the chain", "error", err, "again_in", backoff)
		f.health.rests(true)
		f.meanwhile(ctx, func() { pause(ctx, backoff) })
		f.health.rests(false)
	}
}

// Load reads what the sink knows: its headers, and what its unconfirmed
// transactions spend. It comes before Sync and Take; Run calls it.
func (f *Follower) Load(ctx context.Context) error {
	f.health.moves()
	f.chain = NewChain(f.config.Params)
	err := f.sink.Headers(ctx, func(height int32, header [HeaderSize]byte) error {
		if height == 0 {
			return nil // Add would have no predecessor for it; Tip is compared below
		}
		_, err := f.chain.Add(header)
		return err
	})
	if err != nil {
		return fmt.Errorf("the index's own blocks: %w", err)
	}
	tip, err := f.sink.Tip(ctx)
	if err != nil {
		return err
	}
	if _, ok := f.chain.Height(tip.Hash); tip.Height >= 0 && !ok {
		return fmt.Errorf("the index ends with block %s, which is none of network %s", tip.Hash, f.config.Params.Network)
	}
	f.tip = tip.Height
	return f.loadMempool(ctx)
}

// Sync is one round of the loop: it brings the sink to the tip of the best
// branch that the source tells of. Where it fails, what was saved is saved, and
// the next round goes on from there.
func (f *Follower) Sync(ctx context.Context) error {
	err := f.sync(ctx)
	var missing *blockError
	if errors.As(err, &missing) && ctx.Err() == nil {
		f.missing(missing)
	}
	f.health.synced(err, f.trouble())
	if err == nil {
		f.sayLost()
	}
	return err
}

// sayLost logs, once, that no node has the index's last block, and that one has
// it again.
func (f *Follower) sayLost() {
	lost := f.lost()
	switch {
	case lost == f.said:
		return
	case lost == "":
		f.config.Logger.Info("a node has the last block known here again")
	default:
		f.config.Logger.Warn(lost)
	}
	f.said = lost
}

const (
	barAfter = 5           // failures in a row to get a block whose header is known
	barFor   = time.Minute // until it is tried again
)

// missing counts failures to get a block. One that nobody has mustn't hold up
// the chain: its branch is left out of account for a while, and the best of those
// whose blocks can be had is followed.
func (f *Follower) missing(e *blockError) {
	f.failed[e.Hash]++
	if f.failed[e.Hash] < barAfter {
		return
	}
	f.config.Logger.Error("no node gives this block: its branch is left out for now", "height", e.Height, "block", e.Hash, "error", e.err)
	clear(f.failed)
	f.chain.Bar(e.Hash)
	f.unbar = time.Now().Add(barFor)
}

func (f *Follower) sync(ctx context.Context) error {
	if !f.unbar.IsZero() && time.Now().After(f.unbar) {
		f.unbar = time.Time{}
		f.chain.Unbar()
	}
	for {
		if err := f.headers(ctx); err != nil {
			return err
		}
		tip, err := f.sink.Tip(ctx)
		if err != nil {
			return err
		}
		f.tip = tip.Height
		if tip.Height >= 0 && !f.chain.OnBest(tip.Hash) {
			if err := f.disconnect(ctx, tip); err != nil {
				return err
			}
			continue
		}
		path := f.chain.Path(tip.Height, f.reach(tip.Height))
		f.health.at(tip, f.chain.sight(tip))
		if len(path) == 0 {
			return nil
		}
		if err := f.connect(ctx, path); err != nil {
			return err
		}
	}
}

const pathLimit = 2000 // blocks that are fetched before headers are asked for again

// reach tells how many blocks beyond a height may be connected now.
func (f *Follower) reach(height int32) int {
	if f.config.Until > 0 {
		return int(max(0, min(pathLimit, f.config.Until-height)))
	}
	return pathLimit
}

// headers asks for headers from the best tip on, and on every branch that the
// answers open until it is known to its end. The first answer begins with the
// best tip itself: a node that doesn't send it hasn't got it.
func (f *Follower) headers(ctx context.Context) error {
	best, _ := f.chain.Best()
	ask := []frame.Hash{f.chain.parent(best)}
	f.known = best == ask[0] // the genesis block, which all have
	f.refused = ""
	for len(ask) > 0 {
		var answer []Header
		var err error
		locator := f.chain.Locator(ask[0])
		f.meanwhile(ctx, func() { answer, err = f.source.Headers(ctx, locator) })
		if err != nil {
			return fmt.Errorf("ask for headers: %w", err)
		}
		f.health.moves()
		ask = ask[1:]
		for i, h := range answer {
			isNew, err := f.chain.Add(h)
			if err != nil {
				f.refuse(h, err)
				continue
			}
			f.known = f.known || h.Hash() == best
			ends := i+1 == len(answer) || answer[i+1].Prev() != h.Hash()
			if isNew && ends {
				ask = append(ask, h.Hash())
			}
		}
	}
	return nil
}

// refuse names whoever gave a header that can't be on this chain. A source of many
// nodes drops the one that did.
func (f *Follower) refuse(h Header, err error) {
	if errors.Is(err, ErrOrphan) { // it may follow one that was refused
		f.config.Logger.Warn("a header from the source is refused", "error", err)
		return
	}
	var nodes []string
	for _, n := range f.source.Status().Nodes {
		nodes = append(nodes, n.Address)
	}
	f.config.Logger.Error("a header from the source is refused", "error", err, "nodes", nodes)
	if s, ok := f.source.(Refusing); ok {
		s.Refused(h, err)
		return
	}
	f.refused = fmt.Sprintf("%s gives a header that can't be on this chain: %v", cmp.Or(strings.Join(nodes, ", "), "the source"), err)
}

// disconnect takes off the sink's blocks that are not on the best branch.
func (f *Follower) disconnect(ctx context.Context, tip index.Tip) error {
	fork, height := f.chain.Fork(tip.Hash)
	best, bestHeight := f.chain.Best()
	f.config.Logger.Info("reorganisation", "fork", height, "depth", tip.Height-height, "block", fork,
		"from", tip.Hash, "to", best, "to_height", bestHeight)
	f.forget() // whatever fails from here on
	f.health.saves()
	err := f.sink.Disconnect(ctx, height)
	f.health.saved()
	if err != nil {
		return err
	}
	if s, ok := f.source.(interface{ RequestMempool() }); ok {
		s.RequestMempool() // no node announces again what a reorganisation returned
	}
	return nil
}

// connect fetches the blocks of a path and saves them in batches.
func (f *Follower) connect(ctx context.Context, path []Step) error {
	if err := f.loadMempool(ctx); err != nil {
		return err
	}
	f.intake.behind.Store(len(path) > farBehind)
	defer f.intake.behind.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	p := startPipeline(ctx, f.source, f.config.Params, path, f.mempool, &f.health)
	defer p.join()
	defer cancel()
	for {
		batch, err := p.batch(ctx, f.config.Batch)
		if len(batch) > 0 {
			if err := f.save(ctx, batch); err != nil {
				return err
			}
		}
		if errors.Is(err, errPathEnd) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (f *Follower) save(ctx context.Context, batch []*index.Block) error {
	f.health.saves()
	err := f.sink.Connect(ctx, batch)
	f.health.saved()
	if err != nil {
		f.forget() // as in Take
		return err
	}
	clear(f.failed)
	confirmed, spent := map[frame.Hash]bool{}, map[frame.Hash]bool{}
	frames := 0
	for _, b := range batch {
		for _, tx := range b.Transactions {
			confirmed[tx.ID] = true
			frames += len(tx.Frames)
		}
		for _, id := range b.Conflicts {
			spent[id] = true
		}
	}
	last := batch[len(batch)-1]
	f.tip = last.Height
	f.mempool.remove(confirmed)
	f.mempool.dropWithHeirs(spent)
	f.health.connected(last, f.chain.sight(index.Tip{Height: last.Height, Hash: last.Hash}))
	f.health.holds(len(f.mempool.since))
	f.config.Logger.Debug("connected", "blocks", len(batch), "frames", frames, "height", last.Height)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
