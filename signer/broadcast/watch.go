package broadcast

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/improtocol/frame"
)

// A WatchConfig says how transactions are followed. What is 0 has a default.
type WatchConfig struct {
	Ways   []Way
	Submit func(ctx context.Context, tx *Transaction) error // hands one in again
	// Confirmed tells whether our own index has a transaction in a block. It is
	// the only word that is believed about one with frames.
	Confirmed func(ctx context.Context, txid frame.Hash) (bool, error)
	Logger    *slog.Logger

	First     time.Duration // until it is looked after; 15 seconds; then twice as long each time
	Longest   time.Duration // between two looks; 10 minutes
	Resubmit  time.Duration // after which it is submitted again whatever services say; 1 hour
	Give      time.Duration // after which it is given up; 72 hours, and without frames never more than 2
	Most      int           // transactions; 10,000
	MostBytes int           // of them; 64 MiB
}

// frameless is how long a transaction is followed of which the index knows nothing.
const frameless = 2 * time.Hour

// Watch follows accepted transactions until they are in a block. A service that
// says it has one may have lost it: then it is submitted again, which does no harm.
// It keeps them in memory only. A process that ends forgets them: the network had
// them, by all that was said.
type Watch struct {
	cfg  WatchConfig
	wake chan struct{}

	mu    sync.Mutex
	all   map[frame.Hash]*watched
	queue agenda // all but those that are being looked after
	bytes int
}

// An agenda is a heap: what is to be looked after next comes first.
type agenda []*watched

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].next.Before(a[j].next) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push implements [heap.Interface].
func (a *agenda) Push(x any) {
	f := x.(*watched) //nolint:errcheck // the heap holds nothing else
	f.place = len(*a)
	*a = append(*a, f)
}

// Pop implements [heap.Interface].
func (a *agenda) Pop() any {
	last := len(*a) - 1
	f := (*a)[last]
	(*a)[last], *a = nil, (*a)[:last]
	f.place = -1
	return f
}

// A watched transaction. Its fields but next belong to the look that is going on.
type watched struct {
	tx     *Transaction
	frames bool      // the index keeps it
	since  time.Time // it was accepted
	sent   time.Time // it was submitted last
	wait   time.Duration
	next   time.Time // under Watch.mu
	place  int       // in the agenda, under Watch.mu; -1 while it is being looked after
}

// NewWatch returns a watch of nothing yet.
func NewWatch(cfg WatchConfig) *Watch {
	preset := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	preset(&cfg.First, 15*time.Second)
	preset(&cfg.Longest, 10*time.Minute)
	preset(&cfg.Resubmit, time.Hour)
	preset(&cfg.Give, 72*time.Hour)
	if cfg.Most <= 0 {
		cfg.Most = 10_000
	}
	if cfg.MostBytes <= 0 {
		cfg.MostBytes = 64 << 20
	}
	return &Watch{cfg: cfg, wake: make(chan struct{}, 1), all: map[frame.Hash]*watched{}}
}

func (t *Transaction) size() int { return len(t.Raw) + len(t.Extended) }

// Add follows a transaction that was accepted. frames says that the index keeps
// it. When there is no room it is not followed, which is logged.
func (w *Watch) Add(tx *Transaction, frames bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[tx.ID] != nil {
		return
	}
	if len(w.all) >= w.cfg.Most || w.bytes+tx.size() > w.cfg.MostBytes {
		w.cfg.Logger.Warn("too many transactions wait for a block: this one isn't followed", "txid", tx.ID)
		return
	}
	now := time.Now()
	kept := &Transaction{ID: tx.ID, Raw: append([]byte(nil), tx.Raw...)}
	if tx.Extended != nil {
		kept.Extended = append([]byte(nil), tx.Extended...)
	}
	f := &watched{tx: kept, frames: frames, since: now, sent: now, wait: w.cfg.First, next: now.Add(w.cfg.First)}
	w.all[tx.ID] = f
	heap.Push(&w.queue, f)
	w.bytes += kept.size()
	if f.place == 0 {
		w.ring()
	}
}

