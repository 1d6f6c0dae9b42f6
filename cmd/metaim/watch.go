package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/spf13/cobra"
)

func newWatch(p *program) *cobra.Command {
	var asJSON, decrypt bool
	var from, cursor string
	var limit int
	c := &cobra.Command{
		Use:   "watch [WHO]",
		Short: "Follow the messages of a name or an address as they come",
		Long: `Follows the messages that a name or an address sends and receives, from now on:
each is printed when it is seen, when it is in a block, and whenever that changes.
A connection that breaks is made again, and nothing is lost or told twice. Of a
message in parts each part is a line; metaim save puts them together.

--json prints an object for each event: docs/api.md, "Events". With --decrypt it
also has opened, as inbox has.`,
		Example: "  metaim watch bob\n  metaim watch bob --json | jq .message.text",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from != "now" && from != "start" {
				return usagef("--since is now or start")
			}
			if limit < 0 {
				return usagef("--limit is at least 1")
			}
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			r, err := u.reader(cmd.Context(), args, asJSON, decrypt)
			if err != nil {
				return err
			}
			return r.watch(cmd.Context(), from, cursor, limit)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one event a line, as JSON")
	c.Flags().BoolVar(&decrypt, "decrypt", false, "decrypt what is encrypted to the keys of this machine")
	c.Flags().StringVar(&from, "since", "now", "now, or start: everything that the server knows first")
	c.Flags().IntVar(&limit, "limit", 0, "end after so many events (default: go on)")
	c.Flags().StringVar(&cursor, "cursor", "", "go on after this event, as an earlier --json line names it")
	addPersonFlags(c)
	return c
}

func (r *reader) watch(ctx context.Context, from, cursor string, limit int) error {
	filter := client.Filter{Address: []string{r.Network.Address(r.of.Address)}}
	if r.of.Name != "" {
		filter = client.Filter{Name: []string{r.of.Name}}
	}
	if !r.asJSON {
		fmt.Fprintf(r.program.err, "Watching %s. Ctrl-C ends.\n", r.Label(r.of))
	}
	for e, err := range r.Client.Subscribe(ctx, []client.Filter{filter}, client.SubscribeOptions{From: from, Cursor: cursor}) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.event(ctx, e); err != nil {
			return err
		}
		if limit--; limit == 0 {
			return nil
		}
	}
	return nil
}

// event prints what happened.
func (r *reader) event(ctx context.Context, e client.Event) error {
	if r.asJSON {
		return r.eventJSON(e)
	}
	switch {
	case e.Message != nil && e.Kind != "message.seen" && e.Kind != "message.confirmed":
		fmt.Fprintf(r.program.out, "%s\n", r.style.yellow(r.change(e)))
		return r.show(ctx, *e.Message)
	case e.Message != nil:
		return r.show(ctx, *e.Message)
	case e.Record != nil:
		_, err := fmt.Fprintf(r.program.out, "%s: %s %q by %s, %s\n", safetext.Line(e.Kind), e.Record.Operation, e.Record.Name, e.Record.Address, e.Verdict)
		return err
	case e.Kind == client.SubscriptionMoved:
		_, err := fmt.Fprintf(r.program.out, "name %q moved from %s to %s\n", e.Name, e.From, e.To)
		return err
	}
	return nil
}

func (r *reader) eventJSON(e client.Event) error {
	if !r.decrypts || e.Message == nil {
		return r.program.printJSON(e)
	}
	return r.program.printJSON(struct {
		client.Event
		Opened openedLine `json:"opened"`
	}{e, lineOfOpened(r.opener.Open(*e.Message))})
}

func (r *reader) change(e client.Event) string {
	what := strings.TrimPrefix(e.Kind, "message.")
	if e.From != "" {
		what += fmt.Sprintf(": it was %s and is %s", e.From, e.Verdict)
	}
	if e.Reason != "" {
		what += ": " + e.Reason
	}
	return safetext.Line(what)
}
