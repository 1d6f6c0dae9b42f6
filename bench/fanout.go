package main

import (
	"context"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
)

// eventBytes is what a message carries where fan-out is measured, and frameBytes
// about what it is as a frame, with all that proves it: peers send as much.
const (
	eventBytes = 300
	frameBytes = 1300
)

func fanOutComparisons() []*measure.Comparison {
	return []*measure.Comparison{fanOutUnderLoad(), fanOutPaced()}
}

// A fanOutStage is the processes of a comparison of fan-out.
type fanOutStage struct {
	readers  *load.Process
	children []*measure.Child
}

func (s *fanOutStage) end() {
	if s.readers != nil {
		s.readers.Stop()
	}
	for _, c := range s.children {
		c.Stop()
	}
}

// open starts the readers.
func (s *fanOutStage) open(ctx context.Context) (err error) {
	s.readers, err = load.Start(ctx)
	return err
}

// feed starts a server of ours.
func (s *fanOutStage) feed(ctx context.Context, of string, filter ...client.Filter) (pusher, *measure.Child, error) {
	child, err := measure.Role(ctx, roleFeed, of)
	if err != nil {
		return pusher{}, nil, err
	}
	s.children = append(s.children, child)
	p, err := feedPusher(child, filter...)
	return p, child, err
}

// peer starts another's.
func (s *fanOutStage) peer(ctx context.Context, name string, args ...string) (pusher, error) {
	child, err := startPeer(ctx, name, args...)
	if err != nil {
		return pusher{}, err
	}
	s.children = append(s.children, child)
	return peerPusher(name, child)
}

var blocksOnly = client.Filter{Blocks: true}

// fanOutUnderLoad tells as many events as go through to a thousand subscribers.
func fanOutUnderLoad() *measure.Comparison {
	c := &measure.Comparison{
		Name: "fanout/load", Title: "Fan-out under load: events to 1,000 subscribers, as fast as it goes",
		Note: "Server and readers are processes on the same cores, without TLS or compression. Events come in bursts, the next when all have been read. " +
			"\"small\" are events of blocks, about 300 bytes as a frame; \"messages\" carry 300 bytes and are frames of 1.3 kB; the hub sends frames of 300 bytes.",
	}
	var subscribers, bursts, few = 1000, 8, 250
	run := func(p *pusher, s *fanOutStage) func(ctx context.Context, r *measure.Round) error {
		return func(_ context.Context, r *measure.Round) error {
			return p.burst(r, s.readers, subscribers, eventBytes, bursts, few)
		}
	}
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		subscribers, bursts = measure.Pick(size, 1000, 100), measure.Pick(size, 12, 2)
		s := &fanOutStage{}
		if err := s.open(ctx); err != nil {
			return s.end, err
		}
		small, child, err := s.feed(ctx, "blocks", blocksOnly)
		if err != nil {
			return s.end, err
		}
		messages, _, err := s.feed(ctx, "300")
		if err != nil {
			return s.end, err
		}
		hub, err := s.peer(ctx, "gorillahub")
		if err != nil {
			return s.end, err
		}
		c.Sides = []measure.Side{
			{Name: "small", Run: run(&small, s)},
			{Name: "messages", Run: run(&messages, s)},
			{Name: "hub", Run: run(&hub, s)},
			{Name: "allocations", Run: func(_ context.Context, r *measure.Round) error {
				return countAllocations(r, small, child, s, subscribers, bursts, few)
			}},
		}
		return s.end, nil
	}
	c.Figures = []measure.Figure{
		{Name: "metaim, small events", Unit: "M/s", Goal: measure.AtLeast(3), Of: func(side map[string]measure.Sample) float64 { return side["small"].Rate() / 1e6 }},
		{Name: "metaim, messages of 300 B", Unit: "M/s", Of: func(side map[string]measure.Sample) float64 { return side["messages"].Rate() / 1e6 }},
		{Name: "gorilla hub, frames of 300 B", Unit: "M/s", Of: func(side map[string]measure.Sample) float64 { return side["hub"].Rate() / 1e6 }},
		{Name: "metaim, small events: of the server", Unit: "µs CPU", Of: func(side map[string]measure.Sample) float64 { return side["small"].Cost() }},
		{Name: "metaim, messages: of the server", Unit: "µs CPU", Of: func(side map[string]measure.Sample) float64 { return side["messages"].Cost() }},
		{Name: "gorilla hub: of the server", Unit: "µs CPU", Of: func(side map[string]measure.Sample) float64 { return side["hub"].Cost() }},
		{Name: "allocations of one more delivery", Unit: "", Goal: measure.AtMost(0.01), Of: func(side map[string]measure.Sample) float64 { return side["allocations"].Values["each"] }},
		{Name: "deliveries lost by metaim", Unit: "share", Goal: measure.AtMost(0), Of: func(side map[string]measure.Sample) float64 {
			return side["small"].Values["lost"] + side["messages"].Values["lost"]
		}},
	}
	return c
}

