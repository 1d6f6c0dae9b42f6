package chat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/messenger"
)

func liveOf(t *testing.T) *Live {
	t.Helper()
	outbox, err := messenger.OpenOutbox(filepath.Join(t.TempDir(), "outbox"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outbox.Close() })
	c, err := client.New("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	self, err := frame.Regtest.ParseAddress(aliceAddress)
	if err != nil {
		t.Fatal(err)
	}
	return NewLive(LiveConfig{Client: c, Network: frame.Regtest, Self: self, Opener: &messenger.Opener{Network: frame.Regtest}, Outbox: outbox, Folder: t.TempDir()})
}

func TestPeersOf(t *testing.T) {
	l := liveOf(t)
	for _, c := range []struct {
		name       string
		address    string
		recipients []string
		want       []string
	}{
		{"from somebody", bobAddress, []string{aliceAddress}, []string{bobAddress}},
		{"from somebody to many", bobAddress, []string{aliceAddress, carolAddress}, []string{bobAddress}},
		{"to somebody", aliceAddress, []string{bobAddress}, []string{bobAddress}},
		{"to many and oneself", aliceAddress, []string{bobAddress, aliceAddress, carolAddress, bobAddress}, []string{bobAddress, carolAddress}},
		{"to oneself", aliceAddress, []string{aliceAddress}, []string{aliceAddress}},
		{"to nobody", aliceAddress, nil, []string{aliceAddress}},
		{"from nobody", "", []string{aliceAddress}, nil},
	} {
		if got := l.peersOf(client.Message{Address: c.address, Recipients: c.recipients}); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLiveMessageThatLies(t *testing.T) {
	l := liveOf(t)
	text := "trust me"
	m := l.message(client.Message{ID: idOf(1), Source: "bob", Address: bobAddress, Type: "text", Encryption: "plain", Body: []byte(text), Text: &text,
		State: "seen", Verdict: "valid", TimeStamp: "99999999999999999", Height: -1})
	if m.Forged == "" || m.Time != 0 || m.State != Seen {
		t.Errorf("got %+v, want one that isn't verified and has no time", m)
	}
	m = l.message(client.Message{ID: idOf(1), Address: bobAddress, Encryption: "ECC", Body: []byte("secret"), Type: "text", State: "refused", Verdict: "bad_signature"})
	if m.Locked == "" || m.Text != "" || m.State != Refused || m.Reason != "bad_signature" {
		t.Errorf("got %+v, want it closed and refused", m)
	}
}

func TestLiveQueue(t *testing.T) {
	l := liveOf(t)
	path := filepath.Join(t.TempDir(), "note.txt")
	if err := os.WriteFile(path, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Send(Draft{To: bob, Text: "hello", Re: idOf(7)}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Send(Draft{To: bob, File: path, Sealed: true}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Dir(path), path + ".missing", "/dev/null"} {
		if _, err := l.Send(Draft{To: bob, File: file}); err == nil {
			t.Errorf("%s: got no error", file)
		}
	}
	q := l.Queue()
	if len(q) != 2 || q[0].Text != "hello" || q[0].State != Queued || q[0].Re != idOf(7) || q[1].FileName != "note.txt" || q[1].Encryption != messenger.Auto {
		t.Fatalf("got %+v", q)
	}
	var told []News
	l.tell = func(n News) { told = append(told, n) }
	if err := l.Drop(q[0].Draft); err != nil || len(l.Queue()) != 1 || len(told) != 1 || told[0].Sent != q[0].Draft {
		t.Errorf("drop: got %v, queue %+v, told %+v", err, l.Queue(), told)
	}
	if err := l.Drop("nothing"); err == nil {
		t.Error("drop of nothing: got no error")
	}
}

func TestSavePlaces(t *testing.T) {
	l := liveOf(t)
	for _, c := range []struct{ name, typed, want string }{
		{"nothing typed", "", filepath.Join(l.folder, "photo.png")},
		{"a name", "mine.png", filepath.Join(l.folder, "mine.png")},
		{"a folder", l.folder, filepath.Join(l.folder, "photo.png")},
		{"a path", "/somewhere/x", "/somewhere/x"},
	} {
		if got := l.place(c.typed, "photo.png"); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	path := filepath.Join(l.folder, "once")
	if err := create(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := create(path, []byte("second")); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a file that is there: got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "first" {
		t.Errorf("got %q (%v), want what stood there", b, err)
	}
}
