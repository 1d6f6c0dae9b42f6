package sqlite

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

func bindParty(args []any, r rows.Party) []any { return append(args, r.Address[:], r.Of) }

// The columns of frames that are written: of any frame, of messages, and of
// records and what is malformed.
const (
	anyColumns     = `id, tx, output, state, height, position, verdict, address, protocol, operation, frame_id, other, time_stamp, time_order, signature, proved_key, signed_key`
	messageColumns = `content_id, source, type, encryption, needs_body`
	recordColumns  = `malformed, name, ip, holder, new_address, signature2, proved_key2, signed_key2, needs_body`
)

// bindAny binds anyColumns; of what is malformed, most are nil.
func bindAny(args []any, n rows.Frame, other string, signature []byte) []any {
	p, d, f := n.Placed, n.Decision, n.Frame
	key, _ := rows.SignedKeys(d)
	args = append(args, n.Arrival, n.Tx, int64(f.Output), string(p.State), rows.NullableHeight(p.Height), rows.Position(p),
		string(d.Verdict), rows.NullableAddress(d.Address), string(f.Protocol), f.Operation())
	if f.Malformed != "" {
		return append(args, nil, nil, nil, nil, nil, nil, key)
	}
	return append(args, f.ID[:], []byte(other), []byte(f.TimeStamp()), rows.TimeOrder(f), rows.Present(signature), rows.Nullable(f.Proofs[0].Key), key)
}

func bindMessage(args []any, n rows.Frame) []any {
	m := n.Frame.Message
	return append(bindAny(args, n, m.Other, m.Signature), n.Frame.ContentID[:], []byte(m.Source), []byte(m.Type),
		[]byte(m.Encryption), rows.NeedsBody(n.Frame))
}

func bindOther(args []any, n rows.Frame) []any {
	_, key2 := rows.SignedKeys(n.Decision)
	f, r := n.Frame, n.Frame.Record
	if r == nil {
		return append(bindAny(args, n, "", nil), []byte(f.Malformed), nil, nil, nil, nil, nil, nil, key2, false)
	}
	var name, ip, newAddress, signature2, proved2 any
	if r.Protocol == frame.P {
		ip = []byte(r.IP)
	} else {
		name = []byte(r.Name)
	}
	if r.Operation == nprotocol.Transfer {
		newAddress, signature2, proved2 = r.NewAddress[:], rows.Present(r.Signatures[1]), rows.Nullable(f.Proofs[1].Key)
	}
	return append(bindAny(args, n, r.Other, r.Signatures[0]), nil, name, ip, r.Address[:], newAddress, signature2, proved2, key2, false)
}
