package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

var update = flag.Bool("update", false, "write testdata anew")

// Addresses of the people in tests.
const (
	aliceAddress = "mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8"
	bobAddress   = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
	carolAddress = "n2eMqTT929pb1RDNuqEnxdaLau1rxy3efi"
)

var (
	alice = Peer{Address: aliceAddress, Name: "alice"}
	bob   = Peer{Address: bobAddress, Name: "bob"}
)

// noon is the time in tests.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A fake is a backend in memory, which answers at once.
type fake struct {
	talks   map[string][]Message // by address, oldest first
	order   []string             // of the list
	names   map[string]Peer
	queue   []Message
	sent    []Draft
	saved   []string
	dropped []string
	asked   []Cursor
	down    error
}

func newFake() *fake {
	return &fake{talks: map[string][]Message{}, names: map[string]Peer{"bob": bob, bobAddress: bob}}
}

func (f *fake) Self() Peer { return alice }

func (f *fake) Run(ctx context.Context, tell func(News)) error {
	tell(News{Tip: 101})
	tell(News{Connection: &Connection{Up: true}})
	<-ctx.Done()
	return nil
}

func (f *fake) Conversations(context.Context) (all []Conversation, err error) {
	for _, address := range f.order {
		peer := Peer{Address: address}
		for _, p := range f.names {
			if p.Address == address {
				peer = p
			}
		}
		m := f.talks[address]
		all = append(all, Conversation{Peer: peer, Last: &m[len(m)-1]})
	}
	return all, f.down
}

func (f *fake) Page(_ context.Context, peer string, at Cursor) (Page, error) {
	f.asked = append(f.asked, at)
	all := f.talks[peer]
	from, to := max(len(all)-pageSize, 0), len(all)
	if at.Older != "" {
		fmt.Sscan(at.Older, &to)
		from = max(to-pageSize, 0)
	} else if at.Newer != "" {
		fmt.Sscan(at.Newer, &from)
		to = min(from+pageSize, len(all))
	}
	return Page{Messages: slices.Clone(all[from:to]), Older: fmt.Sprint(from), Newer: fmt.Sprint(to), Start: from == 0, End: to == len(all)}, f.down
}

func (f *fake) Search(_ context.Context, words string) (found []Message, err error) {
	for _, address := range f.order {
		for _, m := range slices.Backward(f.talks[address]) {
			if strings.Contains(m.Text, words) {
				found = append(found, m)
			}
		}
	}
	return found, f.down
}

func (f *fake) Message(_ context.Context, id string) (Message, error) {
	for _, all := range f.talks {
		for _, m := range all {
			if m.ID == id {
				return m, nil
			}
		}
	}
	return Message{}, errors.New("no such message")
}

func (f *fake) Resolve(_ context.Context, who string) (Peer, []string, error) {
	p, ok := f.names[who]
	if !ok {
		return p, nil, fmt.Errorf("name %q is not registered", who)
	}
	return p, p.Warnings, f.down
}

func (f *fake) Send(d Draft) (Message, error) {
	f.sent = append(f.sent, d)
	m := Message{Draft: fmt.Sprint(len(f.sent)), Peers: []string{d.To.Address}, Mine: true, Source: aliceAddress, Address: aliceAddress,
		Time: noon.UnixMilli(), State: Queued, Height: -1, Encryption: "plain", Type: "text", Text: d.Text, Re: d.Re, FileName: filepath.Base(d.File)}
	f.queue = append(f.queue, m)
	return m, nil
}

func (f *fake) Queue() []Message { return f.queue }

func (f *fake) Drop(id string) error {
	f.dropped = append(f.dropped, id)
	f.queue = slices.DeleteFunc(f.queue, func(m Message) bool { return m.Draft == id })
	return nil
}

func (f *fake) Save(_ context.Context, id, path string) (string, error) {
	f.saved = append(f.saved, id[:8]+" "+path)
	return "/home/alice/" + path, nil
}

// idOf makes a frame id of a number.
func idOf(n int) string {
	h := sha256.Sum256([]byte(fmt.Sprint(n)))
	return hex.EncodeToString(h[:])
}

// written makes a message that bob wrote to alice, n minutes before noon.
func written(n int, text string) Message {
	return Message{ID: idOf(n), TxID: idOf(1000 + n), Peers: []string{bobAddress}, Source: "bob", Address: bobAddress, Time: noon.Add(-time.Duration(n) * time.Minute).UnixMilli(),
		State: Confirmed, Height: 98, Encryption: "plain", Type: "text", Size: len(text), Text: text}
}

