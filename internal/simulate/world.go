package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
)

// A world is one run: the chain and its mempool, an index that follows it, and
// the oracle's picture of both.
type world struct {
	ctx     context.Context
	tree    *simchain.Tree
	blocks  []*simchain.Block // in the order mined
	highest *simchain.Block
	txs     []*madeTx
	coins   uint64
	source  *simchain.Source

	store    *shaky
	writer   *index.Writer
	follower *chainwatch.Follower
	told     *simchain.Block // the highest block that this process could know

	parsed  map[frame.Hash][]*oracleTx // transactions of blocks
	mempool mempool
	stats   Stats
}

// A madeTx is a transaction of the scenario.
type madeTx struct {
	raw    []byte
	tx     *oracleTx
	frames []FrameSpec
	parent *madeTx // whose output it spends, if any
}

// Stats counts what runs went through.
type Stats struct {
	Runs, Steps, Checks, Reorganisations, Faults, Deaths int
	Proofs                                               int // of transactions, compared
	Verdicts                                             map[frame.Verdict]int
	Provisional                                          map[frame.Verdict]int
}

// Add adds the counts of another run.
func (s *Stats) Add(o Stats) {
	s.Runs += o.Runs
	s.Steps += o.Steps
	s.Checks += o.Checks
	s.Proofs += o.Proofs
	s.Reorganisations += o.Reorganisations
	s.Faults += o.Faults
	s.Deaths += o.Deaths
	if s.Verdicts == nil {
		s.Verdicts, s.Provisional = map[frame.Verdict]int{}, map[frame.Verdict]int{}
	}
	for v, n := range o.Verdicts {
		s.Verdicts[v] += n
	}
	for v, n := range o.Provisional {
		s.Provisional[v] += n
	}
}

// A Difference says after which step product and oracle first disagreed.
type Difference struct {
	Step int
	What string
}

func (d *Difference) Error() string { return fmt.Sprintf("after step %d: %s", d.Step, d.What) }

// Run plays a scenario and returns the first difference, if any.
func Run(script Script) (Stats, error) {
	tree := simchain.NewTree()
	w := &world{ctx: context.Background(), tree: tree, highest: tree.Genesis, blocks: []*simchain.Block{tree.Genesis},
		source: simchain.NewSource(tree), store: &shaky{Store: memory.New()}, parsed: map[frame.Hash][]*oracleTx{},
		stats: Stats{Runs: 1, Verdicts: map[frame.Verdict]int{}, Provisional: map[frame.Verdict]int{}}}
	w.source.Told = w.tell
	err := w.start()
	for i, op := range script {
		if err == nil {
			err = w.step(op)
		}
		if err == nil && op.touchesIndex() {
			err = w.compare()
		}
		if err != nil {
			return w.stats, &Difference{Step: i, What: err.Error()}
		}
		w.stats.Steps++
	}
	if err := w.end(); err != nil {
		return w.stats, &Difference{Step: len(script), What: err.Error()}
	}
	return w.stats, nil
}

// end brings the index to the tip without faults, and looks at all that was left
// behind.
func (w *world) end() error {
	if err := w.sync(); err != nil {
		return err
	}
	if err := w.compare(); err != nil {
		return err
	}
	if err := w.replayEvents(); err != nil {
		return err
	}
	return w.replayChain()
}

func (w *world) tell(b *simchain.Block) {
	if w.told == nil || b.Height > w.told.Height {
		w.told = b
	}
}

// start starts a process on the store as it is.
func (w *world) start() error {
	w.store.dead, w.store.armed = false, false
	w.writer = index.NewWriter(w.store, index.DefaultRules(simchain.Network), nil)
	w.follower = chainwatch.NewFollower(w.source, &sink{w.writer, w}, chainwatch.Config{
		Params: chainwatch.ParamsOf(simchain.Network),
		// Batches end where the blocks or the bounds say, never with the clock.
		Batch: chainwatch.Batch{Blocks: 1 + len(w.blocks)%4, Frames: 8, Delay: time.Hour},
	})
	tip, err := w.writer.Tip(w.ctx)
	if err != nil {
		return err
	}
	w.told = w.tree.Genesis
	if tip.Height > 0 {
		w.told = w.tree.Blocks[tip.Hash]
	}
	return w.follower.Load(w.ctx)
}

// revive starts a new process when the last one died.
func (w *world) revive() error {
	if !w.store.dead {
		return nil
	}
	w.stats.Deaths++
	return w.start()
}

// touchesIndex tells whether the index may be another after the step.
func (op Op) touchesIndex() bool {
	return op.Kind == opAnnounce || op.Kind == opSync || op.Kind == opEvict || op.Kind == opRestart
}

// broken, set by tests only, makes a step a difference.
var broken func(Op) bool

