package simulate

import (
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// The oracle is the protocol's text once more, read by someone who knows neither
// the judge nor the ledger nor the stores: no state but the list of all frames
// before, gone through from its beginning for every question. It shares the
// codecs of the protocols with the product, and nothing else.

const year = 365 * 24 * 60 * 60 // seconds that a registration, a renewal and a transfer run

func (f *oracleFrame) malformed() bool { return f.message == nil && f.record == nil }

func (f *oracleFrame) preimage() []byte {
	if f.message != nil {
		return f.message.Preimage()
	}
	return f.record.Preimage(frame.Regtest)
}

func (f *oracleFrame) id() frame.ID { return frame.IDOf(f.preimage()) }

func (f *oracleFrame) stamp() (uint64, bool) {
	text := ""
	if f.message != nil {
		text = f.message.TimeStamp
	} else {
		text = f.record.TimeStamp
	}
	n, err := frame.ParseTimeStamp(text)
	return n, err == nil
}

// A place is where a frame stands, and what time it is there.
type place struct {
	height        int32
	index, output uint32
	time, now     int64 // of the block's header; median
	pending       bool  // after all blocks
}

// A judged is a frame at its place with what was found about it.
type judged struct {
	place
	tx      *oracleTx
	frame   *oracleFrame
	id      frame.ID // zero when malformed
	stamp   uint64
	verdict frame.Verdict
	address *frame.KeyHash
	keys    [][]byte // that signed, where the signatures hold
}

// A history is all frames in canonical order.
type history []*judged

// An oracleBlock is a block with its transactions.
type oracleBlock struct {
	height    int32
	time, now int64
	txs       []*oracleTx
}

// fold judges a chain from its beginning, and then what is unconfirmed, in the
// order first seen.
func fold(chain []*oracleBlock, unconfirmed []*oracleTx) history {
	var h history
	end := place{height: -1}
	for _, b := range chain {
		for i, tx := range b.txs {
			for _, f := range tx.frames {
				h = append(h, h.judge(tx, f, place{height: b.height, index: uint32(i), output: f.output, time: b.time, now: b.now}))
			}
		}
		end = place{height: b.height, time: b.now, now: b.now}
	}
	for _, tx := range unconfirmed {
		for _, f := range tx.frames {
			h = append(h, h.judge(tx, f, place{height: end.height + 1, index: math.MaxUint32, output: f.output, time: end.now, now: end.now, pending: true}))
		}
	}
	return h
}

// judge finds the first verdict that holds, in the order of the specification.
func (h history) judge(tx *oracleTx, f *oracleFrame, at place) *judged {
	j := &judged{place: at, tx: tx, frame: f}
	j.verdict = h.verdict(j)
	return j
}

func (h history) verdict(j *judged) frame.Verdict {
	f := j.frame
	if f.malformed() {
		return frame.Malformed
	}
	j.id = f.id()
	known := true
	if f.message != nil {
		j.address = h.resolve(f.message.Source, j.now)
		known = j.address != nil
	} else {
		j.address = &f.record.Address
	}
	var ok bool
	if j.stamp, ok = f.stamp(); !ok {
		return frame.BadTimeStamp
	}
	if f.record != nil && !slices.Contains(j.tx.outputs, registration[f.protocol]) {
		return frame.Unpaid
	}
	if !known {
		return frame.UnknownName
	}
	if v := h.signatures(j); v != frame.Valid {
		return v
	}
	for _, e := range h {
		if e.verdict == frame.Valid && e.id == j.id {
			return frame.Duplicate
		}
	}
	if f.message != nil {
		return h.message(j)
	}
	return h.record(j)
}

// The registration address is by default the address that the protocol is named
// by.
var registration = map[frame.Protocol]frame.KeyHash{frame.N: mustParse(frame.NPI), frame.P: mustParse(frame.IMPI)}

func mustParse(text string) frame.KeyHash {
	address, err := frame.Main.ParseAddress(text)
	if err != nil {
		panic(err)
	}
	return address
}

func (h history) message(j *judged) frame.Verdict {
	content := j.frame.message.ContentID()
	for _, e := range h {
		if e.verdict == frame.Valid && e.frame.message != nil && e.frame.message.ContentID() == content && e.stamp > j.stamp {
			return frame.StaleTimeStamp
		}
	}
	return frame.Valid
}

func (h history) record(j *judged) frame.Verdict {
	r := j.frame.record
	for _, e := range h {
		if e.verdict != frame.Valid || e.frame.record == nil || e.frame.protocol != j.frame.protocol {
			continue
		}
		o := e.frame.record
		if o.Address == r.Address && o.Name == r.Name && o.IP == r.IP && e.stamp >= j.stamp {
			return frame.StaleTimeStamp
		}
	}
	if r.Protocol == frame.P {
		p := h.peer(r.Address, r.IP)
		if r.Operation == nprotocol.Delete && (p == nil || p.deleted || j.now >= p.expires) {
			return frame.NotHolder
		}
		return frame.Valid
	}
	n := h.name(r.Name)
	held := n != nil && !n.deleted && j.now < n.expires
	switch {
	case r.Operation == nprotocol.Register && held && n.address != r.Address:
		return frame.Taken
	case r.Operation != nprotocol.Register && (!held || n.address != r.Address):
		return frame.NotHolder
	}
	return frame.Valid
}

// confirmed is the part of the history that is in blocks.
func (h history) confirmed() history {
	return slices.DeleteFunc(slices.Clone(h), func(e *judged) bool { return e.pending })
}

// resolve returns the address that a source stands for: what is pending changes
// no resolution.
func (h history) resolve(source string, now int64) *frame.KeyHash {
	if address, err := frame.Regtest.ParseAddress(source); err == nil {
		return &address
	}
	n := h.confirmed().name(source)
	if n == nil || n.deleted || now >= n.expires {
		return nil
	}
	return &n.address
}

// recipients are whom a message reaches: the addresses of the P2PKH outputs,
// each once, without the last where it is change, and without the source.
func (j *judged) recipients() []frame.KeyHash {
	outputs := j.tx.outputs
	if n := len(outputs); n > 0 {
		for _, key := range j.tx.keys {
			if frame.HashKey(key) == outputs[n-1] {
				outputs = j.tx.outputs[:n-1]
			}
		}
	}
	var list []frame.KeyHash
	for _, h := range outputs {
		if !slices.Contains(list, h) && (j.address == nil || h != *j.address) {
			list = append(list, h)
		}
	}
	return list
}

// median is the median time of the last of the blocks' header times.
func median(times []int64) int64 {
	last := slices.Clone(times[max(0, len(times)-11):])
	slices.Sort(last)
	return last[len(last)/2]
}
