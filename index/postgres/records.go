package postgres

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A place is where a record may stand that is sought.
type place struct {
	height, place int32
	arrival       int64
}

// ValidRecords implements [index.Tx].
func (t *tx) ValidRecords(names []string, peers []nprotocol.PeerKey, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	if len(names)+len(peers) == 0 {
		return nil
	}
	sought := make(map[nprotocol.Subject]bool, len(names)+len(peers)) // those of names with no address
	var nameKeys, peerKeys []int64
	for _, name := range names {
		sought[nprotocol.Subject{Protocol: frame.N, Text: name}] = true
		nameKeys = append(nameKeys, rows.NameKey(name))
	}
	for _, p := range peers {
		s := nprotocol.Subject{Protocol: frame.P, Address: p.Address, Text: p.IP}
		sought[s] = true
		peerKeys = append(peerKeys, rows.SubjectKey(s))
	}
	var places []place
	gather := func(r *row) error {
		places = append(places, place{r.integer4(), r.integer4(), r.integer()})
		return nil
	}
	const columns = `SELECT f.height, f.place, f.id FROM frames f WHERE `
	err := t.ask(
		question{columns + `f.name_key = ANY ($1::bigint[]) AND f.name_key <> 0 AND ` + isFact, []any{nameKeys}, gather},
		question{columns + `f.content_key = ANY ($1::bigint[]) AND f.content_key <> 0 AND ` + isFact, []any{peerKeys}, gather})
	if err != nil {
		return err
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.height, b.height), cmp.Compare(a.place, b.place), cmp.Compare(a.arrival, b.arrival))
	})
	for chunk := range slices.Chunk(slices.Compact(places), fetched) {
		if err := t.yieldRecords(chunk, sought, yield); err != nil {
			return err
		}
	}
	return nil
}

// A dated is a record with the median time of its block.
type dated struct {
	*rows.Found
	now int64
}

func (t *tx) yieldRecords(places []place, sought map[nprotocol.Subject]bool, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	arrivals := make([]int64, len(places))
	for i, p := range places {
		arrivals[i] = p.arrival
	}
	records := make(map[int64]dated, len(places))
	err := t.each(forJudging+`, bl.median_time FROM frames f`+inBlock+`WHERE f.id = ANY ($1::bigint[])`, []any{arrivals}, func(r *row) error {
		f, err := scanFrame(r)
		if err != nil {
			return err
		}
		now, inBlock := r.number()
		if !inBlock {
			r.fault("frames.height: no such block")
		}
		records[f.Arrival] = dated{f, now}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range places {
		f := records[p.arrival]
		if !isSought(f.Record, sought) {
			continue // of the same key
		}
		position := nprotocol.Position{Height: p.height, Index: rows.IndexOf(p.place), Output: f.Output}
		if err := yield(f.Record, nprotocol.Moment{Position: position, Time: f.Time, Now: f.now}); err != nil {
			return err
		}
	}
	return nil
}

func isSought(r *nprotocol.Record, sought map[nprotocol.Subject]bool) bool {
	if r == nil {
		return false
	}
	s := r.Subject()
	if r.Protocol == frame.N {
		s.Address = frame.KeyHash{}
	}
	return sought[s]
}

var _ index.Tx = (*tx)(nil)