// Told hears that something became of a transaction, from whomever: it is looked
// after at once. What was told isn't believed.
func (w *Watch) Told(txid frame.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.all[txid]; f != nil && f.place >= 0 {
		f.next = time.Now()
		heap.Fix(&w.queue, f.place)
		w.ring()
	}
}

// Len returns how many transactions are followed.
func (w *Watch) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func (w *Watch) ring() {
	select {
	case w.wake <- struct{}{}:
	default: // it rings already
	}
}

// Run looks after transactions until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		due, pause := w.due(time.Now())
		var group errgroup.Group
		group.SetLimit(8)
		for _, f := range due {
			group.Go(func() error { w.look(ctx, f); return nil })
		}
		_ = group.Wait() // looking fails with nothing
		if len(due) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-time.After(pause):
		}
	}
	return nil
}

// due returns what is to be looked after now, and how long there is nothing else.
func (w *Watch) due(now time.Time) (due []*watched, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		if left := w.queue[0].next.Sub(now); left > 0 {
			return due, left
		}
		due = append(due, heap.Pop(&w.queue).(*watched)) //nolint:errcheck // the heap holds nothing else
	}
	return due, w.cfg.Longest
}

// look finds out how a transaction stands and does what is to be done.
func (w *Watch) look(ctx context.Context, f *watched) {
	done := w.over(ctx, f)
	w.mu.Lock()
	defer w.mu.Unlock()
	if done {
		delete(w.all, f.tx.ID)
		w.bytes -= f.tx.size()
		return
	}
	f.wait = min(2*f.wait, w.cfg.Longest)
	f.next = time.Now().Add(f.wait)
	heap.Push(&w.queue, f)
}

// over tells whether a transaction needn't be followed any more, and submits it
// again where that may help.
func (w *Watch) over(ctx context.Context, f *watched) bool {
	log, give := w.cfg.Logger.With("txid", f.tx.ID), w.cfg.Give
	if !f.frames {
		give = min(give, frameless) // not every service can say that it is in a block
	}
	if f.frames {
		confirmed, err := w.cfg.Confirmed(ctx, f.tx.ID)
		if err != nil || confirmed {
			return confirmed
		}
	}
	mined, alive := w.ask(ctx, f.tx.ID)
	switch {
	case mined && !f.frames:
		return true
	case time.Since(f.since) > give && !f.frames:
		return true
	case time.Since(f.since) > give:
		log.Error("a submitted transaction is in no block and is followed no longer", "since", f.since)
		return true
	case mined || alive && time.Since(f.sent) < w.cfg.Resubmit:
		return false
	}
	err := w.cfg.Submit(ctx, f.tx)
	f.sent = time.Now()
	var refused *Refused
	switch {
	case errors.As(err, &refused) && !f.frames:
		return true // it is in a block, and all it made is spent: nobody can say so
	case errors.As(err, &refused):
		// It may also have come into a block a moment ago, with all it made spent.
		if confirmed, _ := w.cfg.Confirmed(ctx, f.tx.ID); !confirmed { //nolint:errcheck // then it isn't known
			log.Error("a transaction that was accepted is refused now", "error", err)
		}
		return true
	case err != nil:
		log.Warn("a submitted transaction is in no block, and couldn't be submitted again", "error", err)
	case !alive:
		log.Warn("the services had lost a submitted transaction: it was submitted again")
	}
	return false
}

// ask asks all ways that can say: whether one has it in a block, and whether one
// has it at all.
func (w *Watch) ask(ctx context.Context, txid frame.Hash) (mined, alive bool) {
	for _, way := range w.cfg.Ways {
		if way.Status == nil {
			continue
		}
		status, err := way.Status(ctx, txid)
		if err != nil {
			continue
		}
		mined = mined || status.State == StateMined
		alive = alive || status.alive()
	}
	return mined, alive
}