// answer makes a message that alice wrote to bob.
func answer(n int, text string) Message {
	m := written(n, text)
	m.Mine, m.Source, m.Address = true, "alice", aliceAddress
	return m
}

// A screen is an application under test.
type screen struct {
	t *testing.T
	f *fake
	*Model
}

// newScreen shows the fake's conversations.
func newScreen(t *testing.T, f *fake, width, height int) *screen {
	t.Helper()
	marks, err := OpenMarks(filepath.Join(t.TempDir(), "marks.json"))
	if err != nil {
		t.Fatal(err)
	}
	return screenWith(t, f, marks, width, height)
}

func screenWith(t *testing.T, f *fake, marks *Marks, width, height int) *screen {
	t.Helper()
	s := &screen{t, f, NewModel(t.Context(), f, marks, func() time.Time { return noon })}
	s.saveAfter = 0
	s.restyle()
	s.do(s.Init())
	s.tell(tea.WindowSizeMsg{Width: width, Height: height})
	s.tell(newsMsg{Tip: 101})
	s.tell(newsMsg{Connection: &Connection{Up: true}})
	return s
}

// tell gives the application a message and all that follows from it.
func (s *screen) tell(msg tea.Msg) {
	s.t.Helper()
	_, cmd := s.Update(msg)
	s.do(cmd)
	s.check()
}

// do runs a command and what follows, unless it waits for something.
func (s *screen) do(cmd tea.Cmd) { s.t.Helper(); s.doWithin(cmd, 100) }

func (s *screen) doWithin(cmd tea.Cmd, depth int) {
	s.t.Helper()
	if cmd == nil {
		return
	}
	if depth == 0 {
		s.t.Fatal("one message leads to others without end")
	}
	done := make(chan tea.Msg, 1)
	go func() { done <- cmd() }()
	var msg tea.Msg
	select {
	case msg = <-done:
	case <-time.After(5 * time.Second):
		s.t.Fatal("a command doesn't end")
	}
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			s.doWithin(c, depth-1)
		}
	case listMsg, pageMsg, countMsg, foundMsg, resolvedMsg, quotedMsg, sentMsg, doneMsg, marksMsg:
		_, next := s.Update(msg)
		s.doWithin(next, depth-1)
	}
}

// check checks what must hold of every window: its size, and that nothing but
// colours is in it.
func (s *screen) check() {
	s.t.Helper()
	content := s.View().Content
	rows := strings.Split(content, "\n")
	if len(rows) > max(s.height, 1) {
		s.t.Fatalf("%d rows in a window of %d", len(rows), s.height)
	}
	for i, r := range rows {
		if w := s.measure.StringWidth(r); w > s.width {
			s.t.Fatalf("row %d is %d wide in a window of %d: %q", i, w, s.width, r)
		}
	}
	for i, r := range ansi.Strip(content) {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200d) {
			s.t.Fatalf("the window holds %U at %d", r, i)
		}
	}
}

// press presses keys, named as bubbletea does; a text of more than one character
// that is no key is typed.
func (s *screen) press(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		if code, ok := keyNames[k]; ok {
			s.tell(code)
			continue
		}
		for _, r := range k {
			s.tell(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

var keyNames = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab}, "up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown},
	"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd}, "f1": {Code: tea.KeyF1},
	"left": {Code: tea.KeyLeft}, "backspace": {Code: tea.KeyBackspace},
	"alt+enter": {Code: tea.KeyEnter, Mod: tea.ModAlt}, "ctrl+e": {Code: 'e', Mod: tea.ModCtrl}, "ctrl+o": {Code: 'o', Mod: tea.ModCtrl}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl},
}

// text is the window without colours.
func (s *screen) text() string {
	rows := strings.Split(ansi.Strip(s.View().Content), "\n")
	for i, r := range rows {
		rows[i] = strings.TrimRight(r, " ")
	}
	return strings.Join(rows, "\n") + "\n"
}

// golden compares the window with a file.
func (s *screen) golden(name string) {
	s.t.Helper()
	golden(s.t, name, s.text())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
	}
}

// has fails the test when the window doesn't show a text; lacks when it does.
func (s *screen) has(text string) {
	s.t.Helper()
	if !strings.Contains(s.text(), text) {
		s.t.Errorf("the window doesn't show %q:\n%s", text, s.text())
	}
}

func (s *screen) lacks(text string) {
	s.t.Helper()
	if strings.Contains(s.text(), text) {
		s.t.Errorf("the window shows %q:\n%s", text, s.text())
	}
}
