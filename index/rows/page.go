package rows

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

const mostTaken = 4_096 // candidates looked at in one query

// A Candidate is a frame that a listing may show.
type Candidate struct {
	Arrival int64
	ID      frame.ID // zero when malformed
	Again   bool     // another occurrence arrived before
}

// Page returns the arrivals of the page that q asks for: the candidates that are
// shown. take reads up to n candidates in the order of q, and fewer only when
// there are no more; Page moves q.After or q.Before on between its calls.
func Page(q *index.EntryQuery, take func(n int) ([]Candidate, error), shown func(Candidate) (bool, error)) ([]int64, error) {
	var page []int64
	for n := q.Limit; ; n = min(4*n, mostTaken) {
		candidates, err := take(n)
		if err != nil {
			return nil, err
		}
		for _, c := range candidates {
			ok, err := shown(c)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			if page = append(page, c.Arrival); len(page) == q.Limit {
				return page, nil
			}
		}
		if len(candidates) < n {
			return page, nil
		}
		if last := candidates[len(candidates)-1].Arrival; q.Newest {
			q.Before = last
		} else {
			q.After = last
		}
	}
}
