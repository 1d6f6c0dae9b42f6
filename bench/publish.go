package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/signer"
)

// publishComparisons are what it costs, and how long it takes, to publish through
// one's own server until that is durable and delivered.
func publishComparisons() []*measure.Comparison {
	return []*measure.Comparison{publishHTTP(), publishLatency()}
}

// publishing are the processes and stores that all sides of a comparison use.
type publishing struct {
	size   measure.Size
	places map[string]*place
	load   *measure.Child // makes the load
	peer   *measure.Child // makes that of khatru
	read   *load.Process
	node   *devnet.Node
	ends   []func()
}

func (p *publishing) end() {
	for i := range p.ends {
		p.ends[len(p.ends)-1-i]()
	}
}

// preparePublishing starts what all sides need.
func preparePublishing(ctx context.Context, size measure.Size) (p *publishing, err error) {
	p = &publishing{size: size, places: map[string]*place{}}
	for _, kind := range stores {
		at, end, err := newPlace(kind)
		if err != nil {
			return p, err
		}
		p.places[kind], p.ends = at, append(p.ends, end)
	}
	if p.load, err = measure.Role(ctx, rolePublisher); err != nil {
		return p, err
	}
	p.ends = append(p.ends, p.load.Stop)
	if p.peer, err = startPeer(ctx, "nostrpublish"); err != nil {
		return p, err
	}
	p.ends = append(p.ends, p.peer.Stop)
	return p, nil
}

// serve starts a server over a fresh store, following a node if one is given, and
// counts its CPU time and that of the store.
func (p *publishing) serve(ctx context.Context, r *measure.Round, kind string, node *devnet.Node) (*measure.Child, error) {
	at := p.places[kind]
	spec, err := at.fresh()
	if err != nil {
		return nil, err
	}
	args := []string{spec}
	if node != nil {
		args = append(args, node.Dir())
	}
	server, err := measure.Role(ctx, rolePublishServer, args...)
	if err != nil {
		return nil, err
	}
	r.Count(true, append([]int{server.PID()}, at.pids...)...)
	return server, nil
}

// khatru starts the peer on a fresh database.
func (p *publishing) khatru(ctx context.Context, r *measure.Round) (*measure.Child, error) {
	at := p.places["postgres"]
	url, err := at.fresh()
	if err != nil {
		return nil, err
	}
	relay, err := startPeer(ctx, "khatru", "-database", url)
	if err != nil {
		return nil, err
	}
	r.Count(true, append([]int{relay.PID()}, at.pids...)...)
	return relay, nil
}

// sides of publishHTTP.
const (
	publishPG  = "PostgreSQL, 32 in flight"
	publishPGs = "PostgreSQL, 256 in flight"
	publishSQ  = "SQLite, 32 in flight"
	publishSQs = "SQLite, 256 in flight"
	publishBSV = "PostgreSQL through bsvd"
	khatruSide = "khatru + PostgreSQL, 32 in flight"
	proofSide  = "the keys recovered, nothing else"
	syncSide   = "fdatasync of 8 kB"
)

