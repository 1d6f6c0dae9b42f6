// Package api serves an index to the outside: HTTP under /v1 and subscriptions
// over WebSocket at /v1/ws. What it says is in the types of api/client.
//
// It reads an index and writes none; it knows no key. One goroutine, [Server.Run],
// reads the log of events and hands each to the subscriptions that it concerns;
// every connection has one reader, and a few writers serve them all. docs/api.md
// has the protocol.
package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// An Index is what the server reads.
type Index interface {
	// View reads in one snapshot.
	View(ctx context.Context, read func(index.View) error) error
}

// ErrNotTransaction is what Submit wraps when the bytes are no transaction.
var ErrNotTransaction = errors.New("not a transaction")

// Config says what a server serves. Index and Rules are needed; what else is
// left out has a default or is switched off.
type Config struct {
	Index   Index
	Rules   index.Rules // network and registration addresses
	Version string      // of the program
	Logger  *slog.Logger

	// Wake receives after commits that left events. A lost wake-up makes news
	// late by Timing.Poll, never lost.
	Wake <-chan struct{}
	// Submit hands a raw transaction to the network; nil: this server takes
	// none. It fails with ErrNotTransaction, a *broadcast.Refused or anything
	// else, which means that nobody decided.
	Submit func(ctx context.Context, raw []byte) (frame.Hash, error)
	// SubmitExtended is Submit for a transaction that came in extended format too;
	// nil: nobody wants that, and clients aren't told to send it.
	SubmitExtended func(ctx context.Context, raw, extended []byte) (frame.Hash, error)
	// Fee tells the fee rate that clients are to pay, satoshis for bytes; nil: they
	// are told none.
	Fee func() (satoshis, bytes uint64)
	// Callback is told by services what became of transactions; nil: the route for
	// it isn't there.
	Callback *Callback
	// Read reads a raw transaction and its frames; it fails when the bytes are
	// none. What it returns may alias raw. nil: answers to transactions carry no
	// verdicts.
	Read func(raw []byte) (*index.Transaction, error)
	// Prove recovers the keys of the frames' signatures, the costly part of
	// judging them. It is needed with Read.
	Prove func(tx *index.Transaction)
	// Offer puts a transaction that the network has accepted, read and proved,
	// of so many bytes, into the index. It returns how its frames are judged there
	// when that is committed; an error says that the index will have it later. nil:
	// another process writes the index.
	Offer func(ctx context.Context, tx *index.Transaction, size int) ([]index.Decision, error)
	// Ready tells why the server shouldn't be asked, if so.
	Ready func() error
	// Warn says in sentences what is odd though the server may be asked: /readyz
	// passes it on. nil: nothing ever is.
	Warn func() []string
	// Answered is told of every request after its answer, by its own goroutine; nil:
	// nobody is.
	Answered func(Request)

	// AllowedOrigins are the origins of web pages that may use the server beside
	// its own, such as "https://example.org"; "*" allows all.
	AllowedOrigins []string
	// TrustedProxies may say in X-Forwarded-For for whom they ask. Without any, a
	// request is that of the address it comes from.
	TrustedProxies []netip.Prefix
	// Keys have quotas of their own.
	Keys []Key
	// WriteKeys says that transactions are taken only from who shows a key with
	// Writes.
	WriteKeys bool
	// LimitLoopback makes the quota and the connections of an address hold for
	// programs on this machine too. Without it these are exempt, and so is everyone
	// behind a proxy on this machine that isn't among TrustedProxies.
	LimitLoopback bool

	Limits client.Limits // 0: the default of DefaultLimits
	Timing Timing        // 0: the default of DefaultTiming
}

// Timing holds the server's intervals and deadlines.
type Timing struct {
	Poll     time.Duration // between looks at the log without a wake-up
	Gather   time.Duration // after events were handed out, for what else comes
	Request  time.Duration // for one HTTP request or one command
	Commit   time.Duration // for the index to take what was submitted, before the answer goes without it
	Write    time.Duration // for one write to a socket, and for each 64 KiB of an answer
	Fault    time.Duration // between answers to a WebSocket that asks for what can't be
	Ping     time.Duration // between pings
	Dead     time.Duration // silence after a ping until a connection counts as dead
	Slow     time.Duration // how long a subscriber may stay behind
	ByeWait  time.Duration // how long a socket may take to close after bye
	ByeAfter time.Duration // over which clients spread their return after bye
}

