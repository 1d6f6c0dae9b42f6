package rows

import (
	"reflect"
	"testing"

	"github.com/metaim/metaim/index"
)

func TestSortable(t *testing.T) {
	stamps := []uint64{0, 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	for i, n := range stamps {
		if got := Unsortable(Sortable(n)); got != n {
			t.Errorf("%d: got %d back", n, got)
		}
		if i > 0 && Sortable(stamps[i-1]) >= Sortable(n) {
			t.Errorf("%d and %d: got %d and %d, want them in order", stamps[i-1], n, Sortable(stamps[i-1]), Sortable(n))
		}
	}
}

func TestPage(t *testing.T) {
	const last = 100 // arrivals are 1 to 100
	odd := func(c Candidate) (bool, error) { return c.Arrival%2 == 1, nil }
	for _, c := range []struct {
		name  string
		q     index.EntryQuery
		want  []int64
		takes int
	}{
		{"oldest first, in two takes", index.EntryQuery{Limit: 3, Before: last + 1}, []int64{1, 3, 5}, 2},
		{"newest first", index.EntryQuery{Limit: 3, Before: last + 1, Newest: true}, []int64{99, 97, 95}, 2},
		{"until there are no more", index.EntryQuery{Limit: 3, After: 96, Before: last + 1}, []int64{97, 99}, 2},
		{"nothing there", index.EntryQuery{Limit: 3, After: last, Before: last + 1}, nil, 1},
	} {
		takes := 0
		got, err := Page(&c.q, func(n int) (list []Candidate, err error) {
			takes++
			for i := int64(1); i <= last && len(list) < n; i++ {
				a := i
				if c.q.Newest {
					a = last + 1 - i
				}
				if a > c.q.After && a < c.q.Before {
					list = append(list, Candidate{Arrival: a})
				}
			}
			return list, nil
		}, odd)
		if err != nil || !reflect.DeepEqual(got, c.want) || takes != c.takes {
			t.Errorf("%s: got %v, %v in %d takes, want %v in %d", c.name, got, err, takes, c.want, c.takes)
		}
	}
}
