package indextest

import (
	"context"
	"fmt"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// givenUp gives views up in the middle of a question, at another instant each
// time: who reads next must see what is committed.
func givenUp(b bench, _ func() bench) {
	b.update(func(tx index.Tx) error { return writeAll(tx, "first", 0) })
	for i := range 150 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%30)*20*time.Microsecond)
		_ = b.store.View(ctx, func(v index.View) error { // may be too late, or in time
			for {
				if _, err := v.Entries(index.EntryQuery{Limit: 1000}); err != nil {
					return err
				}
			}
		})
		cancel()
		var seq int64
		b.update(func(tx index.Tx) error {
			p := seen(transaction(fmt.Sprint("given up ", i), alice, nil, malformed(frame.N, "x")), index.Decision{Verdict: frame.Malformed})
			arrivals, err := tx.Save([]*index.Placed{p})
			if err != nil {
				return err
			}
			e := &index.Event{Kind: index.KindOf(frame.N, index.EventSeen), Height: -1, Verdict: frame.Malformed, Arrival: arrivals[0][0]}
			err = tx.AppendEvents([]*index.Event{e})
			seq = e.Seq
			return err
		})
		for range 4 { // whichever connections there are
			b.view(func(v index.View) {
				if last := must[int64](b)(v.LastSeq()); last != seq {
					b.Fatalf("round %d: last seq %d, want %d", i, last, seq)
				}
			})
		}
	}
}
