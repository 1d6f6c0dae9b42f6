package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
)

// onBlock acts on requests for blocks only.
func onBlock(act func(c *fakeConn, hash frame.Hash)) acts {
	return acts{"getdata": func(c *fakeConn, payload []byte) {
		if kind, hashes := items(payload); kind == 2 {
			act(c, hashes[0])
		}
	}}
}

func serves(block []byte) acts {
	return onBlock(func(c *fakeConn, _ frame.Hash) { c.say("block", block) })
}

// TestBlockFallsBack has a first node that doesn't begin to give the block, and a
// second that does; and the first alone.
func TestBlockFallsBack(t *testing.T) {
	hash, block := testBlock(1, 5000)
	_, other := testBlock(2, 5000)
	closes := func(c *fakeConn, _ frame.Hash) { c.Close() }
	noPong := func(a acts) acts { a["ping"] = func(*fakeConn, []byte) {}; return a }
	tests := []struct {
		name  string
		agent string
		on    acts
		err   error // of the first node alone
	}{
		{"says that it isn't found", agentBSV, onBlock(func(c *fakeConn, h frame.Hash) {
			c.say("notfound", rawItems(2, h))
		}), ErrNotFound},
		{"says nothing but answers pings", agentSV, onBlock(func(*fakeConn, frame.Hash) {}), ErrNotFound},
		{"says nothing, in whatever order", agentAny, onBlock(func(*fakeConn, frame.Hash) {}), ErrNotFound},
		{"says nothing at all", agentSV, noPong(onBlock(func(*fakeConn, frame.Hash) {})), ErrNoAnswer},
		{"sends another block", agentSV, serves(other), ErrWrongBlock},
		{"disconnects", agentSV, onBlock(closes), ErrDisconnected},
		{"disconnects in the block header", agentSV, onBlock(func(c *fakeConn, _ frame.Hash) {
			c.bytes(rawMessage(regtest.Magic, "block", block)[:60])
			c.Close()
		}), ErrDisconnected},
		{"claims an exabyte", agentSV, onBlock(func(c *fakeConn, _ frame.Hash) {
			c.bytes(rawExtended(regtest.Magic, "block", 1<<60, block))
		}), ErrTooLarge},
		{"sends garbage", agentSV, onBlock(func(c *fakeConn, _ frame.Hash) {
			c.bytes(rawHeader(regtest.Magic, "\xff\xfe", 5, [4]byte{}, block))
		}), ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := (&fakeNode{agent: tt.agent, on: tt.on}).start(t)
			good := (&fakeNode{on: serves(block)}).start(t)
			cfg := shortLimits(bad.addr, good.addr)
			cfg.BlockTimeout, cfg.Grace = 500*time.Millisecond, 50*time.Millisecond
			s := run(t, cfg)
			until(t, "both are connected", func() bool { return s.Status().Connected == 2 })
			for range 2 { // whoever is asked first
				if got, err := readBlock(t, s, hash); err != nil || !bytes.Equal(got, block) {
					t.Errorf("with a second node: got %d bytes, %v, want %d", len(got), err, len(block))
				}
			}
			cfg.Peers = addrs(bad)
			alone := run(t, cfg)
			_, err := readBlock(t, alone, hash)
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), "no node gives block "+hash.String()) {
				t.Errorf("alone: got %v, want no node to give it because of %v", err, tt.err)
			}
		})
	}
}

func readBlock(t *testing.T, s *Source, hash frame.Hash) ([]byte, error) {
	t.Helper()
	r, err := s.Block(within(t), hash)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return b, err
}

