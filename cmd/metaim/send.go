package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/spf13/cobra"
)

// sendFlags are the flags of `send`.
type sendFlags struct {
	from, file, kind, encrypt, re, shared string
	to                                    []string
	asAddress, lines, wait                bool
	asJSON, bracketed                     bool
	queue, resume, acceptNewKey           bool
}

func newSend(p *program) *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send [TEXT]",
		Short: "Sign a message and send it",
		Long: `Signs a message with a key of this machine and sends it in a transaction that
pays each recipient 1 satoshi. The text is the argument, or what standard input
holds when the argument is - or missing; --file sends a file. The source is the
key's name if it has one, else its address. A recipient is a name, an address or
a contact; a contact whose name belongs to somebody else than when it was pinned
is refused.

--encrypt auto takes the strongest type that every recipient can read, and says
which. What is larger than one transaction allows goes out in parts; interrupted,
the same command or --resume goes on where it stopped, and sends nothing twice.

--json prints an object for each message: id (frame id; of part 1), txid (of part
1), and where they apply parts (how many), encryption, to (addresses; when each
recipient gets a message of their own), queued (id in the outbox).`,
		Example: "  metaim send --from alice --to bob \"hello\"\n  metaim send --from alice --to bob --to carol --encrypt auto --file photo.png\n  date | metaim send --to mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(cmd, p, f, args)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.from, "from", "", "label of the key that signs and pays (default: the only key)")
	flags.StringArrayVar(&f.to, "to", nil, "name, address or contact that gets it; repeats")
	flags.StringVar(&f.file, "file", "", "send this file")
	flags.StringVar(&f.kind, "type", "", "message type: text, image, audio, video, html or a media type (default: from the file, else text)")
	flags.StringVar(&f.encrypt, "encrypt", improtocol.Plain, strings.Join(messenger.Encryptions, ", "))
	flags.StringVar(&f.shared, "shared", "", "label of the shared key or passphrase that AES encrypts with")
	flags.StringVar(&f.re, "re", "", "id of the message that this answers")
	flags.BoolVar(&f.asAddress, "as-address", false, "sign as the address even if the key has a name")
	flags.BoolVar(&f.lines, "lines", false, "send each line of standard input as a message of its own")
	flags.BoolVar(&f.wait, "wait", false, "wait until it is in a block")
	flags.BoolVar(&f.queue, "queue", false, "keep it in the outbox when the server can't be reached")
	flags.BoolVar(&f.resume, "resume", false, "go on with what was begun and not sent whole")
	flags.BoolVar(&f.acceptNewKey, "accept-new-key", false, "send to a contact's name though it is somebody else now, and pin that one")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object for each message")
	flags.BoolVar(&f.bracketed, "bracketed", false, "write the bracketed form instead of pushes")
	addPersonFlags(c)
	return c
}

func send(cmd *cobra.Command, p *program, f sendFlags, args []string) error {
	if f.resume {
		if len(f.to) > 0 || len(args) > 0 || f.file != "" || f.lines {
			return usagef("--resume goes on with what was begun: it takes no message and no --to")
		}
		return flushOutbox(cmd, p, f.from, f.asJSON, func(q messenger.Queued) bool {
			return q.State != messenger.Refused || len(q.TxIDs) > 0
		})
	}
	if len(f.to) == 0 {
		return usagef("to whom? give --to NAME or --to ADDRESS")
	}
	drafts, err := readDrafts(p, f, args)
	if err != nil {
		return err
	}
	for i := range drafts {
		if err := f.complete(&drafts[i]); err != nil {
			return err
		}
	}
	ctx := cmd.Context()
	u, err := connect(cmd, p)
	if f.queue && messenger.Offline(err) {
		return queue(cmd, p, f, drafts)
	}
	if err != nil {
		return err
	}
	to, err := u.recipients(ctx, f, drafts)
	if err != nil {
		return err
	}
	a, err := u.unlock(ctx, f.from)
	if err != nil {
		return err
	}
	for i := range drafts {
		drafts[i].From = a.Network.Address(a.Key.KeyHash())
	}
	s := &sending{account: a, flags: f, labels: map[string]string{}}
	for _, r := range to {
		s.labels[a.Network.Address(r.Address)] = a.Label(r)
	}
	return errors.Join(s.all(ctx, drafts), a.Wallet.Close())
}

