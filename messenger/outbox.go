package messenger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// A State says how far a draft in the outbox has come.
type State string

// The states of a draft.
const (
	Waiting State = "waiting" // nothing of it is signed
	Signed  State = "signed"  // its messages are fixed, and some may be sent
	Refused State = "refused" // it won't be sent until it is tried again: see Reason
	Done    State = "sent"    // all of it is sent, and it has left the outbox
)

// A Queued is a draft in the outbox, as it is now.
type Queued struct {
	ID       string
	Draft    Draft
	Added    time.Time
	State    State
	Reason   string   // of Refused
	FrameIDs []string // of its messages, once they are fixed
	TxIDs    []string // of those that are sent
	Sent     *Sent    // once its messages are fixed: those that are sent

	DoneBytes, AllBytes int64 // of message fields, once its messages are fixed
}

// An Outbox is a durable queue of drafts in a file of mode 0600, which one
// process has open at a time. A draft becomes messages once: what they are is
// written to the file before their first transaction is built, so that whoever
// goes on after a crash sends the same messages and none twice. Its methods may
// be called from many goroutines.
type Outbox struct {
	unlock func() error

	flushing sync.Mutex

	mu     sync.Mutex
	log    *outboxLog
	items  []*queued
	broken error // why it takes nothing more: closed, or a write failed
}

// A queued is what is kept of an item.
type queued struct {
	id     string
	draft  Draft
	added  time.Time
	plan   *plan
	ids    []frame.ID
	built  map[int]frame.Hash // transaction that was built for a frame, and not seen to be sent
	sent   map[int]frame.Hash
	reason string // why it was refused; empty: it wasn't
}

// Limits of an outbox.
const (
	maxQueued  = 10_000
	maxOutbox  = 1 << 30 // bytes of its file
	lockPeriod = 2 * time.Second
)

// Reasons why the outbox refuses.
var (
	ErrOutbox       = errors.New("not a whole outbox of this program")
	ErrOutboxClosed = errors.New("the outbox is closed")
	ErrNoDraft      = errors.New("there is no such draft in the outbox")
	ErrOutboxFull   = errors.New("the outbox is full")
	ErrUnderWay     = errors.New("a part of it is sent already")
)

// OpenOutbox opens an outbox, a new one when there is no file. Another process
// that has it open is waited for for two seconds; then it fails with a
// *signer.LockError that names it. It fails with ErrOutbox or a *signer.ModeError,
// and then leaves the file as it is. What was being written when a machine
// stopped, and only that, may be missing.
func OpenOutbox(path string) (*Outbox, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPeriod)
	defer cancel()
	unlock, err := signer.LockFile(ctx, path)
	if err != nil {
		return nil, err
	}
	o := &Outbox{unlock: unlock}
	if o.log, o.items, err = openOutboxLog(path); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return o, nil
}

// Close lets others open the outbox. It then refuses everything with
// ErrOutboxClosed.
func (o *Outbox) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.Is(o.broken, ErrOutboxClosed) {
		return nil
	}
	o.broken = ErrOutboxClosed
	return errors.Join(o.log.close(), o.unlock())
}

