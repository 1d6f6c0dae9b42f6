package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/messenger"
	"github.com/spf13/cobra"
)

func newInbox(p *program) *cobra.Command {
	var asJSON, refused, decrypt bool
	limit := 50
	c := &cobra.Command{
		Use:   "inbox [WHO]",
		Short: "List the messages that a name or an address sent and received",
		Long: `Lists the newest messages of a name, an address or a contact; with no argument, of
the only key of this machine. Every message is verified here: the server is not
trusted. A message in parts is one line, which names the parts that are missing.
Encrypted messages are shown as such; --decrypt opens those to the keys of this
machine, with the passphrase.

--json prints an object for each message (each part, too), as the server tells
it: docs/api.md, "Messages". With --decrypt it also has opened: media_type, text
(when it is text), body (base64, when it was encrypted and isn't text) or error.`,
		Example: "  metaim inbox bob\n  metaim inbox --decrypt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
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
			return r.inbox(cmd.Context(), limit, refused)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line, as the server tells it")
	c.Flags().BoolVar(&refused, "refused", false, "list what was refused, and why")
	c.Flags().BoolVar(&decrypt, "decrypt", false, "decrypt what is encrypted to the keys of this machine")
	c.Flags().IntVar(&limit, "limit", limit, "how many")
	addPersonFlags(c)
	return c
}

// A listed is one line of the inbox: a message, or one in parts.
type listed struct {
	m client.Message
	g *messenger.Gathering // of a message in parts
	// err says why the parts couldn't be looked for; m is then one of them.
	err error
}

func (r *reader) inbox(ctx context.Context, limit int, refused bool) error {
	q := client.MessageQuery{Address: r.Network.Address(r.of.Address), Limit: limit}
	if refused {
		q.State = "refused"
	}
	list, err := r.list(ctx, q, limit)
	if err != nil {
		return err
	}
	slices.Reverse(list)
	for _, l := range list {
		if l.g == nil && l.err == nil {
			err = r.show(ctx, l.m)
		} else {
			err = r.showParts(ctx, l)
		}
		if err != nil {
			return err
		}
	}
	if len(list) == 0 && !r.asJSON {
		fmt.Fprintf(r.program.err, "No messages of %s.\n", r.Label(r.of))
	}
	return nil
}

// list returns the newest messages, newest first, with parts put into one line.
func (r *reader) list(ctx context.Context, q client.MessageQuery, limit int) ([]*listed, error) {
	var list []*listed
	groups := map[string]*listed{}
	for m, err := range r.Newest(ctx, q) {
		if err != nil {
			return nil, err
		}
		part, ok := messenger.PartOf(m)
		ok = ok && !r.asJSON && q.State == ""
		if l := groups[part.First]; ok && l != nil {
			if l.g != nil {
				_, _ = l.g.Add(m) // that only counts: it takes in what it can
			}
			continue
		}
		if len(list) == limit {
			break
		}
		l := &listed{m: m}
		if ok {
			groups[part.First] = l
			l.g, l.err = r.Begin(ctx, m, true)
		}
		if l.g != nil {
			_, _ = l.g.Add(m)
		}
		list = append(list, l)
	}
	for _, l := range list {
		if l.g == nil || l.g.Complete() {
			continue
		}
		if err := r.Search(ctx, l.g); err != nil {
			return nil, err
		}
	}
	return list, nil
}
