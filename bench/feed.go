package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
)

// roleFeed is a server of ours whose log grows as it is asked to on its standard
// input. Its argument is how many bytes the messages carry, or "blocks".
const roleFeed = "feed"

// feedEvents is how many events the feed's store holds; they are told again and
// again, each time as new ones.
const feedEvents = 512

// A feed is an index whose log of events grows when it is told to. What the log
// shows is what a store in memory holds, written by the index's own writer; only
// the seq and the time stamp are new each time. So the writing and reading of a
// store isn't measured, but the server is all there.
type feed struct {
	store  *memory.Store
	events []*index.Event
	due    [1 << 16]atomic.Int64 // when an event was due, by seq
	last   atomic.Int64          // seq of the newest
	wake   chan struct{}
}

// newFeed makes a feed of messages with bodies of so many bytes; with 0, of
// blocks, whose events are the smallest.
func newFeed(ctx context.Context, body int) (*feed, error) {
	f := &feed{store: memory.New(), wake: make(chan struct{}, 1)}
	writer := index.NewWriter(f.store, index.DefaultRules(frame.Regtest), nil)
	var prev frame.Hash
	for height := range int32(feedEvents) {
		b := &index.Block{Height: height, MedianTime: 1_700_000_000 + int64(height)}
		copy(b.Header[4:36], prev[:])
		binary.LittleEndian.PutUint32(b.Header[68:], uint32(b.MedianTime))
		b.Hash = frame.HashOf(b.Header[:])
		if err := writer.Connect(ctx, []*index.Block{b}); err != nil {
			return nil, err
		}
		prev = b.Hash
	}
	if body > 0 {
		seen := make([]*index.Transaction, feedEvents)
		for n := range seen {
			seen[n] = feedTransaction(n, body)
		}
		if _, err := writer.Seen(ctx, seen); err != nil {
			return nil, err
		}
	}
	return f, f.read(ctx, body == 0)
}

// read keeps the events of blocks, or those of messages.
func (f *feed) read(ctx context.Context, blocks bool) error {
	err := f.store.View(ctx, func(v index.View) error {
		for after := int64(0); ; {
			events, err := v.Events(index.EventQuery{After: after, Limit: 100})
			if err != nil || len(events) == 0 {
				return err
			}
			after = events[len(events)-1].Seq
			f.events = append(f.events, events...)
		}
	})
	f.events = slices.DeleteFunc(f.events, func(e *index.Event) bool { return blocks != (e.Entry == nil) })
	if err == nil && len(f.events) != feedEvents {
		err = fmt.Errorf("the feed's store has %d events, not %d", len(f.events), feedEvents)
	}
	return err
}

// feedTransaction is a message from one address to another, the same two always.
func feedTransaction(n, body int) *index.Transaction {
	from, to := feedKey(1), feedKey(2)
	m := &improtocol.Message{Source: frame.Regtest.Address(from.KeyHash()), Type: "text", Encryption: "plain",
		Body: []byte(strings.Repeat("x", body)), TimeStamp: strconv.Itoa(1_700_000_000_000 + n)}
	m.Sign(from)
	var id frame.Hash
	binary.LittleEndian.PutUint64(id[:], uint64(n)+1)
	return &index.Transaction{ID: id, Outputs: []frame.KeyHash{to.KeyHash(), from.KeyHash()}, InputKeys: [][]byte{from.PublicKey()},
		Spends: []index.Outpoint{{TxID: frame.HashOf(id[:])}},
		Frames: []*index.Frame{{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(),
			Proofs: []frame.Proof{frame.Prove(m.Preimage(), m.Signature)}}}}
}

func feedKey(n byte) (k frame.PrivateKey) {
	k.Scalar[31] = n
	return k
}

// A feedView is the store's, but for the log.
type feedView struct {
	index.View
	feed *feed
	last int64
}

// View implements api.Index.
func (f *feed) View(ctx context.Context, read func(index.View) error) error {
	return f.store.View(ctx, func(v index.View) error { return read(feedView{v, f, f.last.Load()}) })
}

// LastSeq implements [index.View].
func (v feedView) LastSeq() (int64, error) { return v.last, nil }

