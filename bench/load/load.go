// Package load reads what servers push over WebSocket, from many connections for
// little CPU time: one goroutine reads all of them through epoll into one buffer
// and walks over the headers of the frames. No JSON is parsed; latencies are taken
// from some of the messages, by the digits that follow a marker.
//
// A [Plan] says what to open: [Metaim], [Khatru], [Centrifuge] and [GorillaHub]
// make those of the servers that are compared. [Start] runs the readers in a
// process of their own, so that their CPU time isn't counted as the server's:
//
//	readers, err := load.Start(ctx)
//	defer readers.Stop()
//	err = readers.Connect(load.Centrifuge(addr, "c", 200))
//	... publish n messages ...
//	counts, err := readers.Await(200*n, 10*time.Second)
//
// This program must have [Serve] as its role [Role]. Who publishes puts [Now] into
// what they publish, or what [Pace] gives them, which is the same clock in every
// process of a machine.
package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Plan is what connections to open, and how to count what comes.
type Plan struct {
	Addr        string   `json:"addr"` // host:port
	Path        string   `json:"path"` // of the WebSocket
	Subprotocol string   `json:"subprotocol,omitempty"`
	Connections int      `json:"connections"`
	Send        []string `json:"send,omitempty"`  // text frames that every connection sends
	Ready       string   `json:"ready,omitempty"` // stands in the frame that answers them; what comes later is counted
	// Lines says that a message holds several deliveries, one a line. Else every
	// message is one.
	Lines bool `json:"lines,omitempty"`
	// Marker stands before the decimal digits of when a delivery was sent, by
	// Now. Without it no latencies are taken.
	Marker string `json:"marker,omitempty"`
	Sample int    `json:"sample,omitempty"` // look for the marker in one of so many messages of a connection; 0: in each
	// Pause is how long the reader sleeps between looks. It makes reading
	// cheaper, and latencies longer by as much.
	Pause time.Duration `json:"pause,omitempty"`
	// Stalled connections subscribe and then read nothing more, with buffers as
	// small as the kernel allows.
	Stalled bool `json:"stalled,omitempty"`
}

// Counts are what came.
type Counts struct {
	Deliveries int64 `json:"deliveries"`
	Bytes      int64 `json:"bytes"`  // with the headers of frames
	Open       int   `json:"open"`   // connections that are
	Closed     int   `json:"closed"` // by the server, since the start
	First      int64 `json:"first"`  // when the first delivery was read, as Now tells it; 0: none was
	Last       int64 `json:"last"`   // when the last one was
	// Latency is sorted: all that were taken, or mostLatencies of them with
	// equal shares between.
	Latency []time.Duration `json:"latency,omitempty"`
}

// Bounds of what is kept for latencies.
const (
	mostSamples   = 1 << 22
	mostLatencies = 10_000
)

// dialers is how many connections are opened at once.
const dialers = 16

// Readers are open connections that are read. Their methods may be used from
// several goroutines.
type Readers struct {
	plan Plan
	poll *poller
	done chan error

	mu      sync.Mutex
	counts  Counts
	samples []time.Duration
	target  int64         // of deliveries that somebody waits for; 0: nobody does
	reached chan struct{} // closed when they have come
}

// Open opens the connections of a plan and returns when all of them are ready.
// Close ends them; ctx bounds only the opening.
func Open(ctx context.Context, plan Plan) (*Readers, error) {
	r := &Readers{plan: plan, done: make(chan error, 1)}
	if plan.Connections < 1 {
		return nil, fmt.Errorf("%d connections can't be opened", plan.Connections)
	}
	var err error
	if r.poll, err = newPoller(r); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(dialers)
	for i := range plan.Connections {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.open(ctx, i)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(fmt.Errorf("open connections to %s: %w", plan.Addr, err), r.poll.close())
	}
	go func() { r.done <- r.poll.run() }()
	return r, nil
}

func (r *Readers) open(ctx context.Context, i int) error {
	conn, rest, err := dial(ctx, &r.plan)
	if err != nil {
		return err
	}
	w := &walker{lines: r.plan.Lines, marker: []byte(r.plan.Marker), every: max(1, r.plan.Sample)}
	w.skip = i % w.every // so that each message is sampled on some connection
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.take(w, rest, Now()); err != nil {
		return errors.Join(err, conn.Close())
	}
	r.counts.Open++
	if err := r.poll.add(conn, w); err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

// take counts what was read from a connection. The lock is held.
func (r *Readers) take(w *walker, b []byte, now int64) error {
	before := w.deliveries
	err := w.feed(b, now, func(latency time.Duration) {
		if len(r.samples) < mostSamples {
			r.samples = append(r.samples, latency)
		}
	})
	r.counts.Bytes += int64(len(b))
	if n := w.deliveries - before; n > 0 {
		r.counts.Deliveries += n
		r.counts.Last = now
		if r.counts.First == 0 {
			r.counts.First = now
		}
	}
	if r.target > 0 && r.counts.Deliveries >= r.target {
		r.target = 0
		close(r.reached)
	}
	return err
}

// lost notes that a connection has ended. The lock is held.
func (r *Readers) lost() {
	r.counts.Open--
	r.counts.Closed++
}

// Await waits until so many deliveries have come since it was called before, and
// returns what came since then. It gives up, which is no error, when none has
// come for the time quiet, or with ctx. It is for one goroutine at a time.
func (r *Readers) Await(ctx context.Context, deliveries int64, quiet time.Duration) Counts {
	reached := make(chan struct{})
	r.mu.Lock()
	before := r.counts.Deliveries
	if before >= deliveries {
		close(reached)
	} else {
		r.target, r.reached = deliveries, reached
	}
	r.mu.Unlock()
	for wait := true; wait; {
		timer := time.NewTimer(quiet)
		select {
		case <-reached:
			wait = false
		case <-ctx.Done():
			wait = false
		case <-timer.C:
		}
		timer.Stop()
		r.mu.Lock()
		wait = wait && r.counts.Deliveries > before
		before = r.counts.Deliveries
		r.mu.Unlock()
	}
	r.mu.Lock()
	counts, samples := r.counts, r.samples
	r.target, r.samples = 0, nil
	r.counts = Counts{Open: counts.Open, Closed: counts.Closed}
	r.mu.Unlock()
	counts.Latency = thin(samples)
	return counts
}

// thin sorts latencies and keeps so many that percentiles stay what they are.
func thin(samples []time.Duration) []time.Duration {
	slices.Sort(samples)
	if len(samples) <= mostLatencies {
		return samples
	}
	kept := make([]time.Duration, mostLatencies)
	for i := range kept {
		kept[i] = samples[i*(len(samples)-1)/(mostLatencies-1)]
	}
	return kept
}

// Close closes the connections and returns why reading ended, if it did before.
func (r *Readers) Close() error {
	r.poll.stop()
	return errors.Join(<-r.done, r.poll.close())
}
