package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/signer"
	"github.com/spf13/cobra"
)

// sendFlags are the flags of `send`.
type sendFlags struct {
	from, file, kind, encrypt, re string
	to                            []string
	asAddress, lines, wait        bool
	asJSON, bracketed             bool
}

func newSend(p *program) *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send [TEXT]",
		Short: "Sign a message and send it",
		Long: `Signs a message with a key of this machine and sends it in a transaction that
pays each recipient 1 satoshi. The text is the argument, or what standard input
holds when the argument is - or missing; --file sends a file. The source is the
key's name if it has one, else its address.`,
		Example: "  metaim send --from alice --to bob \"hello\"\n  metaim send --from alice --to bob --file photo.png\n  date | metaim send --to mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(cmd, p, f, args)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.from, "from", "", "label of the key that signs and pays (default: the only key)")
	flags.StringArrayVar(&f.to, "to", nil, "name or address of a recipient; repeats")
	flags.StringVar(&f.file, "file", "", "send this file")
	flags.StringVar(&f.kind, "type", "", "message type: text, image, audio, video, html or a media type (default: from the file, else text)")
	flags.StringVar(&f.encrypt, "encrypt", improtocol.Plain, "plain, or ECC to the recipients' public keys")
	flags.StringVar(&f.re, "re", "", "id of the message that this answers")
	flags.BoolVar(&f.asAddress, "as-address", false, "sign as the address even if the key has a name")
	flags.BoolVar(&f.lines, "lines", false, "send each line of standard input as a message of its own")
	flags.BoolVar(&f.wait, "wait", false, "wait until it is in a block")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object for each message")
	flags.BoolVar(&f.bracketed, "bracketed", false, "write the bracketed form instead of pushes")
	addPersonFlags(c)
	return c
}

// A draft is a message before it is signed.
type draft struct {
	body []byte
	kind string
	file string // base name
}

func send(cmd *cobra.Command, p *program, f sendFlags, args []string) error {
	if len(f.to) == 0 {
		return usagef("to whom? give --to NAME or --to ADDRESS")
	}
	if f.encrypt != improtocol.Plain && f.encrypt != improtocol.ECC {
		return usagef("encryption %q is none of %s, %s", f.encrypt, improtocol.Plain, improtocol.ECC)
	}
	drafts, err := readDrafts(p, f, args)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	u, err := connect(cmd, p)
	if err != nil {
		return err
	}
	to, err := u.recipients(ctx, f)
	if err != nil {
		return err
	}
	a, err := u.unlock(ctx, f.from)
	if err != nil {
		return err
	}
	return errors.Join(a.sendAll(ctx, f, to, drafts), a.Wallet.Close())
}

// recipients finds all parties before anything is sent.
func (u *person) recipients(ctx context.Context, f sendFlags) ([]messenger.Party, error) {
	to := make([]messenger.Party, len(f.to))
	for i, who := range f.to {
		var err error
		if to[i], err = u.Resolve(ctx, who); err != nil {
			return nil, err
		}
		if f.encrypt != improtocol.ECC {
			continue
		}
		if to[i], err = u.WithKey(ctx, to[i]); err != nil {
			return nil, err
		}
	}
	return to, nil
}

func (a *account) sendAll(ctx context.Context, f sendFlags, to []messenger.Party, drafts []draft) error {
	source, err := a.Source(ctx, f.asAddress)
	if err != nil {
		return err
	}
	groups := [][]messenger.Party{to}
	if f.encrypt == improtocol.ECC { // one message for each recipient
		groups = nil
		for _, r := range to {
			groups = append(groups, []messenger.Party{r})
		}
	}
	var last frame.Hash
	for _, d := range drafts {
		for _, group := range groups {
			if last, err = a.sendOne(ctx, f, source, group, d); err != nil {
				return err
			}
		}
	}
	if f.wait {
		return a.Confirmed(ctx, last)
	}
	return nil
}