func (w *world) step(op Op) error {
	if broken != nil && broken(op) {
		return errors.New("this step is broken")
	}
	switch op.Kind {
	case opTransaction:
		w.transaction(op)
	case opAnnounce:
		return w.announce(op)
	case opMine:
		w.mine(op)
	case opTips:
		var tips []*simchain.Block
		for _, p := range op.Picks {
			tips = append(tips, w.blocks[len(w.blocks)-1-p%len(w.blocks)])
		}
		w.source.SetTips(tips...)
	case opSync:
		w.source.Arm(simchain.Fault(op.Fault), op.After)
		err := w.sync()
		w.source.Disarm()
		return err
	case opCrash:
		w.store.arm(op.Fault, op.After)
	case opEvict:
		return w.evict(op)
	case opRestart:
		return w.start()
	}
	return nil
}

// attempt does what may fail where the scenario asked for it, and nowhere else.
// It tells whether it went well; a process that died is started again.
func (w *world) attempt(do func() error) (ok bool, err error) {
	faults := func() int { return w.source.Happened() + w.store.happened }
	before := faults()
	err = do()
	switch {
	case err == nil:
		return true, nil
	case faults() == before:
		return false, fmt.Errorf("failed without a fault: %w", err)
	}
	w.stats.Faults++
	return false, w.revive()
}

// sync lets the follower ask until a round ends well.
func (w *world) sync() error {
	for {
		before, err := w.tip()
		if err != nil {
			return err
		}
		ok, err := w.attempt(func() error { return w.follower.Sync(w.ctx) })
		if err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		if ok {
			return w.checkTip(before)
		}
		if err := w.compare(); err != nil {
			return err
		}
	}
}

// tip reads the index's tip past all faults.
func (w *world) tip() (tip index.Tip, err error) {
	err = w.store.Store.View(w.ctx, func(v index.View) error {
		tip, err = v.Tip()
		return err
	})
	return tip, err
}

// checkTip tells whether the index ends where it should: with the most work
// known, and of equal branches with the one that it had.
func (w *world) checkTip(before index.Tip) error {
	tip, err := w.tip()
	if err != nil {
		return err
	}
	if tip.Height != w.told.Height {
		return fmt.Errorf("the index ends at height %d, the best block known is at %d", tip.Height, w.told.Height)
	}
	if before.Height == tip.Height && before.Hash != tip.Hash {
		return fmt.Errorf("the index left block %s for %s, which has no more work", before.Hash, tip.Hash)
	}
	return nil
}

// A sink tells the oracle what was committed.
type sink struct {
	*index.Writer
	w *world
}

// commit runs a write and tells the oracle when it left something.
func (s *sink) commit(write func() error, tell func()) error {
	before := s.w.store.committed
	err := write()
	if s.w.store.committed > before {
		tell()
	}
	return err
}

func (s *sink) Connect(ctx context.Context, blocks []*index.Block) error {
	return s.commit(func() error { return s.Writer.Connect(ctx, blocks) }, func() {
		var list []*oracleBlock
		for _, b := range blocks {
			list = append(list, &oracleBlock{txs: s.w.read(s.w.tree.Blocks[b.Hash])})
		}
		s.w.mempool.connected(list)
	})
}

func (s *sink) Disconnect(ctx context.Context, height int32) error {
	tip, err := s.w.tip()
	if err != nil {
		return err
	}
	return s.commit(func() error { return s.Writer.Disconnect(ctx, height) }, func() {
		s.w.stats.Reorganisations++
		var list []*oracleBlock
		for b := s.w.tree.Blocks[tip.Hash]; b.Height > height; b = b.Parent {
			list = append(list, &oracleBlock{txs: s.w.read(b)})
		}
		s.w.mempool.disconnected(list)
	})
}

func (s *sink) Seen(ctx context.Context, txs []*index.Transaction) (decisions [][]index.Decision, err error) {
	see := func() (err error) {
		decisions, err = s.Writer.Seen(ctx, txs)
		return err
	}
	err = s.commit(see, func() {
		var list []*oracleTx
		for _, tx := range txs {
			i := slices.IndexFunc(s.w.txs, func(m *madeTx) bool { return m.tx.id == tx.ID })
			list = append(list, s.w.txs[i].tx)
		}
		s.w.mempool.seen(list)
	})
	return decisions, err
}

func (s *sink) Drop(ctx context.Context, ids []frame.Hash, reason string) error {
	return s.commit(func() error { return s.Writer.Drop(ctx, ids, reason) }, func() {
		s.w.mempool.drop(func(t *metTx) bool { return slices.Contains(ids, t.id) })
	})
}

// read returns the transactions of a block, as the oracle reads them.
func (w *world) read(b *simchain.Block) []*oracleTx {
	txs, ok := w.parsed[b.Hash]
	if !ok {
		for _, raw := range b.Txs {
			txs = append(txs, readTx(raw))
		}
		w.parsed[b.Hash] = txs
	}
	return txs
}
