package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

func newInbox(p *program) *cobra.Command {
	var asJSON, refused, decrypt bool
	limit := 50
	c := &cobra.Command{
		Use:   "inbox [WHO]",
		Short: "List the messages that a name or an address sent and received",
		Long: `Lists the newest messages of a name or an address; with no argument, of the only
key of this machine. Every message is verified here: the server is not trusted.
Encrypted messages are shown as such; --decrypt opens those to the keys of this
machine, with the passphrase.`,
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

// A reader shows messages to a person.
type reader struct {
	*person
	of     messenger.Party
	asJSON bool
	keys   []signer.Entry // to decrypt with; nil: don't
	style  style
}

// reader finds whose messages are meant: the argument's, or the only key's.
func (u *person) reader(ctx context.Context, args []string, asJSON, decrypt bool) (*reader, error) {
	r := &reader{person: u, asJSON: asJSON, style: u.program.style()}
	if len(args) == 1 {
		of, err := u.Resolve(ctx, args[0])
		if err != nil {
			return nil, err
		}
		r.of = of
	} else {
		own, err := u.ring.find("")
		if err != nil {
			return nil, usageError{fmt.Errorf("whose messages? give a name or an address (%w)", err)}
		}
		r.of = messenger.Party{Address: own.KeyHash}
	}
	if decrypt {
		keys, err := u.ring.unlock()
		if err != nil {
			return nil, err
		}
		r.keys = keys
	}
	return r, nil
}

func (r *reader) inbox(ctx context.Context, limit int, refused bool) error {
	q := client.MessageQuery{Address: r.Network.Address(r.of.Address), Limit: min(limit, 1000)}
	if refused {
		q.State = "refused"
	}
	var messages []client.Message
	for m, err := range r.Client.AllMessages(ctx, q) {
		if err != nil {
			return err
		}
		if messages = append(messages, m); len(messages) == limit {
			break
		}
	}
	slices.Reverse(messages)
	for _, m := range messages {
		if err := r.show(m); err != nil {
			return err
		}
	}
	if len(messages) == 0 && !r.asJSON {
		fmt.Fprintf(r.program.err, "No messages of %s.\n", r.Label(r.of))
	}
	return nil
}

// show prints one message.
func (r *reader) show(m client.Message) error {
	if r.asJSON {
		return json.NewEncoder(r.program.out).Encode(m)
	}
	_, err := fmt.Fprintf(r.program.out, "%s  %-11s %s\n%s\n", r.when(m), r.state(m), r.who(m), indent(r.text(m)))
	return err
}

// when is the sender's word: the time stamp, if it is one in milliseconds.
func (r *reader) when(m client.Message) string {
	ms, err := strconv.ParseInt(m.TimeStamp, 10, 64)
	const year3000 = 32503680000000
	if err != nil || ms > year3000 {
		return "time " + safetext.Line(m.TimeStamp)
	}
	return clock(ms)
}

func (r *reader) state(m client.Message) string {
	switch m.State {
	case "confirmed":
		return r.style.green(fmt.Sprintf("confirmed/%d", m.Confirmations))
	case "seen":
		return r.style.yellow("seen")
	}
	return r.style.red(safetext.Line(m.State))
}

// who writes from whom to whom, and what this program itself found of the
// signature. The address always stands beside a name.
func (r *reader) who(m client.Message) string {
	from := safetext.Line(m.Source)
	if m.Address != "" && m.Address != m.Source {
		from += " (" + m.Address + ")"
	}
	to := strings.Join(m.Recipients, ", ")
	if to == "" {
		to = "themselves"
	}
	line := r.style.bold(from) + " to " + to + "  " + r.proof(m)
	if !m.Addressed {
		line += r.style.yellow("  copied here, not addressed to you")
	}
	return line
}

func (r *reader) proof(m client.Message) string {
	if m.Verdict != string(frame.Valid) && m.Verdict != string(frame.Duplicate) {
		return r.style.red("refused: " + safetext.Line(m.Reason))
	}
	if err := client.Verify(m, r.Network); err != nil {
		return r.style.red("NOT VERIFIED: " + safetext.Line(err.Error()))
	}
	return r.style.green("signed by " + m.Address)
}

// text returns the body as a person may see it. What can't be decrypted is said
// to be so, and never shown.
func (r *reader) text(m client.Message) string {
	switch {
	case m.Encryption == improtocol.ECC:
		plain, err := r.decrypt(m)
		if err != nil {
			return r.style.dim(fmt.Sprintf("(%s, %v)", size(len(m.Body)), err))
		}
		m.Body = plain
	case m.Encryption != improtocol.Plain:
		return r.style.dim(fmt.Sprintf("(%s, encrypted with %s)", size(len(m.Body)), safetext.Line(m.Encryption)))
	}
	if text, ok := client.PlainText(m.Type, improtocol.Plain, m.Body); ok {
		return safetext.Lines(text)
	}
	name := ""
	if n := m.OtherMap[improtocol.OtherName]; n != "" {
		name = " " + safetext.Line(n)
	}
	return r.style.dim(fmt.Sprintf("(%s%s, %s: /v1/messages/%s/content)", safetext.Line(m.Type), name, size(len(m.Body)), m.ID))
}

func (r *reader) decrypt(m client.Message) ([]byte, error) {
	if r.keys == nil {
		return nil, errors.New("encrypted: --decrypt opens it if it is to you")
	}
	for _, e := range r.keys {
		if plain, err := improtocol.DecryptECC(m.Body, e.Key.Private()); err == nil {
			return plain, nil
		}
	}
	return nil, errors.New("encrypted, and to none of the keys here")
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }
