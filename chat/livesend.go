package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/messenger"
)

// send sends what waits, whenever something was added and there is a connection,
// until ctx ends.
func (l *Live) send(ctx context.Context) error {
	for {
		if err := l.flush(ctx); err != nil && ctx.Err() == nil && !messenger.Offline(err) {
			l.say(News{Trouble: fmt.Sprintf("not sent yet: %v", err)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.kick:
		case <-time.After(sendPause):
		}
	}
}

// flush sends what waits in the outbox. The coins are open only meanwhile.
func (l *Live) flush(ctx context.Context) error {
	waits := slices.ContainsFunc(l.outbox.Items(), func(q messenger.Queued) bool { return q.State != messenger.Refused })
	u, err := l.person()
	if !waits || err != nil || !l.isUp() {
		return nil
	}
	a, err := l.account(ctx, u.Info)
	if err != nil {
		return err
	}
	err = a.Flush(ctx, l.outbox, func(q messenger.Queued) { l.told(ctx, q) })
	if err = errors.Join(err, a.Wallet.Close()); err != nil {
		for _, q := range l.outbox.Items() { // what was on its way waits again
			m := l.draft(q)
			l.say(News{Message: &m, Fresh: true})
		}
	}
	return err
}

// told tells how far a draft has come.
func (l *Live) told(ctx context.Context, q messenger.Queued) {
	if q.State != messenger.Done {
		m := l.draft(q)
		if q.State == messenger.Signed {
			m.State = Sending
		}
		l.say(News{Message: &m, Fresh: true})
		return
	}
	if len(q.FrameIDs) > 0 {
		ask, cancel := context.WithTimeout(ctx, patience)
		m, err := l.Message(ask, q.FrameIDs[0])
		cancel()
		if err != nil { // the server will tell it as an event
			m = l.draft(q)
			m.Draft, m.State = "", Seen
		}
		l.say(News{Message: &m, Fresh: true})
	}
	l.say(News{Sent: q.ID})
}

// draft makes what is shown of what is in the outbox.
func (l *Live) draft(q messenger.Queued) Message {
	m := Message{
		Draft: q.ID, Mine: true, Peers: q.Draft.To, Source: l.self, Address: l.self, Time: q.Added.UnixMilli(), State: Queued, Height: -1,
		Reason: q.Reason, Encryption: q.Draft.Encryption, Type: q.Draft.Type, FileName: q.Draft.FileName, Size: len(q.Draft.Body), Re: q.Draft.Re,
	}
	if len(q.FrameIDs) > 0 {
		m.ID = q.FrameIDs[0]
	}
	if q.State == messenger.Refused {
		m.State = Refused
	}
	if n := len(q.FrameIDs); n > 1 {
		m.Parts = fmt.Sprintf("%d of %d parts sent", len(q.TxIDs), n)
	}
	if q.Draft.Type == improtocol.Text {
		text, cut := shorten(string(q.Draft.Body[:min(len(q.Draft.Body), longestText+1)]), longestText)
		m.Text, m.Cut = text, cut
	}
	return m
}

// Send puts a draft into the outbox.
func (l *Live) Send(d Draft) (Message, error) {
	out := messenger.Draft{To: []string{d.To.Address}, Re: d.Re, Encryption: improtocol.Plain, From: l.self, Type: improtocol.Text, Body: []byte(d.Text)}
	if d.Sealed {
		out.Encryption = messenger.Auto
	}
	if d.File != "" {
		path := l.place(d.File, "")
		body, err := readFile(path)
		if err != nil {
			return Message{}, err
		}
		out.Body, out.FileName = body, filepath.Base(path)
		out.Type, _ = messenger.DetectFile(out.FileName, body)
	}
	id, err := l.outbox.Add(out)
	if err != nil {
		return Message{}, err
	}
	l.wake()
	for _, q := range l.outbox.Items() {
		if q.ID == id {
			return l.draft(q), nil
		}
	}
	return l.draft(messenger.Queued{ID: id, Draft: out, Added: time.Now()}), nil // it is sent already
}

// readFile reads a file that is to be sent.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file", path))
	}
	body, err := io.ReadAll(io.LimitReader(file, messenger.MaxBody+1))
	if err == nil && len(body) > messenger.MaxBody {
		err = fmt.Errorf("%s is larger than %d bytes", path, messenger.MaxBody)
	}
	return body, err
}

// Queue returns what is in the outbox.
func (l *Live) Queue() []Message {
	var all []Message
	for _, q := range l.outbox.Items() {
		all = append(all, l.draft(q))
	}
	return all
}

// Drop takes a draft out of the outbox.
func (l *Live) Drop(id string) error {
	if err := l.outbox.Drop(strings.TrimSpace(id)); err != nil {
		return err
	}
	l.say(News{Sent: id})
	return nil
}
