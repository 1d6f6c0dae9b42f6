package p2p

import (
	"context"
	"sync"
)

// A txQueue holds transactions between the connections and the reader of
// Transactions. Its bytes are bounded: push waits for room, nothing is dropped.
type txQueue struct {
	mu      sync.Mutex
	most    int // bytes
	bytes   int
	items   [][]byte
	changed *broadcast
}

func newTxQueue(most int) *txQueue {
	return &txQueue{most: most, changed: newBroadcast()}
}

// push waits until there is room. A transaction larger than the whole queue
// enters an empty one.
func (q *txQueue) push(ctx context.Context, raw []byte) error {
	for {
		q.mu.Lock()
		if q.bytes == 0 || q.bytes+len(raw) <= q.most {
			q.items = append(q.items, raw)
			q.bytes += len(raw)
			q.changed.tell()
			q.mu.Unlock()
			return nil
		}
		changed := q.changed.next()
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// first waits for a transaction and returns it without taking it out.
func (q *txQueue) first(ctx context.Context) ([]byte, error) {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			raw := q.items[0]
			q.mu.Unlock()
			return raw, nil
		}
		changed := q.changed.next()
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// drop takes the first transaction out and returns how many are left.
func (q *txQueue) drop() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= len(q.items[0])
	q.items[0] = nil
	q.items = q.items[1:]
	q.changed.tell()
	return len(q.items)
}

// full says whether more should be asked for.
func (q *txQueue) full(length int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) >= length || q.bytes >= q.most/2
}

// A broadcast tells any number of waiters that something changed. It is used
// under the lock of what changes.
type broadcast struct{ ch chan struct{} }

func newBroadcast() *broadcast { return new(broadcast) }

// next returns a channel that is closed at the next change.
func (b *broadcast) next() <-chan struct{} {
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) tell() {
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