func publishHTTP() *measure.Comparison {
	c := &measure.Comparison{
		Name:  "publish/http",
		Title: "A signed message published over HTTP until it is durable",
		Note: "POST /v1/transactions with keep-alive, messages of 300 B, all distinct and signed before; answered when the index has committed them. " +
			"A stand-in for the network takes each at once; the same through bsvd beside it. CPU time is the server's and PostgreSQL's, not the publisher's, which shares the cores; " + durability,
	}
	c.Figures = []measure.Figure{
		cost(publishPG, nil), cost(publishPGs, signatureGoal(250, 150, measure.AtMost)), cost(publishSQ, nil), cost(publishSQs, nil), cost(khatruSide, nil),
		cost(proofSide, nil),
		{Name: publishPGs + " / " + proofSide, Unit: "x CPU", Of: func(s map[string]measure.Sample) float64 { return s[publishPGs].Cost() / s[proofSide].Cost() }},
		{Name: khatruSide + " / " + publishPG, Unit: "x CPU", Of: func(s map[string]measure.Sample) float64 { return s[khatruSide].Cost() / s[publishPG].Cost() }},
		rate(publishPG, nil), rate(publishPGs, measure.AtLeast(6000)), rate(publishSQ, nil), rate(publishSQs, nil), rate(khatruSide, nil), rate(publishBSV, nil),
	}
	for _, side := range []string{publishPG, publishPGs, publishSQ, publishSQs, khatruSide, publishBSV} {
		c.Figures = append(c.Figures, percentile(side, 0.5, nil), percentile(side, 0.99, nil))
	}
	c.Figures = append(c.Figures, percentile(syncSide, 0.5, nil))
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		p, err := preparePublishing(ctx, size)
		if err != nil {
			return p.end, err
		}
		if p.node, err = devnet.Start(ctx, devnet.Config{}); err != nil {
			return p.end, err
		}
		p.ends = append(p.ends, func() { _ = p.node.Stop() })
		c.Sides = []measure.Side{
			p.posts(publishPG, "postgres", 32), p.posts(publishPGs, "postgres", 256),
			p.posts(publishSQ, "sqlite", 32), p.posts(publishSQs, "sqlite", 256),
			{Name: khatruSide, Run: p.throughKhatru}, {Name: publishBSV, Run: p.throughNode}, {Name: proofSide, Run: p.proves}, {Name: syncSide, Run: p.syncs},
		}
		return p.end, nil
	}
	return c
}

func cost(side string, goal *measure.Goal) measure.Figure {
	return measure.Figure{Name: side, Unit: "µs CPU", Goal: goal, Of: func(s map[string]measure.Sample) float64 { return s[side].Cost() }}
}

func rate(side string, goal *measure.Goal) measure.Figure {
	return measure.Figure{Name: side, Unit: "/s", Goal: goal, Of: func(s map[string]measure.Sample) float64 { return s[side].Rate() }}
}

func percentile(side string, p float64, goal *measure.Goal) measure.Figure {
	return measure.Figure{Name: fmt.Sprintf("%s, p%.0f", side, 100*p), Unit: "ms", Goal: goal,
		Of: func(s map[string]measure.Sample) float64 { return s[side].Percentile(p) }}
}

// posts is a side that publishes over so many connections.
func (p *publishing) posts(name, kind string, connections int) measure.Side {
	return measure.Side{Name: name, Run: func(ctx context.Context, r *measure.Round) error {
		messages := measure.Pick(p.size, 15_000, 50)
		server, err := p.serve(ctx, r, kind, nil)
		if err != nil {
			return err
		}
		defer server.Stop()
		if err := p.load.Ask(postQuestion{Make: messages}, &postAnswer{}); err != nil {
			return err
		}
		return p.post(r, server, messages, min(connections, messages))
	}}
}

// post publishes what the publisher has ready, and checks that the log of events
// has all of it.
func (p *publishing) post(r *measure.Round, server *measure.Child, messages, connections int) error {
	var before, after publishState
	if err := server.Ask(publishQuestion{}, &before); err != nil {
		return err
	}
	r.Start()
	var answer postAnswer
	if err := p.load.Ask(postQuestion{Addr: server.Addr, Messages: messages, Connections: connections}, &answer); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	r.Stop(float64(messages))
	r.Wall, r.Latency = answer.Nanos, answer.Latency
	if err := server.Ask(publishQuestion{}, &after); err != nil {
		return err
	}
	if got := after.Events - before.Events; got < int64(messages) {
		return fmt.Errorf("the log has %d events more, want %d", got, messages)
	}
	return nil
}

// A nostrAnswer is what the publisher to khatru says.
type nostrAnswer struct {
	Published int             `json:"published"`
	Nanos     time.Duration   `json:"nanos"`
	Latency   []time.Duration `json:"latency"`
}

