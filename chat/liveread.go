package chat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/messenger"
)

// mostRecipients bounds the conversations that one message belongs to.
const mostRecipients = 50

// message makes what is shown of what the server tells.
func (l *Live) message(m client.Message) Message {
	o := l.opener.Open(m)
	shown := Message{
		ID: m.ID, TxID: m.TxID, Peers: l.peersOf(m), Mine: m.Address == l.self, Source: m.Source, Address: m.Address, Time: writtenAt(m),
		State: State(m.State), Height: m.Height, Encryption: m.Encryption, Type: m.Type, Size: len(m.Body),
		FileName: m.OtherMap[improtocol.OtherName], Re: m.OtherMap[improtocol.OtherRe], Copied: !m.Addressed,
	}
	if m.ID == "" { // malformed: it has no frame id
		shown.ID = m.TxID
	}
	if m.Verdict != string(frame.Valid) && m.Verdict != string(frame.Duplicate) {
		shown.State, shown.Reason = Refused, m.Reason
		if shown.Reason == "" {
			shown.Reason = m.Verdict
		}
	}
	if o.Verified != nil {
		shown.Forged = o.Verified.Error()
	}
	switch {
	case errors.Is(o.Err, messenger.ErrPart):
		shown.Parts = fmt.Sprintf("part %d of %d", o.Parts.Index, o.Parts.Count)
		if shown.FileName != "" {
			shown.Parts += " of " + shown.FileName
		}
		shown.Parts += "; s puts all of them together and saves them"
	case o.Err != nil:
		shown.Locked = o.Err.Error()
	default:
		l.show(&shown, o)
	}
	return shown
}

// show adds what an opened message holds.
func (l *Live) show(shown *Message, o messenger.Opened) {
	shown.Size = len(o.Body)
	if o.IsText() {
		shown.Text, shown.Cut = shorten(o.Text, longestText)
		shown.Text = strings.Clone(shown.Text) // not the whole of it
		return
	}
	if strings.HasPrefix(o.MediaType, "image/") {
		l.pictures.Lock()
		defer l.pictures.Unlock()
		shown.Picture, _ = ReadPicture(o.Body) // what can't be shown can be saved
	}
}

// peersOf returns the conversations that a message belongs to: with who sent it,
// or with all to whom one was sent.
func (l *Live) peersOf(m client.Message) []string {
	if m.Address != l.self {
		if m.Address == "" {
			return nil
		}
		return []string{m.Address}
	}
	var others []string
	for _, r := range m.Recipients {
		if r != l.self && !slices.Contains(others, r) && len(others) < mostRecipients {
			others = append(others, r)
		}
	}
	if len(others) == 0 {
		return []string{l.self}
	}
	return others
}

// writtenAt reads the time stamp as milliseconds, 0 when it is none.
func writtenAt(m client.Message) int64 {
	const year3000 = 32503680000000
	ms, err := strconv.ParseInt(m.TimeStamp, 10, 64)
	if err != nil || ms > year3000 {
		return 0
	}
	return ms
}

// mostTalks bounds the list of conversations.
const mostTalks = 1000

// Conversations returns the conversations, newest first; 1,000 at most.
func (l *Live) Conversations(ctx context.Context) ([]Conversation, error) {
	var all []Conversation
	for after := ""; len(all) < mostTalks; {
		page, err := l.client.Conversations(ctx, client.ConversationQuery{Address: l.self, After: after, Limit: 100})
		if err != nil {
			return nil, err
		}
		for _, c := range page.Items {
			last := l.message(c.Last)
			peer := Peer{Address: c.Peer, Name: c.PeerName}
			peer.Warnings = l.warnings(peer)
			all = append(all, Conversation{Peer: peer, Last: &last, Received: c.Received})
		}
		if page.Complete || page.Next == "" || page.Next == after {
			break
		}
		after = page.Next
	}
	return all, nil
}

// warnings compares a peer with the contacts.
func (l *Live) warnings(p Peer) []string {
	if l.contacts == nil {
		return nil
	}
	h, err := l.network.ParseAddress(p.Address)
	if err != nil {
		return nil
	}
	return l.contacts.Check(messenger.Party{Name: p.Name, Address: h})
}

