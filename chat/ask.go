package chat

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
)

// patience is how long an answer of the backend is waited for.
const patience = 30 * time.Second

// ask runs a question to the backend beside the application.
func (m *Model) ask(question func(context.Context) tea.Msg) tea.Cmd {
	parent := m.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, patience)
		defer cancel()
		return question(ctx)
	}
}

func (m *Model) fetchList() tea.Cmd {
	if m.listing {
		return nil
	}
	m.listing = true
	return m.ask(func(ctx context.Context) tea.Msg {
		all, err := m.backend.Conversations(ctx)
		return listMsg{all, err}
	})
}

// fetch reads a page of a conversation.
func (m *Model) fetch(t *talk, at Cursor) tea.Cmd {
	t.loading = true
	peer := t.peer.Address
	return m.ask(func(ctx context.Context) tea.Msg {
		page, err := m.backend.Page(ctx, peer, at)
		return pageMsg{peer, at, page, err}
	})
}

// counted bounds the conversations whose unread messages are counted.
const counted = 50

// countNext counts what is unread in the next conversation that has news.
func (m *Model) countNext() tea.Cmd {
	if m.counting {
		return nil
	}
	for i, t := range m.book.talks {
		if i == counted {
			return nil
		}
		if !t.uncounted || t == m.book.open {
			continue
		}
		peer, changes := t.peer.Address, t.changes
		m.counting = true
		return m.ask(func(ctx context.Context) tea.Msg {
			page, err := m.backend.Page(ctx, peer, Cursor{})
			return countMsg{peer, changes, page, err}
		})
	}
	return nil
}

// mostQuotes bounds the answered messages that are kept.
const mostQuotes = 200

// quote asks for a message that is answered and that no window holds. A nil entry
// means that it was asked for.
func (m *Model) quote(id string) tea.Cmd {
	if _, asked := m.quotes[id]; asked || id == "" {
		return nil
	}
	if len(m.quotes) >= mostQuotes {
		clear(m.quotes)
	}
	m.quotes[id] = nil
	return m.ask(func(ctx context.Context) tea.Msg {
		message, err := m.backend.Message(ctx, id)
		return quotedMsg{id, message, err}
	})
}

// openTalk shows a conversation and moves to writing in it.
func (m *Model) openTalk(t *talk) tea.Cmd {
	if old := m.book.open; old != nil {
		old.typed = m.writing.Value()
	}
	changed := m.book.open != t
	m.book.show(t)
	m.layer = noLayer
	m.part = onCompose
	if i := slices.Index(m.book.talks, t); i >= 0 {
		m.cursor = i
	}
	if changed {
		m.scroll = scroll{follow: true}
		m.re = ""
		clear(m.cache)
		m.write(t.typed)
	}
	m.resize()
	cmds := []tea.Cmd{m.writing.Focus()}
	if changed || !t.thread.read {
		cmds = append(cmds, m.fetch(t, Cursor{}))
	}
	return tea.Batch(cmds...)
}

// startPrompt asks for a line.
func (m *Model) startPrompt(kind promptKind, text, about string) tea.Cmd {
	input := textinput.New()
	input.Prompt = ""
	input.CharLimit = 1000
	input.SetVirtualCursor(false)
	input.SetValue(text)
	input.CursorEnd()
	m.prompt = prompt{asks: kind, input: input, about: about}
	m.layer = promptLayer
	m.resize()
	return m.prompt.input.Focus()
}

// answerPrompt acts on the line that was asked for.
func (m *Model) answerPrompt() tea.Cmd {
	p := m.prompt
	text := strings.TrimSpace(p.input.Value())
	m.layer = noLayer
	if text == "" && p.asks != askSave {
		return nil
	}
	switch p.asks {
	case askWho:
		return m.ask(func(ctx context.Context) tea.Msg {
			peer, warnings, err := m.backend.Resolve(ctx, text)
			peer.Warnings = warnings
			return resolvedMsg{peer, err}
		})
	case askWords:
		return m.search(text)
	case askSave:
		return m.ask(func(ctx context.Context) tea.Msg {
			path, err := m.backend.Save(ctx, p.about, text)
			return doneMsg{"saved as " + path, err}
		})
	case askFile:
		if m.book.open != nil {
			return m.sendDraft(Draft{File: text})
		}
	}
	return nil
}

