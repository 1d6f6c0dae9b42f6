package postgres

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// What is read of a frame, in the order of scanRow, and of its block, in that of
// scanFrame. The forms differ in the bodies that come along: all, or those that
// judging again needs, which are those with the ids to be hashed again too.
const (
	packed    = `f.id, f.height, f.place, f.verdict, f.kind, f.time_order, f.decided, f.data`
	shortBody = `CASE WHEN octet_length(f.body) <= 512 OR f.kind & 16 <> 0 THEN f.body END`
	ofBlock   = `, bl.hash, bl.header `

	bare       = `SELECT ` + packed + `, ` + shortBody + ` `
	withBodies = `SELECT ` + packed + `, f.body` + ofBlock
	forJudging = `SELECT ` + packed + `, ` + shortBody + ofBlock
	inBlock    = ` LEFT JOIN blocks bl ON bl.height = f.height `
)

// scanRow unpacks a frame.
func scanRow(r *row) (*rows.Found, error) {
	p := rows.Row{Arrival: r.integer(), Height: r.integer4(), Place: r.integer4(), Verdict: r.integer2(), Kind: r.integer4(), TimeOrder: r.integer()}
	decided, data, body := r.next(), r.next(), r.next()
	if r.err != nil {
		return nil, r.err
	}
	// What is unpacked points into these bytes, which the driver uses again.
	all := make([]byte, 0, len(decided)+len(data)+len(body))
	all = append(append(append(all, decided...), data...), body...)
	p.Decided, all = all[:len(decided):len(decided)], all[len(decided):]
	p.Data = all[:len(data):len(data)]
	if body != nil {
		p.Body = all[len(data):]
	}
	return rows.Unpack(&p)
}

// scanFrame unpacks a frame and reads its block.
func scanFrame(r *row) (*rows.Found, error) {
	f, err := scanRow(r)
	if err != nil {
		return nil, err
	}
	var header [80]byte
	if r.fill(f.Block[:], "blocks.hash") {
		r.must(header[:], "blocks.header")
		f.Time = int64(binary.LittleEndian.Uint32(header[68:]))
	}
	return f, r.err
}

// found reads frames, their transactions left out but in leads.
func (v *view) found(query string, args ...any) (list []*rows.Found, err error) {
	err = v.each(query, args, gather(&list))
	return list, err
}

// gather adds each frame to a list.
func gather(list *[]*rows.Found) func(*row) error {
	return func(r *row) error {
		f, err := scanFrame(r)
		*list = append(*list, f)
		return err
	}
}

// leads reads the rows that transactions are packed in, for rows.Join.
func (v *view) leads(arrivals []int64) ([]*rows.Found, error) {
	return v.found(forJudging+`FROM frames f`+inBlock+`WHERE f.id = ANY ($1::bigint[])`, arrivals)
}

// entries reads frames.
func (v *view) entries(query string, args ...any) ([]*rows.Found, error) {
	list, err := v.found(query, args...)
	if err != nil {
		return nil, err
	}
	return list, rows.Join(list, v.leads)
}

// entriesOf reads the frames with the arrivals given, whole.
func (v *view) entriesOf(arrivals []int64) (map[int64]*index.Entry, error) {
	byArrival := make(map[int64]*index.Entry, len(arrivals))
	if len(arrivals) == 0 {
		return byArrival, nil
	}
	list, err := v.entries(withBodies+`FROM frames f`+inBlock+`WHERE f.id = ANY ($1::bigint[])`, arrivals)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		byArrival[f.Arrival] = f.Entry
	}
	for _, a := range arrivals {
		if byArrival[a] == nil {
			return nil, &rows.CorruptError{Column: "frames.id: a frame is missing"}
		}
	}
	return byArrival, nil
}

// What finds frames by their ids; the partial indexes have the same conditions.
const (
	isFact     = `f.height >= 0 AND f.verdict = 11`
	isFactOfID = `f.frame_key <> 0 AND ` + isFact
	isOtherID  = `f.frame_key <> 0 AND (f.height < 0 OR f.verdict <> 11)`
)

