package index

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A Registration says to which address the operations of a protocol pay from a
// height on.
type Registration struct {
	FromHeight int32
	Address    frame.KeyHash
}

// Rules are what an index is told about its chain: the same rules over the same
// blocks give the same index.
type Rules struct {
	Network frame.Network
	Names   []Registration // for the N protocol, by rising height
	Peers   []Registration // for the P protocol, by rising height
}

// DefaultRules returns the rules with the protocols' own addresses as
// registration addresses.
func DefaultRules(network frame.Network) Rules {
	own := func(id string) []Registration {
		h, err := frame.Main.ParseAddress(id)
		if err != nil {
			panic(err) // a constant of the protocol
		}
		return []Registration{{Address: h}}
	}
	return Rules{Network: network, Names: own(frame.NPI), Peers: own(frame.IMPI)}
}

// RegistrationAddress returns where an operation of the protocol must pay to at
// a height. ok is false when nothing is asked for there.
func (r *Rules) RegistrationAddress(p frame.Protocol, height int32) (address frame.KeyHash, ok bool) {
	list := r.Names
	if p == frame.P {
		list = r.Peers
	}
	for _, g := range list {
		if height >= g.FromHeight {
			address, ok = g.Address, true
		}
	}
	return address, ok
}

// Judge decides on one frame at its place and adds what a valid one changes to
// the facts. The facts must hold all that [needOf] names for it. Frames are
// judged in canonical order. docs/spec/index.md, "Verdicts".
func (r *Rules) Judge(facts *Facts, tx *Transaction, f *Frame, at nprotocol.Moment) Decision {
	switch {
	case f.Message != nil:
		return r.judgeMessage(facts, tx, f, at)
	case f.Record != nil:
		return r.judgeRecord(facts, tx, f, at)
	}
	return Decision{Verdict: frame.Malformed}
}

// Resolve returns the address that a source stands for: itself when it parses as
// an address of the network, else the holder of the name.
func (r *Rules) Resolve(ledger *nprotocol.Ledger, source string, now int64) (frame.KeyHash, bool) {
	if h, err := r.Network.ParseAddress(source); err == nil {
		return h, true
	}
	return ledger.Resolve(source, now)
}

func (r *Rules) judgeMessage(facts *Facts, tx *Transaction, f *Frame, at nprotocol.Moment) Decision {
	address, known := r.Resolve(facts.Ledger, f.Message.Source, at.Now)
	var d Decision
	if known {
		d.Address = &address
	}
	timeStamp, err := f.Message.Time()
	switch {
	case err != nil:
		d.Verdict = frame.BadTimeStamp
	case !known:
		d.Verdict = frame.UnknownName
	default:
		d.Keys, d.Verdict = r.signers(facts, tx, f, []frame.KeyHash{address})
	}
	if d.Verdict != frame.Valid {
		return d
	}
	last, said := facts.Contents[f.ContentID]
	switch {
	case facts.Valid[f.ID]:
		d.Verdict = frame.Duplicate
	case said && last > timeStamp:
		d.Verdict = frame.StaleTimeStamp
	default:
		facts.Valid[f.ID] = true
		facts.Contents[f.ContentID] = timeStamp
		facts.Keys[address] = d.Keys[0]
	}
	return d
}

func (r *Rules) judgeRecord(facts *Facts, tx *Transaction, f *Frame, at nprotocol.Moment) Decision {
	address := f.Record.Address
	d := Decision{Address: &address}
	timeStamp, err := f.Record.Time()
	if err != nil {
		d.Verdict = frame.BadTimeStamp
		return d
	}
	if to, ok := r.RegistrationAddress(f.Protocol, at.Height); ok && !tx.Pays(to) {
		d.Verdict = frame.Unpaid
		return d
	}
	signers := f.Record.Signers()
	if d.Keys, d.Verdict = r.signers(facts, tx, f, signers); d.Verdict != frame.Valid {
		return d
	}
	if facts.Valid[f.ID] {
		d.Verdict = frame.Duplicate
		return d
	}
	if d.Verdict = facts.Pending.Decide(f.Record, timeStamp, at); d.Verdict == frame.Valid {
		facts.Valid[f.ID] = true
		for i, signer := range signers {
			facts.Keys[signer] = d.Keys[i]
		}
	}
	return d
}

// signers checks every signature of a frame against the address it should be of;
// the first that doesn't hold decides.
func (r *Rules) signers(facts *Facts, tx *Transaction, f *Frame, of []frame.KeyHash) ([][]byte, frame.Verdict) {
	var preimage []byte
	keys := make([][]byte, len(of))
	for i, address := range of {
		var inputs map[frame.KeyHash][]byte
		if s := f.Proofs[i].Signature; s.Readable() && !s.Recoverable() { // keys must be tried
			preimage, inputs = f.Preimage(r.Network), facts.inputKeys(tx)
		}
		key, verdict := f.Proofs[i].Check(preimage, address, candidates(inputs, f, address, facts.Keys[address]))
		if verdict != frame.Valid {
			return nil, verdict
		}
		keys[i] = key
	}
	return keys, frame.Valid
}
