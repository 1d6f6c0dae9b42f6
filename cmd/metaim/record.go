package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/nprotocol"
	"github.com/metaim/metaim/signer"
)

// A sentRecord is what commands that send a record print with --json.
type sentRecord struct {
	Operation string `json:"operation"`
	Name      string `json:"name,omitempty"`
	IP        string `json:"ip,omitempty"`
	TxID      string `json:"txid"`
}

// record signs a record and sends it with its payment to the registration
// address.
func (a *account) record(ctx context.Context, r *nprotocol.Record, wait bool, keys ...frame.PrivateKey) error {
	return a.signAndSend(ctx, r, recordFlags{wait: wait}, keys...)
}

func (a *account) signAndSend(ctx context.Context, r *nprotocol.Record, f recordFlags, keys ...frame.PrivateKey) error {
	r.TimeStamp = fmt.Sprint(a.TimeStamp())
	if err := r.Sign(a.Network, keys...); err != nil {
		return err
	}
	return a.sendRecord(ctx, r, f)
}

// sendRecord sends a signed record. One that is known to be refused is not paid
// for.
func (a *account) sendRecord(ctx context.Context, r *nprotocol.Record, f recordFlags) error {
	to, err := a.registration(r.Protocol)
	if err != nil {
		return err
	}
	if err := a.fresh(ctx, r); err != nil {
		return err
	}
	script, err := r.AppendScript(nil, a.Network, frame.Pushes)
	if err != nil {
		return err
	}
	txid, err := a.Pay(ctx, signer.Request{Script: script, Pay: []signer.Output{{KeyHash: to, Satoshis: 1}}})
	if err != nil {
		return err
	}
	if err := a.program.printSent(r, txid, f.asJSON); err != nil {
		return err
	}
	a.ring.forget()
	if !f.wait {
		fmt.Fprintln(a.program.err, "metaim: it counts once it is in a block")
		return nil
	}
	return a.Confirmed(ctx, txid)
}

func (p *program) printSent(r *nprotocol.Record, txid frame.Hash, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.out).Encode(sentRecord{Operation: string(r.Operation), Name: r.Name, IP: r.IP, TxID: txid.String()})
	}
	subject := r.Name
	if r.Protocol == frame.P {
		subject = r.IP
	}
	_, err := fmt.Fprintf(p.out, "%s %q sent in %s\n", r.Operation, subject, txid)
	return err
}

// fresh says when an operation on a name that was signed later, or at the same
// time, counts already: then this one is refused. The server lists no operations
// on peers.
func (a *account) fresh(ctx context.Context, r *nprotocol.Record) error {
	if r.Protocol != frame.N {
		return nil
	}
	own, err := r.Time()
	if err != nil {
		return err
	}
	h, err := a.Client.NameHistory(ctx, r.Name)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Code == client.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	signer := a.Network.Address(r.Address)
	for _, old := range h.Items {
		counts := old.Verdict == string(frame.Valid) && (old.State == "confirmed" || old.State == "seen")
		then, err := frame.ParseTimeStamp(old.TimeStamp)
		if counts && err == nil && old.Address == signer && then >= own {
			return fmt.Errorf("name %q: %s signed a %s later than this (time stamp %s): it would be refused",
				r.Name, signer, safetext.Line(old.Operation), safetext.Line(old.TimeStamp))
		}
	}
	return nil
}

// registration returns the registration address in force for a protocol.
func (a *account) registration(protocol frame.Protocol) (frame.KeyHash, error) {
	list := a.Info.Registration.Names
	if protocol == frame.P {
		list = a.Info.Registration.Peers
	}
	if len(list) == 0 {
		return frame.KeyHash{}, errors.New("the server names no registration address")
	}
	to := list[0]
	for _, g := range list {
		if a.Info.Tip.Height+1 >= g.FromHeight {
			to = g
		}
	}
	return a.Network.ParseAddress(to.Address)
}
