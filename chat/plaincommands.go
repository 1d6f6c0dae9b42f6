package chat

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// A plainCommand is what a line that begins with a slash asks for.
type plainCommand struct {
	name, does string
	run        func(*plain, string)
}

// plainCommands are listed by /help in this order. /quit and /help are known
// where lines are read.
var plainCommands = []plainCommand{
	{"to", "/to WHO: write to a name or an address from now on", (*plain).to},
	{"list", "/list: all conversations, with what is unread", func(p *plain, _ string) { p.list(false) }},
	{"read", "/read: the newest messages of this conversation", func(p *plain, _ string) { p.read(Cursor{}) }},
	{"older", "/older: the messages before those", func(p *plain, _ string) { p.read(p.older) }},
	{"reply", "/reply NUMBER TEXT: answer a message; without TEXT the next line is the answer", (*plain).reply},
	{"file", "/file PATH: send a file", (*plain).file},
	{"save", "/save NUMBER PATH: save what a message carries; PATH may be missing", (*plain).save},
	{"search", "/search WORDS: messages of all conversations that hold these words", (*plain).search},
	{"seal", "/seal: encrypt what you write here, or don't", (*plain).seal},
	{"queue", "/queue: what waits to be sent", (*plain).queue},
	{"drop", "/drop NUMBER: don't send what /queue lists with this number", (*plain).drop},
	{"who", "/who: whose conversation this is, and what is to be known", (*plain).who},
}

// command acts on a line of input and tells whether it ends the program.
func (p *plain) command(text string) (quit bool) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(text, "/"), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.TrimSpace(text) == "":
		return false
	case strings.HasPrefix(text, "//"):
		p.write(text[1:]) // a text that begins with a slash
		return false
	case !strings.HasPrefix(text, "/"):
		p.write(text)
		return false
	case name == "quit":
		return true
	case name == "help":
		for _, c := range plainCommands {
			p.print("%s", c.does)
		}
		p.print("/quit: end. Any other line is sent; a line that begins with // is sent with one slash.")
		return false
	}
	for _, c := range plainCommands {
		if c.name == name {
			c.run(p, rest)
			return false
		}
	}
	p.print("error: there is no command /%s: /help lists them", lineOf(name))
	return false
}

// ask bounds a question to the backend.
func (p *plain) ask() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.ctx, patience)
}

func (p *plain) fail(err error) { p.print("error: %s", lineOf(err.Error())) }

// here returns the conversation that is open.
func (p *plain) here() *talk {
	if p.book.open == nil {
		p.print("error: to whom? /to WHO says it, /list lists the conversations")
	}
	return p.book.open
}

func (p *plain) to(who string) {
	if who == "" {
		p.print("error: /to needs a name or an address")
		return
	}
	ctx, cancel := p.ask()
	defer cancel()
	peer, warnings, err := p.backend.Resolve(ctx, who)
	if err != nil {
		for _, t := range p.book.talks { // offline: somebody known
			if t.peer.Name == who || t.peer.Address == who {
				p.open(t.peer)
				return
			}
		}
		p.fail(err)
		return
	}
	peer.Warnings = warnings
	p.open(peer)
}

func (p *plain) open(peer Peer) {
	t := p.book.talk(peer)
	p.book.show(t)
	p.re, p.older = "", Cursor{}
	p.who("")
}

func (p *plain) who(string) {
	t := p.here()
	if t == nil {
		return
	}
	how := "anyone can read what you write"
	if t.isSealed() {
		how = "what you write is encrypted"
	}
	p.print("conversation with %s; %s", p.name(t.peer), how)
	for _, w := range t.peer.Warnings {
		p.print("warning: %s", w)
	}
}

// list prints the conversations; only those with something unread when it is the
// greeting.
func (p *plain) list(greeting bool) {
	ctx, cancel := p.ask()
	defer cancel()
	all, err := p.backend.Conversations(ctx)
	if err != nil {
		p.fail(err)
	} else {
		p.book.list(all)
	}
	n := 0
	for i, t := range p.book.talks {
		if t.uncounted && i < counted {
			if page, err := p.backend.Page(ctx, t.peer.Address, Cursor{}); err == nil {
				p.book.count(t, t.changes, page)
			}
		}
		if greeting && t.unread == 0 {
			continue
		}
		n++
		p.print("%s, %d unread: %s", p.whoIs(t.peer.Address), t.unread, previewOf(t))
	}
	if n == 0 && greeting {
		p.print("nothing unread")
	} else if n == 0 {
		p.print("no conversations yet")
	}
}

