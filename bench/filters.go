package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/improtocol/frame"
)

// An idler is a connection that subscribes and then only stays.
type idler struct {
	ws   *websocket.Conn
	done chan struct{} // nobody reads any more
}

func dialIdler(ctx context.Context, addr string) (*idler, error) {
	d := websocket.Dialer{Subprotocols: []string{client.Subprotocol}, HandshakeTimeout: 10 * time.Second}
	ws, _, err := d.DialContext(ctx, "ws://"+addr+"/v1/ws", nil)
	if err != nil {
		return nil, err
	}
	return &idler{ws: ws}, nil
}

// ask sends a request and waits until it is answered.
func (i *idler) ask(r client.Request) error {
	if err := i.ws.WriteJSON(r); err != nil {
		return err
	}
	for {
		_, data, err := i.ws.ReadMessage()
		if err != nil {
			return err
		}
		var answer client.Reply
		if err := json.Unmarshal(data, &answer); err != nil {
			return err
		}
		switch answer.Type {
		case "ok":
			return nil
		case "err":
			return fmt.Errorf("%s: %s", answer.Code, answer.Detail)
		}
	}
}

// leave goes on reading, without looking.
func (i *idler) leave() {
	i.done = make(chan struct{})
	go func() {
		defer close(i.done)
		for {
			if _, _, err := i.ws.NextReader(); err != nil {
				return
			}
		}
	}()
}

func (i *idler) close() {
	_ = i.ws.Close()
	if i.done != nil {
		<-i.done
	}
}

// strangeFilter is the n-th of many filters that no event of the feed matches.
func strangeFilter(n int) client.Filter {
	if n%2 == 0 {
		return client.Filter{Type: []string{fmt.Sprint("type/", n)}}
	}
	var h frame.KeyHash
	binary.LittleEndian.PutUint64(h[:], uint64(n))
	return client.Filter{Address: []string{frame.Regtest.Address(h)}}
}

// filterCost measures what an event costs when one subscriber is told it and so
// many filters don't match it.
func filterCost(ctx context.Context, r *measure.Round, s *fanOutStage, p pusher, addr string, filters, events int) error {
	end, err := connectFilters(ctx, addr, filters)
	defer end()
	if err != nil {
		return err
	}
	return p.burst(r, s.readers, 1, eventBytes, max(1, events/500), min(500, events))
}

// filterCounts are how many filters are subscribed.
var filterCounts = []int{10, 1000, 100_000}

func manyFilters() *measure.Comparison {
	c := &measure.Comparison{
		Name: "filters", Title: "Cost of a message with many distinct filters subscribed, of which one matches",
		Note: "Half of the filters name an address, half a type of messages; 20 in a subscription, 100 subscriptions on a connection. CPU time of the server for one message of 300 B.",
	}
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		s := &fanOutStage{}
		if err := s.open(ctx); err != nil {
			return s.end, err
		}
		p, child, err := s.feed(ctx, "300")
		if err != nil {
			return s.end, err
		}
		for _, n := range filterCounts {
			c.Sides = append(c.Sides, measure.Side{Name: fmt.Sprint(n), Run: func(ctx context.Context, r *measure.Round) error {
				return filterCost(ctx, r, s, p, child.Addr, measure.Pick(size, n, min(n, 1000)), measure.Pick(size, 30_000, 1000))
			}})
		}
		return s.end, nil
	}
	for _, n := range filterCounts {
		c.Figures = append(c.Figures, measure.Figure{Name: fmt.Sprintf("with %d filters", n), Unit: "µs CPU",
			Of: func(side map[string]measure.Sample) float64 { return side[fmt.Sprint(n)].Cost() }})
	}
	c.Figures = append(c.Figures, measure.Figure{Name: "with 100000 filters against 10", Unit: "ratio", Goal: measure.AtMost(2),
		Of: func(side map[string]measure.Sample) float64 { return side["100000"].Cost() / side["10"].Cost() }})
	return c
}

