package rows

import (
	"errors"
	"reflect"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// What a damaged or foreign database gives is refused, never read past its end.
func TestUnpack(t *testing.T) {
	outputs := func(b []byte) (any, error) { v, err := UnpackOutputs(b); return v, err }
	keys := func(b []byte) (any, error) { v, err := UnpackKeys(b); return v, err }
	spends := func(b []byte) (any, error) { v, err := UnpackSpends(b); return v, err }
	twoOutputs := []frame.KeyHash{{1}, {2}}
	twoKeys := [][]byte{{2, 3}, make([]byte, 255)}
	twoSpends := []index.Outpoint{{TxID: frame.Hash{1}, Output: 0xffffffff}, {TxID: frame.Hash{2}}}
	for _, c := range []struct {
		name   string
		unpack func([]byte) (any, error)
		packed []byte
		want   any // nil: refused
	}{
		{"no outputs", outputs, PackOutputs(nil), []frame.KeyHash(nil)},
		{"outputs", outputs, PackOutputs(twoOutputs), twoOutputs},
		{"half an output", outputs, PackOutputs(twoOutputs)[:30], nil},
		{"no keys", keys, PackKeys(nil), [][]byte(nil)},
		{"keys", keys, PackKeys(twoKeys), twoKeys},
		{"an empty key", keys, []byte{0}, nil},
		{"a key cut short", keys, []byte{2, 1}, nil},
		{"no spends", spends, PackSpends(nil), []index.Outpoint(nil)},
		{"spends", spends, PackSpends(twoSpends), twoSpends},
		{"half an outpoint", spends, PackSpends(twoSpends)[:35], nil},
	} {
		got, err := c.unpack(c.packed)
		var corrupt *CorruptError
		switch {
		case c.want == nil && !errors.As(err, &corrupt):
			t.Errorf("%s: got %v, %v, want a CorruptError", c.name, got, err)
		case c.want != nil && (err != nil || !reflect.DeepEqual(got, c.want)):
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

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