// Events implements [index.View].
func (v feedView) Events(q index.EventQuery) ([]*index.Event, error) {
	var events []*index.Event
	for seq := q.After + 1; seq <= min(v.last, q.After+int64(q.Limit)); seq++ {
		events = append(events, v.feed.event(seq))
	}
	return events, nil
}

// event returns the event of a seq; a message's time stamp is when it was due.
func (f *feed) event(seq int64) *index.Event {
	ev := *f.events[seq%feedEvents]
	ev.Seq = seq
	if ev.Entry != nil {
		entry, found, message := *ev.Entry, *ev.Entry.Frame, *ev.Entry.Message
		message.TimeStamp = strconv.FormatInt(f.due[seq%int64(len(f.due))].Load(), 10)
		found.Message, entry.Frame, ev.Entry = &message, &found, &entry
	}
	return &ev
}

// grow adds events at a rate a second, or as fast as it goes.
func (f *feed) grow(ctx context.Context, events, rate int) (time.Duration, error) {
	return load.Pace(ctx, events, rate, func(_ int, due int64) error {
		seq := f.last.Load() + 1
		f.due[seq%int64(len(f.due))].Store(due)
		f.last.Store(seq)
		select {
		case f.wake <- struct{}{}:
		default:
		}
		return nil
	})
}

// A feedQuestion is what a feed is asked: to add events, as the peers are, or to
// tell of its memory.
type feedQuestion struct {
	Messages int  `json:"messages"`
	Rate     int  `json:"rate"`
	Memory   bool `json:"memory"`
	Free     bool `json:"free"` // give memory back to the system first
}

type feedAnswer struct {
	Published   int           `json:"published"`
	Nanos       time.Duration `json:"nanos"`
	Allocations uint64        `json:"allocations"` // ever made
	Error       string        `json:"error,omitempty"`
}

// serveFeed is the role.
func serveFeed(ctx context.Context, args []string) error {
	body := 0
	if len(args) != 1 {
		return errors.New("a feed needs one argument: bytes of a message, or blocks")
	}
	if args[0] != "blocks" {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of bytes", args[0])
		}
		body = n
	}
	f, err := newFeed(ctx, body)
	if err != nil {
		return err
	}
	server := api.New(api.Config{Index: f, Rules: index.DefaultRules(frame.Regtest), Wake: f.wake,
		Limits: client.Limits{Connections: 100_000}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = web.Serve(listener) }() // ends with Close
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(running) }()
	for !feedReady(server) {
		time.Sleep(time.Millisecond)
	}
	err = measure.Serve(measure.Ready{Addr: listener.Addr().String(), Name: "metaim"}, func(line []byte) (any, error) {
		var q feedQuestion
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, err
		}
		return f.answer(ctx, q), nil
	})
	stop()
	return errors.Join(err, <-ended, web.Close())
}

// feedReady tells whether a server takes subscriptions.
func feedReady(s *api.Server) bool {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code == http.StatusOK
}

func (f *feed) answer(ctx context.Context, q feedQuestion) feedAnswer {
	if q.Free {
		debug.FreeOSMemory()
	}
	if q.Memory {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return feedAnswer{Allocations: m.Mallocs}
	}
	took, err := f.grow(ctx, q.Messages, q.Rate)
	if err != nil {
		return feedAnswer{Error: err.Error()}
	}
	return feedAnswer{Published: q.Messages, Nanos: took}
}

// feedPusher makes a pusher of a feed.
func feedPusher(child *measure.Child, filter ...client.Filter) (pusher, error) {
	plan, err := load.Metaim(child.Addr, 0, filter...)
	if err != nil {
		return pusher{}, err
	}
	return pusher{pid: child.PID(), plan: func(n int) load.Plan {
		p := plan
		p.Connections = n
		return p
	}, publish: func(messages, bytes, rate int) (time.Duration, error) {
		return askToPublish(child, messages, bytes, rate)
	}}, nil
}

// allocations tells how many the feed ever made.
func allocations(child *measure.Child) (float64, error) {
	var a feedAnswer
	err := child.Ask(feedQuestion{Memory: true}, &a)
	return float64(a.Allocations), err
}
