package simulate

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/nprotocol"
)

// What a frame can be made to be.
const (
	kindMessage    = iota // from an address
	kindNamed             // a message from a name
	kindRegister          // of a name
	kindDelete            //
	kindTransfer          //
	kindPeer              // registration of a peer
	kindPeerDelete        //
	kindMalformed         // begins as a frame and isn't one
	kindForeign           // another protocol's
	kindAgain             // a copy of a frame of an earlier transaction
)

// A FrameSpec says which frame to make. Equal specs make the same bytes: a copy.
// Everything is drawn from a few people, names and time stamps, so that frames
// get in each other's way.
type FrameSpec struct {
	Kind      int
	Who       int // whose it is said to be
	To        int // to whom a name is transferred, or which text a message has
	Name      int // of a name, or an IP
	Stamp     int // which time stamp; from stampNext on a number that grows
	Signer    int // 0: who should; else somebody else
	Signature int // form
	Script    int // form
	Other     int // other information
}

const (
	peopleCount = 5
	namesCount  = 3
	otherCount  = 4
	stampsCount = 7
	stampNext   = stampsCount // larger than those of all transactions before
)

var (
	people     [peopleCount]simchain.Person
	publicKeys [peopleCount][]byte
	names      = [namesCount]string{"ann", "ben", "\u00e7a va"}
	ips        = [namesCount]string{"10.0.0.1", "10.0.0.1:8433", "2001:db8::1"}
	stamps     = [stampsCount]string{"1000", "1001", "1002", "0", "18446744073709551615", "01", "-1"}
)

func init() {
	for i := range people {
		people[i] = simchain.NewPerson(2026, i)
		publicKeys[i] = people[i].Key.PublicKey()
	}
}

var scripts sync.Map // FrameSpec to script

// script returns the output script of the frame. Signing is the costly part of a
// run: each frame is made once.
func (s FrameSpec) script() []byte {
	if made, ok := scripts.Load(s); ok {
		return made.([]byte)
	}
	made := s.make()
	scripts.Store(s, made)
	return made
}

func (s FrameSpec) make() []byte {
	who, to := people[s.Who], people[(s.Who+1+s.To%(peopleCount-1))%peopleCount]
	signer := people[(s.Who+s.Signer)%peopleCount]
	signature, form := simchain.SignatureForm(s.Signature), simchain.ScriptForm(s.Script)
	switch s.Kind {
	case kindMessage, kindNamed:
		m := &improtocol.Message{Source: who.Address(), Type: "text", Encryption: "plain", Body: []byte("text " + strconv.Itoa(s.To)),
			Other: s.other(), TimeStamp: s.stamp()}
		if s.Kind == kindNamed {
			m.Source = names[s.Name]
		}
		return simchain.Message(m, signer.Key, signature, form)
	case kindMalformed:
		return s.malformed()
	case kindForeign:
		return simchain.Script(form, []byte("19HxigV4QyBv3tHpQVcUEQyq1pzZVdoAut"), []byte{byte(s.To)})
	}
	r := &nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: names[s.Name], Address: who.Hash,
		Other: s.other(), TimeStamp: s.stamp()}
	keys := []frame.PrivateKey{signer.Key}
	switch s.Kind {
	case kindDelete, kindPeerDelete:
		r.Operation = nprotocol.Delete
	case kindTransfer:
		r.Operation, r.NewAddress, keys = nprotocol.Transfer, to.Hash, append(keys, to.Key)
		if s.Signer == peopleCount-1 { // the first signature is right, the second isn't
			keys = []frame.PrivateKey{who.Key, signer.Key}
		}
	}
	if s.Kind == kindPeer || s.Kind == kindPeerDelete {
		r.Protocol, r.Name, r.IP = frame.P, "", ips[s.Name]
	}
	return simchain.Record(r, signature, form, keys...)
}

func (s FrameSpec) stamp() string {
	if s.Stamp < stampsCount {
		return stamps[s.Stamp]
	}
	return strconv.Itoa(2000 + s.Stamp - stampNext)
}

func (s FrameSpec) other() string {
	switch s.Other {
	case 1:
		return "pub=" + hex.EncodeToString(publicKeys[s.Who])
	case 2:
		return "to=" + people[s.To%peopleCount].Address()
	case 3:
		return "pub=" + hex.EncodeToString(publicKeys[(s.Who+1)%peopleCount]) + "&x=%zz"
	}
	return ""
}

// malformed makes what begins as a frame and can't be read.
func (s FrameSpec) malformed() []byte {
	who := people[s.Who]
	text := func(fields ...string) []byte {
		list := make([][]byte, len(fields))
		for i, f := range fields {
			list[i] = []byte(f)
		}
		return simchain.Script(simchain.Pushes, list...)
	}
	switch s.To % 4 {
	case 0:
		return text(frame.IMPI, who.Address(), "text")
	case 1:
		return text(frame.NPI, "a/b", who.Address(), "", "5", "x")
	case 2:
		return text(frame.NPI, names[s.Name], who.Address(), who.Address(), "", "5", "x", "y")
	}
	return append(text(frame.IMPI), 0x4c)
}

// describe names the frame for people.
func (s FrameSpec) describe() string {
	kind := [...]string{"message", "named", "register", "delete", "transfer", "peer", "peerdelete", "malformed", "foreign", "again"}[s.Kind]
	out := fmt.Sprintf("%s(p%d", kind, s.Who)
	switch s.Kind {
	case kindMessage, kindMalformed, kindForeign:
		out += fmt.Sprintf(" text%d", s.To)
	case kindNamed:
		out += fmt.Sprintf(" as %q text%d", names[s.Name], s.To)
	case kindRegister, kindDelete:
		out += fmt.Sprintf(" %q", names[s.Name])
	case kindTransfer:
		out += fmt.Sprintf(" %q to p%d", names[s.Name], (s.Who+1+s.To%(peopleCount-1))%peopleCount)
	default:
		out += " " + ips[s.Name]
	}
	if s.Kind == kindAgain {
		return fmt.Sprintf("again(%d %d)", s.To+3*s.Name, s.Who)
	}
	return out + fmt.Sprintf(" at %s signer+%d sig%d form%d other%d)", s.stamp(), s.Signer, s.Signature, s.Script, s.Other)
}
