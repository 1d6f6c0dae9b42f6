package messenger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/metaim/metaim/signer"
)

// A mailLog remembers, in a file of JSON lines, what a mailbox was told and what
// it answered. A line is durable when its method returns; what was being written
// when a machine stopped is left out when it is read.
type mailLog struct {
	file   *os.File
	unlock func() error

	cursor   string          // to go on after; empty: from the start
	seen     map[string]bool // messages told, by frame id
	answered map[string]bool
}

// A mailLine is one line. Exactly one of Told, Answered and Restart, or none in
// the first, which only has a cursor.
type mailLine struct {
	Cursor   string `json:"cursor,omitempty"`
	Told     string `json:"told,omitempty"`
	Answered string `json:"answered,omitempty"`
	Restart  bool   `json:"restart,omitempty"`
}

// ErrMailLog says that a file is no log of a mailbox.
var ErrMailLog = errors.New("not a whole log of a mailbox")

const maxMailLog = 1 << 30 // bytes

// openMailLog opens the log, or begins one that is told what comes after the
// cursor.
func openMailLog(ctx context.Context, path, cursor string) (l *mailLog, err error) {
	unlock, err := signer.LockFile(ctx, path)
	if err != nil {
		return nil, err
	}
	l = &mailLog{unlock: unlock, seen: map[string]bool{}, answered: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
			l = nil
		}
	}()
	if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return l, err
	}
	content, err := io.ReadAll(io.LimitReader(l.file, maxMailLog+1))
	if err != nil {
		return l, err
	}
	if len(content) > maxMailLog {
		return l, fmt.Errorf("%s: %w: it is too large", path, ErrMailLog)
	}
	whole := bytes.LastIndexByte(content, '\n') + 1
	for line := range bytes.Lines(content[:whole]) {
		var m mailLine
		if err := json.Unmarshal(line, &m); err != nil {
			return l, fmt.Errorf("%s: %w", path, ErrMailLog)
		}
		l.take(m)
	}
	if err := l.file.Truncate(int64(whole)); err != nil {
		return l, err
	}
	if _, err := l.file.Seek(int64(whole), io.SeekStart); err != nil {
		return l, err
	}
	if whole == 0 {
		return l, l.write(mailLine{Cursor: cursor})
	}
	return l, nil
}

func (l *mailLog) take(m mailLine) {
	switch {
	case m.Restart:
		l.cursor = ""
	case m.Cursor != "":
		l.cursor = m.Cursor
	}
	if m.Told != "" {
		l.seen[m.Told] = true
	}
	if m.Answered != "" {
		l.answered[m.Answered] = true
	}
}

func (l *mailLog) write(m mailLine) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.take(m)
	return nil
}

// told notes that a message was told.
func (l *mailLog) told(id, cursor string) error {
	return l.write(mailLine{Told: id, Cursor: cursor})
}

// answer notes that an answer to a message is in the outbox.
func (l *mailLog) answer(id string) error { return l.write(mailLine{Answered: id}) }

// restart notes that the cursor is of a history that is over.
func (l *mailLog) restart() error { return l.write(mailLine{Restart: true}) }

func (l *mailLog) knows(id string) bool { return l.seen[id] }

func (l *mailLog) close() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	return errors.Join(err, l.unlock())
}