// countAllocations tells what a delivery allocates: the difference between many
// subscribers and two, over the same events.
func countAllocations(r *measure.Round, p pusher, child *measure.Child, s *fanOutStage, subscribers, bursts, few int) error {
	made := func(n int) (float64, error) {
		if err := s.readers.Connect(p.plan(n)); err != nil {
			return 0, err
		}
		before, err := allocations(child)
		if err != nil {
			return 0, err
		}
		for range bursts {
			if _, err := p.publish(few, eventBytes, 0); err != nil {
				return 0, err
			}
			if _, err := s.readers.Await(int64(few*n), quiet); err != nil {
				return 0, err
			}
		}
		after, err := allocations(child)
		return after - before, err
	}
	two, err := made(2)
	if err != nil {
		return err
	}
	many, err := made(subscribers)
	r.Set("each", (many-two)/float64((subscribers-2)*bursts*few))
	r.Set("with events", many/float64(subscribers*bursts*few))
	return err
}

// fanOutPaced tells a thousand events a second to two hundred subscribers.
func fanOutPaced() *measure.Comparison {
	c := &measure.Comparison{
		Name: "fanout/paced", Title: "Fan-out at a pace: 1,000 messages a second to 200 subscribers",
		Note: "Messages carry 300 bytes, which is a frame of 1.3 kB with all that proves it; peers send frames of 1.3 kB. Latency is from when a message was due to when its frame was read. CPU time is the server's, with that of making the messages; readers are another process on the same cores.",
	}
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		subscribers, during := measure.Pick(size, 200, 20), measure.Pick(size, 3*time.Second, 200*time.Millisecond)
		s := &fanOutStage{}
		if err := s.open(ctx); err != nil {
			return s.end, err
		}
		side := func(name string, p pusher, bytes int) measure.Side {
			return measure.Side{Name: name, Run: func(_ context.Context, r *measure.Round) error {
				return p.paced(r, s.readers, subscribers, bytes, 1000, during)
			}}
		}
		ours, _, err := s.feed(ctx, "300")
		if err != nil {
			return s.end, err
		}
		c.Sides = []measure.Side{side("metaim", ours, eventBytes)}
		for _, name := range []string{"gorillahub", "centrifuge", "khatru"} {
			p, err := s.peer(ctx, name)
			if err != nil {
				return s.end, err
			}
			c.Sides = append(c.Sides, side(name, p, frameBytes))
		}
		return s.end, nil
	}
	for _, of := range []struct {
		side, name string
		cost, p99  *measure.Goal
	}{
		{"metaim", "metaim", measure.AtMost(3.5), measure.AtMost(3)},
		{"gorillahub", "gorilla hub", nil, nil}, {"centrifuge", "Centrifuge library", nil, nil}, {"khatru", "khatru", nil, nil},
	} {
		c.Figures = append(c.Figures,
			measure.Figure{Name: of.name + ": a delivery", Unit: "µs CPU", Goal: of.cost, Of: func(side map[string]measure.Sample) float64 { return side[of.side].Cost() }},
			measure.Figure{Name: of.name + ": p50", Unit: "ms", Of: func(side map[string]measure.Sample) float64 { return side[of.side].Percentile(0.5) }},
			measure.Figure{Name: of.name + ": p99", Unit: "ms", Goal: of.p99, Of: func(side map[string]measure.Sample) float64 { return side[of.side].Percentile(0.99) }},
			measure.Figure{Name: of.name + ": lost", Unit: "share", Of: func(side map[string]measure.Sample) float64 { return side[of.side].Values["lost"] }},
		)
	}
	return c
}
