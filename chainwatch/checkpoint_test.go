package chainwatch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
)

// TestCheckpoints: a branch that contradicts a checkpoint is refused at it, however
// much work it has; one that holds it goes on.
func TestCheckpoints(t *testing.T) {
	c := regtestChain()
	good := branch(t, c, genesisOf(c), 3, easy, 1)
	params := *ParamsOf(frame.Regtest)
	params.Checkpoints = map[int32]frame.Hash{2: good[1]}
	c = NewChain(&params)
	branch(t, c, genesisOf(c), 3, easy, 1)
	other := mineOn(genesisOf(c), 1_400_000_000, harder, 2)
	if _, err := c.Add(other); err != nil {
		t.Errorf("below the checkpoint: %v", err)
	}
	wrong := mineOn(other.Hash(), 1_400_000_600, harder, 2)
	if _, err := c.Add(wrong); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("at the checkpoint: got %v, want %v", err, ErrCheckpoint)
	}
	if best, height := c.Best(); height != 3 && best != other.Hash() {
		t.Errorf("the best is %s at %d", best, height)
	}
	if _, err := c.Add(mineOn(wrong.Hash(), 1_400_001_200, harder, 2)); !errors.Is(err, ErrOrphan) {
		t.Errorf("after it: got %v, want %v", err, ErrOrphan)
	}
}

// TestCheckpointsOfNetworks: those of mainnet hold the block that lies with the
// test data, at the height that its coinbase tells, and hashes of the networks
// have the work of their time at least.
func TestCheckpointsOfNetworks(t *testing.T) {
	for _, n := range []frame.Network{frame.Main, frame.Test} {
		p := ParamsOf(n)
		if len(p.Checkpoints) < 10 {
			t.Errorf("%s: %d checkpoints", n, len(p.Checkpoints))
		}
		for height, hash := range p.Checkpoints {
			if !bytes.Equal(hash[28:], make([]byte, 4)) || height < 1 {
				t.Errorf("%s, height %d: %s has no work", n, height, hash)
			}
		}
	}
	block := mainnetBlock(t)
	header := Header(block[:HeaderSize])
	// The coinbase begins: version, one input, no outpoint, length, push of 3: height.
	if at := block[HeaderSize+3+4+1+36+1:]; !bytes.Equal(at[:4], []byte{3, 0xc1, 0xc5, 0x0a}) {
		t.Errorf("the block's height: got % x, want 705985", at[:4])
	}
	if got := ParamsOf(frame.Main).Checkpoints[705985]; got != header.Hash() {
		t.Errorf("block 705985: got %s, want %s", got, header.Hash())
	}
}

// A liar gives headers that it is given.
type liar struct {
	headers []Header
	refused error
}

func (l *liar) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (l *liar) Headers(context.Context, []frame.Hash) ([]Header, error) {
	return l.headers, nil
}
func (l *liar) Block(context.Context, frame.Hash) (io.ReadCloser, error) {
	return nil, errors.New("no")
}
func (l *liar) Transactions() <-chan []byte { return nil }
func (l *liar) Wake() <-chan struct{}       { return nil }
func (l *liar) Status() Status {
	return Status{Connected: 1, Nodes: []Node{{Address: "liar.example:8333"}}}
}

// A modest liar hears of it.
type modest struct{ *liar }

func (l modest) Refused(_ Header, err error) { l.refused = err }

// TestLiar: a source whose headers can't be is named in the log and in what keeps
// the server from being ready; one that drops its nodes itself is told.
func TestLiar(t *testing.T) {
	params := *ParamsOf(frame.Regtest)
	params.Checkpoints = map[int32]frame.Hash{1: {7}}
	idle := wireHeader(params.Genesis.Hash(), frame.Hash{}, 1, easy)
	for idle.Hash()[31] < 0x80 {
		idle[76]++
	}
	for name, h := range map[string]Header{"no work": idle, "a checkpoint": mineOn(params.Genesis.Hash(), 1, easy, 1)} {
		var log bytes.Buffer
		l := &liar{headers: []Header{h}}
		follow := func(s Source) Health {
			f := NewFollower(s, index.NewWriter(memory.New(), index.DefaultRules(frame.Regtest), nil),
				Config{Params: &params, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err := f.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = f.Sync(t.Context()) // the genesis block isn't asked for
			return f.Health()
		}
		if got := follow(l); got.Synced || !strings.Contains(got.Trouble, "liar.example:8333") || !strings.Contains(log.String(), "liar.example:8333") {
			t.Errorf("%s: got synced %v, trouble %q, log %q; want the source named", name, got.Synced, got.Trouble, log.String())
		}
		follow(modest{l})
		if !errors.Is(l.refused, ErrWork) && !errors.Is(l.refused, ErrCheckpoint) {
			t.Errorf("%s: the source is told %v", name, l.refused)
		}
	}
}
