package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"

	"github.com/metaim/metaim/improtocol/frame"
)

// A publisher is a real PUB socket of zmq4.
type publisher struct {
	zmq4.Socket
	url string
}

func publish(t *testing.T, url string) *publisher {
	t.Helper()
	// Its accept loop turns without a pause after Close until the context ends.
	ctx, cancel := context.WithCancel(context.Background())
	p := &publisher{Socket: zmq4.NewPub(ctx, zmq4.WithLogger(log.New(io.Discard, "", 0)))}
	if err := p.Listen(url); err != nil {
		t.Fatal(err)
	}
	p.url = "tcp://" + p.Addr().String()
	t.Cleanup(func() {
		cancel()
		_ = p.Close() // some tests close it themselves
	})
	return p
}

// subscribed waits until somebody hears all topics.
func (p *publisher) subscribed(t *testing.T) {
	t.Helper()
	want := slices.Sorted(slices.Values(topics))
	until(t, "all topics are subscribed to", func() bool { return slices.Equal(p.Socket.(zmq4.Topics).Topics(), want) })
}

func (p *publisher) say(t *testing.T, topic, body string, counter uint32) {
	t.Helper()
	p.frames(t, []byte(topic), []byte(body), binary.LittleEndian.AppendUint32(nil, counter))
}

func (p *publisher) frames(t *testing.T, frames ...[]byte) {
	t.Helper()
	if err := p.SendMulti(zmq4.NewMsgFrom(frames...)); err != nil {
		t.Fatal(err)
	}
}

// slow is a configuration that polls so seldom that only ZMQ can tell.
func slow(n *fakeNode, zmq ...string) Config {
	cfg := quick(n, zmq...)
	cfg.Poll = time.Hour
	return cfg
}

// hearing starts a source that hears a publisher and has done its first looks.
func hearing(t *testing.T) (*fakeNode, *publisher, *Source) {
	t.Helper()
	n, p := startFake(t), publish(t, "tcp://127.0.0.1:0")
	s := run(t, slow(n, p.url))
	p.subscribed(t)
	until(t, "the first looks are done", func() bool {
		return n.count("getrawmempool") == 2 && n.count("activezmqnotifications") == 1 && s.Status().Connected == 1
	})
	// The first look at the tip, and the connecting, have woken.
	awaitWake(t, s)
	select {
	case <-s.Wake():
	case <-time.After(20 * time.Millisecond):
	}
	return n, p, s
}

func TestZMQ(t *testing.T) {
	n, p, s := hearing(t)
	p.say(t, topicTx, "a transaction", 7)
	expect(t, s, "a transaction")
	p.say(t, topicTx, "a transaction", 8) // again: it is known
	p.say(t, topicTx, "another", 9)
	expect(t, s, "another")

	p.say(t, topicBlock, strings.Repeat("h", 32), 0)
	awaitWake(t, s)

	// What was discarded is news when it comes again, and wakes.
	txid := frame.HashOf([]byte("another")).String()
	p.say(t, topicDiscarded, `{"txid":"`+txid+`","reason":"mempool-sizelimit-exceeded"}`, 0)
	awaitWake(t, s)
	p.say(t, topicTx, "another", 10)
	expect(t, s, "another")
	p.say(t, topicInvalid, `{"txid":"`+txid+`"}`, 0)
	p.say(t, topicTx, "another", 11)
	expect(t, s, "another")

	// What is none is passed over; what follows is heard.
	p.frames(t, []byte(topicTx))
	p.frames(t, []byte(topicTx), []byte("body"), []byte{1, 2, 3})
	p.frames(t, []byte(topicTx), nil, []byte{12, 0, 0, 0})
	p.frames(t, []byte(topicTx+"x"), []byte("body"), []byte{0, 0, 0, 0})
	p.say(t, topicDiscarded, "no JSON", 1)
	p.say(t, topicRemoved, `{"txid":7}`, 0)
	p.say(t, topicTx, "the last", 13)
	expect(t, s, "the last")
	if got := n.count("getrawmempool"); got != 2 {
		t.Errorf("the mempool was listed %d times, want 2: nothing was lost", got)
	}
}

// TestZMQGap loses messages: the mempool is listed at once, and brings what was
// in them. The counter runs over without that.
func TestZMQGap(t *testing.T) {
	n, p, s := hearing(t)
	p.say(t, topicTx, "a", 0xffffffff)
	p.say(t, topicTx, "b", 0)
	expect(t, s, "a")
	expect(t, s, "b")
	n.pay("lost")
	p.say(t, topicBlock, strings.Repeat("h", 32), 5) // another topic counts for itself
	awaitWake(t, s)
	if got := n.count("getrawmempool"); got != 2 {
		t.Errorf("the mempool was listed %d times, want 2: nothing was lost yet", got)
	}
	p.say(t, topicTx, "d", 2)
	got := []string{string(<-s.Transactions()), string(<-s.Transactions())}
	if slices.Sort(got); !slices.Equal(got, []string{"d", "lost"}) {
		t.Errorf("got %q, want what was lost and what came", got)
	}
}

