package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/spf13/cobra"
)

func newAudit(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Derive an index again and name the first difference",
		Long: `Derives the confirmed index again in memory and compares: state hash by state
hash, then line by line. With --source everything is read from the blocks again;
without, what the store holds is judged again. The store is only read.`,
		Example: "  metaim audit --store sqlite:index.db --network main\n  metaim audit --store sqlite:index.db --network main --source blocks:blocks/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAudit(cmd, p)
		},
	}
	sourceSetting.add(c)
	zmqSetting.add(c)
	quietSetting.add(c)
	addStoreFlags(c)
	return c
}

func runAudit(c *cobra.Command, p *program) error {
	spec := sourceSetting.value(c, p)
	return withStore(c, p, func(v index.View, network frame.Network) error {
		tip, err := v.Tip()
		if err != nil {
			return err
		}
		again := memory.New()
		writer := index.NewWriter(again, index.DefaultRules(network), nil)
		if spec == "" {
			err = rejudge(c.Context(), v, writer)
		} else {
			err = deriveFrom(c, p, spec, network, tip, writer)
		}
		if err != nil {
			return errors.Join(err, again.Close())
		}
		err = again.View(c.Context(), func(w index.View) error { return compareViews(v, w, network) })
		if err := errors.Join(err, again.Close()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "height %d: derived again, no difference; state hash %s\n", tip.Height, hex.EncodeToString(tip.StateHash[:]))
		return err
	})
}

// deriveFrom indexes the source's blocks up to the tip of the store under audit.
func deriveFrom(c *cobra.Command, p *program, spec string, network frame.Network, tip index.Tip, writer *index.Writer) error {
	logger, err := newLogger(quietSetting.value(c, p), p.err)
	if err != nil || tip.Height < 0 {
		return err
	}
	params := chainwatch.ParamsOf(network)
	source, err := openSource(c.Context(), spec, zmqSetting.value(c, p), params, logger, p)
	if err != nil {
		return err
	}
	follower := chainwatch.NewFollower(source, writer, chainwatch.Config{Params: params, Logger: logger, Until: tip.Height})
	_, err = catchUp(c.Context(), p, source, follower, writer)
	return err
}

// rejudge feeds a writer with the blocks and frames that a store holds.
func rejudge(ctx context.Context, v index.View, writer *index.Writer) error {
	r := &rejudger{ctx: ctx, view: v, writer: writer}
	if err := v.Confirmed(r.entry); err != nil {
		return err
	}
	tip, err := v.Tip()
	if err != nil {
		return err
	}
	return r.upto(tip.Height)
}

type rejudger struct {
	ctx    context.Context
	view   index.View
	writer *index.Writer
	next   int32 // height of the block that txs are of, or that comes next
	txs    []*index.Transaction
}

// entry takes the next confirmed frame in canonical order.
func (r *rejudger) entry(e *index.Entry) error {
	if err := r.upto(e.Height - 1); err != nil {
		return err
	}
	if n := len(r.txs); n == 0 || r.txs[n-1].Index != e.Tx.Index {
		tx := *e.Tx
		tx.Frames = nil
		r.txs = append(r.txs, &tx)
	}
	tx := r.txs[len(r.txs)-1]
	tx.Frames = append(tx.Frames, e.Frame)
	return nil
}

// upto connects the blocks up to a height; the collected transactions are of the
// first of them.
func (r *rejudger) upto(height int32) error {
	for r.next <= height {
		tips, err := r.view.Blocks(r.next, int(min(1000, height-r.next+1)))
		if err != nil {
			return err
		}
		if len(tips) == 0 || tips[0].Height != r.next {
			return fmt.Errorf("the store has no block %d", r.next)
		}
		blocks := make([]*index.Block, len(tips))
		for i, t := range tips {
			blocks[i] = &index.Block{Height: t.Height, Hash: t.Hash, Header: t.Header, MedianTime: t.MedianTime}
		}
		blocks[0].Transactions, r.txs = r.txs, nil
		if err := r.writer.Connect(r.ctx, blocks); err != nil {
			return err
		}
		r.next += int32(len(tips))
	}
	return nil
}

// compareViews names the first difference between a store and what was derived
// again: the first block after which their state hashes differ, or the first line
// of their exports that does.
func compareViews(stored, derived index.View, network frame.Network) error {
	for from := int32(0); ; {
		a, err := stored.Blocks(from, 1000)
		if err != nil {
			return err
		}
		b, err := derived.Blocks(from, 1000)
		if err != nil {
			return err
		}
		for i := range min(len(a), len(b)) {
			if a[i].Hash != b[i].Hash {
				return fmt.Errorf("block %d: the store has %s, the source %s", a[i].Height, a[i].Hash, b[i].Hash)
			}
			if a[i].StateHash != b[i].StateHash {
				return fmt.Errorf("block %d %s: the store's state hash is %x, derived again it is %x", a[i].Height, a[i].Hash, a[i].StateHash, b[i].StateHash)
			}
		}
		if len(a) != len(b) {
			return fmt.Errorf("the store has %d blocks from %d on, derived again there are %d", len(a), from, len(b))
		}
		if len(a) == 0 {
			return compareExports(stored, derived, network)
		}
		from = a[len(a)-1].Height + 1
	}
}

func compareExports(stored, derived index.View, network frame.Network) error {
	a, closeA := exportLines(stored, network)
	defer closeA()
	b, closeB := exportLines(derived, network)
	defer closeB()
	for n := 1; ; n++ {
		x, errA := a.ReadBytes('\n')
		y, errB := b.ReadBytes('\n')
		switch {
		case !bytes.Equal(x, y):
			return fmt.Errorf("line %d of the export: the store says\n  %s\nand derived again it is\n  %s", n, bytes.TrimSpace(x), bytes.TrimSpace(y))
		case errors.Is(errA, io.EOF) && errors.Is(errB, io.EOF):
			return nil
		case errA != nil || errB != nil:
			return errors.Join(errA, errB)
		}
	}
}

// exportLines exports a view into a pipe; the function returned ends it.
func exportLines(v index.View, network frame.Network) (*bufio.Reader, func()) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(index.Export(w, v, network, true))
	}()
	return bufio.NewReaderSize(r, 1<<20), func() {
		_ = r.Close() // a pipe's reader
		<-done
	}
}
