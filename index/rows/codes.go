package rows

import (
	"hash/fnv"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// Heights of what is in no block.
const (
	SeenHeight    = -1
	DroppedHeight = -2
)

// HeightOf returns the column that says state and height at once: a height, or
// one of [SeenHeight] and [DroppedHeight].
func HeightOf(p *index.Placed) int32 {
	switch p.State {
	case index.Confirmed:
		return p.Height
	case index.Seen:
		return SeenHeight
	}
	return DroppedHeight
}

// StateOf undoes [HeightOf]. The height is -1 when not confirmed.
func StateOf(column int32) (index.State, int32) {
	switch {
	case column >= 0:
		return index.Confirmed, column
	case column == SeenHeight:
		return index.Seen, -1
	}
	return index.Dropped, -1
}

// PlaceOf is the column of the place in the block, and 0 of what is in none. Its
// order is that of the places, whatever integer of four bytes the store has.
func PlaceOf(p *index.Placed) int32 {
	if p.State != index.Confirmed {
		return 0
	}
	return int32(p.Tx.Index ^ 1<<31)
}

// IndexOf undoes [PlaceOf] for what is in a block.
func IndexOf(column int32) uint32 { return uint32(column) ^ 1<<31 }

func placeFrom(column int32, state index.State) uint32 {
	if state != index.Confirmed {
		return 0
	}
	return IndexOf(column)
}

// VerdictOf returns the code of a verdict, from 1; 0 stands for none.
func VerdictOf(v frame.Verdict) int16 { return int16(slices.Index(frame.Verdicts, v) + 1) }

// Valid and Duplicate are the codes of the verdicts that count.
var (
	Valid     = VerdictOf(frame.Valid)
	Duplicate = VerdictOf(frame.Duplicate)
)

func verdictFrom(code int16) (frame.Verdict, error) {
	switch {
	case code == 0:
		return "", nil
	case code < 0 || int(code) > len(frame.Verdicts):
		return "", &CorruptError{"verdict"}
	}
	return frame.Verdicts[code-1], nil
}

// The kind of a frame is one integer: its protocol and operation, whether judging
// it again takes its body, whether another frame of its id arrived before it,
// whether it may have several recipients, and 16 bits of the hash of a message's type, to list messages of one type by.
const (
	ProtocolMask int32 = 3           // 0: IM
	kindN        int32 = 1           //
	kindP        int32 = 2           //
	OperationOf  int32 = 3 << 2      // 0: malformed
	kindFirst    int32 = 1 << 2      // message or register
	kindDelete   int32 = 2 << 2      //
	KindTransfer int32 = 3 << 2      //
	NeedsBody    int32 = 1 << 4      // no key comes out of its signature: keys must be tried
	Again        int32 = 1 << 5      // an earlier arrival has the same frame id
	Many         int32 = 1 << 6      // its transaction reaches more than one address
	TypeMask     int32 = 0xffff << 8 // of messages
)

// TypeBits returns the bits under [TypeMask] of a message type. Other types may
// have the same.
func TypeBits(messageType string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(messageType))
	sum := h.Sum32()
	return int32((sum^sum>>16)&0xffff) << 8
}

var (
	protocols  = map[frame.Protocol]int32{frame.IM: 0, frame.N: kindN, frame.P: kindP}
	operations = map[nprotocol.Operation]int32{nprotocol.Register: kindFirst, nprotocol.Delete: kindDelete, nprotocol.Transfer: KindTransfer}
)

func kindOf(f *index.Frame) int32 {
	kind := protocols[f.Protocol]
	switch {
	case f.Message != nil:
		kind |= kindFirst | TypeBits(f.Message.Type)
		if s := f.Proofs[0].Signature; s.Readable() && !s.Recoverable() {
			kind |= NeedsBody
		}
	case f.Record != nil:
		kind |= operations[f.Record.Operation]
	}
	return kind
}

// kindFrom reads protocol and operation; ok is false for what no frame has.
func kindFrom(kind int32) (p frame.Protocol, op nprotocol.Operation, ok bool) {
	switch kind & ProtocolMask {
	case 0:
		p = frame.IM
	case kindN:
		p = frame.N
	case kindP:
		p = frame.P
	default:
		return "", "", false
	}
	switch kind & OperationOf {
	case kindFirst:
		op = nprotocol.Register
	case kindDelete:
		op = nprotocol.Delete
	case KindTransfer:
		op = nprotocol.Transfer
	}
	return p, op, true
}

// Words that frames use again and again, by their codes. Codes are never given
// anew: the index has them on disk.
var (
	typeWords       = []string{"text", "image", "audio", "video", "html", "text/plain", "text/html", "image/png", "image/jpeg", "application/json", "application/octet-stream"}
	encryptionWords = []string{"plain", "ECC", "RSA", "AES", "HPKE", "ECDHAES"}
	reasonWords     = []string{index.ReasonDoubleSpent, index.ReasonEvicted, index.ReasonExpired, index.ReasonReorganised}
	eventWords      = eventKinds()
)

func eventKinds() []string {
	list := []string{string(index.EventConnected), string(index.EventDisconnected)}
	for _, p := range []frame.Protocol{frame.IM, frame.N, frame.P} {
		for _, what := range []string{index.EventSeen, index.EventConfirmed, index.EventUnconfirmed, index.EventDropped, index.EventRejudged} {
			list = append(list, string(index.KindOf(p, what)))
		}
	}
	return list
}