func (p *publishing) throughKhatru(ctx context.Context, r *measure.Round) error {
	messages := measure.Pick(p.size, 5_000, 50)
	relay, err := p.khatru(ctx, r)
	if err != nil {
		return err
	}
	defer relay.Stop()
	var answer nostrAnswer
	if err := p.peer.Ask(map[string]any{"sign": messages, "bytes": publishBytes}, &answer); err != nil {
		return err
	}
	r.Start()
	err = p.peer.Ask(map[string]any{"addr": relay.Addr, "messages": messages, "connections": 32, "window": 1}, &answer)
	if err != nil {
		return fmt.Errorf("publish to khatru: %w", err)
	}
	r.Stop(float64(answer.Published))
	r.Wall, r.Latency = answer.Nanos, answer.Latency
	return nil
}

// throughNode publishes through a real node, with real coins.
func (p *publishing) throughNode(ctx context.Context, r *measure.Round) error {
	messages := measure.Pick(p.size, 300, 20)
	raw, err := p.funded(ctx, messages)
	if err != nil {
		return err
	}
	server, err := p.serve(ctx, r, "postgres", p.node)
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := p.load.Ask(postQuestion{Given: raw}, &postAnswer{}); err != nil {
		return err
	}
	if err := p.post(r, server, messages, min(32, messages)); err != nil {
		return err
	}
	_, err = p.node.Mine(ctx, 1)
	return err
}

// funded makes messages that spend coins of the node's faucet.
func (p *publishing) funded(ctx context.Context, messages int) ([][]byte, error) {
	key := signer.NewKey()
	coins, err := p.node.FundMany(ctx, key.KeyHash(), 10_000, messages)
	if err != nil {
		return nil, err
	}
	if _, err := p.node.Mine(ctx, 1); err != nil {
		return nil, err
	}
	wallet, err := signer.OpenWallet(ctx, signer.Options{Network: simchain.Network, Keys: []signer.Key{key}})
	if err != nil {
		return nil, err
	}
	defer wallet.Close() //nolint:errcheck // it is kept nowhere
	if _, err := wallet.Add(coins); err != nil {
		return nil, err
	}
	person := simchain.NewPerson(8, 0)
	raw := make([][]byte, messages)
	for i := range raw {
		m := &improtocol.Message{Source: person.Address(), Type: improtocol.Text, Encryption: improtocol.Plain, Body: fmt.Appendf(nil, "%-*d", publishBytes, i)}
		m.SetTime(uint64(time.Now().UnixNano()))
		signed, err := wallet.Build(signer.Request{Script: simchain.Message(m, person.Key, simchain.Compact, simchain.Pushes)})
		if err != nil {
			return nil, err
		}
		raw[i] = signed.Raw
	}
	return raw, nil
}

// proves recovers the keys of such messages on one core: the mathematics without
// which no message is published.
func (p *publishing) proves(_ context.Context, r *measure.Round) error {
	made := newPublisher()
	made.make(measure.Pick(p.size, 2_000, 20))
	txs := make([]*index.Transaction, len(made.ready))
	for i, raw := range made.ready {
		var err error
		if txs[i], err = chainwatch.ReadTransaction(raw, simchain.Network); err != nil {
			return err
		}
	}
	r.Start()
	for _, tx := range txs {
		chainwatch.Prove(tx, simchain.Network)
	}
	r.Stop(float64(len(txs)))
	return nil
}

