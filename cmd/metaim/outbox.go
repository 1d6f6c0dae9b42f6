package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/spf13/cobra"
)

func newOutbox(p *program) *cobra.Command {
	c := &cobra.Command{Use: "outbox", Short: "Messages that wait to be sent", Args: cobra.NoArgs,
		Long: `The outbox keeps messages that were written while the server couldn't be reached,
and large ones that were interrupted. It survives restarts; a message that was
begun is gone on with and never sent twice.

list --json prints an object for each: id, state (waiting, signed, refused),
reason, added (RFC 3339), type, name, bytes, to, encryption, from, sent and of
(messages), ids (frame ids).`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(newOutboxList(p), newOutboxFlush(p), newOutboxDrop(p))
	return c
}

// A queuedLine is what `outbox list --json` prints.
type queuedLine struct {
	ID         string   `json:"id"`
	State      string   `json:"state"`
	Reason     string   `json:"reason,omitempty"`
	Added      string   `json:"added"`
	Type       string   `json:"type"`
	Name       string   `json:"name,omitempty"`
	Bytes      int      `json:"bytes"`
	To         []string `json:"to"`
	Encryption string   `json:"encryption"`
	From       string   `json:"from,omitempty"`
	Sent       int      `json:"sent"`
	Of         int      `json:"of"`
	IDs        []string `json:"ids,omitempty"`
}

func lineOf(q messenger.Queued) queuedLine {
	return queuedLine{ID: q.ID, State: string(q.State), Reason: q.Reason, Added: q.Added.Format(time.RFC3339), Type: q.Draft.Type, Name: q.Draft.FileName,
		Bytes: len(q.Draft.Body), To: q.Draft.To, Encryption: q.Draft.Encryption, From: q.Draft.From, Sent: len(q.TxIDs), Of: len(q.FrameIDs), IDs: q.FrameIDs}
}

func newOutboxList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List what waits; asks for no passphrase and no server",
		Long: `Lists what waits in the outbox, in the order in which it is sent.

--json prints an object a line: id, state (waiting, signed, refused), reason,
added, type, name, bytes, to, encryption, from, sent, of, ids.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			o, err := ring.outbox()
			if err != nil {
				return err
			}
			items := o.Items()
			if err := o.Close(); err != nil {
				return err
			}
			if len(items) == 0 {
				fmt.Fprintln(p.err, "Nothing waits in the outbox.")
			}
			return printOutbox(p, items, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	networkSetting.add(c)
	homeSetting.add(c)
	return c
}

func printOutbox(p *program, items []messenger.Queued, asJSON bool) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, q := range items {
		if asJSON {
			if err := p.printJSON(lineOf(q)); err != nil {
				return err
			}
			continue
		}
		state := string(q.State)
		switch {
		case q.State == messenger.Refused:
			state += ": " + safetext.Line(q.Reason)
		case len(q.FrameIDs) > 0:
			state = fmt.Sprintf("%d of %d messages sent", len(q.TxIDs), len(q.FrameIDs))
		}
		what := q.Draft.Type + " " + q.Draft.FileName
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\tto %s\t%s\n", q.ID, clock(q.Added.UnixMilli()), safetext.Line(strings.TrimSpace(what)), size(len(q.Draft.Body)),
			safetext.Line(strings.Join(q.Draft.To, ", ")), state)
	}
	return w.Flush()
}

func newOutboxFlush(p *program) *cobra.Command {
	var from string
	var asJSON, again bool
	c := &cobra.Command{
		Use:   "flush",
		Short: "Send all that waits, in order",
		Long: `Sends what waits in the outbox and is the key's to sign, in order, and goes on with
what was begun. What is refused stays with its reason; --again tries it once more.

--json prints an object for each message that is sent, as send does.`,
		Example: "  metaim outbox flush --from alice",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flushOutbox(cmd, p, from, asJSON, func(q messenger.Queued) bool { return again || q.State != messenger.Refused })
		},
	}
	c.Flags().StringVar(&from, "from", "", "label of the key that signs and pays (default: the only key)")
	c.Flags().BoolVar(&again, "again", false, "try again what was refused, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each message")
	addPersonFlags(c)
	return c
}

// flushOutbox sends what waits and is wanted.
func flushOutbox(cmd *cobra.Command, p *program, from string, asJSON bool, wanted func(messenger.Queued) bool) error {
	ring, err := openKeyring(cmd, p)
	if err != nil {
		return err
	}
	return withAccount(cmd, p, from, func(ctx context.Context, a *account) error {
		ring.network = a.Network
		o, err := ring.outbox()
		if err != nil {
			return err
		}
		s := &sending{account: a, flags: sendFlags{asJSON: asJSON}, labels: map[string]string{}}
		return errors.Join(s.flush(ctx, o, wanted), o.Close())
	})
}

func (s *sending) flush(ctx context.Context, o *messenger.Outbox, wanted func(messenger.Queued) bool) error {
	own := s.Network.Address(s.Key.KeyHash())
	tried, refused := 0, 0
	for _, q := range o.Items() {
		if !wanted(q) || q.Draft.From != "" && q.Draft.From != own {
			continue
		}
		if err := o.Retry(q.ID); err != nil {
			return err
		}
		tried++
		bar := newProgress(s.program, "bytes")
		var last messenger.Queued
		err := s.FlushOne(ctx, o, q.ID, func(now messenger.Queued) {
			last = now
			bar.draw(now.DoneBytes, now.AllBytes)
		})
		bar.end()
		var no *messenger.RefusedError
		switch {
		case err == nil:
			err = s.sent(q.Draft, last.Sent)
		case errors.As(err, &no):
			refused++
			fmt.Fprintf(s.program.err, "metaim: %s: %s\n", q.ID, err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	switch {
	case refused > 0:
		return fmt.Errorf("%d of %d messages were refused: metaim outbox list", refused, tried)
	case tried == 0:
		fmt.Fprintln(s.program.err, "Nothing waits in the outbox for this key.")
	}
	return nil
}

func newOutboxDrop(p *program) *cobra.Command {
	var anyway bool
	c := &cobra.Command{
		Use:         "drop ID",
		Short:       "Forget a message that waits",
		Example:     "  metaim outbox drop 20260102-030405-1",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{noJSON: "says nothing when all is right"},
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := openKeyring(cmd, p)
			if err != nil {
				return err
			}
			o, err := ring.outbox()
			if err != nil {
				return err
			}
			drop := o.Drop
			if anyway {
				drop = o.Abandon
			}
			err = drop(args[0])
			switch {
			case errors.Is(err, messenger.ErrNoDraft):
				err = fmt.Errorf("there is no message %q in the outbox: metaim outbox list", args[0])
			case errors.Is(err, messenger.ErrUnderWay):
				err = fmt.Errorf("%w: --anyway leaves the rest unsent", err)
			}
			return errors.Join(err, o.Close())
		},
	}
	c.Flags().BoolVar(&anyway, "anyway", false, "even if a part of it is sent: readers will miss the rest")
	networkSetting.add(c)
	homeSetting.add(c)
	return c
}
