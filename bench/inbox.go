package main

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/metaim/metaim/bench/measure"
)

func inboxComparisons() []*measure.Comparison {
	var list []*measure.Comparison
	for _, kind := range stores {
		list = append(list, inbox(kind), disk(kind))
	}
	return list
}

// readers is how many read pages at once.
const readers = 8

// inbox measures pages of inboxes, one after the other and from several readers.
func inbox(kind string) *measure.Comparison {
	var lib *library
	of := func(side, value string) func(map[string]measure.Sample) float64 {
		return func(s map[string]measure.Sample) float64 { return s[side].Values[value] }
	}
	c := &measure.Comparison{
		Name: "inbox/" + kind, Title: "A page of an inbox among 10,000,000 messages, at any depth, " + kind,
		Note: "1,000 recipients of 10,000 messages each; every page begins at a place drawn anew.",
		Prepare: func(ctx context.Context, c *measure.Comparison, size measure.Size) (end func(), err error) {
			if lib, err = shelves.get(ctx, kind, size); err != nil {
				return nil, err
			}
			n := measure.Pick(size, 2_000, 20)
			for _, side := range []struct {
				name  string
				limit int
			}{{"50", 50}, {"100", 100}} {
				c.Sides = append(c.Sides, measure.Side{Name: side.name, Run: func(ctx context.Context, r *measure.Round) (err error) {
					r.Count(false, lib.at.pids...)
					r.Start()
					r.Latency, err = lib.pages(ctx, n, side.limit)
					r.Stop(float64(n))
					r.Set("p50", r.Percentile(0.5))
					r.Set("p99", r.Percentile(0.99))
					return err
				}})
			}
			c.Sides = append(c.Sides, measure.Side{Name: "eight readers", Run: func(ctx context.Context, r *measure.Round) error {
				return lib.readTogether(ctx, r, n)
			}})
			if kind == "postgres" {
				return preparePGBench(ctx, c, lib, size)
			}
			return nil, nil
		},
		Figures: []measure.Figure{
			{Name: "p50 of a page of 50", Unit: "ms", Goal: measure.AtMost(1), Of: of("50", "p50")},
			{Name: "p99 of a page of 50", Unit: "ms", Of: of("50", "p99")},
			{Name: "p50 of a page of 100", Unit: "ms", Goal: measure.AtMost(1), Of: of("100", "p50")},
			{Name: "CPU of a page of 50", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s["50"].Cost() }},
			{Name: "pages of 50 a second, 8 readers", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s["eight readers"].Rate() }},
		},
	}
	if kind == "postgres" {
		c.Figures = append(c.Figures, pgbenchFigures()...)
	}
	return c
}

// readTogether reads n pages of 50 by each of the readers.
func (l *library) readTogether(ctx context.Context, r *measure.Round, n int) error {
	r.Count(false, l.at.pids...)
	errs := make(chan error, readers)
	var group sync.WaitGroup
	r.Start()
	for i := range readers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			for range n {
				if err := l.page(ctx, random, 50); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	r.Stop(float64(n * readers))
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// disk tells what a message takes on the disk.
func disk(kind string) *measure.Comparison {
	return &measure.Comparison{
		Name: "disk/" + kind, Title: "Bytes on disk for a message beside its payload of 300 bytes, 10,000,000 messages, " + kind,
		Note: "All tables and indexes; the database as it is after filling, not packed. CPU is that of judging and saving, without signatures.",
		Prepare: func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
			lib, err := shelves.get(ctx, kind, size)
			if err != nil {
				return nil, err
			}
			c.Sides = []measure.Side{{Name: "metaim", Run: func(_ context.Context, r *measure.Round) error {
				for what, points := range lib.growth {
					r.Set(what, points[len(points)-1].Y)
				}
				return nil
			}}}
			return nil, nil
		},
		Figures: []measure.Figure{
			{Name: "beside the payload", Unit: "bytes", Goal: measure.AtMost(600), Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Values[growsBytes] }},
			{Name: "judged and saved, the last 10,000", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Values[growsCost] }},
		},
	}
}

// inboxGrowths shows how the library grew.
func inboxGrowths() []*measure.Growth {
	var list []*measure.Growth
	for _, g := range []struct{ what, name, title, y string }{
		{growsCost, "messages-cost", "CPU of judging and saving a message, by messages in the index", "µs CPU, database included"},
		{growsBytes, "messages-bytes", "Bytes on disk for a message beside its payload, by messages in the index", "bytes"},
		{growsPage, "messages-page", "A page of 50 of an inbox, by messages in the index", "ms (median)"},
	} {
		list = append(list, &measure.Growth{
			Plot: measure.Plot{Name: g.name, Title: g.title, X: "messages in the index", Y: g.y, LinearY: true},
			Run: func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
				for _, kind := range stores {
					lib, err := shelves.get(ctx, kind, size)
					if err != nil {
						return err
					}
					for _, p := range lib.growth[g.what] {
						add(kind, p)
					}
				}
				return nil
			},
		})
	}
	return list
}
