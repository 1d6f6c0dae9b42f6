package chat

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// A talker is the plain mode under test.
type talker struct {
	*plain
	f   *fake
	out *bytes.Buffer
}

func newTalker(t *testing.T, f *fake) *talker {
	t.Helper()
	marks, err := OpenMarks(filepath.Join(t.TempDir(), "marks.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	p := newPlain(t.Context(), f, marks, out, func() time.Time { return noon })
	p.news(News{Tip: 101})
	p.news(News{Connection: &Connection{Up: true}})
	return &talker{p, f, out}
}

func TestPlainScript(t *testing.T) {
	f := twoTalks()
	p := newTalker(t, f)
	say := func(line string) {
		p.print("> %s", line)
		p.command(line)
	}
	for _, line := range []string{"/list", "hello?", "/to nobody", "/to bob", "/read", "/who", "Hello bob", "/reply 2", "Yes", "//not a command",
		"/file /tmp/photo.png", "/save 4", "/save 99", "/search know", "/seal", "/queue", "/drop 1", "/drop 9", "/nonsense", "", "/to", "/file", "/search", "/reply", "/help"} {
		say(line)
	}
	m := f.queue[0]
	out := answer(0, "Hello bob")
	for _, n := range []News{
		{Connection: &Connection{Err: "connection refused"}},
		{Connection: &Connection{Err: "connection refused"}},
		{Connection: &Connection{Up: true}},
		{Message: ptr(with(m, func(m *Message) { m.ID, m.State = idOf(99), Sending })), Fresh: true},
		{Message: ptr(with(out, func(m *Message) { m.ID, m.State, m.Height = idOf(99), Seen, -1 })), Fresh: true},
		{Sent: m.Draft},
		{Tip: 102},
		{Message: ptr(with(out, func(m *Message) { m.ID, m.State, m.Height = idOf(99), Confirmed, 101 }))},
		{Message: ptr(with(out, func(m *Message) { m.ID, m.State, m.Height = idOf(99), Unconfirmed, -1 }))},
		{Message: ptr(with(out, func(m *Message) { m.ID, m.State, m.Reason = idOf(99), Dropped, "conflict with a block" }))},
		{Message: ptr(with(written(0, "from bob"), func(m *Message) { m.State, m.Height = Seen, -1 })), Fresh: true},
		{Message: ptr(with(written(0, "refused"), func(m *Message) { m.ID, m.State = idOf(98), Refused })), Fresh: true},
		{Trouble: "coins are missing"},
	} {
		p.news(n)
	}
	golden(t, "plain", p.out.String())
	if len(f.sent) != 4 || f.sent[1].Text != "Yes" || f.sent[1].Re != idOf(30) || f.sent[2].Text != "/not a command" || f.sent[3].File != "/tmp/photo.png" {
		t.Errorf("sent: got %+v", f.sent)
	}
}

func with(m Message, change func(*Message)) Message {
	change(&m)
	return m
}

func TestPlainHostile(t *testing.T) {
	for _, h := range hostile {
		f := newFake()
		f.talks[bobAddress] = []Message{hostileMessage(1, h.text)}
		f.order = []string{bobAddress}
		f.names["bob"] = Peer{Address: bobAddress, Name: h.text, Warnings: []string{h.text}}
		p := newTalker(t, f)
		for _, line := range []string{"/list", "/to bob", "/read", "/reply 1", "/save 1 x", h.text, "/search x", "/queue", "/" + h.text} {
			p.command(line)
		}
		p.news(News{Connection: &Connection{Err: h.text}})
		p.news(News{Trouble: h.text})
		p.news(News{Message: ptr(with(hostileMessage(2, h.text), func(m *Message) { m.State = Seen })), Fresh: true})
		out := p.out.String()
		if i := strings.IndexFunc(out, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x200d }); i >= 0 {
			t.Errorf("%s: the output holds %q", h.name, out[max(i-20, 0):min(i+20, len(out))])
		}
		if ansi.Strip(out) != out {
			t.Errorf("%s: the output holds escape sequences", h.name)
		}
	}
}

func TestRunPlainOnAPipe(t *testing.T) {
	for _, c := range []struct {
		name, in string
		open     *Peer
		want     []string
	}{
		{"nothing", "", nil, nil},
		{"a text", "hello\nand more\n", &bob, []string{"hello", "and more"}},
		{"no line break at the end", "hello", &bob, []string{"hello"}},
		{"quit", "hello\n/quit\nnever\n", &bob, []string{"hello"}},
		{"a line that is too long", strings.Repeat("x", longestTyped+1) + "\nshort\n", &bob, []string{"short"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := twoTalks()
			sender := &sendsAtOnce{f}
			var out bytes.Buffer
			marks, err := OpenMarks(filepath.Join(t.TempDir(), "marks.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := RunPlain(t.Context(), sender, marks, Options{In: strings.NewReader(c.in), Out: &out, Open: c.open}); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range f.sent {
				got = append(got, d.Text)
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("sent: got %q, want %q\n%s", got, c.want, out.String())
			}
		})
	}
}

// sendsAtOnce has an empty queue: what is written is sent.
type sendsAtOnce struct{ *fake }

func (f *sendsAtOnce) Queue() []Message { return nil }

// stuck has no coins: what is written stays in the queue.
type stuck struct{ *fake }

func (f *stuck) Run(ctx context.Context, tell func(News)) error {
	tell(News{Connection: &Connection{Up: true}})
	tell(News{Trouble: "coins are missing"})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond):
			tell(News{Trouble: "coins are missing"})
		}
	}
}

func TestRunPlainSaysWhatItLeft(t *testing.T) {
	f := twoTalks()
	var out bytes.Buffer
	marks, err := OpenMarks(filepath.Join(t.TempDir(), "marks.json"))
	if err != nil {
		t.Fatal(err)
	}
	err = RunPlain(t.Context(), &stuck{f}, marks, Options{In: strings.NewReader("hello\n"), Out: &out, Open: &bob})
	if err == nil || err.Error() != "coins are missing" || len(f.sent) != 1 {
		t.Errorf("got %v with %d in the queue, want why it wasn't sent", err, len(f.sent))
	}
}
