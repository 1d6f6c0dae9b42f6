package api

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A shower writes what the index keeps as the API shows it at a tip.
type shower struct {
	network frame.Network
	tip     index.Tip
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// counts tells whether a frame with the verdict is told of unasked: it is
// valid, or one more occurrence of a message that is.
func counts(v frame.Verdict) bool { return v == frame.Valid || v == frame.Duplicate }

func (s shower) tipJSON() client.Tip {
	t := client.Tip{Height: s.tip.Height, MedianTime: s.tip.MedianTime}
	if s.tip.Height >= 0 {
		t.Hash = s.tip.Hash.String()
	}
	return t
}

func (s shower) addresses(hashes []frame.KeyHash) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = s.network.Address(h)
	}
	return out
}

func state(e *index.Entry) string {
	if e.State != index.Dropped && !counts(e.Verdict) {
		return "refused"
	}
	return string(e.State)
}

func block(e *index.Entry) string {
	if e.State != index.Confirmed {
		return ""
	}
	return e.Block.String()
}

func (s shower) confirmations(e *index.Entry) int32 {
	if e.State != index.Confirmed {
		return 0
	}
	return max(s.tip.Height-e.Height+1, 0)
}

func (s shower) frameID(e *index.Entry) string {
	if e.Malformed != "" {
		return ""
	}
	return e.ID.String()
}

func paidBySource(e *index.Entry) bool { return e.Address != nil && e.Tx.PaidBy(*e.Address) }

// message shows an entry of the IM protocol. asked are the addresses that it is
// shown to, if any.
func (s shower) message(e *index.Entry, asked ...frame.KeyHash) client.Message {
	recipients := e.Recipients()
	m := client.Message{
		ID: s.frameID(e), TxID: e.Tx.ID.String(), Output: e.Output, State: state(e), Verdict: string(e.Verdict),
		Reason: s.reason(e), Body: []byte{}, Signature: []byte{}, Height: e.Height, Block: block(e), BlockTime: e.Time,
		Confirmations: s.confirmations(e), Recipients: s.addresses(recipients), Addressed: true, PaidBySource: paidBySource(e),
	}
	if e.Address != nil {
		m.Address = s.network.Address(*e.Address)
	}
	if len(e.Keys) > 0 {
		m.PublicKey = hexOf(e.Keys[0])
	}
	im := e.Message
	if im == nil {
		return m
	}
	m.ContentID = e.ContentID.String()
	m.Source, m.Type, m.Encryption, m.Other, m.TimeStamp = im.Source, im.Type, im.Encryption, im.Other, im.TimeStamp
	m.Body, m.Signature = append(m.Body, im.Body...), append(m.Signature, im.Signature...)
	m.OtherMap = client.ParseOther(im.Other)
	if text, ok := client.PlainText(im.Type, im.Encryption, im.Body); ok {
		m.Text = &text
	}
	m.Addressed = s.addressed(e, recipients, asked)
	return m
}

// addressed tells whether the signed "to" names one of those who ask (or, when
// nobody in particular does, one of the recipients). Without "to" everyone is
// meant; and the sender may see all of it.
func (s shower) addressed(e *index.Entry, recipients, asked []frame.KeyHash) bool {
	to, ok := e.Message.To()
	if !ok {
		return true
	}
	if len(asked) == 0 {
		asked = recipients
	} else if e.Address != nil && slices.Contains(asked, *e.Address) {
		return true
	}
	return len(asked) == 0 || slices.ContainsFunc(asked, func(h frame.KeyHash) bool {
		return slices.Contains(to, s.network.Address(h))
	})
}

func (s shower) occurrence(e *index.Entry) client.Occurrence {
	return client.Occurrence{
		TxID: e.Tx.ID.String(), Output: e.Output, State: state(e), Verdict: string(e.Verdict), Height: e.Height,
		Block: block(e), Recipients: s.addresses(e.Recipients()), PaidBySource: paidBySource(e),
	}
}

// record shows an entry of the N or the P protocol.
func (s shower) record(e *index.Entry) client.Record {
	r := client.Record{
		ID: s.frameID(e), TxID: e.Tx.ID.String(), Output: e.Output, State: state(e), Verdict: string(e.Verdict),
		Reason: s.reason(e), Protocol: string(e.Protocol), Operation: e.Operation(), Signatures: [][]byte{},
		Height: e.Height, Block: block(e), BlockTime: e.Time, Confirmations: s.confirmations(e),
	}
	if e.Record == nil {
		return r
	}
	r.Name, r.IP, r.Address = e.Record.Name, e.Record.IP, s.network.Address(e.Record.Address)
	if e.Record.Operation == nprotocol.Transfer {
		r.NewAddress = s.network.Address(e.Record.NewAddress)
	}
	r.Other, r.TimeStamp = e.Record.Other, e.Record.TimeStamp
	r.Signatures = append(r.Signatures, e.Record.Signatures...)
	return r
}

func (s shower) frame(e *index.Entry) client.Frame {
	if e.Protocol == frame.IM {
		m := s.message(e)
		return client.Frame{Message: &m}
	}
	r := s.record(e)
	return client.Frame{Record: &r}
}

func standing(valid, deleted bool) string {
	switch {
	case valid:
		return client.NameValid
	case deleted:
		return client.NameDeleted
	}
	return client.NameExpired
}

func (s shower) name(n *nprotocol.Name) client.Name {
	return client.Name{
		Name: n.Name, State: standing(n.ValidAt(s.tip.MedianTime), n.Deleted), Address: s.network.Address(n.Address),
		Since:        &client.Position{Height: n.Since.Height, Index: n.Since.Index, Output: n.Since.Output},
		RegisteredAt: n.RegisteredAt, ExpiresAt: n.ExpiresAt,
	}
}

func (s shower) peer(p *nprotocol.Peer) client.Peer {
	return client.Peer{IP: p.IP, State: standing(p.ValidAt(s.tip.MedianTime), p.Deleted),
		RegisteredAt: p.RegisteredAt, ExpiresAt: p.ExpiresAt}
}

// reason says in a sentence why a frame doesn't count; empty when it is valid.
func (s shower) reason(e *index.Entry) string {
	switch e.Verdict {
	case frame.Malformed:
		return "the output begins as a frame and can't be read as one: " + e.Malformed
	case frame.BadTimeStamp:
		return fmt.Sprintf("the time stamp %q is no decimal number below 2^64", e.TimeStamp())
	case frame.Unpaid:
		return "the transaction pays nothing to the registration address"
	case frame.UnknownName:
		return fmt.Sprintf("the source %q is neither an address of this network nor a name that was valid there", e.Message.Source)
	case frame.PublicKeyUnknown:
		return "the signature doesn't carry its public key, and no key of the signing address is known"
	case frame.BadSignature:
		if e.Address == nil {
			return "the signature isn't by the key of the address that should have signed"
		}
		return "the signature isn't by the key of " + s.network.Address(*e.Address)
	case frame.Duplicate:
		return "the same message was valid before: this is another occurrence of it"
	case frame.StaleTimeStamp:
		return "an operation or message with the same or a later time stamp was valid before"
	case frame.Taken:
		return "another address holds the name"
	case frame.NotHolder:
		return "the address that signed doesn't hold what it would change"
	}
	return ""
}