// Page returns messages of a conversation.
func (l *Live) Page(ctx context.Context, peer string, at Cursor) (Page, error) {
	q := client.MessageQuery{Address: l.self, Peer: peer, Limit: pageSize, After: at.Older, Before: at.Newer}
	page, err := l.client.Messages(ctx, q)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Code == client.CodeCursorExpired {
		return Page{}, ErrStale
	}
	if err != nil {
		return Page{}, err
	}
	p := Page{Older: page.Next, Newer: page.Prev}
	switch {
	case at.Newer != "":
		p.End = page.Complete
	case at.Older != "":
		p.Start = page.Complete
	default:
		p.Start, p.End = page.Complete, true
	}
	for _, m := range slices.Backward(page.Items) {
		p.Messages = append(p.Messages, l.message(m))
	}
	return p, nil
}

// Search asks the server for messages that hold words.
func (l *Live) Search(ctx context.Context, words string) ([]Message, error) {
	page, err := l.client.Messages(ctx, client.MessageQuery{Address: l.self, Text: words, Limit: pageSize})
	if err != nil {
		return nil, err
	}
	var found []Message
	for _, m := range page.Items {
		found = append(found, l.message(m))
	}
	return found, nil
}

// Message returns one message.
func (l *Live) Message(ctx context.Context, id string) (Message, error) {
	reply, err := l.client.Message(ctx, id)
	if err != nil {
		return Message{}, err
	}
	if reply.ID != id {
		return Message{}, errors.New("the server told another message than the one asked for")
	}
	return l.message(reply.Message), nil
}

// Resolve finds who a name, an address or the label of a contact is. An address
// and a contact need no server.
func (l *Live) Resolve(ctx context.Context, who string) (Peer, []string, error) {
	if h, err := l.network.ParseAddress(who); err == nil {
		p := Peer{Address: l.network.Address(h)}
		if _, err := l.person(); err == nil {
			if known, err := l.client.Address(ctx, p.Address); err == nil {
				p.Name = known.PrimaryName
			}
		}
		return p, l.warnings(p), nil
	}
	u, err := l.person()
	if err != nil {
		if c, ok := l.contact(who); ok {
			return c, nil, nil
		}
		return Peer{}, nil, fmt.Errorf("%s can't be looked up: %w", line(who), err)
	}
	party, err := u.Resolve(ctx, who)
	if err != nil {
		if c, ok := l.contact(who); ok {
			return c, nil, nil
		}
		return Peer{}, nil, err
	}
	p := Peer{Address: l.network.Address(party.Address), Name: party.Name}
	return p, l.warnings(p), nil
}

// contact returns the contact with a label.
func (l *Live) contact(label string) (Peer, bool) {
	if l.contacts == nil {
		return Peer{}, false
	}
	c, ok := l.contacts.Get(label)
	if _, err := l.network.ParseAddress(c.Address); !ok || err != nil {
		return Peer{}, false
	}
	return Peer{Address: c.Address, Name: c.Name}, true
}

// Save writes what a message carries to a new file.
func (l *Live) Save(ctx context.Context, id, path string) (string, error) {
	reply, err := l.client.Message(ctx, id)
	if err != nil {
		return "", err
	}
	if reply.ID != id {
		return "", errors.New("the server told another message than the one asked for")
	}
	o := l.opener.Open(reply.Message)
	if errors.Is(o.Err, messenger.ErrPart) {
		u, err := l.person()
		if err != nil {
			return "", err
		}
		g, err := u.Gather(ctx, reply.Message)
		if err != nil {
			return "", err
		}
		o = l.opener.OpenWhole(g)
	}
	switch {
	case o.Err != nil:
		return "", fmt.Errorf("it can't be opened: %w", o.Err)
	case o.Verified != nil:
		return "", fmt.Errorf("nothing was saved, it is not verified: %w", o.Verified)
	}
	path = l.place(path, messenger.SafeFileName(o.Message.OtherMap[improtocol.OtherName], id, o.MediaType))
	return path, create(path, o.Body)
}

// place returns the path to save at: what was typed, with a name of its own in a
// folder.
func (l *Live) place(typed, name string) string {
	if rest, ok := strings.CutPrefix(typed, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			typed = filepath.Join(home, rest)
		}
	}
	if typed == "" {
		return filepath.Join(l.folder, name)
	}
	if !filepath.IsAbs(typed) {
		typed = filepath.Join(l.folder, typed)
	}
	if info, err := os.Stat(typed); err == nil && info.IsDir() {
		return filepath.Join(typed, name)
	}
	return typed
}

// create writes a file that doesn't exist yet: nobody's file is overwritten by
// what a stranger sent.
func create(path string, body []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: give another name", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
