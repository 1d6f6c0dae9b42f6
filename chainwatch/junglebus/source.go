package junglebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

var (
	_ chainwatch.Source   = (*Source)(nil)
	_ chainwatch.Selector = (*Source)(nil)
	_ chainwatch.Refusing = (*Source)(nil)
)

// dropFor is how long a service is believed nothing that was caught in a lie.
const dropFor = time.Minute

// A Source follows a chain through a JungleBus service. Its methods may be called
// at any time and from any goroutine; Wake and Transactions receive while Run runs.
type Source struct {
	cfg          Config
	log          *slog.Logger
	base         *url.URL
	name         string // of the service, for people
	subscription string
	genesis      frame.Hash
	http         *http.Client
	turns        chan struct{} // one for each question that may be open
	txs          chan []byte
	wake         chan struct{}
	life         context.Context // of the stream; ends with Run
	die          context.CancelFunc

	streaming chan struct{} // held by who uses the stream
	stream    *stream       // nil: there is none
	mempool   place         // of the mempool channel; the listening goroutine's

	mu      sync.Mutex
	started bool
	same    bool // the genesis block was compared
	known   map[frame.Hash]known
	reorg   bool // one was told of, and the stream is older
	tip     string
	height  int32 // of the tip, -1 when unknown
	heard   time.Time
	err     error // of the last look at the tip
	deaf    error // why no news come
	lie     error // what the service was caught in
	until   time.Time
}

// New checks the configuration and returns a source; it connects to nothing.
func New(cfg Config) (*Source, error) {
	cfg, base, subscription, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost = 2 * cfg.Concurrency
	life, die := context.WithCancel(context.Background())
	return &Source{
		cfg: cfg, log: cfg.Logger, base: base, name: base.String(), subscription: subscription,
		genesis: cfg.Params.Genesis.Hash(), http: &http.Client{Transport: transport},
		turns: make(chan struct{}, cfg.Concurrency), txs: make(chan []byte, 16), wake: make(chan struct{}, 1),
		life: life, die: die, streaming: make(chan struct{}, 1), known: map[frame.Hash]known{}, height: -1,
		deaf: errors.New("no connection yet"),
	}, nil
}

// Run implements [chainwatch.Source]. It returns nil when ctx ends, and a
// *NetworkError when the service is of another network. It can be called once.
func (s *Source) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("the source was started before")
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watchTip(gctx) })
	g.Go(func() error { return s.listen(gctx) })
	err := g.Wait()
	s.die() // ends a reading under way
	s.streaming <- struct{}{}
	s.endStream()
	<-s.streaming
	s.http.CloseIdleConnections()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Transactions implements [chainwatch.Source].
func (s *Source) Transactions() <-chan []byte { return s.txs }

// Wake implements [chainwatch.Source].
func (s *Source) Wake() <-chan struct{} { return s.wake }

// Status implements [chainwatch.Source].
func (s *Source) Status() chainwatch.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := chainwatch.Status{Height: s.height, LastHeard: s.heard, Trouble: s.trouble()}
	if s.same && s.err == nil && s.deaf == nil && s.lie == nil {
		st.Connected = 1
	}
	st.Nodes = []chainwatch.Node{{Address: s.name, Connected: st.Connected == 1, Height: st.Height}}
	return st
}

func (s *Source) trouble() string {
	switch {
	case s.lie != nil:
		return "dropped for a while: " + s.lie.Error()
	case s.err != nil:
		return fmt.Sprintf("service %s: %v", s.name, s.err)
	case s.deaf != nil && s.same:
		return fmt.Sprintf("service %s tells no news: %v", s.name, s.deaf)
	}
	return ""
}

// failed passes an error on. A service that is caught in a lie is dropped for a
// while, and named.
func (s *Source) failed(err error) error {
	var lie *LieError
	if errors.As(err, &lie) {
		s.drop(lie)
	}
	return err
}

func (s *Source) drop(lie error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lie == nil {
		s.log.Error("the service contradicts itself or the chain: it is dropped for a while", "service", s.name, "error", lie, "for", dropFor)
	}
	s.lie, s.until = lie, time.Now().Add(dropFor)
	clear(s.known)
}

// Refused implements [chainwatch.Refusing].
func (s *Source) Refused(h chainwatch.Header, err error) {
	s.drop(&LieError{s.name, fmt.Sprintf("it tells of a header that can't be: %v", err)})
}

// dropped returns what the service was caught in, while it is dropped for that.
func (s *Source) dropped() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lie != nil && time.Now().After(s.until) {
		s.lie = nil
		kick(s.wake)
	}
	return s.lie
}

// watchTip looks at the newest block, and wakes when it is another one or the
// service is back.
func (s *Source) watchTip(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		err := s.lookAtTip(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var network *NetworkError
		if s.looked(err); errors.As(err, &network) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// looked keeps what a look ended with.
func (s *Source) looked(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.err != nil:
		s.log.Info("the service answers again", "service", s.name)
		kick(s.wake)
	case err != nil && s.err == nil:
		s.log.Warn("the service fails", "service", s.name, "error", err)
	}
	if s.err = err; err == nil {
		s.heard = time.Now()
	}
}

func (s *Source) lookAtTip(ctx context.Context) error {
	if s.dropped() != nil {
		return nil
	}
	s.mu.Lock()
	same := s.same
	s.mu.Unlock()
	if !same {
		first, err := s.header(ctx, "0")
		if err != nil {
			return err
		}
		if first.Hash != s.genesis.String() {
			return &NetworkError{s.name, first.Hash[:min(len(first.Hash), 64)], s.cfg.Params.Network}
		}
	}
	var tip toldHeader
	if err := s.service().AskJSON(ctx, "/block_header/tip", headerBytes, &tip); err != nil {
		return fmt.Errorf("the newest block: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.same = true
	if tip.Hash != s.tip {
		s.tip, s.height = tip.Hash, int32(min(tip.Height, 1<<31-1))
		kick(s.wake)
	}
	return nil
}

// kick fills a channel with a buffer of one.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
