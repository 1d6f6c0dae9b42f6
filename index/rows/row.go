package rows

import (
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A Row is a frame as the SQL stores keep it: columns that are looked for, and
// the rest packed in Data. What can be told from the rest is not kept: ids are
// hashed again, addresses made of keys again. The transaction is packed into the
// row of its first frame, its lead; the frames of a transaction have consecutive
// arrivals.
//
// No column is null. Of keys 0 says that there is none.
type Row struct {
	Arrival    int64
	Height     int32 // see [HeightOf]
	Place      int32 // see [PlaceOf]
	Verdict    int16
	Kind       int32
	TxKey      int64  // of the txid; only in the lead
	FrameKey   int64  // of the frame id
	ContentKey int64  // of what its time stamp is compared within: the content id, or the subject of a record
	TimeOrder  int64  // see [Sortable]; 0 when the time stamp isn't a number
	AddressKey int64  // of the decision's address
	ToKey      int64  // of the first address that an IM frame's transaction reaches; of the new address in a transfer
	NameKey    int64  // of the name in a record
	Decided    []byte // the decision, as far as it can't be told from the frame
	Data       []byte
	Body       []byte // of a message; nil only in a row read without it
}

// ShortBody is how many bytes a body may have for ids to be hashed again when
// they are wanted. Of a message with a longer one the ids are kept, so that it can
// be judged again without its body.
const ShortBody = 512

// RowOf packs a frame.
func RowOf(n *Frame) Row {
	p, f := n.Placed, n.Frame
	r := Row{Arrival: n.Arrival, Height: HeightOf(p), Place: PlaceOf(p), Kind: kindOf(f), Body: []byte{}}
	var hash hasher
	r.decide(f, n.Decision, &hash)
	if n.Arrival == n.Lead {
		r.TxKey = KeyOf(p.Tx.ID)
	}
	if n.Again {
		r.Kind |= Again
	}
	if f.Malformed == "" {
		r.FrameKey = KeyOf(f.ID)
		if t, err := frame.ParseTimeStamp(f.TimeStamp()); err == nil {
			r.TimeOrder = Sortable(t)
		}
	}
	switch {
	case f.Message != nil:
		r.ContentKey, r.Body = KeyOf(f.ContentID), Present(f.Message.Body)
	case f.Record != nil:
		r.ContentKey = SubjectKey(f.Record.Subject())
		if f.Protocol == frame.N {
			r.NameKey = NameKey(f.Record.Name)
		}
		if r.Kind&OperationOf == KindTransfer {
			r.ToKey = AddressKey(f.Record.NewAddress)
		}
	}
	if f.Protocol == frame.IM && len(n.Reached) > 0 {
		r.ToKey = AddressKey(n.Reached[0])
	}
	if f.Protocol == frame.IM && len(n.Reached) > 1 {
		r.Kind |= Many
	}
	r.Data = pack(n, r.TimeOrder, &hash)
	return r
}

// Decide sets the columns of a decision on the row's frame.
func (r *Row) Decide(f *index.Frame, d *index.Decision) { r.decide(f, d, &hasher{}) }

func (r *Row) decide(f *index.Frame, d *index.Decision, hash *hasher) {
	r.Verdict, r.Decided, r.AddressKey = VerdictOf(d.Verdict), packDecision(f, d, hash), 0
	if d.Address != nil {
		r.AddressKey = AddressKey(*d.Address)
	}
}

// A Found is a row read. Entry's Tx isn't set yet when the row is no lead, nor
// are the block's hash and time ever: these are the reader's.
type Found struct {
	*index.Entry
	Lead   int64 // the arrival of the transaction's first frame
	Frames int64 // of the transaction; only in the lead
	Again  bool  // an earlier arrival may have the same frame id
}

// A room is the memory that most rows are read into, in one piece: one message
// alone in its transaction, of one input, to one address, with change.
type room struct {
	found     Found
	entry     index.Entry
	frame     index.Frame
	message   improtocol.Message
	tx        index.Transaction
	proof     [1]frame.Proof
	keys      [1][]byte
	outputs   [2]frame.KeyHash
	amounts   [2]index.Amount
	spends    [1]index.Outpoint
	signature [88]byte
}

// Unpack reads a row. What it returns aliases the row's bytes. It fails with a
// *[CorruptError].
func Unpack(r *Row) (*Found, error) {
	room := &room{found: Found{Lead: r.Arrival, Again: r.Kind&Again != 0}, entry: index.Entry{Arrival: r.Arrival}}
	e := &room.entry
	room.found.Entry, e.Frame = e, &room.frame
	e.State, e.Height = StateOf(r.Height)
	u := unpacker{reader: reader{b: r.Data}, row: r, room: room, found: &room.found}
	u.read()
	if u.bad || len(u.b) > 0 {
		return nil, &CorruptError{"data"}
	}
	var err error
	if e.Verdict, err = verdictFrom(r.Verdict); err != nil {
		return nil, err
	}
	if !unpackDecision(r.Decided, e, &u.hash) {
		return nil, &CorruptError{"decided"}
	}
	return u.found, nil
}

// Concerned tells whether an address sent the entry's frame, or is reached by it.
func Concerned(e *index.Entry, h frame.KeyHash) bool {
	return Sent(e, h) || Received(e, h)
}

// Sent tells whether the frame is attributed to the address.
func Sent(e *index.Entry, h frame.KeyHash) bool { return e.Address != nil && *e.Address == h }

// Received tells whether a message reaches the address, and is not from it.
func Received(e *index.Entry, h frame.KeyHash) bool {
	if e.Protocol != frame.IM || Sent(e, h) {
		return false
	}
	return e.Tx.Reaches(h)
}

// Join gives entries their transactions. Those whose lead isn't among them are
// read by leads: the rows of these arrivals.
func Join(list []*Found, leads func(arrivals []int64) ([]*Found, error)) error {
	txs := map[int64]*index.Transaction{}
	var missing []int64
	for _, f := range list {
		if f.Tx != nil {
			txs[f.Arrival] = f.Tx
		}
	}
	for _, f := range list {
		if _, known := txs[f.Lead]; !known {
			txs[f.Lead] = nil
			missing = append(missing, f.Lead)
		}
	}
	if len(missing) > 0 {
		more, err := leads(missing)
		if err != nil {
			return err
		}
		for _, f := range more {
			txs[f.Arrival] = f.Tx
		}
	}
	for _, f := range list {
		tx := txs[f.Lead]
		if tx == nil {
			return &CorruptError{"data: a transaction is missing"}
		}
		if f.Tx == nil {
			f.Tx = tx
		}
	}
	return nil
}

// Light takes the body out of a message that can be judged again without it.
func (f *Found) Light() {
	m := f.Message
	if m == nil {
		return
	}
	if s := f.Proofs[0].Signature; !s.Readable() || s.Recoverable() {
		m.Body = nil
	}
}