// syncs takes the time until 8 kB more of a file are on the disk: what no commit
// is faster than.
func (p *publishing) syncs(_ context.Context, r *measure.Round) (err error) {
	f, err := os.Create(filepath.Join(p.places["sqlite"].folder, "sync"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	times := measure.Pick(p.size, 500, 10)
	page := make([]byte, 8<<10)
	if _, err := f.Write(make([]byte, 1<<20)); err != nil { // a log is written into room that is there
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	r.Start()
	for i := range times {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i%128*len(page))); err != nil {
			return err
		}
		if err := dataSync(f); err != nil {
			return err
		}
		r.Latency = append(r.Latency, time.Since(began))
	}
	r.Stop(float64(times))
	return nil
}

// sides of publishLatency.
const (
	latencyPG     = "PostgreSQL"
	latencySQ     = "SQLite"
	latencyKhatru = "khatru + PostgreSQL"
)

func publishLatency() *measure.Comparison {
	c := &measure.Comparison{
		Name:  "publish/latency",
		Title: "A message published over HTTP until a subscriber has it from the committed log",
		Note: "100 a second for 10 s, of 300 B, signed when they are due; counted from then until the subscriber has read its message.seen from the WebSocket, which is told from the log after the commit. " +
			"A stand-in for the network takes each at once; khatru delivers what its database has stored; " + durability,
		Figures: []measure.Figure{
			percentile(latencyPG, 0.5, measure.AtMost(5)), percentile(latencyPG, 0.99, measure.AtMost(20)),
			percentile(latencySQ, 0.5, nil), percentile(latencySQ, 0.99, nil),
			percentile(latencyKhatru, 0.5, nil), percentile(latencyKhatru, 0.99, nil),
			percentile(syncSide, 0.5, nil),
			cost(latencyPG, nil), cost(latencySQ, nil), cost(latencyKhatru, nil),
		},
	}
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		p, err := preparePublishing(ctx, size)
		if err != nil {
			return p.end, err
		}
		if p.read, err = load.Start(ctx); err != nil {
			return p.end, err
		}
		p.ends = append(p.ends, p.read.Stop)
		c.Sides = []measure.Side{p.delivers(latencyPG, "postgres"), p.delivers(latencySQ, "sqlite"),
			{Name: latencyKhatru, Run: p.khatruDelivers}, {Name: syncSide, Run: p.syncs}}
		return p.end, nil
	}
	return c
}

const publishRate = 100 // a second

// delivers is a side that publishes to a subscriber.
func (p *publishing) delivers(name, kind string) measure.Side {
	return measure.Side{Name: name, Run: func(ctx context.Context, r *measure.Round) error {
		server, err := p.serve(ctx, r, kind, nil)
		if err != nil {
			return err
		}
		defer server.Stop()
		plan, err := load.Metaim(server.Addr, 1, client.Filter{})
		if err != nil {
			return err
		}
		return p.deliver(r, plan, func(messages int) error {
			return p.load.Ask(postQuestion{Addr: server.Addr, Messages: messages, Connections: min(32, messages), Rate: publishRate}, &postAnswer{})
		})
	}}
}

func (p *publishing) khatruDelivers(ctx context.Context, r *measure.Round) error {
	relay, err := p.khatru(ctx, r)
	if err != nil {
		return err
	}
	defer relay.Stop()
	return p.deliver(r, load.Khatru(relay.Addr, 1), func(messages int) error {
		return p.peer.Ask(map[string]any{"addr": relay.Addr, "messages": messages, "connections": min(32, messages), "window": 1,
			"rate": publishRate, "bytes": publishBytes}, &nostrAnswer{})
	})
}

// deliver publishes at a rate and takes the latencies of the deliveries.
func (p *publishing) deliver(r *measure.Round, plan load.Plan, publish func(messages int) error) error {
	messages := measure.Pick(p.size, 10*publishRate, 50)
	if err := p.read.Connect(plan); err != nil {
		return err
	}
	r.Start()
	if err := publish(messages); err != nil {
		return err
	}
	counts, err := p.read.Await(int64(messages), quiet)
	if err != nil {
		return err
	}
	r.Stop(float64(counts.Deliveries))
	r.Latency = counts.Latency
	if counts.Deliveries != int64(messages) {
		return fmt.Errorf("%d messages were delivered, want %d", counts.Deliveries, messages)
	}
	return nil
}
