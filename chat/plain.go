package chat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// RunPlain shows the conversations as lines of plain words and reads what to do
// line by line, until the person ends it, ctx ends, or the input ends and what was
// written is sent. Nothing that was printed is ever changed.
func RunPlain(ctx context.Context, backend Backend, marks *Marks, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := newPlain(ctx, backend, marks, o.Out, time.Now)
	group, ctx := errgroup.WithContext(ctx)
	news := make(chan News)
	group.Go(func() error {
		return backend.Run(ctx, func(n News) {
			select {
			case news <- n:
			case <-ctx.Done():
			}
		})
	})
	lines := make(chan typed)
	go readLines(ctx, o.In, lines) // it may wait for the terminal longer than anyone
	group.Go(func() error {
		defer cancel()
		return p.run(ctx, o.Open, lines, news)
	})
	err := group.Wait()
	return errors.Join(err, marks.Save())
}

// A typed is a line of input, or its end.
type typed struct {
	text string
	end  bool
	err  error
}

// readLines reads the input line by line. A line that is too long is told as an
// error and left out.
func readLines(ctx context.Context, in io.Reader, out chan<- typed) {
	give := func(t typed) bool {
		select {
		case out <- t:
			return true
		case <-ctx.Done():
			return false
		}
	}
	r := bufio.NewReaderSize(in, 4096)
	var text []byte
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			give(typed{end: true, err: err})
			return
		}
		if len(text) <= longestTyped {
			text = append(text, part...)
		}
		if more {
			continue
		}
		t := typed{text: string(text)}
		if len(text) > longestTyped {
			t = typed{err: fmt.Errorf("that line is over %d bytes: send it as a file with /file", longestTyped)}
		}
		if !give(t) {
			return
		}
		text = text[:0]
	}
}

// A plain is the line-oriented form of a book. Only its own loop touches it.
type plain struct {
	ctx     context.Context
	backend Backend
	book    *book
	out     io.Writer
	now     func() time.Time
	shown   map[string]string // by message: the state that was told
	numbers []Message         // messages by the number that they were told with, from 1
	re      string            // id that the next line answers
	older   Cursor            // of what /older reads
	begun   bool              // whether the connection was told of
	unsent  error             // why what waits isn't sent now
	refused error             // why something wasn't sent at all
	whoIs   func(address string) string
}

func newPlain(ctx context.Context, backend Backend, marks *Marks, out io.Writer, now func() time.Time) *plain {
	p := &plain{ctx: ctx, backend: backend, book: newBook(backend.Self(), marks), out: out, now: now, shown: map[string]string{}}
	p.whoIs = func(address string) string {
		if address == p.book.self.Address {
			return "yourself"
		}
		if t := p.book.find(address); t != nil && t.peer.Name != "" {
			return t.peer.Name + " (" + address + ")"
		}
		return address
	}
	return p
}

// print writes a line. What is printed was made harmless when it came in.
func (p *plain) print(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...) //nolint:errcheck // a terminal that is gone ends the input, too
}

// run acts on news and input until it is over.
func (p *plain) run(ctx context.Context, open *Peer, in <-chan typed, news <-chan News) error {
	p.print("metaim: conversations of %s. /help lists the commands.", p.name(p.book.self))
	for _, d := range p.backend.Queue() {
		p.take(d, true)
	}
	input := (<-chan typed)(nil) // nothing is read before it is known how things stand
	opened, ended := open == nil, false
	for {
		if p.begun && input == nil && !ended {
			input = in
			if !opened {
				opened = true
				p.open(*open)
			}
		}
		if ended && p.idle() {
			return p.refused
		}
		if ended && p.unsent != nil {
			return p.unsent
		}
		select {
		case <-ctx.Done():
			return nil
		case n := <-news:
			p.news(n)
		case t := <-input:
			if t.end {
				ended, input = true, nil
				if t.err != nil {
					return t.err
				}
				continue
			}
			if t.err != nil {
				p.print("error: %v", t.err)
				continue
			}
			if p.command(t.text) {
				return nil
			}
		}
	}
}

// idle tells whether the program may end when nobody types any more: what was
// written is sent or refused, or waits for a server that doesn't answer.
func (p *plain) idle() bool {
	waiting := 0
	for _, d := range p.backend.Queue() {
		if d.State != Refused {
			waiting++
		}
	}
	if waiting > 0 && p.book.online.Up {
		return false
	}
	if waiting > 0 {
		p.print("%d to send: it is sent when chat runs again and the server answers", waiting)
	}
	return true
}

// news tells what happened.
func (p *plain) news(n News) {
	switch {
	case n.Connection != nil:
		was := p.book.online
		p.book.online = *n.Connection
		switch {
		case n.Connection.Up && (!was.Up || !p.begun):
			p.print("connected")
			p.list(!p.begun)
		case !n.Connection.Up && (was.Up || !p.begun):
			p.print("offline: %s. What you write is sent later.", lineOf(n.Connection.Err))
		}
		p.begun = true
	case n.Tip > 0:
		p.book.tip = n.Tip
	case n.Message != nil:
		p.take(*n.Message, n.Fresh)
	case n.Sent != "":
		p.book.sent(n.Sent)
	case n.Trouble != "":
		p.print("error: %s", lineOf(n.Trouble))
		p.unsent = errors.New(lineOf(n.Trouble))
	case n.Stale:
		p.print("the server's history was made anew: /read reads it again")
	}
}

