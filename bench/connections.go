package main

import (
	"context"
	"fmt"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
)

func connectionComparisons() []*measure.Comparison {
	return []*measure.Comparison{idleConnections(), manyFilters(), stalledReader(), garbageClient()}
}

func fanOutGrowths() []*measure.Growth {
	return []*measure.Growth{growSubscribers(), growFilters(), growConnections()}
}

// idleMemory measures what a subscribed connection holds in the server's memory:
// the difference between many and few, told as "bytes", and the same before
// memory was given back to the system as "unswept".
func idleMemory(r *measure.Round, readers *load.Process, p pusher, child *measure.Child, few, many int) error {
	rss := func(connections int) (unswept, swept float64, err error) {
		if err := readers.Connect(p.plan(connections)); err != nil {
			return 0, 0, err
		}
		if unswept, err = measure.RSS(p.pid); err != nil || child == nil {
			return unswept, unswept, err
		}
		var a feedAnswer
		if err := child.Ask(feedQuestion{Memory: true, Free: true}, &a); err != nil {
			return 0, 0, err
		}
		swept, err = measure.RSS(p.pid)
		return unswept, swept, err
	}
	r.Count(true, p.pid)
	r.Start()
	unswept0, swept0, err := rss(few)
	if err != nil {
		return err
	}
	unswept, swept, err := rss(many)
	if err != nil {
		return err
	}
	r.Stop(float64(few + many))
	r.Set("unswept", (unswept-unswept0)/float64(many-few))
	r.Set("bytes", (swept-swept0)/float64(many-few))
	return nil
}

func idleConnections() *measure.Comparison {
	c := &measure.Comparison{
		Name: "connections/idle", Title: "Memory of an idle subscribed connection",
		Note: "(RSS with 10,000 connections - RSS with 1,000) / 9,000, in a server started for it; of metaim also after the garbage is collected and given back. The peers can't be asked to collect.",
	}
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		few, many := measure.Pick(size, 1000, 50), measure.Pick(size, 10_000, 250)
		s := &fanOutStage{}
		if err := s.open(ctx); err != nil {
			return s.end, err
		}
		c.Sides = []measure.Side{{Name: "metaim", Run: func(ctx context.Context, r *measure.Round) error {
			one := &fanOutStage{}
			defer one.end()
			p, child, err := one.feed(ctx, "300")
			if err != nil {
				return err
			}
			return idleMemory(r, s.readers, p, child, few, many)
		}}}
		for _, name := range []string{"gorillahub", "centrifuge", "khatru"} {
			c.Sides = append(c.Sides, measure.Side{Name: name, Run: func(ctx context.Context, r *measure.Round) error {
				one := &fanOutStage{}
				defer one.end()
				p, err := one.peer(ctx, name)
				if err != nil {
					return err
				}
				return idleMemory(r, s.readers, p, nil, few, many)
			}})
		}
		return s.end, nil
	}
	of := func(side, value string) func(map[string]measure.Sample) float64 {
		return func(all map[string]measure.Sample) float64 { return all[side].Values[value] / 1000 }
	}
	c.Figures = []measure.Figure{
		{Name: "metaim", Unit: "kB RSS", Goal: measure.AtMost(10), Of: of("metaim", "bytes")},
		{Name: "metaim, garbage not yet given back", Unit: "kB RSS", Of: of("metaim", "unswept")},
		{Name: "gorilla hub", Unit: "kB RSS", Of: of("gorillahub", "bytes")},
		{Name: "Centrifuge library", Unit: "kB RSS", Of: of("centrifuge", "bytes")},
		{Name: "khatru", Unit: "kB RSS", Of: of("khatru", "bytes")},
	}
	return c
}

// growConnections plots what a connection holds by how many there are.
func growConnections() *measure.Growth {
	return &measure.Growth{
		Plot: measure.Plot{Name: "connections", Title: "Memory of an idle subscribed connection", X: "connections", Y: "kB RSS each"},
		Run: func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
			s := &fanOutStage{}
			defer s.end()
			if err := s.open(ctx); err != nil {
				return err
			}
			for _, n := range measure.Pick(size, []int{1000, 2000, 5000, 10_000}, []int{100, 200}) {
				point, err := measure.Repeat(float64(n), size.Rounds, func() (float64, error) {
					one := &fanOutStage{}
					defer one.end()
					p, child, err := one.feed(ctx, "300")
					if err != nil {
						return 0, err
					}
					var r measure.Round
					err = idleMemory(&r, s.readers, p, child, 1, n)
					return r.Values["bytes"] / 1000, err
				})
				if err != nil {
					return err
				}
				add("metaim", point)
			}
			return nil
		},
	}
}

// growSubscribers plots what a delivery costs by how many are told.
func growSubscribers() *measure.Growth {
	return &measure.Growth{
		Plot: measure.Plot{Name: "subscribers", Title: "CPU time of a delivery, bursts of messages of 300 B", X: "subscribers", Y: "µs CPU of the server"},
		Run: func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
			s := &fanOutStage{}
			defer s.end()
			if err := s.open(ctx); err != nil {
				return err
			}
			ours, _, err := s.feed(ctx, "300")
			if err != nil {
				return err
			}
			hub, err := s.peer(ctx, "gorillahub")
			if err != nil {
				return err
			}
			for _, n := range measure.Pick(size, []int{100, 300, 1000, 3000, 10_000}, []int{10, 100}) {
				messages := max(50, min(250, 300_000/n))
				for name, p := range map[string]pusher{"metaim": ours, "gorilla hub": hub} {
					point, err := measure.Repeat(float64(n), size.Rounds, func() (float64, error) {
						var r measure.Round
						err := p.burst(&r, s.readers, n, eventBytes, measure.Pick(size, max(2, 1_000_000/n/messages), 1), messages)
						return r.Cost(), err
					})
					if err != nil {
						return err
					}
					add(name, point)
				}
			}
			return nil
		},
	}
}

// connectFilters opens connections with so many distinct filters, none of which
// an event of the feed matches: half ask for addresses, half for types. They are
// read until end.
func connectFilters(ctx context.Context, addr string, filters int) (end func(), err error) {
	const perSub, subs = 20, 100
	var open []*idler
	end = func() {
		for _, i := range open {
			i.close()
		}
	}
	for n := 0; n < filters; {
		i, err := dialIdler(ctx, addr)
		if err != nil {
			return end, err
		}
		open = append(open, i)
		for s := 0; s < subs && n < filters; s++ {
			var list []client.Filter
			for ; len(list) < perSub && n < filters; n++ {
				list = append(list, strangeFilter(n))
			}
			if err := i.ask(client.Request{Type: "sub", ID: fmt.Sprint(s), Filter: list}); err != nil {
				return end, err
			}
		}
		i.leave()
	}
	return end, nil
}
