package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A save is one call of Save: what it will write, gathered first so that each
// table is written in a few statements.
type save struct {
	t        *tx
	txs      []txRow
	parties  []partyRow
	frames   []newFrame
	moved    []*index.Placed
	decided  []decidedFrame
	former   []partyRow // address and frame
	counts   map[frame.Verdict]int64
	arrivals [][]int64
}

type txRow struct {
	row    int64
	placed *index.Placed
	packed []byte // input keys
}

type partyRow struct {
	address frame.KeyHash
	of      int64 // a transaction, or a frame
}

type newFrame struct {
	arrival, tx int64
	placed      *index.Placed
	frame       *index.Frame
	decision    *index.Decision
}

// A decidedFrame is a known frame with its new decision.
type decidedFrame struct {
	arrival  int64
	placed   *index.Placed
	decision *index.Decision
}

// Save implements [index.Tx]. Of a known transaction nothing but place, state
// and decisions is written, so what it says needn't be whole.
func (t *tx) Save(placed []*index.Placed) ([][]int64, error) {
	if len(placed) == 0 {
		return nil, t.failed
	}
	s := &save{t: t, counts: map[frame.Verdict]int64{}, arrivals: make([][]int64, len(placed))}
	return s.arrivals, t.write("save transactions", func() error {
		for i, p := range placed {
			if err := s.add(i, p); err != nil {
				return fmt.Errorf("transaction %s: %w", p.Tx.ID, err)
			}
		}
		if err := s.settle(placed); err != nil {
			return err
		}
		return s.write()
	})
}

func (s *save) add(i int, p *index.Placed) error {
	if (p.State == index.Confirmed) != (p.Height >= 0) {
		return fmt.Errorf("%s at height %d", p.State, p.Height)
	}
	if len(p.Tx.Frames) == 0 || len(p.Decisions) != len(p.Tx.Frames) {
		return fmt.Errorf("%d decisions on %d frames", len(p.Decisions), len(p.Tx.Frames))
	}
	for _, d := range p.Decisions {
		if len(d.Keys) > 2 || !slices.Contains(frame.Verdicts, d.Verdict) {
			return fmt.Errorf("the verdict %q with %d keys", d.Verdict, len(d.Keys))
		}
	}
	if p.Row != 0 {
		s.moved = append(s.moved, p)
		return nil
	}
	packed, err := packKeys(p.Tx.InputKeys)
	if err != nil {
		return err
	}
	s.t.last.tx++
	p.Row = s.t.last.tx
	s.txs = append(s.txs, txRow{p.Row, p, packed})
	for _, h := range p.Tx.Reached() {
		s.parties = append(s.parties, partyRow{h, p.Row})
	}
	for j, f := range p.Tx.Frames {
		if err := checkFrame(f); err != nil {
			return fmt.Errorf("output %d: %w", f.Output, err)
		}
		if len(p.Decisions[j].Keys) > len(f.Proofs) {
			return fmt.Errorf("output %d: %d keys made %d signatures", f.Output, len(p.Decisions[j].Keys), len(f.Proofs))
		}
		s.t.last.frame++
		arrival := s.t.last.frame
		s.arrivals[i] = append(s.arrivals[i], arrival)
		s.frames = append(s.frames, newFrame{arrival, p.Row, p, f, &p.Decisions[j]})
		s.count(p, &p.Decisions[j], 1)
	}
	return nil
}

func checkFrame(f *index.Frame) error {
	set, signatures := 0, 0
	if f.Malformed != "" {
		set++
	}
	if f.Message != nil {
		set, signatures = set+1, 1
	}
	if f.Record != nil {
		set, signatures = set+1, len(f.Record.Signatures)
		if signatures != len(f.Record.Signers()) {
			return fmt.Errorf("%d signatures of a %s", signatures, f.Record.Operation)
		}
	}
	if set != 1 {
		return errors.New("a frame is one of malformed, message and record")
	}
	if len(f.Proofs) != signatures {
		return fmt.Errorf("%d proofs of %d signatures", len(f.Proofs), signatures)
	}
	return nil
}

func (s *save) count(p *index.Placed, d *index.Decision, n int64) {
	if p.State == index.Confirmed {
		s.counts[d.Verdict] += n
	}
}

// settle compares the known transactions with what the store has of them.
func (s *save) settle(placed []*index.Placed) error {
	if len(s.moved) == 0 {
		return nil
	}
	rows := make([]int64, len(s.moved))
	for i, p := range s.moved {
		rows[i] = p.Row
	}
	had := make(map[int64][]hadFrame, len(rows))
	if err := s.had(rows, had); err != nil {
		return err
	}
	arrivals := make(map[int64][]int64, len(rows))
	for _, p := range s.moved {
		if arrivals[p.Row] != nil {
			return fmt.Errorf("transaction %s: twice in one call", p.Tx.ID)
		}
		list, err := s.compare(p, had[p.Row])
		if err != nil {
			return fmt.Errorf("transaction %s: %w", p.Tx.ID, err)
		}
		arrivals[p.Row] = list
	}
	for i, p := range placed {
		if list := arrivals[p.Row]; list != nil {
			s.arrivals[i] = list
		}
	}
	return nil
}