// DefaultLimits are the limits when Config names none.
var DefaultLimits = client.Limits{
	PageDefault: 50, PageMax: 1000, TransactionBytes: 10_000_000, FrameBytes: 128 << 10,
	Connections: 20_000, Subscriptions: 100, Filters: 20, FilterValues: 100, QueueBytes: 1 << 20,
	Requests: 500, Values: 10_000, ValueBytes: 255, IDBytes: 64,
	Quota: client.Quota{Units: 12_000, Seconds: 60}, PrefixConnections: 500, URIBytes: 8 << 10,
	HeldBytes: 1 << 30, PrefixHeldBytes: 256 << 20,
}

// DefaultTiming are the intervals when Config names none.
var DefaultTiming = Timing{
	Poll: time.Second, Gather: 2 * time.Millisecond, Request: 30 * time.Second, Commit: 2 * time.Second, Write: 10 * time.Second,
	Fault: 100 * time.Millisecond, Ping: 25 * time.Second, Dead: 8 * time.Second, Slow: 30 * time.Second, ByeWait: 2 * time.Second, ByeAfter: 5 * time.Second,
}

// A Server serves one index. Run must run for subscriptions to work.
type Server struct {
	cfg     Config
	log     *slog.Logger
	limits  client.Limits
	timing  Timing
	network frame.Network
	hub     *hub
	keys    []knownKey
	quotas  *quotas
	places  places
	ledger  *ledger
	answers *answers
	counts  serverCounts
	table   []*route
	papers  papers
}

// New returns a server. It starts nothing.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger, limits: cfg.Limits, timing: cfg.Timing, network: cfg.Rules.Network}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.limits = limitsOr(cfg.Limits, DefaultLimits)
	s.timing = timingOr(cfg.Timing, DefaultTiming)
	s.hub = newHub()
	s.quotas, s.answers = newQuotas(), newAnswers()
	s.ledger = newLedger(s.limits.HeldBytes, s.limits.PrefixHeldBytes)
	for _, k := range cfg.Keys {
		q := k.Quota
		or(&q.Units, s.limits.Quota.Units)
		or(&q.Seconds, s.limits.Quota.Seconds)
		s.keys = append(s.keys, knownKey{hash: k.Hash, policy: policyOf("key", q), writes: k.Writes})
	}
	if c := cfg.Callback; c != nil { // whoever shows its token is no stranger, and may do nothing else
		s.keys = append(s.keys, knownKey{hash: sha256.Sum256([]byte(c.Token)), policy: policyOf("callback", s.limits.Quota)})
	}
	s.table = s.routes()
	return s
}

func or[T int | int64 | time.Duration](v *T, preset T) {
	if *v <= 0 {
		*v = preset
	}
}

func limitsOr(l, preset client.Limits) client.Limits {
	or(&l.PageDefault, preset.PageDefault)
	or(&l.PageMax, preset.PageMax)
	or(&l.TransactionBytes, preset.TransactionBytes)
	or(&l.FrameBytes, preset.FrameBytes)
	or(&l.Connections, preset.Connections)
	or(&l.Subscriptions, preset.Subscriptions)
	or(&l.Filters, preset.Filters)
	or(&l.FilterValues, preset.FilterValues)
	or(&l.QueueBytes, preset.QueueBytes)
	or(&l.Requests, preset.Requests)
	or(&l.Quota.Units, preset.Quota.Units)
	or(&l.Quota.Seconds, preset.Quota.Seconds)
	or(&l.PrefixConnections, preset.PrefixConnections)
	or(&l.URIBytes, preset.URIBytes)
	or(&l.HeldBytes, preset.HeldBytes)
	or(&l.PrefixHeldBytes, preset.PrefixHeldBytes)
	or(&l.Values, preset.Values)
	or(&l.ValueBytes, preset.ValueBytes)
	or(&l.IDBytes, preset.IDBytes)
	l.IDBytes = min(l.IDBytes, 1024) // what stands before a deflated event has 64 kB
	l.PageMax = min(l.PageMax, 1000) // what a store gives at once
	l.PageDefault = min(l.PageDefault, l.PageMax)
	return l
}

