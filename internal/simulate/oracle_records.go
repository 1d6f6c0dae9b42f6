package simulate

import (
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// An oracleName is what is known of a name.
type oracleName struct {
	name                string
	address             frame.KeyHash
	since               place
	registered, expires int64
	deleted             bool
}

// name goes through all that was validly said of a name; nil when nothing was.
func (h history) name(name string) *oracleName {
	var n *oracleName
	for _, e := range h {
		if e.verdict != frame.Valid || e.frame.protocol != frame.N || e.frame.record.Name != name {
			continue
		}
		r := e.frame.record
		if r.Operation == nprotocol.Delete {
			n.deleted = true
			continue
		}
		renewal := r.Operation == nprotocol.Register && n != nil && !n.deleted && e.now < n.expires
		since := e.place
		if renewal {
			since = n.since
		}
		n = &oracleName{name: name, address: r.Address, since: since, registered: e.time, expires: e.time + year}
		if r.Operation == nprotocol.Transfer {
			n.address = r.NewAddress
		}
	}
	return n
}

type oraclePeer struct {
	address             frame.KeyHash
	ip                  string
	registered, expires int64
	deleted             bool
}

func (h history) peer(address frame.KeyHash, ip string) *oraclePeer {
	var p *oraclePeer
	for _, e := range h {
		if e.verdict != frame.Valid || e.frame.protocol != frame.P || e.frame.record.Address != address || e.frame.record.IP != ip {
			continue
		}
		if e.frame.record.Operation == nprotocol.Delete {
			p.deleted = true
			continue
		}
		p = &oraclePeer{address: address, ip: ip, registered: e.time, expires: e.time + year}
	}
	return p
}

// names and peers list all records, names by bytes, peers by address, then IP.
func (h history) names() (list []*oracleName) {
	done := map[string]bool{}
	for _, e := range h {
		if e.verdict == frame.Valid && e.frame.protocol == frame.N && !done[e.frame.record.Name] {
			done[e.frame.record.Name] = true
			list = append(list, h.name(e.frame.record.Name))
		}
	}
	slices.SortFunc(list, func(a, b *oracleName) int { return strings.Compare(a.name, b.name) })
	return list
}

func (h history) peers() (list []*oraclePeer) {
	done := map[string]bool{}
	for _, e := range h {
		if e.verdict != frame.Valid || e.frame.protocol != frame.P {
			continue
		}
		r := e.frame.record
		if key := string(r.Address[:]) + r.IP; !done[key] {
			done[key] = true
			list = append(list, h.peer(r.Address, r.IP))
		}
	}
	slices.SortFunc(list, func(a, b *oraclePeer) int {
		return strings.Compare(string(a.address[:])+a.ip, string(b.address[:])+b.ip)
	})
	return list
}