// Add puts a draft at the end of the queue, durably, and returns its id. It
// fails as [Draft.Check] does, or with ErrOutboxFull.
func (o *Outbox) Add(d Draft) (id string, err error) {
	if err := d.Check(); err != nil {
		return "", err
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	q := &queued{id: hex.EncodeToString(random[:]), draft: d, added: time.Now().UTC().Truncate(time.Millisecond)}
	q.draft.Body = slices.Clone(d.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) >= maxQueued {
		return "", ErrOutboxFull
	}
	if err := o.write(outboxRecord{Op: opQueue, ID: q.id, Draft: &q.draft, Added: q.added.UnixMilli()}, true); err != nil {
		return "", err
	}
	o.items = append(o.items, q)
	return q.id, nil
}

// write appends a record. Nothing more is taken once that failed: what stands in
// the file then is known only when it is opened again.
func (o *Outbox) write(r outboxRecord, durable bool) error {
	if o.broken != nil {
		return o.broken
	}
	err := o.log.append(r, durable)
	if err != nil && !errors.Is(err, ErrOutboxFull) {
		o.broken = fmt.Errorf("the outbox must be opened again: %w", err)
	}
	return err
}

// Items returns the drafts in the queue, in their order. Their bodies are the
// queue's own and must not be changed.
func (o *Outbox) Items() []Queued {
	o.mu.Lock()
	defer o.mu.Unlock()
	items := make([]Queued, len(o.items))
	for i, q := range o.items {
		items[i] = q.tell()
	}
	return items
}

// tell describes an item as it is now.
func (q *queued) tell() Queued {
	t := Queued{ID: q.id, Draft: q.draft, Added: q.added, State: Waiting, Reason: q.reason}
	switch {
	case q.reason != "":
		t.State = Refused
	case q.plan != nil && len(q.sent) == len(q.ids):
		t.State = Done
	case q.plan != nil:
		t.State = Signed
	}
	if q.plan == nil {
		return t
	}
	t.AllBytes = q.plan.bytes(&q.draft)
	t.Sent = q.plan.sent(&q.draft)
	for k, id := range q.ids {
		t.FrameIDs = append(t.FrameIDs, id.String())
		if txid, ok := q.sent[k]; ok {
			t.TxIDs = append(t.TxIDs, txid.String())
			t.Sent.IDs = append(t.Sent.IDs, id)
			t.Sent.TxIDs = append(t.Sent.TxIDs, txid)
			t.DoneBytes += q.plan.frameBytes(&q.draft, k)
		}
	}
	return t
}

// Drop takes a draft out of the queue. It fails with ErrNoDraft, or with
// ErrUnderWay when one of its messages is sent or may be: [Outbox.Abandon] leaves
// the rest unsent.
func (o *Outbox) Drop(id string) error { return o.drop(id, false) }

// Abandon drops a draft even if a part of it is sent: readers will miss the rest.
func (o *Outbox) Abandon(id string) error { return o.drop(id, true) }

func (o *Outbox) drop(id string, anyway bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, err := o.find(id)
	if err != nil {
		return err
	}
	if q := o.items[i]; !anyway && len(q.sent)+len(q.built) > 0 {
		return fmt.Errorf("%w: %d of %d messages", ErrUnderWay, len(q.sent), len(q.ids))
	}
	return o.remove(i)
}

// remove takes an item out, by a record.
func (o *Outbox) remove(i int) error {
	if err := o.write(outboxRecord{Op: opDrop, ID: o.items[i].id}, true); err != nil {
		return err
	}
	o.items = slices.Delete(o.items, i, i+1)
	return nil
}

// Retry lets a refused draft wait again.
func (o *Outbox) Retry(id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, err := o.find(id)
	if err != nil || o.items[i].reason == "" {
		return err
	}
	if err := o.write(outboxRecord{Op: opRetry, ID: id}, true); err != nil {
		return err
	}
	o.items[i].reason = ""
	return nil
}

func (o *Outbox) find(id string) (int, error) {
	i := slices.IndexFunc(o.items, func(q *queued) bool { return q.id == id })
	if i < 0 {
		return 0, fmt.Errorf("%w: %q", ErrNoDraft, id)
	}
	return i, nil
}

// Same returns the id of a draft in the queue that says the same as this one, to
// the same recipients: what was begun is gone on with, and not begun again. One
// that was refused before anything of it was sent isn't meant.
func (o *Outbox) Same(d Draft) (id string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range o.items {
		if (q.reason == "" || len(q.sent) > 0) && q.draft.same(&d) {
			return q.id, true
		}
	}
	return "", false
}

func (d *Draft) same(other *Draft) bool {
	return d.fits(other) && d.Type == other.Type && d.FileName == other.FileName && d.Re == other.Re && d.Shared == other.Shared &&
		d.From == other.From && d.Bracketed == other.Bracketed && bytes.Equal(d.Body, other.Body)
}

// frameBytes returns the bytes of the k-th frame's message field.
func (p *plan) frameBytes(d *Draft, k int) int64 {
	for i := range p.Letters {
		n := p.parts(d, i)
		if k < n {
			return int64(min(p.PartBytes, len(p.body(d, i))-k*p.PartBytes))
		}
		k -= n
	}
	return 0
}