// complete puts what the flags say into a draft and checks it.
func (f sendFlags) complete(d *messenger.Draft) error {
	d.To, d.Re, d.AsAddress, d.Bracketed, d.Shared = f.to, strings.ToLower(f.re), f.asAddress, f.bracketed, f.shared
	d.Encryption = f.encrypt
	for _, known := range messenger.Encryptions {
		if strings.EqualFold(known, f.encrypt) {
			d.Encryption = known
		}
	}
	if err := d.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// A sending sends drafts and prints what became of them.
type sending struct {
	*account
	flags  sendFlags
	labels map[string]string // of addresses
	last   frame.Hash
}

func (s *sending) all(ctx context.Context, drafts []messenger.Draft) error {
	small := drafts[:0:0]
	for i, d := range drafts {
		if !s.long(d) {
			small = append(small, d)
		}
		if !s.long(d) && i < len(drafts)-1 {
			continue
		}
		if err := s.direct(ctx, small); err != nil {
			return err
		}
		small = small[:0]
		if s.long(d) {
			if err := s.throughOutbox(ctx, d); err != nil {
				return err
			}
		}
	}
	if s.flags.wait {
		return s.Confirmed(ctx, s.last)
	}
	return nil
}

// long tells whether a draft may take several messages: these are sent through
// the outbox, so that they can be gone on with.
func (s *sending) long(d messenger.Draft) bool {
	const certain = 40_000 // bytes that fit a transaction in every encryption
	oneEach := d.Encryption == improtocol.ECC || d.Encryption == improtocol.HPKE || d.Encryption == messenger.Auto
	return len(d.Body) > certain || len(d.To) > 1 && oneEach
}

// direct sends drafts of one message each.
func (s *sending) direct(ctx context.Context, drafts []messenger.Draft) error {
	var printed error
	err := s.SendAll(ctx, drafts, func(i int, sent *messenger.Sent) {
		printed = errors.Join(printed, s.sent(drafts[i], sent))
	}, nil)
	return errors.Join(err, printed)
}

// throughOutbox sends a draft that may take several messages. One that was begun
// with the same content is gone on with.
func (s *sending) throughOutbox(ctx context.Context, d messenger.Draft) error {
	o, err := s.ring.outbox()
	if err != nil {
		return err
	}
	id, again := o.Same(d)
	if again {
		fmt.Fprintf(s.program.err, "Going on with the same message, which was begun before.\n")
		err = o.Retry(id)
	} else {
		id, err = o.Add(d)
	}
	if err != nil {
		return errors.Join(err, o.Close())
	}
	bar := newProgress(s.program, "bytes")
	var last messenger.Queued
	err = s.FlushOne(ctx, o, id, func(q messenger.Queued) {
		last = q
		bar.draw(q.DoneBytes, q.AllBytes)
	})
	bar.end()
	switch {
	case err == nil:
		err = s.sent(d, last.Sent)
	case len(last.TxIDs) == 0 && !messenger.Offline(err) && ctx.Err() == nil && o.Drop(id) == nil:
		// Nothing of it is out, nor may be: it is as if it hadn't been asked for.
	default:
		err = fmt.Errorf("%w (%d of %d messages are sent: metaim send --resume goes on)", err, len(last.TxIDs), len(last.FrameIDs))
	}
	return errors.Join(err, o.Close())
}

// A sentLine is what `send --json` prints.
type sentLine struct {
	ID         string   `json:"id,omitempty"`
	TxID       string   `json:"txid,omitempty"`
	Parts      int      `json:"parts,omitempty"`      // when it is cut into several
	Encryption string   `json:"encryption,omitempty"` // but plain
	To         []string `json:"to,omitempty"`         // addresses, when each recipient gets a message of their own
	Queued     string   `json:"queued,omitempty"`     // id in the outbox
}

// sent prints the messages of a draft that is sent.
func (s *sending) sent(d messenger.Draft, sent *messenger.Sent) error {
	if d.Encryption == messenger.Auto {
		fmt.Fprintf(s.program.err, "Encrypted with %s, the strongest type that all recipients can read.\n", sent.Encryption)
	}
	for i, group := range sent.To {
		k := i * sent.Parts
		if k >= len(sent.IDs) {
			break
		}
		s.last = sent.TxIDs[min(k+sent.Parts, len(sent.TxIDs))-1]
		if err := s.print(d, sent, group, sent.IDs[k], sent.TxIDs[k]); err != nil {
			return err
		}
	}
	return nil
}

func (s *sending) print(d messenger.Draft, sent *messenger.Sent, group []string, id frame.ID, txid frame.Hash) error {
	if s.flags.asJSON {
		line := sentLine{ID: id.String(), TxID: txid.String()}
		if sent.Parts > 1 {
			line.Parts = sent.Parts
		}
		if sent.Encryption != improtocol.Plain {
			line.Encryption = sent.Encryption
		}
		if len(sent.To) > 1 {
			line.To = group
		}
		return s.program.printJSON(line)
	}
	what := d.Type + ", " + size(len(d.Body))
	if sent.Encryption != improtocol.Plain {
		what += ", " + sent.Encryption
	}
	if sent.Parts > 1 {
		what += fmt.Sprintf(", %d parts", sent.Parts)
	}
	labels := make([]string, len(group))
	for i, address := range group {
		if labels[i] = s.labels[address]; labels[i] == "" {
			labels[i] = address
		}
	}
	_, err := fmt.Fprintf(s.program.out, "sent %s (%s) as %s to %s in %s\n", id.String()[:16], safetext.Line(what), safetext.Line(sent.Source),
		strings.Join(labels, ", "), txid)
	return err
}

// queue keeps drafts in the outbox, without a server.
func queue(cmd *cobra.Command, p *program, f sendFlags, drafts []messenger.Draft) error {
	ring, err := openKeyring(cmd, p)
	if err != nil {
		return err
	}
	own, err := ring.find(f.from)
	if err != nil {
		return err
	}
	contacts, err := ring.contacts()
	if err != nil {
		return err
	}
	o, err := ring.outbox()
	if err != nil {
		return err
	}
	for _, d := range drafts {
		d.From = ring.network.Address(own.KeyHash)
		d.To, d.Pin = known(contacts, f.to)
		var id string
		if id, err = o.Add(d); err != nil {
			break
		}
		if f.asJSON {
			err = p.printJSON(sentLine{Queued: id})
		} else {
			_, err = fmt.Fprintf(p.out, "queued %s: the server can't be reached; metaim outbox flush sends it\n", id)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, o.Close())
}

// outbox opens the outbox of the network.
func (k *keyring) outbox() (*messenger.Outbox, error) {
	return messenger.OpenOutbox(filepath.Join(k.home, "outbox-"+string(k.network)+".jsonl"))
}