// sendOne sends one message to a group in one transaction.
func (a *account) sendOne(ctx context.Context, f sendFlags, source string, to []messenger.Party, d draft) (frame.Hash, error) {
	m := &improtocol.Message{Source: source, Type: d.kind, Encryption: f.encrypt, Body: d.body}
	q := signer.Request{}
	var addresses []string
	for _, r := range to {
		addresses = append(addresses, a.Network.Address(r.Address))
		q.Recipients = append(q.Recipients, r.Address)
	}
	if f.encrypt == improtocol.ECC {
		var err error
		if m.Body, err = improtocol.EncryptECC(d.body, to[0].PublicKey, nil); err != nil {
			return frame.Hash{}, err
		}
	}
	other := improtocol.Other{{Key: improtocol.OtherTo, Value: strings.Join(addresses, ",")}}
	if f.re != "" {
		other = append(other, improtocol.Pair{Key: improtocol.OtherRe, Value: f.re})
	}
	if d.file != "" {
		other = append(other, improtocol.Pair{Key: improtocol.OtherName, Value: d.file})
	}
	m.Other = other.String()
	m.SetTime(a.TimeStamp())
	m.Sign(a.Key.Private())
	form := frame.Pushes
	if f.bracketed {
		form = frame.Bracketed
	}
	var err error
	if q.Script, err = m.AppendScript(nil, form); err != nil {
		return frame.Hash{}, err
	}
	txid, err := a.Pay(ctx, q)
	if err != nil {
		return frame.Hash{}, err
	}
	return txid, a.sent(f, m, to, txid)
}

func (a *account) sent(f sendFlags, m *improtocol.Message, to []messenger.Party, txid frame.Hash) error {
	if f.asJSON {
		return json.NewEncoder(a.program.out).Encode(map[string]string{"id": m.FrameID().String(), "txid": txid.String()})
	}
	var labels []string
	for _, r := range to {
		labels = append(labels, a.Label(r))
	}
	_, err := fmt.Fprintf(a.program.out, "sent %s (%s, %s) as %s to %s in %s\n", m.FrameID().String()[:16], m.Type, size(len(m.Body)),
		safetext.Line(m.Source), strings.Join(labels, ", "), txid)
	return err
}

const maxInput = 64 << 20 // bytes of a message that are read at all; the transaction limit is lower

// readDrafts reads what is to be sent: argument, standard input or file.
func readDrafts(p *program, f sendFlags, args []string) ([]draft, error) {
	if f.file != "" {
		if len(args) > 0 || f.lines {
			return nil, usagef("--file goes with no text")
		}
		d, err := readFile(f.file, f.kind)
		return []draft{d}, err
	}
	kind := f.kind
	if kind == "" {
		kind = improtocol.Text
	}
	if f.lines {
		return readLines(p.in, kind)
	}
	if len(args) == 1 && args[0] != "-" {
		return []draft{{body: []byte(args[0]), kind: kind}}, nil
	}
	body, err := readAll(p.in, "standard input")
	if err != nil {
		return nil, err
	}
	return []draft{{body: bytes.TrimSuffix(body, []byte("\n")), kind: kind}}, nil
}

func readLines(r io.Reader, kind string) (drafts []draft, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxInput)
	for lines.Scan() {
		drafts = append(drafts, draft{body: bytes.Clone(lines.Bytes()), kind: kind})
	}
	return drafts, lines.Err()
}

func readAll(r io.Reader, what string) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(body) > maxInput {
		err = fmt.Errorf("%s holds over %s", what, size(maxInput))
	}
	return body, err
}

func readFile(name, kind string) (draft, error) {
	file, err := os.Open(name)
	if err != nil {
		return draft{}, err
	}
	defer file.Close()
	body, err := readAll(file, name)
	if err != nil {
		return draft{}, err
	}
	if kind == "" {
		kind = mime.TypeByExtension(filepath.Ext(name))
	}
	if kind == "" {
		kind = http.DetectContentType(body)
	}
	kind, _, _ = strings.Cut(kind, ";")
	return draft{body: body, kind: kind, file: filepath.Base(name)}, nil
}