// TestBlockFailsMidway has a node that begins well; the error comes from Read,
// and the next call turns to the other node.
func TestBlockFailsMidway(t *testing.T) {
	hash, block := testBlock(1, 300000)
	whole := rawMessage(regtest.Magic, "block", block)
	wrongSum := bytes.Clone(whole)
	wrongSum[20]++
	tests := []struct {
		name string
		act  func(c *fakeConn, _ frame.Hash)
		err  error
	}{
		{"disconnects", func(c *fakeConn, _ frame.Hash) { c.bytes(whole[:100000]); c.Close() }, ErrDisconnected},
		{"stalls", func(c *fakeConn, _ frame.Hash) { c.bytes(whole[:100000]) }, ErrStalled},
		{"trickles", func(c *fakeConn, _ frame.Hash) {
			for i := range whole {
				if _, err := c.Write(whole[i : i+1]); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}, ErrStalled},
		{"wrong checksum", func(c *fakeConn, _ frame.Hash) { c.bytes(wrongSum) }, ErrChecksum},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := &fakeNode{on: onBlock(tt.act)}
			bad.on["ping"] = func(*fakeConn, []byte) {} // a pong would continue the block
			bad.start(t)
			cfg := shortLimits(bad.addr, "127.0.0.1:1")
			cfg.StallWindow = 300 * time.Millisecond
			good := (&fakeNode{on: serves(block)}).start(t)
			cfg.Peers[1] = good.addr
			s := run(t, cfg)
			until(t, "both are connected", func() bool { return s.Status().Connected == 2 })
			s.blockFailed(s.slots[1]) // so that the first is asked first
			got, err := readBlock(t, s, hash)
			if !errors.Is(err, tt.err) || !bytes.HasPrefix(block, got) || !strings.Contains(err.Error(), bad.addr) {
				t.Errorf("first: got %d bytes, %v, want the start of the block and %v", len(got), err, tt.err)
			}
			if got, err = readBlock(t, s, hash); err != nil || !bytes.Equal(got, block) {
				t.Errorf("again: got %d bytes, %v, want %d", len(got), err, len(block))
			}
		})
	}
}

// TestScannedBlock has nodes whose blocks are scanned: the Merkle root decides, not
// the checksum, and a false block counts against the node.
func TestScannedBlock(t *testing.T) {
	tree := simchain.NewTree()
	mined := tree.Mine(tree.Genesis, 1_700_000_000, nil)
	block := mined.Bytes()
	whole := rawMessage(regtest.Magic, "block", block)
	wrongSum := bytes.Clone(whole)
	wrongSum[20]++
	changed := bytes.Clone(block)
	changed[len(block)-1]++
	changedLater := bytes.Clone(whole)
	changedLater[len(whole)-1]++
	tests := []struct {
		name     string
		message  []byte
		err      error
		failures int
	}{
		{"good", whole, nil, 0},
		{"good, with a wrong checksum", wrongSum, nil, 0},
		{"changed, with a right checksum", rawMessage(regtest.Magic, "block", changed), chainwatch.ErrMerkleRoot, 1},
		{"changed on the way", changedLater, chainwatch.ErrMerkleRoot, 1},
		{"with a byte too many", rawMessage(regtest.Magic, "block", append(bytes.Clone(block), 0)), chainwatch.ErrBlockSize, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			node := (&fakeNode{on: onBlock(func(c *fakeConn, _ frame.Hash) { c.bytes(tt.message) })}).start(t)
			s := run(t, shortLimits(node.addr))
			r, err := s.Block(within(t), mined.Hash)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := chainwatch.NewScanner(frame.Regtest).Block(r, nil); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := s.slots[0].failures; got != tt.failures {
				t.Errorf("the node has %d failures, want %d", got, tt.failures)
			}
		})
	}
}

func TestExtendedBlock(t *testing.T) {
	hash, block := testBlock(3, 100000)
	node := (&fakeNode{on: onBlock(func(c *fakeConn, _ frame.Hash) {
		c.bytes(rawExtended(regtest.Magic, "block", uint64(len(block)), block))
		c.say("inv", rawItems(2, hash)) // shows that the reader goes on at the right place
	})}).start(t)
	s := run(t, shortLimits(node.addr))
	<-s.Wake()
	if got, err := readBlock(t, s, hash); err != nil || !bytes.Equal(got, block) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(block))
	}
	select {
	case <-s.Wake():
	case <-time.After(patience):
		t.Error("the message after the block doesn't arrive")
	}
}

// TestBlockIsNotHeld streams a block and measures that it never was in memory.
func TestBlockIsNotHeld(t *testing.T) {
	const pieces = 64
	head := bytes.Repeat([]byte{9}, 1<<20)
	hash := frame.HashOf(head[:80])
	node := (&fakeNode{on: onBlock(func(c *fakeConn, _ frame.Hash) {
		c.bytes(rawExtended(regtest.Magic, "block", pieces<<20, nil))
		for range pieces {
			c.bytes(head)
		}
	})}).start(t)
	s := run(t, shortLimits(node.addr))
	r, err := s.Block(within(t), hash)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, r)
	runtime.ReadMemStats(&after)
	if n != pieces<<20 || err != nil {
		t.Errorf("got %d bytes, %v, want %d", n, err, pieces<<20)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
		t.Errorf("reading %d bytes allocated %d, want less than 2 MiB", n, got)
	}
}

