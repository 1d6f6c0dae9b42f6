package messenger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// The file of an outbox has JSON lines: a header, then records, which are only
// appended. It is made anew when it is opened and holds more than it needs.

const (
	outboxFormat  = "metaim outbox"
	outboxVersion = 1
)

type outboxHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

// A record says what happened to an item.
type outboxRecord struct {
	Op     string `json:"op"`
	ID     string `json:"id"`
	Draft  *Draft `json:"draft,omitempty"`  // of queue
	Added  int64  `json:"added,omitempty"`  // of queue: Unix milliseconds
	Plan   *plan  `json:"plan,omitempty"`   // of plan
	Frame  int    `json:"frame,omitempty"`  // of built and sent: which of the plan
	TxID   string `json:"txid,omitempty"`   // of built and sent
	Reason string `json:"reason,omitempty"` // of refuse
}

// What a record says happened.
const (
	opQueue  = "queue"  // it was put into the queue
	opPlan   = "plan"   // its messages were fixed
	opBuilt  = "built"  // a transaction was built for one of them
	opSent   = "sent"   // the network took it
	opRefuse = "refuse" // it can't be sent
	opRetry  = "retry"  // it is to be tried again
	opDrop   = "drop"   // it left the queue, sent or not
)

// An outboxLog appends records to the file.
type outboxLog struct {
	file *os.File
	size int64
}

// openOutboxLog reads the file, makes it anew when its end was torn or half of it
// is history, and opens it for appending. The caller holds the lock.
func openOutboxLog(path string) (*outboxLog, []*queued, error) {
	content, err := signer.ReadPrivate(path, maxOutbox)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("outbox: %w", err)
	}
	items, whole, err := readOutbox(content)
	if err != nil {
		return nil, nil, fmt.Errorf("outbox %s: %w", path, err)
	}
	fresh, err := writeOutbox(items)
	if err != nil {
		return nil, nil, err
	}
	size := int64(len(content))
	if whole < len(content) || len(content) == 0 || len(fresh) < len(content)/2 {
		if err := signer.ReplaceFile(path, fresh); err != nil {
			return nil, nil, fmt.Errorf("outbox %s: %w", path, err)
		}
		size = int64(len(fresh))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return &outboxLog{file: f, size: size}, items, nil
}

// readOutbox reads the lines of an outbox. whole is how much of it counts: less
// than all when its last line was torn.
func readOutbox(content []byte) (items []*queued, whole int, err error) {
	header, err := json.Marshal(outboxHeader{outboxFormat, outboxVersion})
	if err != nil {
		return nil, 0, err
	}
	header = append(header, '\n')
	if len(content) < len(header) && bytes.HasPrefix(header, content) {
		return nil, 0, nil // the machine stopped while the file was made
	}
	for number := 1; whole < len(content); number++ {
		end := bytes.IndexByte(content[whole:], '\n')
		if end < 0 {
			return items, whole, nil // torn
		}
		line := content[whole : whole+end]
		if number == 1 {
			err = checkOutboxHeader(line)
		} else {
			items, err = readOutboxLine(items, line)
		}
		if err != nil && number > 1 && whole+end+1 == len(content) {
			return items, whole, nil // the end of a line may come to disk before its beginning
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w: line %d: %w", ErrOutbox, number, err)
		}
		whole += end + 1
	}
	return items, whole, nil
}

func checkOutboxHeader(line []byte) error {
	var h outboxHeader
	switch err := json.Unmarshal(line, &h); {
	case err != nil || h.Format != outboxFormat:
		return errors.New("it has another header")
	case h.Version != outboxVersion:
		return fmt.Errorf("version %d is not one that this program reads", h.Version)
	}
	return nil
}

func readOutboxLine(items []*queued, line []byte) ([]*queued, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	var r outboxRecord
	if err := d.Decode(&r); err != nil {
		return items, err
	}
	at := -1
	for i, q := range items {
		if q.id == r.ID {
			at = i
		}
	}
	if (r.Op == opQueue) == (at >= 0) {
		return items, fmt.Errorf("%s of %q, which is out of order", r.Op, r.ID)
	}
	switch r.Op {
	case opQueue:
		if r.Draft == nil || r.ID == "" || r.Draft.Check() != nil {
			return items, errors.New("no draft that can be sent")
		}
		return append(items, &queued{id: r.ID, draft: *r.Draft, added: time.UnixMilli(r.Added).UTC()}), nil
	case opDrop:
		return append(items[:at], items[at+1:]...), nil
	}
	return items, items[at].apply(r)
}

// apply folds a record about an item in.
func (q *queued) apply(r outboxRecord) error {
	switch r.Op {
	case opPlan:
		if r.Plan == nil || q.plan != nil {
			return errors.New("a plan out of order")
		}
		if err := r.Plan.check(&q.draft); err != nil {
			return err
		}
		q.fix(r.Plan)
	case opBuilt, opSent:
		txid, err := frame.ParseHash(r.TxID)
		if err != nil || r.Frame < 0 || r.Frame >= len(q.ids) {
			return errors.New("a transaction of no message that is planned")
		}
		if r.Op == opBuilt {
			q.built[r.Frame] = txid
			return nil
		}
		delete(q.built, r.Frame)
		q.sent[r.Frame] = txid
	case opRefuse:
		q.reason = r.Reason
	case opRetry:
		q.reason = ""
	default:
		return fmt.Errorf("unknown op %q", r.Op)
	}
	return nil
}

// fix gives an item its messages.
func (q *queued) fix(p *plan) {
	q.plan, q.ids = p, p.ids(&q.draft)
	q.built, q.sent = map[int]frame.Hash{}, map[int]frame.Hash{}
}

// records yields what makes an item again.
func (q *queued) records(yield func(outboxRecord) bool) {
	if !yield(outboxRecord{Op: opQueue, ID: q.id, Draft: &q.draft, Added: q.added.UnixMilli()}) {
		return
	}
	if q.plan != nil && !yield(outboxRecord{Op: opPlan, ID: q.id, Plan: q.plan}) {
		return
	}
	for k := range q.ids {
		if txid, ok := q.built[k]; ok && !yield(outboxRecord{Op: opBuilt, ID: q.id, Frame: k, TxID: txid.String()}) {
			return
		}
		if txid, ok := q.sent[k]; ok && !yield(outboxRecord{Op: opSent, ID: q.id, Frame: k, TxID: txid.String()}) {
			return
		}
	}
	if q.reason != "" {
		yield(outboxRecord{Op: opRefuse, ID: q.id, Reason: q.reason})
	}
}

// writeOutbox writes a file that holds these items and no history.
func writeOutbox(items []*queued) ([]byte, error) {
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	encoder := json.NewEncoder(w)
	if err := encoder.Encode(outboxHeader{outboxFormat, outboxVersion}); err != nil {
		return nil, err
	}
	for _, q := range items {
		for r := range q.records {
			if err := encoder.Encode(r); err != nil {
				return nil, err
			}
		}
	}
	err := w.Flush()
	return b.Bytes(), err
}

// append writes a record; with durable it can't be lost when append returns.
func (l *outboxLog) append(r outboxRecord, durable bool) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if l.size+int64(len(line)) >= maxOutbox {
		return ErrOutboxFull
	}
	n, err := l.file.Write(append(line, '\n'))
	l.size += int64(n)
	if err == nil && durable {
		err = l.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the outbox: %w", err)
	}
	return nil
}

func (l *outboxLog) close() error { return errors.Join(l.file.Sync(), l.file.Close()) }