// A hadFrame is what the store had of a known frame.
type hadFrame struct {
	arrival   int64
	output    uint32
	confirmed bool
	verdict   frame.Verdict
	address   []byte
}

func (s *save) had(rows []int64, had map[int64][]hadFrame) error {
	const query = `SELECT id, tx, output, height IS NOT NULL, verdict, address FROM frames WHERE tx = ANY ($1::bigint[])`
	err := s.t.each(query, []any{rows}, func(r *row) error {
		h := hadFrame{arrival: r.integer()}
		tx := r.integer()
		h.output, h.confirmed, h.verdict, h.address = r.unsigned(), r.flag(), frame.Verdict(r.text()), r.bytes()
		had[tx] = append(had[tx], h)
		return nil
	})
	for _, list := range had {
		slices.SortFunc(list, func(a, b hadFrame) int { return cmp.Compare(a.arrival, b.arrival) })
	}
	return err
}

func (s *save) compare(p *index.Placed, had []hadFrame) ([]int64, error) {
	if len(had) != len(p.Decisions) {
		return nil, fmt.Errorf("row %d has %d frames, not %d", p.Row, len(had), len(p.Decisions))
	}
	arrivals := make([]int64, len(had))
	for j, h := range had {
		if h.output != p.Tx.Frames[j].Output {
			return nil, fmt.Errorf("row %d has a frame in output %d, not %d", p.Row, h.output, p.Tx.Frames[j].Output)
		}
		arrivals[j] = h.arrival
		d := &p.Decisions[j]
		s.decided = append(s.decided, decidedFrame{h.arrival, p, d})
		if h.confirmed {
			s.counts[h.verdict]--
		}
		s.count(p, d, 1)
		if h.address == nil {
			continue
		}
		if len(h.address) != len(frame.KeyHash{}) {
			return nil, &corruptError{"frames.address"}
		}
		was := frame.KeyHash(h.address)
		if d.Address == nil || *d.Address != was {
			s.former = append(s.former, partyRow{was, h.arrival})
		}
	}
	return arrivals, nil
}

// position is the place in the block, and 0 of what is in none.
func position(p *index.Placed) int64 {
	if p.State != index.Confirmed {
		return 0
	}
	return int64(p.Tx.Index)
}

// write runs the statements. It stops with the first that fails.
func (s *save) write() error {
	for _, step := range []func() error{s.writeNew, s.writeMoved, s.writeCounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *save) writeNew() error {
	err := insert(s.t, txsTable, s.txs, func(r txRow) []any {
		tx := r.placed.Tx
		return []any{r.row, tx.ID[:], string(r.placed.State), nullableHeight(r.placed.Height), position(r.placed),
			tx.Coinbase, packOutputs(tx.Outputs), r.packed, packSpends(tx.Spends)}
	})
	if err != nil {
		return err
	}
	if err := insert(s.t, partiesTable, s.parties, bindParty); err != nil {
		return err
	}
	return insert(s.t, framesTable, s.frames, bindFrame)
}

func bindParty(r partyRow) []any { return []any{r.address[:], r.of} }

func (s *save) writeMoved() error {
	err := update(s.t, `UPDATE txs SET state = moved.state, height = moved.height, position = moved.position
		FROM unnest(%s) AS moved (id, state, height, position) WHERE txs.id = moved.id`,
		[]string{"bigint", "text", "integer", "bigint"}, s.moved, func(p *index.Placed) []any {
			return []any{p.Row, string(p.State), nullableHeight(p.Height), position(p)}
		})
	if err != nil {
		return err
	}
	err = update(s.t, `UPDATE frames SET state = decided.state, height = decided.height, position = decided.position, verdict = decided.verdict,
			address = decided.address, signed_key = decided.signed_key, signed_key2 = decided.signed_key2
		FROM unnest(%s) AS decided (id, state, height, position, verdict, address, signed_key, signed_key2) WHERE frames.id = decided.id`,
		[]string{"bigint", "text", "integer", "bigint", "text", "bytea", "bytea", "bytea"}, s.decided, func(d decidedFrame) []any {
			key, key2 := signedKeys(d.decision)
			return []any{d.arrival, string(d.placed.State), nullableHeight(d.placed.Height), position(d.placed),
				string(d.decision.Verdict), nullableAddress(d.decision.Address), key, key2}
		})
	if err != nil {
		return err
	}
	return insert(s.t, formerTable, s.former, bindParty)
}

// A verdictCount is by how much the number of a verdict changes.
type verdictCount struct {
	verdict frame.Verdict
	frames  int64
}

func (s *save) writeCounts() error {
	var changed []verdictCount
	for _, v := range frame.Verdicts {
		if s.counts[v] != 0 {
			changed = append(changed, verdictCount{v, s.counts[v]})
		}
	}
	err := insert(s.t, verdictsTable, changed, func(c verdictCount) []any { return []any{string(c.verdict), int64(0)} })
	if err != nil {
		return err
	}
	return update(s.t, `UPDATE verdicts SET frames = verdicts.frames + changed.frames
		FROM unnest(%s) AS changed (verdict, frames) WHERE verdicts.verdict = changed.verdict`,
		verdictsTable.types, changed, func(c verdictCount) []any { return []any{string(c.verdict), c.frames} })
}