func growFilters() *measure.Growth {
	return &measure.Growth{
		Plot: measure.Plot{Name: "filters", Title: "CPU time of a message by the filters subscribed, of which one matches", X: "filters", Y: "µs CPU of the server"},
		Run: func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
			s := &fanOutStage{}
			defer s.end()
			if err := s.open(ctx); err != nil {
				return err
			}
			p, child, err := s.feed(ctx, "300")
			if err != nil {
				return err
			}
			for _, n := range measure.Pick(size, []int{10, 100, 1000, 10_000, 100_000}, []int{10, 100}) {
				point, err := measure.Repeat(float64(n), size.Rounds, func() (float64, error) {
					var r measure.Round
					err := filterCost(ctx, &r, s, p, child.Addr, n, measure.Pick(size, 20_000, 500))
					return r.Cost(), err
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

// disturbed is a comparison of latencies with and without somebody who disturbs:
// the sides "alone" and "disturbed", of whose rounds disturb runs in the second.
func disturbed(c *measure.Comparison, subscribers, rate int, disturb func(ctx context.Context, s *fanOutStage, p pusher, child *measure.Child, r *measure.Round) (end func() error, err error)) *measure.Comparison {
	c.Prepare = func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
		s := &fanOutStage{}
		if err := s.open(ctx); err != nil {
			return s.end, err
		}
		p, child, err := s.feed(ctx, "300")
		if err != nil {
			return s.end, err
		}
		during := measure.Pick(size, 4*time.Second, 200*time.Millisecond)
		run := func(r *measure.Round) error {
			return p.paced(r, s.readers, subscribers, eventBytes, rate, during)
		}
		c.Sides = []measure.Side{
			{Name: "alone", Run: func(_ context.Context, r *measure.Round) error { return run(r) }},
			{Name: "disturbed", Run: func(ctx context.Context, r *measure.Round) error {
				end, err := disturb(ctx, s, p, child, r)
				if err != nil {
					return err
				}
				err = run(r)
				if ended := end(); err == nil {
					err = ended
				}
				return err
			}},
		}
		return s.end, nil
	}
	return c
}

func p99(side string) func(map[string]measure.Sample) float64 {
	return func(all map[string]measure.Sample) float64 { return all[side].Percentile(0.99) }
}

func p99Ratio(all map[string]measure.Sample) float64 {
	return all["disturbed"].Percentile(0.99) / all["alone"].Percentile(0.99)
}

func stalledReader() *measure.Comparison {
	c := disturbed(&measure.Comparison{
		Name: "stalled-reader", Title: "One stalled reader beside nine that read, 2,000 messages a second",
		Note: "The stalled one subscribes and then reads nothing. Latency is from when a message was due to when its frame was read; memory is what the server's RSS grew by.",
	}, 9, 2000, func(ctx context.Context, _ *fanOutStage, p pusher, child *measure.Child, r *measure.Round) (func() error, error) {
		stalled, err := dialIdler(ctx, child.Addr)
		if err != nil {
			return nil, err
		}
		if err := stalled.ask(client.Request{Type: "sub", ID: "s"}); err != nil {
			stalled.close()
			return nil, err
		}
		before, err := measure.RSS(p.pid)
		return func() error {
			defer stalled.close()
			after, err := measure.RSS(p.pid)
			r.Set("grown", (after-before)/1e6)
			return err
		}, err
	})
	c.Figures = []measure.Figure{
		{Name: "p99 of the others against p99 without it", Unit: "ratio", Goal: measure.AtMost(1.1), Of: p99Ratio},
		{Name: "p99 without it", Unit: "ms", Of: p99("alone")},
		{Name: "p99 with it", Unit: "ms", Of: p99("disturbed")},
		{Name: "deliveries to the others lost", Unit: "share", Goal: measure.AtMost(0), Of: func(all map[string]measure.Sample) float64 { return all["disturbed"].Values["lost"] }},
		{Name: "memory grown by", Unit: "MB RSS", Of: func(all map[string]measure.Sample) float64 { return all["disturbed"].Values["grown"] }},
	}
	return c
}

func garbageClient() *measure.Comparison {
	c := disturbed(&measure.Comparison{
		Name: "garbage-client", Title: "A client that sends garbage as fast as it goes, beside 100 that are told 500 messages a second",
		Note: "When the server closes its connection it opens another at once. Latency is from when a message was due to when its frame was read; the client itself takes CPU time of the same cores.",
	}, 100, 500, func(ctx context.Context, _ *fanOutStage, _ pusher, child *measure.Child, r *measure.Round) (func() error, error) {
		g := &vandal{addr: child.Addr}
		ctx, cancel := context.WithCancel(ctx)
		g.group.Go(func() { g.run(ctx) })
		return func() error {
			cancel()
			g.group.Wait()
			r.Set("sent", float64(g.sent.Load())/r.Wall.Seconds())
			r.Set("closed", float64(g.closed.Load())/r.Wall.Seconds())
			return nil
		}, nil
	})
	c.Figures = []measure.Figure{
		{Name: "p99 of the others without it", Unit: "ms", Of: p99("alone")},
		{Name: "p99 of the others with it", Unit: "ms", Of: p99("disturbed")},
		{Name: "ratio of the two", Unit: "ratio", Of: p99Ratio},
		{Name: "CPU time of the server against without it", Unit: "ratio", Of: func(all map[string]measure.Sample) float64 {
			return all["disturbed"].Cost() / all["alone"].Cost()
		}},
		{Name: "frames of garbage that it could send", Unit: "/s", Of: func(all map[string]measure.Sample) float64 { return all["disturbed"].Values["sent"] }},
		{Name: "connections closed to it", Unit: "/s", Of: func(all map[string]measure.Sample) float64 { return all["disturbed"].Values["closed"] }},
	}
	return c
}

// A vandal sends garbage as fast as it is taken, and comes back when shown out.
type vandal struct {
	addr         string
	sent, closed atomic.Int64
	group        sync.WaitGroup
}

var rubbish = []string{`{`, `{"type":"dance"}`, `[[[[[[[[[[[[`, `{"type":"sub","id":"x","filter":[{"address":["bob"]}]}`, `{"type":"unsub","sub":"y"}`}

func (v *vandal) run(ctx context.Context) {
	for ctx.Err() == nil {
		i, err := dialIdler(ctx, v.addr)
		if err != nil {
			continue // it is to be refused, or over
		}
		stop := context.AfterFunc(ctx, func() { _ = i.ws.Close() })
		i.leave()
		for n := 0; ; n++ {
			if err := i.ws.WriteMessage(websocket.TextMessage, []byte(rubbish[n%len(rubbish)])); err != nil {
				break
			}
			v.sent.Add(1)
		}
		v.closed.Add(1)
		stop()
		i.close()
	}
}
