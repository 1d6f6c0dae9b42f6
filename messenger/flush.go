package messenger

import (
	"context"
	"errors"
	"net"
	"net/url"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// Flush sends all drafts of the outbox that wait and are this account's to sign,
// in their order, and goes on with those that were begun. told, which may be nil,
// hears of an item when its messages are fixed, after each message, and when it
// is refused or done; a refused one is left in the queue and the next is sent.
// Flush ends with an error when going on makes no sense now: the server can't be
// reached, coins are missing, ctx ended. One Flush runs at a time.
func (a *Account) Flush(ctx context.Context, o *Outbox, told func(Queued)) error {
	return a.flush(ctx, o, "", told)
}

// FlushOne is Flush for one item, also if others stand before it. It fails with
// ErrNoDraft, or with what the item was refused for.
func (a *Account) FlushOne(ctx context.Context, o *Outbox, id string, told func(Queued)) error {
	var refused error
	err := a.flush(ctx, o, id, func(q Queued) {
		if q.State == Refused {
			refused = &RefusedError{q.Reason}
		}
		if told != nil {
			told(q)
		}
	})
	return errors.Join(err, refused)
}

func (a *Account) flush(ctx context.Context, o *Outbox, only string, told func(Queued)) error {
	o.flushing.Lock()
	defer o.flushing.Unlock()
	if told == nil {
		told = func(Queued) {}
	}
	if only != "" {
		o.mu.Lock()
		_, err := o.find(only)
		o.mu.Unlock()
		if err != nil {
			return err
		}
	}
	own := a.Network.Address(a.Key.KeyHash())
	tried := map[string]bool{}
	for {
		q := o.next(own, only, tried)
		if q == nil {
			return nil
		}
		tried[q.id] = true
		if err := a.flushItem(ctx, o, q, told); err != nil {
			return err
		}
	}
}

// next returns the first item that waits for this address and wasn't tried.
func (o *Outbox) next(own, only string, tried map[string]bool) *queued {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range o.items {
		mine := q.draft.From == "" && q.plan == nil || q.draft.From == own || q.plan != nil && q.plan.From == own
		if mine && q.reason == "" && !tried[q.id] && (only == "" || q.id == only) {
			return q
		}
	}
	return nil
}

// flushItem sends what isn't sent of an item. It fails only with what isn't the
// item's own fault.
func (a *Account) flushItem(ctx context.Context, o *Outbox, q *queued, told func(Queued)) error {
	err := a.flushFrames(ctx, o, q, told)
	switch {
	case err == nil, errors.Is(err, ErrNoDraft): // dropped meanwhile
		return nil
	case !final(err):
		return err
	}
	if err := o.note(q, outboxRecord{Op: opRefuse, ID: q.id, Reason: reasonOf(err)}, true); err != nil {
		return err
	}
	told(o.tell(q))
	return nil
}

func (a *Account) flushFrames(ctx context.Context, o *Outbox, q *queued, told func(Queued)) error {
	begun := q.plan != nil
	if !begun {
		p, err := a.plan(ctx, &q.draft)
		if err != nil {
			return err
		}
		if err := o.note(q, outboxRecord{Op: opPlan, ID: q.id, Plan: p}, true); err != nil {
			return err
		}
	}
	told(o.tell(q))
	for k := range q.ids {
		if _, sent := o.frameState(q, k); sent {
			continue
		}
		found, err := a.flushFrame(ctx, o, q, k, begun)
		if err != nil {
			return err
		}
		// Frames go out in order: what follows one that wasn't sent wasn't either.
		begun = begun && found
		told(o.tell(q))
	}
	return o.done(q)
}

// frameState tells what is known of one message: the transaction that was built
// for it, nil for none, and whether it is sent.
func (o *Outbox) frameState(q *queued, k int) (built *frame.Hash, sent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if txid, ok := q.built[k]; ok {
		built = &txid
	}
	_, sent = q.sent[k]
	return built, sent
}

// flushFrame sends one message of an item, unless it finds that it was sent by an
// attempt before: begun says that there may have been one.
func (a *Account) flushFrame(ctx context.Context, o *Outbox, q *queued, k int, begun bool) (found bool, err error) {
	m, to := q.plan.frame(&q.draft, k)
	if built, _ := o.frameState(q, k); begun || built != nil {
		txid, ok, err := a.whereabouts(ctx, &q.draft, m, built)
		if err != nil {
			return false, err
		}
		if ok {
			return true, o.note(q, outboxRecord{Op: opSent, ID: q.id, Frame: k, TxID: txid.String()}, false)
		}
	}
	signed, err := a.build(&q.draft, m, to)
	if err != nil {
		return false, err
	}
	if err := o.note(q, outboxRecord{Op: opBuilt, ID: q.id, Frame: k, TxID: signed.TxID.String()}, true); err != nil {
		_, release := a.Wallet.Release(signed.TxID)
		return false, errors.Join(err, release)
	}
	if err := a.hand(ctx, m.FrameID(), signed.TxID, signed.Raw); err != nil {
		return false, err
	}
	return false, o.note(q, outboxRecord{Op: opSent, ID: q.id, Frame: k, TxID: signed.TxID.String()}, false)
}

// note writes a record about an item and folds it in.
func (o *Outbox) note(q *queued, r outboxRecord, durable bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.find(q.id); err != nil {
		return err // it was dropped meanwhile
	}
	if err := o.write(r, durable); err != nil {
		return err
	}
	return q.apply(r)
}

func (o *Outbox) tell(q *queued) Queued {
	o.mu.Lock()
	defer o.mu.Unlock()
	return q.tell()
}

// done takes an item out that is sent.
func (o *Outbox) done(q *queued) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, err := o.find(q.id)
	if err != nil {
		return err
	}
	return o.remove(i)
}

// final tells whether an error is about the draft, so that trying again by itself
// makes no sense.
func final(err error) bool {
	var problem *client.Problem
	var refused *RefusedError
	var funds *signer.FundsError
	var unreachable *url.Error
	var network net.Error
	switch {
	case errors.As(err, &refused):
		return true
	case errors.As(err, &problem):
		return !problem.Retryable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &unreachable), errors.As(err, &network),
		errors.As(err, &funds), errors.Is(err, signer.ErrClosed), errors.Is(err, ErrOutboxClosed), errors.Is(err, ErrOutboxFull):
		return false
	}
	return true
}

// Offline tells whether an error says that the server couldn't be reached, or
// couldn't answer now.
func Offline(err error) bool {
	var problem *client.Problem
	var unreachable *url.Error
	return errors.As(err, &problem) && problem.Retryable || errors.As(err, &unreachable)
}

// reasonOf writes an error as the reason of a refusal.
func reasonOf(err error) string {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return err.Error()
}