// take tells a message that is new, or what became of one.
func (p *plain) take(m Message, fresh bool) {
	p.book.take(m, fresh)
	m.harmless()
	if len(m.Peers) == 0 || m.State == Refused && !m.Mine {
		return
	}
	key, state := m.key(), p.state(&m)
	before, told := p.shown[key]
	if before == state || m.Draft != "" && m.ID != "" && p.shown[m.ID] != "" {
		return
	}
	if len(p.shown) > 10_000 {
		clear(p.shown)
	}
	if _, asDraft := p.shown["sent "+m.ID]; asDraft && m.Draft == "" {
		told = true
	}
	p.shown[key] = state
	if m.Draft != "" && m.ID != "" {
		p.shown["sent "+m.ID] = state
	}
	if m.Draft != "" && m.State == Refused && told {
		p.refused = fmt.Errorf("a message was refused: %s", m.Reason)
	}
	switch {
	case told && (m.State != Confirmed || !strings.HasPrefix(before, string(Confirmed))):
		p.print("%s: %s", p.about(&m), state)
	case told:
	case fresh && m.Draft != "":
		p.unsent = nil // there is something new to send
		p.print("%s: %s", state, p.about(&m))
	case fresh:
		p.message(&m)
	}
	if t := p.book.open; t != nil && !m.Mine && slices.Contains(m.Peers, t.peer.Address) && m.ID != "" && fresh {
		t.unread = 0
		p.book.marks.Add(t.peer, m.ID)
	}
}

// about names a message in a few words.
func (p *plain) about(m *Message) string {
	text := oneLine(m)
	if len([]rune(text)) > 40 {
		text = string([]rune(text)[:40]) + "..."
	}
	who := "from " + m.Source
	if m.Mine {
		who = "to " + p.short(m.Peers[0])
	}
	return fmt.Sprintf("message %s, %q", who, text)
}

// short names a party by its name alone, where the whole was told before.
func (p *plain) short(address string) string {
	if t := p.book.find(address); t != nil && t.peer.Name != "" {
		return t.peer.Name
	}
	return p.whoIs(address)
}

func (p *plain) name(peer Peer) string {
	if peer.Name == "" {
		return peer.Address
	}
	return peer.Name + " (" + peer.Address + ")"
}

// state writes what became of a message in words.
func (p *plain) state(m *Message) string {
	switch m.State {
	case Confirmed:
		return fmt.Sprintf("confirmed, depth %d", p.book.depth(m))
	case Unconfirmed:
		return "unconfirmed again"
	case Queued:
		if !p.book.online.Up {
			return "queued, offline"
		}
	case Refused, Dropped:
		return string(m.State) + ": " + m.Reason
	}
	return string(m.State)
}

// message prints one message: who, when, how it is signed and what became of it
// in one line, then what it says.
func (p *plain) message(m *Message) {
	p.numbers = append(p.numbers, *m)
	if len(p.numbers) > 10_000 {
		p.numbers = p.numbers[:1] // they begin anew
	}
	who := "you to " + p.short(m.Peers[0])
	if !m.Mine {
		who = m.Source
		if m.Source != m.Address {
			who += " (" + m.Address + ")"
		}
	}
	proof := "signed by " + m.Address
	if m.Forged != "" {
		proof = "NOT VERIFIED: " + m.Forged
	}
	if m.Encryption != "plain" && m.Encryption != "" {
		proof += ", encrypted with " + m.Encryption
	}
	if m.Copied {
		proof += ", copied here: its sender meant somebody else"
	}
	at := ""
	if m.Time > 0 {
		at = time.UnixMilli(m.Time).In(p.now().Location()).Format(" at 2006-01-02 15:04")
	}
	p.print("%d. %s%s, %s, %s:", len(p.numbers), who, at, p.state(m), proof)
	if m.Re != "" {
		p.print("   answers %s", p.answered(m.Re))
	}
	for l := range strings.SplitSeq(p.body(m), "\n") {
		p.print("   %s", l)
	}
}

func (p *plain) answered(id string) string {
	for i := range p.numbers {
		if p.numbers[i].ID == id {
			return fmt.Sprintf("%d, %q", i+1, oneLine(&p.numbers[i]))
		}
	}
	return "a message that isn't listed here"
}

// body is what a message says, in words.
func (p *plain) body(m *Message) string {
	switch {
	case m.Locked != "":
		return "(" + m.Locked + ", " + size(m.Size) + ")"
	case m.Parts != "":
		return "(" + m.Parts + ")"
	case m.Picture != nil:
		return fmt.Sprintf("(picture %s, %d by %d, %s: /save %d saves it)", named(m), m.Picture.Width, m.Picture.Height, size(m.Size), len(p.numbers))
	case m.Text != "" || m.Type == "text" && m.Size == 0:
		if m.Cut {
			return m.Text + fmt.Sprintf("\n(cut here: /save %d saves all %s)", len(p.numbers), size(m.Size))
		}
		return m.Text
	}
	return fmt.Sprintf("(%s, %s: /save %d saves it)", named(m), size(m.Size), len(p.numbers))
}

// numbered returns the message with a number; no number means the newest that
// somebody else wrote.
func (p *plain) numbered(text string) (*Message, bool) {
	if text == "" {
		for i := len(p.numbers) - 1; i >= 0; i-- {
			if !p.numbers[i].Mine {
				return &p.numbers[i], true
			}
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > len(p.numbers) {
		p.print("error: there is no message %q here", lineOf(text))
		return nil, false
	}
	return &p.numbers[n-1], true
}
