package postgres

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// What is read of a frame, in the order of scanEntry. The forms differ in the
// bodies that come along: all, or those that judging again needs.
const (
	frameColumns = `f.id, f.tx, f.output, f.state, f.height, f.verdict, f.protocol, f.operation,
		bl.hash, bl.header, bl.median_time, f.address, f.signed_key, f.signed_key2,
		f.malformed, f.frame_id, f.content_id, f.source, f.type, f.encryption, f.name, f.ip,
		f.holder, f.new_address, f.other, f.time_stamp, f.signature, f.signature2, f.proved_key, f.proved_key2, `
	frameTables = ` FROM frames f LEFT JOIN blocks bl ON bl.height = f.height `
	withBodies  = `SELECT ` + frameColumns + `f.body` + frameTables
	forJudging  = `SELECT ` + frameColumns + `CASE WHEN f.needs_body THEN f.body END` + frameTables

	txColumns = `SELECT t.id, t.state, t.height, t.txid, t.position, t.coinbase, t.outputs, t.input_keys, t.spends FROM txs t `
)

// message is the operation of an IM frame, as [index.Frame.Operation] says it.
const message = "message"

// A found is a frame as it is read.
type found struct {
	*index.Entry        // its Tx is for the reader to set
	tx           int64  // the row of its transaction
	medianTime   *int64 // of its block, nil when it is in none
}

func scanEntry(r *row) found {
	e := &index.Entry{Arrival: r.integer()}
	tx := r.integer()
	e.Frame = &index.Frame{Output: r.unsigned()}
	e.State, e.Height, e.Verdict = index.State(r.text()), r.height(), frame.Verdict(r.text())
	e.Protocol = frame.Protocol(r.text())
	operation := r.text()
	f := found{Entry: e, tx: tx}
	f.scanBlock(r)
	var address frame.KeyHash
	if r.fill(address[:], "frames.address") {
		e.Address = &address
	}
	for range 2 {
		if key := r.bytes(); key != nil {
			e.Keys = append(e.Keys, key)
		}
	}
	scanContent(r, e.Frame, operation)
	return f
}

func (f *found) scanBlock(r *row) {
	var header [80]byte
	inBlock := r.fill(f.Block[:], "blocks.hash")
	r.fill(header[:], "blocks.header")
	if median, ok := r.number(); ok {
		f.medianTime = &median
	}
	if inBlock {
		f.Time = int64(binary.LittleEndian.Uint32(header[68:]))
	}
}

// scanContent fills in what the frame says.
func scanContent(r *row, f *index.Frame, operation string) {
	malformed := r.text()
	hasID := r.fill(f.ID[:], "frames.frame_id")
	hasContent := r.fill(f.ContentID[:], "frames.content_id")
	m := &improtocol.Message{Source: r.text(), Type: r.text(), Encryption: r.text()}
	n := &nprotocol.Record{Protocol: f.Protocol, Operation: nprotocol.Operation(operation), Name: r.text(), IP: r.text()}
	hasHolder := r.fill(n.Address[:], "frames.holder")
	hasNew := r.fill(n.NewAddress[:], "frames.new_address")
	other, timeStamp := r.text(), r.text()
	signatures, proved := [][]byte{r.bytes(), r.bytes()}, [][]byte{r.bytes(), r.bytes()}
	body := r.bytes()
	whole := hasID
	switch {
	case operation == "":
		f.Malformed, whole = malformed, true
	case operation == message:
		m.Other, m.TimeStamp, m.Signature, m.Body = other, timeStamp, signatures[0], body
		f.Message, f.Proofs = m, []frame.Proof{rows.Prove(signatures[0], proved[0])}
		whole = whole && hasContent
	default:
		n.Other, n.TimeStamp, n.Signatures = other, timeStamp, signatures[:1]
		f.Record, f.Proofs = n, []frame.Proof{rows.Prove(signatures[0], proved[0])}
		if n.Operation == nprotocol.Transfer {
			n.Signatures, f.Proofs = signatures, append(f.Proofs, rows.Prove(signatures[1], proved[1]))
			whole = whole && hasNew
		}
		whole = whole && hasHolder
	}
	if !whole {
		r.fault("frames: an id or an address is missing")
	}
}

// scanSaved reads a transaction, its Entries left out.
func scanSaved(r *row) (*index.Saved, *index.Transaction) {
	s := &index.Saved{Row: r.integer(), State: index.State(r.text()), Height: r.height()}
	s.Seen = s.Row
	tx := &index.Transaction{}
	r.must(tx.ID[:], "txs.txid")
	tx.Index, tx.Coinbase = r.unsigned(), r.flag()
	var err error
	fault := func() {
		if err != nil && r.err == nil {
			r.err = err
		}
	}
	tx.Outputs, err = rows.UnpackOutputs(r.next())
	fault()
	tx.InputKeys, err = rows.UnpackKeys(r.bytes())
	fault()
	tx.Spends, err = rows.UnpackSpends(r.next())
	fault()
	return s, tx
}

// entries reads frames, and the transactions they are in by which, in one round
// trip. A transaction is read once however many frames it has: it may be much
// larger than they are.
func (v *view) entries(frames, which string, args ...any) ([]*index.Entry, error) {
	var list []found
	txs := map[int64]*index.Transaction{}
	err := v.ask(
		question{frames, args, func(r *row) error {
			list = append(list, scanEntry(r))
			return nil
		}},
		question{txColumns + `WHERE t.id IN (` + which + `)`, args, func(r *row) error {
			s, tx := scanSaved(r)
			txs[s.Row] = tx
			return nil
		}})
	if err != nil {
		return nil, err
	}
	entries := make([]*index.Entry, len(list))
	for i, f := range list {
		if entries[i], f.Tx = f.Entry, txs[f.tx]; f.Tx == nil {
			return nil, &rows.CorruptError{Column: "frames.tx: no such transaction"}
		}
	}
	return entries, nil
}

// entriesOf reads the frames with the arrivals given, whole.
func (v *view) entriesOf(arrivals []int64) (map[int64]*index.Entry, error) {
	byArrival := make(map[int64]*index.Entry, len(arrivals))
	if len(arrivals) == 0 {
		return byArrival, nil
	}
	list, err := v.entries(withBodies+`WHERE f.id = ANY ($1::bigint[])`, `SELECT tx FROM frames WHERE id = ANY ($1::bigint[])`, arrivals)
	for _, e := range list {
		byArrival[e.Arrival] = e
	}
	return byArrival, err
}

// Occurrences implements [index.View].
func (v *view) Occurrences(id frame.ID) ([]*index.Entry, error) {
	return v.entries(withBodies+`WHERE f.frame_id = $1 ORDER BY f.id`, `SELECT tx FROM frames WHERE frame_id = $1`, id[:])
}

// InTransaction implements [index.View].
func (v *view) InTransaction(txid frame.Hash) ([]*index.Entry, error) {
	const rows = `SELECT id FROM txs WHERE txid = $1`
	return v.entries(withBodies+`WHERE f.tx IN (`+rows+`) ORDER BY f.output, f.id`, rows, txid[:])
}

// NameEntries implements [index.View].
func (v *view) NameEntries(name string, limit int) ([]*index.Entry, error) {
	const newest = `WHERE sha256(f.name) = $1 ORDER BY f.id DESC LIMIT $2`
	list, err := v.entries(withBodies+newest, `SELECT f.tx FROM frames f `+newest, key(name), max(0, limit))
	slices.Reverse(list)
	return list, err
}

// Unconfirmed implements [index.View]. Message bodies are left out but where
// judging a message again needs its body: where it is signed in DER.
func (v *view) Unconfirmed() ([]*index.Saved, error) {
	return v.saved(`WHERE t.state = 'seen' ORDER BY t.id`)
}

// saved reads transactions in the order of the query, with their frames.
func (v *view) saved(which string, args ...any) ([]*index.Saved, error) {
	var list []*index.Saved
	var rows []int64
	byRow := map[int64]*index.Saved{}
	txs := map[int64]*index.Transaction{}
	err := v.each(txColumns+which, args, func(r *row) error {
		s, tx := scanSaved(r)
		list, rows = append(list, s), append(rows, s.Row)
		byRow[s.Row], txs[s.Row] = s, tx
		return nil
	})
	if err != nil || len(rows) == 0 {
		return list, err
	}
	// Not sorted by the server, which might read all frames in that order.
	err = v.each(forJudging+`WHERE f.tx = ANY ($1::bigint[])`, []any{rows}, func(r *row) error {
		f := scanEntry(r)
		f.Tx = txs[f.tx]
		if s := byRow[f.tx]; s != nil {
			s.Entries = append(s.Entries, f.Entry)
		}
		return nil
	})
	for _, s := range list { // by arrival, which in a transaction is the order of the outputs
		slices.SortFunc(s.Entries, func(a, b *index.Entry) int { return cmp.Compare(a.Arrival, b.Arrival) })
	}
	return list, err
}