// TestZMQReconnects closes the publisher and opens another at its place.
func TestZMQReconnects(t *testing.T) {
	n, p, s := hearing(t)
	p.say(t, topicTx, "before", 1)
	expect(t, s, "before")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	n.pay("while nobody published")
	again := publish(t, p.url)
	expect(t, s, "while nobody published")
	again.subscribed(t)
	again.say(t, topicTx, "after", 0)
	expect(t, s, "after")
}

// TestZMQFromStrangers has something else than svnode at the address. It is
// connected to again and again, and the node is polled as without ZMQ.
func TestZMQFromStrangers(t *testing.T) {
	greeting := append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L'}, make([]byte, 48)...)
	ready := func(metadata string) []byte {
		return append(append(greeting[:64:64], 4, byte(6+len(metadata)), 5), "READY"+metadata...)
	}
	good := ready("\x0bSocket-Type\x00\x00\x00\x03PUB")
	for _, tt := range []struct {
		name string
		says []byte
	}{
		{"nothing", nil},
		{"a web server", []byte(strings.Repeat("HTTP/1.1 400 Bad Request\r\n\r\n", 5))},
		{"no handshake", greeting},
		{"metadata that lies about its length", ready("\xffx")},
		{"metadata that ends in a length", ready("\x0bSocket-Type\x00\x00")},
		{"a socket of another type", ready("\x0bSocket-Type\x00\x00\x00\x03REP")},
		{"a frame of 2^62 bytes", append(good[:len(good):len(good)], 2, 0x40, 0, 0, 0, 0, 0, 0, 0)},
		{"a frame of 2^63 bytes", append(good[:len(good):len(good)], 3, 0x80, 0, 0, 0, 0, 0, 0, 0)},
		{"frames without end", append(good[:len(good):len(good)], []byte(strings.Repeat("\x01\x00", 1000))...)},
		{"an empty command", append(good[:len(good):len(good)], 4, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			conns := make(chan struct{}, 1000)
			served := make(chan struct{})
			go func() {
				defer close(served)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					conns <- struct{}{}
					_, _ = c.Write(tt.says)
					_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					_, _ = io.Copy(io.Discard, c)
					c.Close()
				}
			}()
			defer func() { l.Close(); <-served }()
			n := startFake(t)
			n.pay("in the mempool")
			s := run(t, quick(n, "tcp://"+l.Addr().String()))
			expect(t, s, "in the mempool")
			for range 2 {
				select {
				case <-conns:
				case <-time.After(patience):
					t.Fatal("it isn't connected to again")
				}
			}
			if st := s.Status(); st.Connected != 1 || st.Trouble != "" {
				t.Errorf("got %+v, want the node to be fine", st)
			}
		})
	}
}

// TestZMQ4AllocatesWhatIsClaimed shows why there is a guard: without it zmq4
// panics over a length that fits in no memory (and one that nearly does ends the
// process); with it, the length is refused.
func TestZMQ4AllocatesWhatIsClaimed(t *testing.T) {
	says := append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L'}, make([]byte, 48)...)
	says = append(says, "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"...)
	says = append(says, 2, 0x40, 0, 0, 0, 0, 0, 0, 0)
	for name, want := range map[string]error{"without a guard": errPublisher, "with the guard": errFrame} {
		theirs, ours := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		go func() { _, _ = theirs.Write(says) }()
		in := ours
		if want == errFrame {
			in = newGuard(ours, 1000)
		}
		conn, err := subscribe(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receive(conn); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		_ = errors.Join(ours.Close(), theirs.Close()) // ends both goroutines
	}
}

// FuzzGuard splits any bytes into reads. The guard lets through no message over
// its limit, whatever the splits, and always says the same.
func FuzzGuard(f *testing.F) {
	f.Add([]byte{0, 1, 'x'}, uint8(1))
	f.Add([]byte{1, 1, 'x', 2, 0, 0, 0, 0, 0, 0, 1, 0}, uint8(3))
	f.Add([]byte{3, 255, 255, 255, 255, 255, 255, 255, 255}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		whole, parts := newGuard(nil, 100), newGuard(nil, 100)
		whole.greeting, parts.greeting = 0, 0
		want := whole.follow(b)
		var got error
		for len(b) > 0 && got == nil {
			n := min(len(b), int(step)+1)
			got = parts.follow(b[:n])
			b = b[n:]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || parts.size > parts.most {
			t.Errorf("got %v with %d bytes, want %v and at most %d", got, parts.size, want, parts.most)
		}
	})
}