// Occurrences implements [index.View].
func (v *view) Occurrences(id frame.ID) ([]*index.Entry, error) {
	list, err := v.found(withBodies+`FROM (SELECT * FROM frames f WHERE f.frame_key = $1 AND `+isFactOfID+`
		UNION ALL SELECT * FROM frames f WHERE f.frame_key = $1 AND `+isOtherID+`) f`+inBlock, rows.KeyOf(id))
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(f *rows.Found) bool { return f.ID != id })
	return v.joined(list, func(a, b *rows.Found) int { return cmp.Compare(a.Arrival, b.Arrival) })
}

// joined sorts frames and gives them their transactions.
func (v *view) joined(list []*rows.Found, order func(a, b *rows.Found) int) ([]*index.Entry, error) {
	if err := rows.Join(list, v.leads); err != nil {
		return nil, err
	}
	slices.SortFunc(list, order)
	entries := make([]*index.Entry, len(list))
	for i, f := range list {
		entries[i] = f.Entry
	}
	return entries, nil
}

// InTransaction implements [index.View].
func (v *view) InTransaction(txid frame.Hash) ([]*index.Entry, error) {
	list, err := v.found(withBodies+`FROM frames f`+inBlock+`WHERE f.tx_key = $1 AND f.tx_key <> 0`, rows.KeyOf(txid))
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(f *rows.Found) bool { return f.Tx == nil || f.Tx.ID != txid })
	more, err := v.others(withBodies, list)
	if err != nil {
		return nil, err
	}
	return v.joined(append(list, more...), func(a, b *rows.Found) int {
		return cmp.Or(cmp.Compare(a.Output, b.Output), cmp.Compare(a.Arrival, b.Arrival))
	})
}

// others reads the frames beside the leads in their transactions.
func (v *view) others(columns string, leads []*rows.Found) ([]*rows.Found, error) {
	var first, last []int64
	for _, f := range leads {
		if f.Frames > 1 {
			first, last = append(first, f.Arrival+1), append(last, f.Arrival+f.Frames-1)
		}
	}
	if len(first) == 0 {
		return nil, nil
	}
	return v.found(columns+`FROM unnest($1::bigint[], $2::bigint[]) AS span (first, last)
		CROSS JOIN LATERAL (SELECT * FROM frames f WHERE f.id >= span.first AND f.id <= span.last OFFSET 0) f`+inBlock, first, last)
}

// NameEntries implements [index.View].
func (v *view) NameEntries(name string, limit int) ([]*index.Entry, error) {
	const newest = withBodies + `FROM frames f` + inBlock + `WHERE f.name_key = $1 AND f.name_key <> 0 AND f.id < $2 ORDER BY f.id DESC LIMIT $3`
	var list []*rows.Found
	for before := int64(endless); len(list) < limit; {
		n := limit - len(list)
		part, err := v.found(newest, rows.NameKey(name), before, n)
		if err != nil {
			return nil, err
		}
		for _, f := range part {
			if before = f.Arrival; f.Record != nil && f.Record.Name == name {
				list = append(list, f)
			}
		}
		if len(part) < n {
			break
		}
	}
	return v.joined(list, func(a, b *rows.Found) int { return cmp.Compare(a.Arrival, b.Arrival) })
}

// Unconfirmed implements [index.View]. Message bodies are left out but where
// judging a message again needs its body: where it is signed in DER.
func (v *view) Unconfirmed() ([]*index.Saved, error) {
	list, err := v.found(forJudging + `FROM frames f` + inBlock + `WHERE f.height = -1 ORDER BY f.id`)
	if err != nil {
		return nil, err
	}
	return v.saved(list)
}

// saved puts frames together to their transactions, in the order of the leads.
func (v *view) saved(list []*rows.Found) ([]*index.Saved, error) {
	if err := rows.Join(list, v.leads); err != nil {
		return nil, err
	}
	var all []*index.Saved
	byLead := make(map[int64]*index.Saved, len(list))
	for _, f := range list {
		s := byLead[f.Lead]
		if s == nil {
			s = &index.Saved{Row: f.Lead, State: f.State, Height: f.Height, Seen: f.Lead}
			byLead[f.Lead] = s
			all = append(all, s)
		}
		f.Light()
		s.Entries = append(s.Entries, f.Entry)
	}
	return all, nil
}