// read prints a page of the conversation and marks it as read.
func (p *plain) read(at Cursor) {
	t := p.here()
	if t == nil {
		return
	}
	ctx, cancel := p.ask()
	defer cancel()
	page, err := p.backend.Page(ctx, t.peer.Address, at)
	if err != nil {
		p.fail(err)
		return
	}
	var ids []string
	for i := range page.Messages {
		m := &page.Messages[i]
		m.harmless()
		if len(m.Peers) == 0 {
			continue
		}
		p.message(m)
		p.book.hear(t, m)
		p.shown[m.key()] = p.state(m)
		ids = append(ids, m.ID)
	}
	p.older = Cursor{Older: page.Older}
	switch {
	case len(page.Messages) == 0:
		p.print("no messages")
	case !page.Start:
		p.print("/older lists what was before")
	}
	if at == (Cursor{}) {
		t.unread, t.uncounted = 0, false
		p.book.marks.Add(t.peer, ids...)
		if err := p.book.marks.Save(); err != nil {
			p.fail(err)
		}
	}
}

// write sends a text.
func (p *plain) write(text string) {
	if t := p.here(); t != nil {
		p.send(Draft{Text: text})
	}
}

func (p *plain) send(d Draft) {
	t := p.book.open
	d.To, d.Sealed, d.Re = t.peer, t.isSealed(), p.re
	p.re = ""
	m, err := p.backend.Send(d)
	if err != nil {
		p.fail(err)
		return
	}
	p.book.marks.Add(t.peer)
	p.take(m, true)
}

func (p *plain) reply(rest string) {
	if p.here() == nil {
		return
	}
	number, text, _ := strings.Cut(rest, " ")
	m, ok := p.numbered(number)
	if !ok {
		return
	}
	if !slices.Contains(m.Peers, p.book.open.peer.Address) {
		p.print("error: that message belongs to another conversation")
		return
	}
	p.re = m.ID
	if text = strings.TrimSpace(text); text != "" {
		p.send(Draft{Text: text})
		return
	}
	p.print("the next line answers %s", p.about(m))
}

func (p *plain) file(path string) {
	switch {
	case p.here() == nil:
	case path == "":
		p.print("error: /file needs a path")
	default:
		p.send(Draft{File: path})
	}
}

func (p *plain) save(rest string) {
	number, path, _ := strings.Cut(rest, " ")
	m, ok := p.numbered(number)
	if !ok {
		return
	}
	ctx, cancel := p.ask()
	defer cancel()
	saved, err := p.backend.Save(ctx, m.ID, strings.TrimSpace(path))
	if err != nil {
		p.fail(err)
		return
	}
	p.print("saved as %s", lineOf(saved))
}

func (p *plain) search(words string) {
	if words == "" {
		p.print("error: /search needs words")
		return
	}
	ctx, cancel := p.ask()
	defer cancel()
	found, err := p.backend.Search(ctx, words)
	if err != nil {
		p.fail(err)
		return
	}
	p.print("%d found", len(found))
	for i := range found {
		found[i].harmless()
		if len(found[i].Peers) > 0 {
			p.message(&found[i])
		}
	}
}

func (p *plain) seal(string) {
	t := p.here()
	if t == nil {
		return
	}
	sealed := !t.isSealed()
	t.sealed = &sealed
	p.book.marks.Choose(t.peer, sealed)
	p.who("")
}

func (p *plain) queue(string) {
	all := p.backend.Queue()
	for i, d := range all {
		d.harmless()
		p.print("%d. %s: %s", i+1, p.about(&d), p.state(&d))
	}
	if len(all) == 0 {
		p.print("nothing waits")
	}
}

func (p *plain) drop(number string) {
	all := p.backend.Queue()
	for i, d := range all {
		if number != strconv.Itoa(i+1) {
			continue
		}
		if err := p.backend.Drop(d.Draft); err != nil {
			p.fail(err)
			return
		}
		p.print("dropped; it was not sent")
		return
	}
	p.print("error: nothing in the queue has number %q", lineOf(number))
}