// search looks for words in what is loaded and asks the server for more.
func (m *Model) search(words string) tea.Cmd {
	m.layer = resultLayer
	m.results = results{words: words, busy: true, found: m.book.search(words)}
	return m.ask(func(ctx context.Context) tea.Msg {
		found, err := m.backend.Search(ctx, words)
		return foundMsg{words, found, err}
	})
}

// search returns messages that are loaded and hold all words, newest first.
func (b *book) search(words string) (found []Message) {
	wanted := strings.Fields(strings.ToLower(words))
	if b.open == nil {
		return nil
	}
	for m := range b.open.all() {
		text := strings.ToLower(m.Text + " " + m.FileName)
		missing := slices.ContainsFunc(wanted, func(w string) bool { return !strings.Contains(text, strings.TrimRight(w, "*")) })
		if !missing {
			found = append(found, *m)
		}
	}
	slices.Reverse(found)
	return found
}

// found adds what the server found.
func (m *Model) found(msg foundMsg) {
	if m.results.words != msg.words || !m.results.busy {
		return
	}
	m.results.busy = false
	if msg.err != nil {
		m.warn(msg.err.Error())
	}
	for _, f := range msg.found {
		f.harmless()
		if !slices.ContainsFunc(m.results.found, func(have Message) bool { return have.ID == f.ID && f.ID != "" }) {
			m.results.found = append(m.results.found, f)
		}
	}
	slices.SortStableFunc(m.results.found, func(a, b Message) int { return int(min(max(b.Time-a.Time, -1), 1)) })
}

// showResult opens the conversation of what was found, at its place.
func (m *Model) showResult() tea.Cmd {
	if m.results.cursor >= len(m.results.found) {
		return nil
	}
	f := m.results.found[m.results.cursor]
	if len(f.Peers) == 0 {
		return nil
	}
	t := m.book.talk(Peer{Address: f.Peers[0]})
	m.seek, m.seeking = f.ID, 40
	cmd := m.openTalk(t)
	m.part = onThread
	m.writing.Blur()
	if t.thread.read && !t.loading {
		return tea.Batch(cmd, m.sought(t))
	}
	return cmd
}

// sendWritten sends what was typed.
func (m *Model) sendWritten() tea.Cmd {
	text := strings.TrimRight(m.writing.Value(), " \n\t")
	if strings.TrimSpace(text) == "" {
		return nil
	}
	m.writing.Reset()
	m.grow()
	return m.sendDraft(Draft{Text: text})
}

func (m *Model) sendDraft(d Draft) tea.Cmd {
	t := m.book.open
	d.To, d.Sealed = t.peer, t.isSealed()
	if a := t.held(m.re); a != nil {
		d.Re = a.ID
	}
	m.re = ""
	m.scroll = scroll{follow: true}
	var cmds []tea.Cmd
	if _, ok := t.newer(); ok {
		cmds = append(cmds, m.fetch(t, Cursor{})) // back to the present
	}
	cmds = append(cmds, func() tea.Msg {
		message, err := m.backend.Send(d)
		return sentMsg{d, message, err}
	})
	return tea.Batch(cmds...)
}

// queued takes over a draft that is in the queue now. One that couldn't be is
// given back.
func (m *Model) queued(msg sentMsg) tea.Cmd {
	if msg.err != nil {
		if m.writing.Value() == "" && m.book.open != nil && m.book.open.peer.Address == msg.draft.To.Address {
			m.write(msg.draft.Text)
		}
		m.warn(msg.err.Error())
		return nil
	}
	m.keepCursor(func() {
		m.book.takeQueued(msg.message)
		m.dirty = m.book.marks.Add(msg.draft.To) || m.dirty
	})
	return nil
}

// takeQueued takes over a draft as it was put into the queue, unless something
// later was told of it before.
func (b *book) takeQueued(d Message) {
	for _, t := range b.talks {
		for i := range t.drafts {
			if t.drafts[i].Draft == d.Draft {
				return
			}
		}
	}
	if b.gone[d.Draft] {
		return
	}
	b.take(d, true)
}

// saveName is what a file that is saved is called when nothing else is said.
func saveName(m *Message) string {
	name := filepath.Base(strings.ReplaceAll(m.FileName, `\`, "/"))
	if name != "." && name != "/" && name != ".." && !strings.HasPrefix(name, ".") {
		return name
	}
	return ""
}
