package p2p

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

type acts = map[string]func(c *fakeConn, payload []byte)

func gives(list ...chainwatch.Header) acts {
	return acts{"getheaders": func(c *fakeConn, _ []byte) { c.say("headers", rawHeaders(list...)) }}
}

func TestHeaders(t *testing.T) {
	a, b, c := testHeader(1), testHeader(2), testHeader(3)
	ignores := acts{}
	late := acts{
		"getheaders": func(*fakeConn, []byte) {},
		"ping": func(conn *fakeConn, nonce []byte) {
			conn.say("pong", nonce)
			conn.say("headers", rawHeaders(c))
		},
	}
	hangs := acts{"ping": func(*fakeConn, []byte) {}}
	tests := []struct {
		name  string
		nodes []*fakeNode
		want  []chainwatch.Header
		err   error
	}{
		{"one node", []*fakeNode{{on: gives(a, b)}}, []chainwatch.Header{a, b}, nil},
		{"nothing new", []*fakeNode{{on: gives()}}, nil, nil},
		{"equal runs once", []*fakeNode{{on: gives(a, b)}, {on: gives(a, b)}}, []chainwatch.Header{a, b}, nil},
		{"different runs whole, in the order of nodes", []*fakeNode{{on: gives(a, b)}, {on: gives(a, c)}, {on: gives(a, b)}},
			[]chainwatch.Header{a, b, a, c}, nil},
		{"not in sync, never had a block", []*fakeNode{{on: ignores}}, nil, nil},
		{"not in sync, has blocks", []*fakeNode{{on: ignores, height: 5}}, nil, ErrNotInSync},
		{"not in sync beside one that answers", []*fakeNode{{on: ignores, height: 5}, {on: gives(a)}}, []chainwatch.Header{a}, nil},
		{"answers after the pong", []*fakeNode{{on: late, height: 5, agent: agentAny}}, []chainwatch.Header{c}, nil},
		{"ignores, in whatever order", []*fakeNode{{on: ignores, height: 5, agent: agentAny}}, nil, ErrNotInSync},
		{"hangs", []*fakeNode{{on: hangs, height: 5}}, nil, ErrNoAnswer},
		{"hangs beside one that answers", []*fakeNode{{on: hangs}, {on: gives(a)}}, []chainwatch.Header{a}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range tt.nodes {
				n.start(t)
			}
			cfg := shortLimits(addrs(tt.nodes...)...)
			cfg.HeadersTimeout, cfg.HeadersSpread = time.Second, 300*time.Millisecond
			s := run(t, cfg)
			until(t, "all are connected", func() bool { return s.Status().Connected == len(tt.nodes) })
			got, err := s.Headers(within(t), []frame.Hash{regtest.Genesis.Hash()})
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %d headers, %v, want %d, %v", len(got), err, len(tt.want), tt.err)
			}
		})
	}
}

func TestHeadersWaitForANode(t *testing.T) {
	s := run(t, shortLimits("127.0.0.1:1"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Headers(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	node := (&fakeNode{on: gives(testHeader(1))}).start(t)
	s = New(shortLimits(node.addr))
	answered := make(chan error, 1)
	go func() {
		_, err := s.Headers(within(t), nil)
		answered <- err
	}()
	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if err := <-answered; err != nil {
		t.Errorf("asked before there was a connection: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v, want nil", err)
	}
}

// TestLateHeadersBelongToTheirQuestion gives up on a question whose answer comes
// only when the next one has been asked.
func TestLateHeadersBelongToTheirQuestion(t *testing.T) {
	first := make(chan struct{})
	var open [][]byte
	node := (&fakeNode{on: acts{
		"getheaders": func(c *fakeConn, payload []byte) { open = append(open, bytes.Clone(payload)) },
		"ping": func(c *fakeConn, nonce []byte) {
			if len(open) == 1 {
				close(first)
			}
			if len(open) < 2 {
				return
			}
			c.say("headers", rawHeaders(testHeader(1)))
			c.say("headers", rawHeaders(testHeader(2)))
		},
	}}).start(t)
	s := run(t, shortLimits(node.addr))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-first; cancel() }()
	if _, err := s.Headers(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("first: got %v, want %v", err, context.Canceled)
	}
	got, err := s.Headers(within(t), nil)
	if err != nil || len(got) != 1 || got[0] != testHeader(2) {
		t.Errorf("second: got %d headers, %v, want the second answer", len(got), err)
	}
}

func TestLongLocatorIsCut(t *testing.T) {
	sent := make(chan []byte, 1)
	node := (&fakeNode{on: acts{"getheaders": func(c *fakeConn, payload []byte) {
		sent <- bytes.Clone(payload)
		c.say("headers", rawHeaders())
	}}}).start(t)
	s := run(t, shortLimits(node.addr))
	locator := make([]frame.Hash, 600)
	for i := range locator {
		locator[i] = txid(i)
	}
	if _, err := s.Headers(within(t), locator); err != nil {
		t.Fatal(err)
	}
	got := <-sent
	want := []byte{maxLocator}
	for _, h := range locator[:maxLocator-1] {
		want = append(want, h[:]...)
	}
	want = append(want, locator[599][:]...)
	want = append(want, make([]byte, 32)...)
	if !bytes.Equal(got[4:], want) {
		t.Errorf("got a locator of %d bytes that isn't the first %d and the last", len(got), maxLocator-1)
	}
}

func TestBlockNewsWake(t *testing.T) {
	for _, tt := range []struct {
		name, command string
		payload       []byte
	}{
		{"inv", "inv", rawItems(2, txid(1))},
		{"headers nobody asked for", "headers", rawHeaders(testHeader(1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node := (&fakeNode{}).start(t)
			s := run(t, shortLimits(node.addr))
			<-s.Wake() // of the connection
			node.last().say(tt.command, tt.payload)
			select {
			case <-s.Wake():
			case <-time.After(patience):
				t.Error("no wake")
			}
		})
	}
}
