package index

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// An exported frame, name and peer: one line of JSON each. docs/spec/index.md,
// "Export", has them for those who read them; what doesn't apply is left out.
type (
	exportedFrame struct {
		Kind      string         `json:"kind"` // "frame"
		Protocol  frame.Protocol `json:"protocol"`
		Operation string         `json:"operation,omitempty"`
		TxID      string         `json:"txid"`
		Output    uint32         `json:"vout"`
		Height    *int32         `json:"height,omitempty"`
		Index     *uint32        `json:"index,omitempty"`
		Verdict   frame.Verdict  `json:"verdict"`
		State     State          `json:"state,omitempty"` // of what is not confirmed
		*exportedFields
	}
	exportedFields struct {
		ID        string `json:"frame_id"`
		ContentID string `json:"content_id,omitempty"`
		Address   string `json:"address,omitempty"`
		Other     string `json:"other"`
		TimeStamp string `json:"time_stamp"`
		*exportedMessage
		*exportedRecord
	}
	exportedMessage struct {
		Source     string   `json:"source"`
		Type       string   `json:"type"`
		Encryption string   `json:"encryption"`
		MessageHex string   `json:"message_hex"`
		Recipients []string `json:"recipients"`
	}
	exportedRecord struct {
		Name       string `json:"name,omitempty"`
		NewAddress string `json:"new_address,omitempty"`
		IP         string `json:"ip,omitempty"`
	}
	exportedName struct {
		Kind         string `json:"kind"` // "name"
		NameHex      string `json:"name_hex"`
		Address      string `json:"address"`
		SinceHeight  int32  `json:"since_height"`
		RegisteredAt int64  `json:"registered_at"`
		ExpiresAt    int64  `json:"expires_at"`
		State        string `json:"state"` // valid, expired, deleted
		Primary      bool   `json:"primary"`
	}
	exportedPeer struct {
		Kind         string `json:"kind"` // "peer"
		Address      string `json:"address"`
		IP           string `json:"ip"`
		RegisteredAt int64  `json:"registered_at"`
		ExpiresAt    int64  `json:"expires_at"`
		State        string `json:"state"`
	}
)

// Export writes an index as JSON lines: every confirmed frame in canonical
// order, then, unless confirmedOnly, the unconfirmed ones in the order first
// seen; every name ever validly held, by its bytes; every peer record ever valid,
// by address, then IP.
func Export(w io.Writer, v View, network frame.Network, confirmedOnly bool) error {
	x := &exporter{network: network, out: json.NewEncoder(w)}
	x.out.SetEscapeHTML(false)
	if err := v.Confirmed(x.frame); err != nil {
		return err
	}
	if !confirmedOnly {
		if err := x.unconfirmed(v); err != nil {
			return err
		}
	}
	tip, err := v.Tip()
	if err != nil {
		return err
	}
	if err := x.names(v, tip.MedianTime); err != nil {
		return err
	}
	return x.peers(v, tip.MedianTime)
}

type exporter struct {
	network frame.Network
	out     *json.Encoder
}

func (x *exporter) unconfirmed(v View) error {
	saved, err := v.Unconfirmed()
	if err != nil {
		return err
	}
	for _, s := range saved {
		// Unconfirmed may leave message bodies out; InTransaction doesn't.
		entries, err := v.InTransaction(s.Entries[0].Tx.ID)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.State != Seen {
				continue
			}
			if err := x.frame(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exporter) frame(e *Entry) error {
	out := exportedFrame{Kind: "frame", Protocol: e.Protocol, Operation: e.Operation(), TxID: e.Tx.ID.String(),
		Output: e.Output, Verdict: e.Verdict}
	if e.State == Confirmed {
		out.Height, out.Index = &e.Height, &e.Tx.Index
	} else {
		out.State = e.State
	}
	if e.Malformed != "" {
		return x.out.Encode(out)
	}
	out.exportedFields = &exportedFields{ID: e.ID.String(), Other: e.Other(), TimeStamp: e.TimeStamp()}
	if e.Address != nil {
		out.Address = x.network.Address(*e.Address)
	}
	if m := e.Message; m != nil {
		out.ContentID = e.ContentID.String()
		recipients := []string{}
		for _, h := range e.Recipients() {
			recipients = append(recipients, x.network.Address(h))
		}
		out.exportedMessage = &exportedMessage{Source: m.Source, Type: m.Type, Encryption: m.Encryption,
			MessageHex: hex.EncodeToString(m.Body), Recipients: recipients}
	}
	if r := e.Record; r != nil {
		out.exportedRecord = &exportedRecord{Name: r.Name, IP: r.IP}
		if r.Operation == nprotocol.Transfer {
			out.NewAddress = x.network.Address(r.NewAddress)
		}
	}
	return x.out.Encode(out)
}

// Primary returns, of names of one address, the one that now is its primary
// name: among those valid the one held longest without a break. It returns nil
// when none is valid. docs/spec/nprotocol.md, "Primary name".
func Primary(names []*nprotocol.Name, now int64) *nprotocol.Name {
	var first *nprotocol.Name
	for _, n := range names {
		if n.ValidAt(now) && (first == nil || n.Since.Compare(first.Since) < 0) {
			first = n
		}
	}
	return first
}

func (x *exporter) names(v View, now int64) error {
	primary := map[frame.KeyHash]*nprotocol.Name{}
	err := v.AllNames(func(n *nprotocol.Name) error {
		held := []*nprotocol.Name{n}
		if p := primary[n.Address]; p != nil {
			held = append(held, p)
		}
		if first := Primary(held, now); first != nil {
			primary[n.Address] = first
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.AllNames(func(n *nprotocol.Name) error {
		first := primary[n.Address]
		return x.out.Encode(exportedName{Kind: "name", NameHex: hex.EncodeToString([]byte(n.Name)), Address: x.network.Address(n.Address),
			SinceHeight: n.Since.Height, RegisteredAt: n.RegisteredAt, ExpiresAt: n.ExpiresAt,
			State: recordState(n.Deleted, n.ValidAt(now)), Primary: first != nil && first.Name == n.Name})
	})
}

func recordState(deleted, valid bool) string {
	switch {
	case deleted:
		return "deleted"
	case valid:
		return "valid"
	}
	return "expired"
}

func (x *exporter) peers(v View, now int64) error {
	var list []exportedPeer
	err := v.AllPeers(func(p *nprotocol.Peer) error {
		list = append(list, exportedPeer{Kind: "peer", Address: x.network.Address(p.Address), IP: p.IP,
			RegisteredAt: p.RegisteredAt, ExpiresAt: p.ExpiresAt, State: recordState(p.Deleted, p.ValidAt(now))})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b exportedPeer) int { return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.IP, b.IP)) })
	for _, p := range list {
		if err := x.out.Encode(p); err != nil {
			return err
		}
	}
	return nil
}
