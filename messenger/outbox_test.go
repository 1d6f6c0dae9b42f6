package messenger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

func mustOpen(t *testing.T, path string) *Outbox {
	t.Helper()
	o, err := OpenOutbox(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func mustClose(t *testing.T, o *Outbox) {
	t.Helper()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func draftOf(text string) Draft { return Draft{Body: []byte(text), Type: "text", To: []string{"bob"}} }

// begin gives an item of the outbox a plan, as Flush does.
func begin(t *testing.T, o *Outbox, i, partBytes int) {
	t.Helper()
	q := o.items[i]
	p := &plan{Source: "alice", From: "me", Encryption: "plain", PartBytes: partBytes, TimeStamp: 7, Letters: []letter{{To: []string{"bob"}}}}
	if err := o.note(q, outboxRecord{Op: opPlan, ID: q.id, Plan: p}, true); err != nil {
		t.Fatal(err)
	}
}

func noteFrame(t *testing.T, o *Outbox, i int, op string, k int) {
	t.Helper()
	txid := frame.HashOf([]byte{byte(k)})
	if err := o.note(o.items[i], outboxRecord{Op: op, ID: o.items[i].id, Frame: k, TxID: txid.String()}, true); err != nil {
		t.Fatal(err)
	}
}

// TestOutboxLasts: what the outbox holds is there when it is opened again, at
// every stage, and the file of mode 0600 doesn't grow with its history.
func TestOutboxLasts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "outbox")
	o := mustOpen(t, path)
	var ids []string
	for _, text := range []string{"waiting", "signed, of which one is out and one may be", "refused", "dropped", "retried"} {
		id, err := o.Add(draftOf(text))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	begin(t, o, 1, 10)
	noteFrame(t, o, 1, opBuilt, 0)
	noteFrame(t, o, 1, opSent, 0)
	noteFrame(t, o, 1, opBuilt, 1)
	for _, i := range []int{2, 4} {
		if err := o.note(o.items[i], outboxRecord{Op: opRefuse, ID: ids[i], Reason: "no coins"}, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(o.Retry(ids[4]), o.Drop(ids[3])); err != nil {
		t.Fatal(err)
	}
	if err := o.Drop(ids[1]); !errors.Is(err, ErrUnderWay) {
		t.Errorf("drop of what is under way: got %v, want %v", err, ErrUnderWay)
	}
	want := o.Items()
	states := []State{Waiting, Signed, Refused, Waiting}
	for i, q := range want {
		if q.State != states[i] {
			t.Errorf("item %d is %s, want %s", i, q.State, states[i])
		}
	}
	if q := want[1]; len(q.FrameIDs) != 5 || len(q.TxIDs) != 1 || q.DoneBytes != 10 || q.AllBytes != 42 || want[2].Reason != "no coins" {
		t.Errorf("got %+v", q)
	}
	mustClose(t, o)
	for range 3 {
		o = mustOpen(t, path)
		if got := o.Items(); !reflect.DeepEqual(got, want) {
			t.Fatalf("opened again: got %+v, want %+v", got, want)
		}
		if o.items[1].built[1] != frame.HashOf([]byte{1}) {
			t.Errorf("the transaction that may be out is forgotten")
		}
		mustClose(t, o)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v (%v), want 0600", info.Mode(), err)
	}
	o = mustOpen(t, path)
	if err := errors.Join(o.Abandon(ids[1]), o.Drop(ids[0]), o.Drop(ids[2]), o.Drop(ids[4])); err != nil {
		t.Fatal(err)
	}
	if err := o.Drop(ids[0]); !errors.Is(err, ErrNoDraft) {
		t.Errorf("dropped twice: got %v, want %v", err, ErrNoDraft)
	}
	mustClose(t, o)
	mustClose(t, mustOpen(t, path))
	if b, err := os.ReadFile(path); err != nil || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("an empty outbox holds %q (%v), want its header", b, err)
	}
}

// TestOutboxTorn: whatever is missing at the end of the file, the outbox opens
// with what stands before it; a fault anywhere else is refused, and the file left
// as it is.
func TestOutboxTorn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "outbox")
	o := mustOpen(t, path)
	for _, text := range []string{"one", "two"} {
		if _, err := o.Add(draftOf(text)); err != nil {
			t.Fatal(err)
		}
	}
	begin(t, o, 0, 10)
	mustClose(t, o)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(whole); n++ {
		if n > 3 && n < len(whole)-3 && n%11 != 0 && !bytes.Contains(whole[n-2:n+2], []byte("\n")) {
			continue // each takes four writes to the disk
		}
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := OpenOutbox(path)
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		lines := bytes.Count(whole[:n], []byte("\n"))
		if got, want := len(o.Items()), min(max(lines-1, 0), 2); got != want {
			t.Errorf("cut to %d bytes: %d items, want %d", n, got, want)
		}
		if _, err := o.Add(draftOf("three")); err != nil {
			t.Errorf("cut to %d bytes: add: %v", n, err)
		}
		mustClose(t, o)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	header, one, two, planned := lines[0], lines[1], lines[2], lines[3]
	for _, c := range []struct{ name, content string }{
		{"another file", "hello\n"},
		{"another format", `{"format":"metaim coins","version":1}` + "\n"},
		{"another version", `{"format":"metaim outbox","version":2}` + "\n"},
		{"no header", one + two},
		{"a line that is torn in the middle", header + one[:20] + "\n" + two},
		{"an unknown field", header + strings.Replace(one, `"op"`, `"evil":1,"op"`, 1) + two},
		{"an unknown op", header + one + strings.Replace(planned, `"plan"`, `"plane"`, 1) + two},
		{"the same item twice", header + one + one + two},
		{"a plan of nothing", header + planned + two},
		{"a plan that cuts into nothing", header + one + strings.Replace(planned, `"part_bytes":10`, `"part_bytes":0`, 1) + two},
		{"a plan that cuts backwards", header + one + strings.Replace(planned, `"part_bytes":10`, `"part_bytes":-1`, 1) + two},
		{"a draft to nobody", header + strings.Replace(one, `["bob"]`, `[]`, 1) + two},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := OpenOutbox(path); !errors.Is(err, ErrOutbox) {
			t.Errorf("%s: got %v, want %v", c.name, err, ErrOutbox)
			if err == nil {
				mustClose(t, o)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.content {
			t.Errorf("%s: the file was changed (%v)", c.name, err)
		}
	}
}

func TestOutboxRefusals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox")
	o := mustOpen(t, path)
	var held *signer.LockError
	if _, err := OpenOutbox(path); !errors.As(err, &held) {
		t.Errorf("opened twice: got %v, want a *LockError", err)
	}
	for _, c := range []struct {
		name string
		edit func(*Draft)
		want string
	}{
		{"to nobody", func(d *Draft) { d.To = nil }, "a message needs a recipient"},
		{"to too many", func(d *Draft) { d.To = make([]string, MaxRecipients+1) }, "1000 recipients at most"},
		{"too large", func(d *Draft) { d.Body = make([]byte, MaxBody+1) }, "at most 67108864 bytes"},
		{"a type with brackets", func(d *Draft) { d.Type = "[x]" }, "without brackets"},
		{"no type", func(d *Draft) { d.Type = "" }, "without brackets"},
		{"an answer to no id", func(d *Draft) { d.Re = "12" }, "64 hexadecimal digits"},
		{"an unknown encryption", func(d *Draft) { d.Encryption = "ROT13" }, `"ROT13" is none of`},
		{"AES without a key", func(d *Draft) { d.Encryption = "AES" }, "label of a shared key"},
		{"a key without AES", func(d *Draft) { d.Shared = "us" }, "with encryption AES only"},
		{"pins that don't fit", func(d *Draft) { d.Pin = []string{"", ""} }, "pinned addresses"},
		{"a file name that isn't UTF-8", func(d *Draft) { d.FileName = "\xff" }, "UTF-8"},
	} {
		d := draftOf("hello")
		c.edit(&d)
		if _, err := o.Add(d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if n := len(o.Items()); n != 0 {
		t.Errorf("%d items were taken", n)
	}
	mustClose(t, o)
	if _, err := o.Add(draftOf("late")); !errors.Is(err, ErrOutboxClosed) {
		t.Errorf("closed: got %v, want %v", err, ErrOutboxClosed)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	var wide *signer.ModeError
	if _, err := OpenOutbox(path); !errors.As(err, &wide) {
		t.Errorf("readable by others: got %v, want a *ModeError", err)
	}
}

// TestOutboxSame: the same draft is found, another isn't.
func TestOutboxSame(t *testing.T) {
	o := mustOpen(t, filepath.Join(t.TempDir(), "outbox"))
	id, err := o.Add(draftOf("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := o.Same(draftOf("hello")); !ok || got != id {
		t.Errorf("got %q, %t, want %q", got, ok, id)
	}
	for name, edit := range map[string]func(*Draft){
		"body": func(d *Draft) { d.Body = []byte("hallo") }, "type": func(d *Draft) { d.Type = "html" }, "name": func(d *Draft) { d.FileName = "x" },
		"to": func(d *Draft) { d.To = []string{"carol"} }, "encryption": func(d *Draft) { d.Encryption = "ECC" }, "from": func(d *Draft) { d.From = "me" },
		"re": func(d *Draft) { d.Re = strings.Repeat("ab", 32) }, "as address": func(d *Draft) { d.AsAddress = true },
	} {
		d := draftOf("hello")
		edit(&d)
		if got, ok := o.Same(d); ok {
			t.Errorf("another %s: got %q", name, got)
		}
	}
}

// FuzzReadOutbox: no file makes reading panic, and what is read is read again
// from what is written of it.
func FuzzReadOutbox(f *testing.F) {
	header := `{"format":"metaim outbox","version":1}` + "\n"
	f.Add([]byte(header + `{"op":"queue","id":"a","draft":{"body":"aGVsbG8=","type":"text","to":["bob"],"encryption":""},"added":1}` + "\n" +
		`{"op":"plan","id":"a","plan":{"source":"s","from":"f","encryption":"plain","part_bytes":2,"time_stamp":1,"letters":[{"to":["bob"]}]}}` + "\n" +
		`{"op":"sent","id":"a","frame":1,"txid":"` + strings.Repeat("00", 32) + `"}` + "\n"))
	f.Add([]byte(header + `{"op":"drop","id":"a"}` + "\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		items, whole, err := readOutbox(content)
		if err != nil {
			return
		}
		if whole > len(content) {
			t.Fatalf("%d of %d bytes count", whole, len(content))
		}
		fresh, err := writeOutbox(items)
		if err != nil {
			t.Fatal(err)
		}
		again, whole, err := readOutbox(fresh)
		if err != nil || whole != len(fresh) {
			t.Fatalf("read again: %v, %d of %d bytes", err, whole, len(fresh))
		}
		if twice, err := writeOutbox(again); err != nil || !bytes.Equal(twice, fresh) {
			t.Fatalf("written again (%v):\n%s\nwant\n%s", err, twice, fresh)
		}
	})
}
