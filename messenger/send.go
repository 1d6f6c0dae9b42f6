package messenger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/signer"
)

// A PinError says that a recipient isn't who was pinned.
type PinError struct {
	Who    string // as the recipient was named
	Pinned string // address
	Found  string // address
}

func (e *PinError) Error() string {
	return fmt.Sprintf("%s was %s and is %s now: nothing was sent", safetext.Line(e.Who), e.Pinned, e.Found)
}

// A RefusedError says that a message was refused for good: by the node, or by the
// rules of the index.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "not sent: " + safetext.Line(e.Reason) }

// Send signs a draft and sends it: in one message, in several when it is larger
// than a transaction allows, and in one for each recipient when its encryption
// asks for it. progress, which may be nil, hears the bytes that are sent, of all.
// What it fails with is about the first message that wasn't sent; Sent then holds
// those that were, nil when none was. It fails with *signer.FundsError, *seal.NoKeyError, *PinError,
// *RefusedError, the errors of [Draft.Check], or a *client.Problem.
func (a *Account) Send(ctx context.Context, d Draft, progress func(done, all int64)) (*Sent, error) {
	var sent *Sent
	err := a.SendAll(ctx, []Draft{d}, func(_ int, s *Sent) { sent = s }, progress)
	return sent, err
}

// SendAll sends drafts in their order and asks the server only once about the
// recipients of those that stand together and go to the same ones. each hears of
// every draft that is sent, and of the one that Send would fail with if a part of
// it was; progress may be nil and counts from 0 for each draft.
func (a *Account) SendAll(ctx context.Context, drafts []Draft, each func(i int, s *Sent), progress func(done, all int64)) error {
	var e *envelope
	for i := range drafts {
		d := &drafts[i]
		err := d.Check()
		if err == nil && (e == nil || !d.fits(&drafts[i-1])) {
			e, err = a.envelope(ctx, d)
		}
		if err != nil {
			return err
		}
		sent, err := a.sendIn(ctx, e, d, progress)
		if err == nil || len(sent.IDs) > 0 {
			each(i, sent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Account) sendIn(ctx context.Context, e *envelope, d *Draft, progress func(done, all int64)) (*Sent, error) {
	p, err := a.planWith(e, d)
	if err != nil {
		return &Sent{}, err
	}
	sent := p.sent(d)
	all, done := p.bytes(d), int64(0)
	for k := range p.frames(d) {
		m, to := p.frame(d, k)
		signed, err := a.build(d, m, to)
		if err == nil {
			err = a.hand(ctx, m.FrameID(), signed.TxID, signed.Raw)
		}
		if err != nil {
			return sent, err
		}
		sent.IDs = append(sent.IDs, m.FrameID())
		sent.TxIDs = append(sent.TxIDs, signed.TxID)
		if done += int64(len(m.Body)); progress != nil {
			progress(done, all)
		}
	}
	return sent, nil
}

// build signs a frame and builds its transaction, which is durable then.
func (a *Account) build(d *Draft, m *improtocol.Message, to []string) (*signer.Signed, error) {
	script, err := a.script(d, m)
	if err != nil {
		return nil, err
	}
	q := signer.Request{From: a.Key.KeyHash(), Script: script, Rate: a.FeeRate()}
	for _, address := range to {
		h, err := a.Network.ParseAddress(address)
		if err != nil {
			return nil, err
		}
		q.Recipients = append(q.Recipients, h)
	}
	return a.Wallet.Build(q)
}

func (a *Account) script(d *Draft, m *improtocol.Message) ([]byte, error) {
	m.Sign(a.Key.Private())
	form := frame.Pushes
	if d.Bracketed {
		form = frame.Bracketed
	}
	return m.AppendScript(nil, form)
}

// hand hands the transaction of a message to the server. When the server's rules
// refuse the message, that is an error though the network has it.
func (a *Account) hand(ctx context.Context, id frame.ID, txid frame.Hash, raw []byte) error {
	submitted, err := a.submit(ctx, txid, raw)
	if err != nil {
		return err
	}
	for _, f := range submitted.Frames {
		if f.ID == id.String() && f.Verdict != string(frame.Valid) && f.Verdict != string(frame.Duplicate) {
			return &RefusedError{fmt.Sprintf("the message is in transaction %s, and counts as %s: %s", txid, f.Verdict, f.Reason)}
		}
	}
	return nil
}

// submit is Submit that tells what the server answered.
func (a *Account) submit(ctx context.Context, id frame.Hash, raw []byte) (*client.Submitted, error) {
	submitted, err := a.Client.Submit(ctx, a.form(raw))
	if err == nil {
		return submitted, a.Wallet.Accept(id)
	}
	var p *client.Problem
	if errors.As(err, &p) && !p.Retryable {
		_, release := a.Wallet.Release(id)
		return nil, errors.Join(&RefusedError{p.Detail}, release)
	}
	return nil, fmt.Errorf("transaction %s is kept and submitted with the next command: %w", id, err)
}

// form returns a transaction in the form that the server wants: extended where it
// says so and all coins are known, else raw.
func (a *Account) form(raw []byte) []byte {
	if a.Info == nil || !a.Info.Extended {
		return raw
	}
	if extended, err := a.Wallet.Extend(raw); err == nil {
		return extended
	}
	return raw
}

// whereabouts finds the transaction of a frame that an earlier attempt may have
// sent: built names the one that was recorded, if any. A transaction that nobody
// decided on is handed in again. ok is false when the frame was not sent.
func (a *Account) whereabouts(ctx context.Context, d *Draft, m *improtocol.Message, built *frame.Hash) (txid frame.Hash, ok bool, err error) {
	if built != nil {
		for _, raw := range a.Wallet.Pending() {
			if frame.HashOf(raw) == *built {
				return *built, true, a.hand(ctx, m.FrameID(), *built, raw)
			}
		}
		switch _, err := a.Wallet.Release(*built); {
		case errors.Is(err, signer.ErrAccepted):
			return *built, true, nil
		case err == nil:
			return frame.Hash{}, false, nil // it was refused: its coins are free
		case !errors.Is(err, signer.ErrUnknownTransaction):
			return frame.Hash{}, false, err
		}
	}
	script, err := a.script(d, m)
	if err != nil {
		return frame.Hash{}, false, err
	}
	unsigned := script[:len(script)-len(m.Signature)]
	for _, raw := range a.earlier {
		if bytes.Contains(raw, unsigned) {
			return frame.HashOf(raw), true, nil
		}
	}
	known, err := a.Client.Message(ctx, m.FrameID().String())
	var p *client.Problem
	switch {
	case errors.As(err, &p) && p.Code == client.CodeNotFound:
		return frame.Hash{}, false, nil
	case err != nil:
		return frame.Hash{}, false, err
	case known.State != "seen" && known.State != "confirmed":
		return frame.Hash{}, false, nil
	}
	txid, err = frame.ParseHash(known.TxID)
	return txid, err == nil, err
}