func TestCloseBeforeTheEnd(t *testing.T) {
	hash, block := testBlock(4, 500000)
	tests := []struct {
		name  string
		drain uint64
		conns int
	}{
		{"little is left: skipped", 500000, 1},
		{"much is left: dropped", 1000, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			node := (&fakeNode{on: serves(block)}).start(t)
			cfg := shortLimits(node.addr)
			cfg.DrainLimit = tt.drain
			s := run(t, cfg)
			r, err := s.Block(within(t), hash)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
				t.Errorf("read after close: got %v, want %v", err, ErrClosed)
			}
			until(t, "the next block comes whole", func() bool {
				got, err := readBlock(t, s, hash)
				return err == nil && bytes.Equal(got, block)
			})
			if got := node.connections(); got != tt.conns {
				t.Errorf("%d connections, want %d", got, tt.conns)
			}
		})
	}
}

// TestReadingEndsWithTheContext reads from a node that hangs, until the context
// ends, and until somebody else closes the block.
func TestReadingEndsWithTheContext(t *testing.T) {
	hash, block := testBlock(5, 100000)
	whole := rawMessage(regtest.Magic, "block", block)
	for _, tt := range []struct {
		name string
		stop func(cancel func(), r io.Closer)
		err  error
	}{
		{"context", func(cancel func(), _ io.Closer) { cancel() }, context.Canceled},
		{"close", func(_ func(), r io.Closer) { _ = r.Close() }, errAbandoned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node := (&fakeNode{on: onBlock(func(c *fakeConn, _ frame.Hash) { c.bytes(whole[:50000]) })}).start(t)
			s := run(t, shortLimits(node.addr))
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			r, err := s.Block(ctx, hash)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			time.AfterFunc(20*time.Millisecond, func() { tt.stop(cancel, r) })
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

// TestGivenUpBlock gives a question up before its answer comes; the answer must
// not disturb the next.
func TestGivenUpBlock(t *testing.T) {
	first, a := testBlock(6, 3000)
	second, b := testBlock(7, 3000)
	asked := make(chan struct{})
	node := (&fakeNode{on: onBlock(func(c *fakeConn, hash frame.Hash) {
		if hash == first {
			close(asked)
			return
		}
		c.say("block", a)
		c.say("block", b)
	})}).start(t)
	node.on["ping"] = func(*fakeConn, []byte) {}
	s := run(t, shortLimits(node.addr))
	ctx, cancel := context.WithCancel(within(t))
	go func() { <-asked; cancel() }()
	if _, err := s.Block(ctx, first); !errors.Is(err, context.Canceled) {
		t.Fatalf("first: got %v, want %v", err, context.Canceled)
	}
	if got, err := readBlock(t, s, second); err != nil || !bytes.Equal(got, b) {
		t.Errorf("second: got %d bytes, %v, want %d", len(got), err, len(b))
	}
	if got := node.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// TestOneBlockAtATime asks one node for two blocks: the second comes when the
// first is closed, and what comes behind a block waits.
func TestOneBlockAtATime(t *testing.T) {
	hash, block := testBlock(8, 300000)
	node := (&fakeNode{on: serves(block)}).start(t)
	s := run(t, shortLimits(node.addr))
	<-s.Wake()
	r, err := s.Block(within(t), hash)
	if err != nil {
		t.Fatal(err)
	}
	node.last().say("inv", rawItems(2, hash))
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Block(short, hash); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second while the first is read: got %v, want %v", err, context.DeadlineExceeded)
	}
	if len(s.Wake()) != 0 {
		t.Error("a message overtook the block")
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
	<-s.Wake()
	if got, err := readBlock(t, s, hash); err != nil || !bytes.Equal(got, block) {
		t.Errorf("second: got %d bytes, %v, want %d", len(got), err, len(block))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestTwoNodesServeTwoBlocks reads two blocks at once.
func TestTwoNodesServeTwoBlocks(t *testing.T) {
	hash, block := testBlock(8, 300000)
	s := run(t, shortLimits(addrs((&fakeNode{on: serves(block)}).start(t), (&fakeNode{on: serves(block)}).start(t))...))
	until(t, "both are connected", func() bool { return s.Status().Connected == 2 })
	var readers []io.ReadCloser
	for range 2 {
		r, err := s.Block(within(t), hash)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		readers = append(readers, r)
	}
	for i, r := range readers {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, block) {
			t.Errorf("block %d: got %d bytes, %v, want %d", i, len(got), err, len(block))
		}
	}
}