func timingOr(t, preset Timing) Timing {
	or(&t.Poll, preset.Poll)
	or(&t.Gather, preset.Gather)
	or(&t.Request, preset.Request)
	or(&t.Commit, preset.Commit)
	or(&t.Write, preset.Write)
	or(&t.Fault, preset.Fault)
	or(&t.Ping, preset.Ping)
	or(&t.Dead, preset.Dead)
	or(&t.Slow, preset.Slow)
	or(&t.ByeWait, preset.ByeWait)
	or(&t.ByeAfter, preset.ByeAfter)
	return t
}

// A handler answers a request or says why it can't.
type handler func(w http.ResponseWriter, r *http.Request) error

// Handler returns the server's routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.table {
		mux.Handle(rt.method+" "+rt.path, s.handle(rt))
	}
	return s.guard(mux)
}

func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, http.StatusOK, client.Status{Status: "ok"})
}

// Ready tells why the server shouldn't be asked, nil when it may be: what /readyz
// says.
func (s *Server) Ready() error {
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			return err
		}
	}
	if !s.hub.running() {
		return errors.New("the reader of events isn't running")
	}
	if deaf := s.deaf(); deaf != "" {
		return errors.New(deaf)
	}
	return nil
}

func (s *Server) getReady(w http.ResponseWriter, r *http.Request) error {
	if err := s.Ready(); err != nil {
		return unavailable("not ready: " + err.Error())
	}
	ready := client.Status{Status: "ready"}
	if s.cfg.Warn != nil {
		ready.Warnings = s.cfg.Warn()
	}
	return writeJSON(w, r, http.StatusOK, ready)
}

func (s *Server) getInfo(w http.ResponseWriter, r *http.Request) error {
	info := client.Info{
		Network: string(s.network), Version: s.cfg.Version, Limits: s.limits, Submits: s.cfg.Submit != nil, SubmitsNeedKey: s.cfg.WriteKeys,
		Registration: client.Registrations{Names: s.registrations(s.cfg.Rules.Names), Peers: s.registrations(s.cfg.Rules.Peers)},
	}
	info.Extended = s.cfg.SubmitExtended != nil
	if s.cfg.Fee != nil {
		satoshis, bytes := s.cfg.Fee()
		info.Fee = &client.Fee{Satoshis: satoshis, Bytes: bytes}
	}
	err := s.view(r, func(v *view) error {
		seq, err := v.LastSeq()
		if err != nil {
			return err
		}
		info.Tip = v.tipJSON()
		info.StateHash = hexOf(v.tip.StateHash[:])
		info.Cursor = cursor{eventCursor, v.epoch, seq}.String()
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, info)
}

func (s *Server) registrations(list []index.Registration) []client.Registration {
	out := make([]client.Registration, len(list))
	for i, g := range list {
		out[i] = client.Registration{FromHeight: g.FromHeight, Address: s.network.Address(g.Address)}
	}
	return out
}

// A view is a snapshot of the index together with the tip and the history that
// it belongs to.
type view struct {
	index.View
	shower
	epoch string
}

// view reads within the request's time.
func (s *Server) view(r *http.Request, read func(*view) error) error {
	ctx, cancel := context.WithTimeout(r.Context(), s.timing.Request)
	defer cancel()
	return s.read(ctx, read)
}

func (s *Server) read(ctx context.Context, read func(*view) error) error {
	return s.cfg.Index.View(ctx, func(iv index.View) error {
		tip, err := iv.Tip()
		if err != nil {
			return err
		}
		epoch, err := iv.Epoch()
		if err != nil {
			return err
		}
		return read(&view{View: iv, shower: shower{s.network, tip}, epoch: epoch})
	})
}
