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

// fields are the columns of a frame that its kind decides; nil where it has none.
type fields struct {
	malformed, id, content, source, kind, encryption, name, ip, holder, newAddress any
	other, timeStamp, timeOrder, signature, signature2, proved, proved2            any
	needsBody                                                                      bool
}

func bindFrame(args []any, n newFrame) []any {
	v := fieldsOf(n.frame)
	p, d := n.placed, n.decision
	key, key2 := signedKeys(d)
	return append(args, n.arrival, n.tx, int64(n.frame.Output), string(p.State), nullableHeight(p.Height), position(p),
		string(d.Verdict), string(n.frame.Protocol), n.frame.Operation(), v.malformed, v.id, v.content,
		nullableAddress(d.Address), v.source, v.kind, v.encryption, v.name, v.ip, v.holder, v.newAddress, v.other,
		v.timeStamp, v.timeOrder, v.signature, v.signature2, v.proved, v.proved2, key, key2, v.needsBody)
}

func fieldsOf(f *index.Frame) (v fields) {
	if f.Malformed != "" {
		v.malformed = []byte(f.Malformed)
		return v
	}
	v.id, v.timeStamp = f.ID[:], []byte(f.TimeStamp())
	if n, err := frame.ParseTimeStamp(f.TimeStamp()); err == nil {
		v.timeOrder = sortable(n)
	}
	v.proved = nullable(f.Proofs[0].Key)
	if m := f.Message; m != nil {
		v.content, v.source, v.kind, v.encryption = f.ContentID[:], []byte(m.Source), []byte(m.Type), []byte(m.Encryption)
		v.other, v.signature = []byte(m.Other), present(m.Signature)
		s := f.Proofs[0].Signature
		v.needsBody = s.Readable() && !s.Recoverable()
		return v
	}
	r := f.Record
	if r.Protocol == frame.P {
		v.ip = []byte(r.IP)
	} else {
		v.name = []byte(r.Name)
	}
	v.holder, v.other, v.signature = r.Address[:], []byte(r.Other), present(r.Signatures[0])
	if r.Operation == nprotocol.Transfer {
		v.newAddress, v.signature2, v.proved2 = r.NewAddress[:], present(r.Signatures[1]), nullable(f.Proofs[1].Key)
	}
	return v
}
