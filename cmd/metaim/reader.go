package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/metaim/metaim/messenger"
	"github.com/metaim/metaim/signer"
)

// A reader shows messages to a person.
type reader struct {
	*person
	of       messenger.Party
	asJSON   bool
	decrypts bool
	opener   *messenger.Opener
	contacts *messenger.Contacts
	style    style
	quotes   map[string]string // first lines of what was answered, by frame id
}

// reader finds whose messages are meant: the argument's, or the only key's.
func (u *person) reader(ctx context.Context, args []string, asJSON, decrypt bool) (*reader, error) {
	r, err := u.newReader(asJSON, decrypt)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		own, err := u.ring.find("")
		if err != nil {
			return nil, usageError{fmt.Errorf("whose messages? give a name or an address (%w)", err)}
		}
		r.of = messenger.Party{Address: own.KeyHash}
		return r, r.unlock()
	}
	names, pins := known(r.contacts, args)
	if r.of, err = u.Resolve(ctx, names[0]); err != nil {
		return nil, err
	}
	if found := u.Network.Address(r.of.Address); pins[0] != "" && pins[0] != found {
		u.warn(r.contacts, r.of)
	}
	return r, r.unlock()
}

func (u *person) newReader(asJSON, decrypt bool) (*reader, error) {
	contacts, err := u.ring.contacts()
	if err != nil {
		return nil, err
	}
	return &reader{person: u, asJSON: asJSON, decrypts: decrypt, contacts: contacts, style: u.program.style(),
		opener: &messenger.Opener{Network: u.Network}, quotes: map[string]string{}}, nil
}

// unlock gives the reader its keys, if it is to decrypt.
func (r *reader) unlock() error {
	if !r.decrypts || r.opener.Keys != nil {
		return nil
	}
	entries, err := r.ring.unlock()
	if err == nil {
		r.opener.Keys = signer.DecryptionKeys(entries)
	}
	return err
}

// show prints one message.
func (r *reader) show(ctx context.Context, m client.Message) error {
	opened := r.opener.Open(m)
	if r.asJSON {
		return r.printJSON(opened)
	}
	return r.print(ctx, m, r.text(opened))
}

// print prints a message with the text that stands for it.
func (r *reader) print(ctx context.Context, m client.Message, text string) error {
	id := m.ID
	if id == "" {
		id = m.TxID
	}
	_, err := fmt.Fprintf(r.program.out, "%s  %s  %s %s\n%s%s\n", r.when(m), r.style.dim(id[:min(shortID, len(id))]), r.state(m), r.who(m), r.above(ctx, m), indent(text))
	return err
}

// shortID is how much of an id is shown; so much of one is enough to name it.
const shortID = 12

// showParts prints a message in parts in one line.
func (r *reader) showParts(ctx context.Context, l *listed) error {
	if l.g == nil {
		p, _ := messenger.PartOf(l.m)
		return r.print(ctx, l.m, r.style.dim(fmt.Sprintf("(part %d of %d of a larger message: %s)", p.Index, p.Count, safetext.Line(l.err.Error()))))
	}
	m, p := l.g.First(), l.g.Parts()
	what := r.kind(m)
	if m.Encryption != improtocol.Plain {
		what += ", encrypted with " + safetext.Line(m.Encryption)
	}
	what += fmt.Sprintf(", %s in %d parts", size(int(p.Bytes)), p.Count)
	if len(p.Missing) > 0 {
		what = fmt.Sprintf("(%s: %v)", what, &messenger.MissingError{Parts: p})
		return r.print(ctx, m, r.style.yellow(what))
	}
	return r.print(ctx, m, r.style.dim(fmt.Sprintf("(%s: metaim save %s)", what, m.ID[:shortID])))
}

// kind writes type and file name.
func (r *reader) kind(m client.Message) string {
	kind := safetext.Line(m.Type)
	if n := m.OtherMap[improtocol.OtherName]; n != "" {
		kind += " " + safetext.Line(n)
	}
	return kind
}

// above writes what stands between the first line and the text: warnings, and the
// beginning of what is answered.
func (r *reader) above(ctx context.Context, m client.Message) (lines string) {
	for _, w := range r.contacts.Check(r.party(m)) {
		lines += "    " + r.style.red("warning: "+w) + "\n"
	}
	if q := r.quote(ctx, m); q != "" {
		lines += "    " + r.style.dim("> "+q) + "\n"
	}
	return lines
}

