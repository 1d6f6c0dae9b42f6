package sqlite

import (
	"database/sql"
	"encoding/binary"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// What is read of a frame. The three forms differ in the bodies that come along:
// all, those that judging again needs, or none.
const (
	frameColumns = `f.id, f.tx, f.output, f.state, f.height, f.position, f.verdict, f.protocol, f.operation,
		f.malformed, f.frame_id, f.content_id, f.address, f.source, f.type, f.encryption, f.name, f.ip,
		f.holder, f.new_address, f.other, f.time_stamp, f.signature, f.signature2, f.proved_key,
		f.proved_key2, f.signed_key, f.signed_key2, bl.hash, bl.header, bl.median_time, b.frame, b.body`
	frameTables = `frames f LEFT JOIN blocks bl ON bl.height = f.height`
	withBodies  = `SELECT ` + frameColumns + ` FROM ` + frameTables + ` LEFT JOIN bodies b ON b.frame = f.id `
	forJudging  = `SELECT ` + frameColumns + ` FROM ` + frameTables + ` LEFT JOIN bodies b ON b.frame = f.id AND f.needs_body = 1 `
)

// message is the operation of an IM frame, as [index.Frame.Operation] says it.
const message = "message"

// A frameRow is a row of frames as it is read.
type frameRow struct {
	id, tx, output, position                       int64
	height, medianTime, bodyOf                     sql.NullInt64
	state, verdict, protocol, operation            string
	malformed, frameID, contentID, address         []byte
	source, kind, encryption, name, ip             []byte
	holder, newAddress, other, timeStamp           []byte
	signature, signature2, provedKey, provedKey2   []byte
	signedKey, signedKey2, blockHash, header, body []byte
}

func (r *frameRow) scan(rows *sql.Rows) error {
	return rows.Scan(&r.id, &r.tx, &r.output, &r.state, &r.height, &r.position, &r.verdict, &r.protocol, &r.operation,
		&r.malformed, &r.frameID, &r.contentID, &r.address, &r.source, &r.kind, &r.encryption, &r.name, &r.ip,
		&r.holder, &r.newAddress, &r.other, &r.timeStamp, &r.signature, &r.signature2, &r.provedKey,
		&r.provedKey2, &r.signedKey, &r.signedKey2, &r.blockHash, &r.header, &r.medianTime, &r.bodyOf, &r.body)
}

// entry gives the row its meaning. Its Tx is for the caller to set.
func (r *frameRow) entry() (*index.Entry, error) {
	if r.output < 0 || r.output > math.MaxUint32 || r.height.Int64 < 0 || r.height.Int64 > math.MaxInt32 {
		return nil, &rows.CorruptError{Column: "frames.output or height"}
	}
	e := &index.Entry{Arrival: r.id, State: index.State(r.state), Height: -1,
		Frame:    &index.Frame{Output: uint32(r.output), Protocol: frame.Protocol(r.protocol)},
		Decision: index.Decision{Verdict: frame.Verdict(r.verdict)}}
	if r.height.Valid {
		e.Height = int32(r.height.Int64)
	}
	if r.blockHash != nil {
		if err := rows.Fill(e.Block[:], "blocks.hash", r.blockHash); err != nil {
			return nil, err
		}
		var header [80]byte
		if err := rows.Fill(header[:], "blocks.header", r.header); err != nil {
			return nil, err
		}
		e.Time = int64(binary.LittleEndian.Uint32(header[68:]))
	}
	if r.address != nil {
		e.Address = new(frame.KeyHash)
		if err := rows.Fill(e.Address[:], "frames.address", r.address); err != nil {
			return nil, err
		}
	}
	for _, key := range [][]byte{r.signedKey, r.signedKey2} {
		if key != nil {
			e.Keys = append(e.Keys, key)
		}
	}
	return e, r.content(e.Frame)
}

// content fills in what the frame says.
func (r *frameRow) content(f *index.Frame) error {
	if r.operation == "" {
		f.Malformed = string(r.malformed)
		return nil
	}
	f.Proofs = []frame.Proof{rows.Prove(r.signature, r.provedKey)}
	if err := rows.Fill(f.ID[:], "frames.frame_id", r.frameID); err != nil {
		return err
	}
	if r.operation == message {
		f.Message = &improtocol.Message{Source: string(r.source), Type: string(r.kind), Encryption: string(r.encryption),
			Other: string(r.other), TimeStamp: string(r.timeStamp), Signature: rows.Present(r.signature)}
		if r.bodyOf.Valid {
			f.Message.Body = rows.Present(r.body)
		}
		return rows.Fill(f.ContentID[:], "frames.content_id", r.contentID)
	}
	f.Record = &nprotocol.Record{Protocol: f.Protocol, Operation: nprotocol.Operation(r.operation), Name: string(r.name),
		IP: string(r.ip), Other: string(r.other), TimeStamp: string(r.timeStamp), Signatures: [][]byte{rows.Present(r.signature)}}
	if f.Record.Operation == nprotocol.Transfer {
		f.Record.Signatures = append(f.Record.Signatures, rows.Present(r.signature2))
		f.Proofs = append(f.Proofs, rows.Prove(r.signature2, r.provedKey2))
		if err := rows.Fill(f.Record.NewAddress[:], "frames.new_address", r.newAddress); err != nil {
			return err
		}
	}
	return rows.Fill(f.Record.Address[:], "frames.holder", r.holder)
}

// entries reads frames with the transactions they are in.
func (v *view) entries(query string, args ...any) ([]*index.Entry, error) {
	var list []*index.Entry
	var txs []int64
	err := v.each(query, args, func(rows *sql.Rows) error {
		var r frameRow
		if err := r.scan(rows); err != nil {
			return err
		}
		e, err := r.entry()
		list, txs = append(list, e), append(txs, r.tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	byRow, err := v.transactions(txs)
	if err != nil {
		return nil, err
	}
	for i, e := range list {
		e.Tx = byRow[txs[i]]
	}
	return list, nil
}

// entriesOf reads the frames with the arrivals given, whole, by arrival.
func (v *view) entriesOf(arrivals []int64) (map[int64]*index.Entry, error) {
	byArrival := make(map[int64]*index.Entry, len(arrivals))
	err := inChunks(arrivals, 1, bindNumber, func(rows string, args []any) error {
		list, err := v.entries(withBodies+`WHERE f.id IN (VALUES `+rows+`)`, args...)
		for _, e := range list {
			byArrival[e.Arrival] = e
		}
		return err
	})
	return byArrival, err
}

// transactions reads transactions by row, each once however often it is named:
// one may be much larger than its frames.
func (v *view) transactions(rows []int64) (map[int64]*index.Transaction, error) {
	rows = slices.Compact(slices.Sorted(slices.Values(rows)))
	byRow := make(map[int64]*index.Transaction, len(rows))
	err := inChunks(rows, 1, bindNumber, func(list string, args []any) error {
		return v.each(`SELECT id, txid, position, coinbase, outputs, input_keys, spends FROM txs WHERE id IN (VALUES `+list+`)`, args,
			func(rows *sql.Rows) error {
				row, tx, err := scanTransaction(rows)
				byRow[row] = tx
				return err
			})
	})
	return byRow, err
}

func scanTransaction(r *sql.Rows) (row int64, tx *index.Transaction, err error) {
	var txid, outputs, keys, spends []byte
	var position int64
	tx = &index.Transaction{}
	if err := r.Scan(&row, &txid, &position, &tx.Coinbase, &outputs, &keys, &spends); err != nil {
		return 0, nil, err
	}
	if position < 0 || position > math.MaxUint32 {
		return 0, nil, &rows.CorruptError{Column: "txs.position"}
	}
	tx.Index = uint32(position)
	if err := rows.Fill(tx.ID[:], "txs.txid", txid); err != nil {
		return 0, nil, err
	}
	if tx.Outputs, err = rows.UnpackOutputs(outputs); err != nil {
		return 0, nil, err
	}
	if tx.InputKeys, err = rows.UnpackKeys(keys); err != nil {
		return 0, nil, err
	}
	tx.Spends, err = rows.UnpackSpends(spends)
	return row, tx, err
}
