package junglebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
)

var (
	_ chainwatch.Source   = (*Source)(nil)
	_ chainwatch.Selector = (*Source)(nil)
	_ chainwatch.Refusing = (*Source)(nil)
)

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
	trust        *service.Trust
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
	deaf    error // why no news come
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
		turns: make(chan struct{}, cfg.Concurrency), txs: make(chan []byte, 16), trust: service.NewTrust(base.String(), cfg.Logger),
		life: life, die: die, streaming: make(chan struct{}, 1), known: map[frame.Hash]known{}, height: -1,
		deaf: errors.New("no connection yet"),
	}, nil
}

// Run implements [chainwatch.Source]. It returns nil when ctx ends, and a
// [*service.NetworkError] when the service is of another network. It can be called once.
func (s *Source) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("the source was started before")
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.trust.Watch(gctx, s.cfg.Poll, s.lookAtTip) })
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
func (s *Source) Wake() <-chan struct{} { return s.trust.Wake() }

// Status implements [chainwatch.Source].
func (s *Source) Status() chainwatch.Status {
	trouble, heard := s.trust.Trouble()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := chainwatch.Status{Height: s.height, LastHeard: heard, Trouble: trouble}
	switch {
	case trouble == "" && s.deaf != nil && s.same:
		st.Trouble = fmt.Sprintf("service %s tells no news: %v", s.name, s.deaf)
	case trouble == "" && s.same:
		st.Connected = 1
	}
	st.Nodes = []chainwatch.Node{{Address: s.name, Connected: st.Connected == 1, Height: st.Height}}
	return st
}

// failed passes an error on. A service that is caught in a lie is dropped for a
// while, and named.
func (s *Source) failed(err error) error {
	var lie *service.LieError
	if errors.As(err, &lie) {
		s.drop(lie)
	}
	return err
}

func (s *Source) drop(lie error) {
	s.trust.Drop(lie)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
}

// Refused implements [chainwatch.Refusing].
func (s *Source) Refused(_ chainwatch.Header, err error) {
	s.drop(s.trust.Lied("it tells of a header that can't be: %v", err))
}

func (s *Source) lookAtTip(ctx context.Context) error {
	s.mu.Lock()
	same := s.same
	s.mu.Unlock()
	if !same {
		first, err := s.header(ctx, "0")
		if err != nil {
			return err
		}
		if first.Hash != s.genesis.String() {
			return &service.NetworkError{Service: s.name, Got: fmt.Sprintf("genesis block %q", first.Hash[:min(len(first.Hash), 64)]), Want: s.cfg.Params.Network}
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
		s.trust.Kick()
	}
	return nil
}
