package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

func copyComparisons() []*measure.Comparison { return []*measure.Comparison{copyIn()} }

const (
	sideCopyIn  = "COPY"
	sideConnect = "metaim"
)

// copyIn compares the durable way of messages that are proved - judged, saved with
// their events, committed a few thousand at a time - with copying the rows that
// come of it into an empty table with the same indexes, at once.
func copyIn() *measure.Comparison {
	return &measure.Comparison{
		Name: "ingest/copy", Title: "Durable ingest beside plain COPY into the same table, PostgreSQL",
		Note: "Messages of 300 bytes whose signatures are proved; 10 blocks of 1,000 a transaction. COPY is binary, of the same rows, in one transaction. " + durability + ".",
		Prepare: func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
			at, end, err := newPlace("postgres")
			if err != nil {
				return end, err
			}
			batches := measure.Pick(size, 8, 1)
			rows, err := copyOut(ctx, at, batches)
			if err != nil {
				return end, err
			}
			messages := float64(batches * 10 * messagesInBlock)
			c.Sides = []measure.Side{
				{Name: sideConnect, Run: func(ctx context.Context, r *measure.Round) error {
					_, err := connectBatches(ctx, at, batches, r)
					return err
				}},
				{Name: sideCopyIn, Run: func(ctx context.Context, r *measure.Round) error { return copyRows(ctx, at, rows, messages, r) }},
			}
			return end, nil
		},
		Figures: []measure.Figure{
			{Name: "messages a second, of COPY", Unit: "ratio", Goal: measure.AtLeast(0.5),
				Of: func(s map[string]measure.Sample) float64 { return s[sideConnect].Rate() / s[sideCopyIn].Rate() }},
			{Name: "durable ingest", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s[sideConnect].Rate() }},
			{Name: "COPY", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s[sideCopyIn].Rate() }},
			{Name: "durable ingest, a message", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s[sideConnect].Cost() }},
			{Name: "COPY, a row", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s[sideCopyIn].Cost() }},
		},
	}
}

// connectBatches fills a fresh store and returns its specification. r may be nil.
func connectBatches(ctx context.Context, at *place, batches int, r *measure.Round) (spec string, err error) {
	if spec, err = at.fresh(); err != nil {
		return "", err
	}
	store, err := openStore(ctx, spec)
	if err != nil {
		return "", err
	}
	defer store.Close() //nolint:errcheck // what was measured is committed
	writer := index.NewWriter(store, index.DefaultRules(simchain.Network), nil)
	blocks := make([][]*index.Block, batches)
	prev, height := frame.Hash{}, int32(0)
	for i := range blocks {
		for range 10 {
			b := blockOf(height, prev)
			prev, height = b.Hash, height+1
			blocks[i] = append(blocks[i], b)
		}
	}
	if r != nil {
		r.Count(false, at.pids...)
		r.Start()
	}
	for _, batch := range blocks {
		if err := writer.Connect(ctx, batch); err != nil {
			return "", err
		}
	}
	if r != nil {
		r.Stop(float64(batches * 10 * messagesInBlock))
	}
	return spec, nil
}

// copyOut makes rows and returns them in the binary form of COPY.
func copyOut(ctx context.Context, at *place, batches int) ([]byte, error) {
	spec, err := connectBatches(ctx, at, batches, nil)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) //nolint:errcheck // it was only read
	var rows bytes.Buffer
	_, err = conn.PgConn().CopyTo(ctx, &rows, `COPY frames TO STDOUT (FORMAT binary)`)
	return rows.Bytes(), err
}

func copyRows(ctx context.Context, at *place, rows []byte, messages float64, r *measure.Round) error {
	spec, err := at.fresh()
	if err != nil {
		return err
	}
	store, err := openStore(ctx, spec) // makes the table
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, spec)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // what was measured is committed
	r.Count(false, at.pids...)
	r.Start()
	done, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(rows), `COPY frames FROM STDIN (FORMAT binary)`)
	r.Stop(messages)
	if err == nil && done.RowsAffected() != int64(messages) {
		err = fmt.Errorf("%d rows were copied, not %v", done.RowsAffected(), messages)
	}
	return err
}