// quote returns the beginning of the message that one answers, as a line.
func (r *reader) quote(ctx context.Context, m client.Message) string {
	re := m.OtherMap[improtocol.OtherRe]
	if re == "" {
		return ""
	}
	if q, ok := r.quotes[re]; ok {
		return q
	}
	q := "(a message that isn't here)"
	if answered, ok := r.Answered(ctx, m); ok {
		q = safetext.Line(answered.Source) + ": " + r.firstLine(answered)
	}
	r.quotes[re] = q
	return q
}

func (r *reader) firstLine(m client.Message) string {
	const most = 60 // letters
	opened := r.opener.Open(m)
	text := r.text(opened)
	line, more, cut := strings.Cut(text, "\n")
	if letters := []rune(line); len(letters) > most {
		line, cut = string(letters[:most]), true
	}
	if cut && (more != "" || line != text) {
		line += " ..."
	}
	return line
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

// state writes the state in a column of its own.
func (r *reader) state(m client.Message) string {
	switch m.State {
	case "confirmed":
		return r.style.green(fmt.Sprintf("%-11s", fmt.Sprintf("confirmed/%d", m.Confirmations)))
	case "seen":
		return r.style.yellow(fmt.Sprintf("%-11s", "seen"))
	}
	return r.style.red(fmt.Sprintf("%-11s", safetext.Line(m.State)))
}

// who writes from whom to whom, and what this program itself found of the
// signature. The address always stands beside a name.
func (r *reader) who(m client.Message) string {
	from := safetext.Line(m.Source)
	if m.Address != "" && m.Address != m.Source {
		from += " (" + safetext.Line(m.Address) + ")"
	}
	to := safetext.Line(strings.Join(m.Recipients, ", "))
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

// text returns a message as a person may see it. What can't be opened is said to
// be so, and never shown.
func (r *reader) text(o messenger.Opened) string {
	m := o.Message
	switch {
	case errors.Is(o.Err, messenger.ErrPart):
		return r.style.dim(fmt.Sprintf("(%s, part %d of %d)", r.kind(m), o.Parts.Index, o.Parts.Count))
	case errors.Is(o.Err, messenger.ErrLocked):
		return r.style.dim(fmt.Sprintf("(%s, encrypted: --decrypt opens it if it is to you)", size(len(m.Body))))
	case o.Err != nil:
		return r.style.dim(fmt.Sprintf("(%s, %s)", size(len(m.Body)), safetext.Line(o.Err.Error())))
	case o.IsText():
		return safetext.Lines(o.Text)
	}
	where := "/v1/messages/" + safetext.Line(m.ID) + "/content"
	if m.Encryption != improtocol.Plain {
		where = "metaim save " + safetext.Line(m.ID)
	}
	line := fmt.Sprintf("(%s, %s: %s)", r.kind(m), size(len(o.Body)), where)
	if o.MediaType == messenger.Data && strings.Contains(m.Type, "/") && m.Type != messenger.Data {
		line += " it isn't what its type says"
	}
	return r.style.dim(line)
}

// An openedLine is what --decrypt adds to the JSON of a message.
type openedLine struct {
	MediaType string  `json:"media_type,omitempty"`
	Text      *string `json:"text,omitempty"`
	Body      []byte  `json:"body,omitempty"`
	Error     string  `json:"error,omitempty"`
}

func (r *reader) printJSON(o messenger.Opened) error {
	if !r.decrypts {
		return r.program.printJSON(o.Message)
	}
	return r.program.printJSON(struct {
		client.Message
		Opened openedLine `json:"opened"`
	}{o.Message, lineOfOpened(o)})
}

func lineOfOpened(o messenger.Opened) openedLine {
	switch {
	case o.Err != nil:
		return openedLine{Error: o.Err.Error()}
	case o.IsText():
		return openedLine{MediaType: o.MediaType, Text: &o.Text}
	case o.Message.Encryption == improtocol.Plain && o.Parts == nil:
		return openedLine{MediaType: o.MediaType} // the body stands in "message"
	}
	return openedLine{MediaType: o.MediaType, Body: o.Body}
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }
