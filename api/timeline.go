package api

import (
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A timeline tells who held the names of a matcher when, as one snapshot has it.
type timeline struct {
	holders map[string][]holding
	now     map[string]frame.KeyHash
	// involved are all addresses that operations on the names name; unknown when
	// there are more operations than are read.
	involved []frame.KeyHash
	unknown  bool
}

// A holding begins with a valid confirmed operation and ends with the next.
type holding struct {
	from    nprotocol.Position
	expires int64 // Unix seconds; 0 after a delete
	address frame.KeyHash
}

func position(e *index.Entry) nprotocol.Position {
	return nprotocol.Position{Height: e.Height, Index: e.Tx.Index, Output: e.Output}
}

func (v *view) timeline(names []string) (*timeline, error) {
	t := &timeline{holders: map[string][]holding{}, now: map[string]frame.KeyHash{}}
	for _, name := range names {
		entries, err := v.NameEntries(name, nameEntriesMax)
		if err != nil {
			return nil, err
		}
		t.unknown = t.unknown || len(entries) >= nameEntriesMax
		for _, e := range entries {
			t.involved = append(t.involved, concerned(e)...)
			if e.State == index.Confirmed && e.Verdict == frame.Valid {
				t.holders[name] = append(t.holders[name], held(e))
			}
		}
		slices.SortFunc(t.holders[name], func(a, b holding) int { return a.from.Compare(b.from) })
	}
	var err error
	t.now, err = v.holders(names)
	return t, err
}

func held(e *index.Entry) holding {
	h := holding{from: position(e), expires: e.Time + nprotocol.Lifetime, address: e.Record.Address}
	switch e.Record.Operation {
	case nprotocol.Transfer:
		h.address = e.Record.NewAddress
	case nprotocol.Delete:
		h.expires = 0
	}
	return h
}

// holders resolves names at the view's tip; those that are nobody's stay out.
func (v *view) holders(names []string) (map[string]frame.KeyHash, error) {
	found := make(map[string]frame.KeyHash, len(names))
	if len(names) == 0 {
		return found, nil
	}
	facts, err := v.Facts(index.Need{Names: names})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if h, ok := facts.Ledger.Resolve(name, v.tip.MedianTime); ok {
			found[name] = h
		}
	}
	return found, nil
}

// resolve tells whose a name was where an entry stands; for what is unconfirmed,
// whose it is now.
func (t *timeline) resolve(name string, e *index.Entry) (frame.KeyHash, bool) {
	if e.State != index.Confirmed {
		h, ok := t.now[name]
		return h, ok
	}
	list := t.holders[name]
	i, exact := slices.BinarySearchFunc(list, position(e), func(h holding, at nprotocol.Position) int {
		return h.from.Compare(at)
	})
	if !exact {
		i--
	}
	if i < 0 || e.Time >= list[i].expires {
		return frame.KeyHash{}, false
	}
	return list[i].address, true
}
