package nprotocol

import (
	"cmp"

	"github.com/metaim/metaim/improtocol/frame"
)

// Lifetime is how long a registration, a renewal and a transfer run, in seconds:
// 365 days.
const Lifetime = 31_536_000

// A Position is a place in canonical order.
type Position struct {
	Height int32  // of the block
	Index  uint32 // of the transaction in the block
	Output uint32 // of the frame in the transaction
}

// Compare orders positions: height, then index, then output.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Height, q.Height), cmp.Compare(p.Index, q.Index), cmp.Compare(p.Output, q.Output))
}

// A Moment is where and when a record stands on the chain.
type Moment struct {
	Position
	Time int64 // in the header of the block, Unix seconds: the registration time
	Now  int64 // median time of the block, Unix seconds: what is judged by
}

// A Name is the record that the ledger keeps of a name: the last valid
// operation's outcome.
type Name struct {
	Name         string
	Address      frame.KeyHash
	Since        Position // where it was first registered without a break since
	RegisteredAt int64    // registration time, Unix seconds
	ExpiresAt    int64    // Unix seconds
	Deleted      bool
}

// ValidAt tells whether the name is held when the chain's median time is now.
func (n *Name) ValidAt(now int64) bool { return !n.Deleted && now < n.ExpiresAt }

// A PeerKey names a record of the P protocol.
type PeerKey struct {
	Address frame.KeyHash
	IP      string
}

// A Peer is the record that the ledger keeps of an address and IP.
type Peer struct {
	PeerKey
	RegisteredAt int64 // Unix seconds
	ExpiresAt    int64 // Unix seconds
	Deleted      bool
}

// ValidAt tells whether the record is valid when the chain's median time is now.
func (p *Peer) ValidAt(now int64) bool { return !p.Deleted && now < p.ExpiresAt }

// A Subject is what time stamps are counted for: a name and an address (N), or
// an address and an IP (P).
type Subject struct {
	Protocol frame.Protocol
	Address  frame.KeyHash
	Text     string // the name or the IP
}

// Subject returns what the record's time stamp is counted for. A transfer counts
// under the current address only.
func (r *Record) Subject() Subject {
	if r.Protocol == frame.P {
		return Subject{frame.P, r.Address, r.IP}
	}
	return Subject{frame.N, r.Address, r.Name}
}

// A Ledger is the fold of records in canonical order: who holds which name, and
// which peers are registered. It may hold a part of the whole only: what the
// records to come can touch must be put in first. Its zero value is empty. One
// goroutine owns it.
type Ledger struct {
	Names      map[string]*Name
	Peers      map[PeerKey]*Peer
	TimeStamps map[Subject]uint64 // of the last valid operation
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{Names: map[string]*Name{}, Peers: map[PeerKey]*Peer{}, TimeStamps: map[Subject]uint64{}}
}

// Resolve returns the address of a name that is valid at now.
func (l *Ledger) Resolve(name string, now int64) (frame.KeyHash, bool) {
	n := l.Names[name]
	if n == nil || !n.ValidAt(now) {
		return frame.KeyHash{}, false
	}
	return n.Address, true
}

// Decide judges a record whose time stamp and signatures are right: it is
// [frame.StaleTimeStamp], [frame.Taken], [frame.NotHolder] or [frame.Valid], and
// a valid one is applied. A refused one changes nothing. docs/spec/nprotocol.md,
// "Ledger".
func (l *Ledger) Decide(r *Record, timeStamp uint64, at Moment) frame.Verdict {
	if last, ok := l.TimeStamps[r.Subject()]; ok && timeStamp <= last {
		return frame.StaleTimeStamp
	}
	if v := l.refuse(r, at.Now); v != frame.Valid {
		return v
	}
	l.Apply(r, timeStamp, at)
	return frame.Valid
}

func (l *Ledger) refuse(r *Record, now int64) frame.Verdict {
	if r.Protocol == frame.P {
		peer := l.Peers[PeerKey{r.Address, r.IP}]
		if r.Operation == Delete && (peer == nil || !peer.ValidAt(now)) {
			return frame.NotHolder
		}
		return frame.Valid
	}
	holder, held := l.Resolve(r.Name, now)
	mine := held && holder == r.Address
	switch {
	case r.Operation == Register && held && !mine:
		return frame.Taken
	case r.Operation != Register && !mine:
		return frame.NotHolder
	}
	return frame.Valid
}

// Apply applies a record that is known to be valid at its place.
func (l *Ledger) Apply(r *Record, timeStamp uint64, at Moment) {
	l.TimeStamps[r.Subject()] = timeStamp
	if r.Protocol == frame.P {
		l.applyPeer(r, at)
		return
	}
	old := l.Names[r.Name]
	if r.Operation == Delete {
		gone := *old
		gone.Deleted = true
		l.Names[r.Name] = &gone
		return
	}
	n := &Name{Name: r.Name, Address: r.Address, Since: at.Position, RegisteredAt: at.Time, ExpiresAt: at.Time + Lifetime}
	switch {
	case r.Operation == Transfer:
		n.Address = r.NewAddress
	case old != nil && old.Address == r.Address && old.ValidAt(at.Now):
		n.Since = old.Since // a renewal is no break
	}
	l.Names[r.Name] = n
}

func (l *Ledger) applyPeer(r *Record, at Moment) {
	key := PeerKey{r.Address, r.IP}
	if r.Operation == Delete {
		gone := *l.Peers[key]
		gone.Deleted = true
		l.Peers[key] = &gone
		return
	}
	l.Peers[key] = &Peer{PeerKey: key, RegisteredAt: at.Time, ExpiresAt: at.Time + Lifetime}
}
