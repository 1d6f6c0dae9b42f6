package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/signer/broadcast"
)

// Sink returns a sink that counts what a follower saves in it. One goroutine, the
// follower's, calls it.
func (m *Metrics) Sink(to chainwatch.Sink) chainwatch.Sink { return &sink{Sink: to, m: m} }

type sink struct {
	chainwatch.Sink
	m      *Metrics
	height int32 // of the index when it was last asked for
}

// saved notes one commit, or the failure of one. That the service ends is none.
func (s *sink) saved(ctx context.Context, op string, start time.Time, err error) error {
	if err != nil {
		if ctx.Err() == nil {
			s.m.storeErrors.WithLabelValues(op).Inc()
		}
		return err
	}
	s.m.saveTime.WithLabelValues(op).Observe(time.Since(start).Seconds())
	return nil
}

func (s *sink) Tip(ctx context.Context) (index.Tip, error) {
	tip, err := s.Sink.Tip(ctx)
	if err == nil {
		s.height = tip.Height
	} else if ctx.Err() == nil {
		s.m.storeErrors.WithLabelValues(opRead).Inc()
	}
	return tip, err
}

func (s *sink) Connect(ctx context.Context, blocks []*index.Block) error {
	start := time.Now()
	if err := s.saved(ctx, opConnect, start, s.Sink.Connect(ctx, blocks)); err != nil {
		return err
	}
	frames, transactions := 0, 0
	for _, b := range blocks {
		transactions += len(b.Transactions)
		for _, tx := range b.Transactions {
			frames += len(tx.Frames)
		}
	}
	s.m.connected.Add(float64(len(blocks)))
	s.m.transactions.WithLabelValues("block").Add(float64(transactions))
	s.m.saveBlocks.Observe(float64(len(blocks)))
	s.m.saveFrames.WithLabelValues(opConnect).Observe(float64(frames))
	return nil
}

func (s *sink) Disconnect(ctx context.Context, height int32) error {
	start := time.Now()
	if err := s.saved(ctx, opDisconnect, start, s.Sink.Disconnect(ctx, height)); err != nil {
		return err
	}
	depth := max(s.height-height, 0)
	s.height = height
	s.m.depth.Observe(float64(depth))
	s.m.disconnected.Add(float64(depth))
	return nil
}

func (s *sink) Seen(ctx context.Context, txs []*index.Transaction) ([][]index.Decision, error) {
	start := time.Now()
	decisions, err := s.Sink.Seen(ctx, txs)
	if err = s.saved(ctx, opSeen, start, err); err != nil {
		return nil, err
	}
	frames := 0
	for _, tx := range txs {
		frames += len(tx.Frames)
	}
	s.m.transactions.WithLabelValues("mempool").Add(float64(len(txs)))
	s.m.saveFrames.WithLabelValues(opSeen).Observe(float64(frames))
	return decisions, nil
}

func (s *sink) Drop(ctx context.Context, txids []frame.Hash, reason string) error {
	start := time.Now()
	return s.saved(ctx, opDrop, start, s.Sink.Drop(ctx, txids, reason))
}

// Index returns an index that counts what is read from it, and what of that the
// store fails to give.
func (m *Metrics) Index(of api.Index) api.Index { return &reader{of, m} }

type reader struct {
	api.Index
	m *Metrics
}

func (r *reader) View(ctx context.Context, read func(index.View) error) error {
	err := r.Index.View(ctx, read)
	r.m.reads.Inc()
	if err != nil && !blameless(err) {
		r.m.storeErrors.WithLabelValues(opRead).Inc()
	}
	return err
}

// blameless tells whether a read failed for what was asked, not for the store: the
// reader passes its own refusals through. That the time ran out is the store's.
func blameless(err error) bool {
	var asked *client.Problem
	return errors.As(err, &asked) || errors.Is(err, index.ErrNotFound) || errors.Is(err, context.Canceled)
}

// Way returns a way to submit that is counted.
func (m *Metrics) Way(w broadcast.Way) broadcast.Way {
	submit := w.Submit
	w.Submit = func(ctx context.Context, tx *broadcast.Transaction) error {
		start := time.Now()
		err := submit(ctx, tx)
		m.Submitted(w.Name, time.Since(start), err)
		return err
	}
	return w
}
