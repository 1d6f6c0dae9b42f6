package sqlite

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

func bindParty(args []any, r partyRow) []any { return append(args, r.address[:], r.of) }

func signedKeys(d *index.Decision) (key, key2 any) {
	if len(d.Keys) > 0 {
		key = nullable(d.Keys[0])
	}
	if len(d.Keys) > 1 {
		key2 = nullable(d.Keys[1])
	}
	return key, key2
}

// The columns of frames that are written: of any frame, of messages, and of
// records and what is malformed.
const (
	anyColumns     = `id, tx, output, state, height, position, verdict, address, protocol, operation, frame_id, other, time_stamp, time_order, signature, proved_key, signed_key`
	messageColumns = `content_id, source, type, encryption, needs_body`
	recordColumns  = `malformed, name, ip, holder, new_address, signature2, proved_key2, signed_key2, needs_body`
)

// bindAny binds anyColumns; of what is malformed, most are nil.
func bindAny(args []any, n newFrame, other string, signature []byte) []any {
	p, d, f := n.placed, n.decision, n.frame
	key, _ := signedKeys(d)
	args = append(args, n.arrival, n.tx, int64(f.Output), string(p.State), nullableHeight(p.Height), position(p),
		string(d.Verdict), nullableAddress(d.Address), string(f.Protocol), f.Operation())
	if f.Malformed != "" {
		return append(args, nil, nil, nil, nil, nil, nil, key)
	}
	var order any
	if t, err := frame.ParseTimeStamp(f.TimeStamp()); err == nil {
		order = sortable(t)
	}
	return append(args, f.ID[:], []byte(other), []byte(f.TimeStamp()), order, present(signature), nullable(f.Proofs[0].Key), key)
}

func bindMessage(args []any, n newFrame) []any {
	m := n.frame.Message
	s := n.frame.Proofs[0].Signature
	return append(bindAny(args, n, m.Other, m.Signature), n.frame.ContentID[:], []byte(m.Source), []byte(m.Type),
		[]byte(m.Encryption), s.Readable() && !s.Recoverable())
}

func bindOther(args []any, n newFrame) []any {
	_, key2 := signedKeys(n.decision)
	f, r := n.frame, n.frame.Record
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
		newAddress, signature2, proved2 = r.NewAddress[:], present(r.Signatures[1]), nullable(f.Proofs[1].Key)
	}
	return append(bindAny(args, n, r.Other, r.Signatures[0]), nil, name, ip, r.Address[:], newAddress, signature2, proved2, key2, false)
}
