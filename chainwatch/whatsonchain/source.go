package whatsonchain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/woc"
)

var (
	_ chainwatch.Source   = (*Source)(nil)
	_ chainwatch.Refusing = (*Source)(nil)
)

// A Source follows a chain through WhatsOnChain. Its methods may be called at any
// time and from any goroutine; Wake receives while Run runs, Transactions never.
type Source struct {
	cfg     Config
	log     *slog.Logger
	woc     *woc.Client
	name    string // of the service, for people
	genesis frame.Hash
	txs     chan []byte
	trust   *service.Trust

	mu      sync.Mutex
	started bool
	met     bool // the service has answered with a tip of this network
	tip     string
	height  int32                // of the tip, -1 when unknown
	heights map[frame.Hash]int32 // of blocks that were told of, bounded by heightsMost
	archive archive
}

// New checks the configuration and returns a source; it connects to nothing.
func New(cfg Config) (*Source, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := woc.New(woc.Config{URL: cfg.URL, Network: cfg.Params.Network, Key: cfg.Key, PerSecond: cfg.PerSecond,
		Patience: cfg.Patience, Backoff: cfg.Backoff, Transport: cfg.transport})
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, log: cfg.Logger, woc: client, name: client.URL(), genesis: cfg.Params.Genesis.Hash(),
		txs: make(chan []byte), trust: service.NewTrust(client.URL(), cfg.Logger), height: -1, heights: map[frame.Hash]int32{}}, nil
}

// Run implements [chainwatch.Source]. It returns nil when ctx ends, and a
// *service.NetworkError when the service is of another network. It can be called once.
func (s *Source) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("the source was started before")
	}
	err := s.trust.Watch(ctx, s.cfg.Poll, s.lookAtTip)
	s.woc.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Transactions implements [chainwatch.Source]: nothing is ever delivered.
func (s *Source) Transactions() <-chan []byte { return s.txs }

// Wake implements [chainwatch.Source].
func (s *Source) Wake() <-chan struct{} { return s.trust.Wake() }

// Status implements [chainwatch.Source].
func (s *Source) Status() chainwatch.Status {
	trouble, heard := s.trust.Trouble()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := chainwatch.Status{Height: s.height, LastHeard: heard, Trouble: trouble}
	if trouble == "" && s.met {
		st.Connected = 1
	}
	st.Nodes = []chainwatch.Node{{Address: s.name, Connected: st.Connected == 1, Height: st.Height}}
	return st
}

// failed passes an error on, with the service's name. A service that is caught in
// a lie is dropped for a while.
func (s *Source) failed(err error) error {
	var lie *service.LieError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &lie):
		s.drop(lie)
		return err
	}
	return fmt.Errorf("service %s: %w", s.name, err)
}

func (s *Source) drop(lie error) {
	s.trust.Drop(lie)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.heights)
	s.archive = archive{}
}

// Refused implements [chainwatch.Refusing].
func (s *Source) Refused(_ chainwatch.Header, err error) {
	s.drop(s.trust.Lied("it tells of a header that can't be: %v", err))
}

// names are those that the service has for networks.
var names = map[frame.Network]string{frame.Main: "main", frame.Test: "test", frame.Regtest: "regtest"}

// lookAtTip asks once: the next look comes anyway.
func (s *Source) lookAtTip(ctx context.Context) error {
	answer, err := s.woc.Once(ctx, http.MethodGet, "/chain/info", nil, infoBytes)
	if err != nil {
		return fmt.Errorf("the newest block: %w", err)
	}
	var info struct {
		Chain  string `json:"chain"`
		Blocks int64  `json:"blocks"`
		Best   string `json:"bestblockhash"`
	}
	if json.Unmarshal(answer, &info) != nil || info.Blocks < 0 || info.Blocks > math.MaxInt32 {
		return fmt.Errorf("the newest block: %w", woc.ErrAnswer)
	}
	if _, err := frame.ParseHash(info.Best); err != nil {
		return fmt.Errorf("the newest block: %w", woc.ErrAnswer)
	}
	if want := names[s.cfg.Params.Network]; info.Chain != want {
		return &service.NetworkError{Service: s.name, Got: fmt.Sprintf("chain %q", info.Chain[:min(len(info.Chain), 64)]), Want: s.cfg.Params.Network}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.met = true
	if info.Best != s.tip {
		s.tip, s.height = info.Best, int32(info.Blocks)
		s.trust.Kick()
	}
	return nil
}
