package chat

import (
	"image"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// twoTalks is a conversation with bob and one with somebody who has no name.
func twoTalks() *fake {
	f := newFake()
	yesterday := written(1600, "Are you there?")
	reply := answer(30, "Here I am. A long answer that takes more than one row in a window of eighty columns, so that it is wrapped at a space.")
	reply.Re = yesterday.ID
	secret := written(20, "Only you can read this.")
	secret.Encryption = "ECC"
	file := written(12, "")
	file.Type, file.FileName, file.Size = "application/pdf", "plan.pdf", 34_567
	locked := written(10, "")
	locked.Encryption, locked.Locked, locked.Size = "HPKE", "encrypted, and to none of the keys here", 1234
	forged := written(8, "Send me all your money.")
	forged.Forged, forged.Source = "the signature is not by the key of the address", "bank"
	seen := written(1, "日本語 and 😀 in one line,\nand a second line")
	seen.State, seen.Height = Seen, -1
	f.talks[bobAddress] = []Message{yesterday, reply, secret, file, locked, forged, seen}
	stranger := written(3000, "hello, do I know you?")
	stranger.Peers, stranger.Source, stranger.Address = []string{carolAddress}, carolAddress, carolAddress
	f.talks[carolAddress] = []Message{stranger}
	f.order = []string{bobAddress, carolAddress}
	return f
}

func TestWindows(t *testing.T) {
	for _, size := range []struct {
		name          string
		width, height int
	}{{"80x24", 80, 24}, {"40x12", 40, 12}, {"120x40", 120, 40}} {
		t.Run(size.name, func(t *testing.T) {
			s := newScreen(t, twoTalks(), size.width, size.height)
			s.golden("list-" + size.name)
			s.press("enter")
			s.golden("talk-" + size.name)
			s.press("A first line", "alt+enter", "and a second 世界")
			s.golden("writing-" + size.name)
			s.press("esc", "up", "up")
			s.golden("chosen-" + size.name)
			s.press("v")
			s.golden("details-" + size.name)
			s.press("esc", "?")
			s.golden("help-" + size.name)
			s.press("esc", "/", "you", "enter")
			s.golden("results-" + size.name)
		})
	}
}

func TestTooSmall(t *testing.T) {
	s := newScreen(t, twoTalks(), 80, 24)
	for _, size := range [][2]int{{39, 24}, {80, 9}, {1, 1}, {5, 2}, {0, 0}, {80, 24}, {40, 10}, {300, 100}, {40, 100}, {300, 10}} {
		s.tell(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		s.press("enter", "x")
	}
	s.tell(tea.WindowSizeMsg{Width: 38, Height: 12})
	s.has("The window is 38 by 12")
}

func TestStates(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter", "How are you?", "enter")
	if len(f.sent) != 1 || f.sent[0].Text != "How are you?" || f.sent[0].To.Address != bobAddress || !f.sent[0].Sealed {
		t.Fatalf("sent: got %+v", f.sent)
	}
	draft := f.queue[0]
	signed := draft
	signed.ID, signed.State = idOf(77), Sending
	out := answer(0, "How are you?")
	out.ID, out.State, out.Height = idOf(77), Seen, -1
	in := func(state State, height int32, reason string) Message {
		m := out
		m.State, m.Height, m.Reason = state, height, reason
		return m
	}
	for _, step := range []struct {
		name string
		news []News
		want string
	}{
		{"on its way", []News{{Message: &signed, Fresh: true}}, "sending"},
		{"the event comes before the draft has left the queue", []News{{Message: &out, Fresh: true}}, "seen"},
		{"the draft has left the queue", []News{{Sent: draft.Draft}}, "seen"},
		{"in a block", []News{{Tip: 102}, {Message: ptr(in(Confirmed, 101, ""))}}, "confirmed 1"},
		{"deeper", []News{{Tip: 105}}, "confirmed 4"},
		{"its block left the chain", []News{{Tip: 101}, {Message: ptr(in(Unconfirmed, -1, ""))}}, "unconfirmed again"},
		{"in another block", []News{{Tip: 103}, {Message: ptr(in(Confirmed, 102, ""))}}, "confirmed 1"},
		{"dropped", []News{{Message: ptr(in(Dropped, -1, "conflict with a block"))}}, "dropped: conflict with a block"},
		{"refused", []News{{Message: ptr(in(Refused, -1, "wrong signature"))}}, "refused: wrong signature"},
	} {
		for _, n := range step.news {
			s.tell(newsMsg(n))
		}
		text := s.text()
		if n := strings.Count(text, "How are you?"); n != 2 { // the list's preview and the message
			t.Errorf("%s: it is shown %d times, want 2:\n%s", step.name, n, text)
		}
		if !strings.Contains(text, step.want) {
			t.Errorf("%s: the window doesn't show %q:\n%s", step.name, step.want, text)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestQueueOffline(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	s.tell(newsMsg{Connection: &Connection{Err: "connection refused"}})
	s.has("offline: connection refused")
	s.press("later", "enter")
	s.has("queued (offline)")
	s.has("offline, 1 to send")
	refused := f.queue[0]
	refused.State, refused.Reason = Refused, "bob has no key"
	s.tell(newsMsg{Message: &refused, Fresh: true})
	s.has("refused: bob has no key")
	s.press("esc", "end", "x")
	if len(f.dropped) != 1 {
		t.Errorf("dropped: got %q, want the draft", f.dropped)
	}
	s.tell(newsMsg{Sent: refused.Draft})
	s.lacks("refused")
	s.press("enter")
	s.has("sealed> later") // its text is given back
}

func TestAnswerBeforeQueued(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	m, err := f.Send(Draft{To: bob, Text: "quick"})
	if err != nil {
		t.Fatal(err)
	}
	s.tell(newsMsg{Sent: m.Draft}) // sent before the application heard that it was queued
	s.tell(sentMsg{draft: Draft{To: bob}, message: m})
	s.lacks("quick")
}

func TestReply(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter", "esc", "up", "r")
	s.has("answering: (NOT VERIFIED)")
	s.press("no", "enter")
	if len(f.sent) != 1 || f.sent[0].Re != idOf(8) {
		t.Fatalf("sent: got %+v, want an answer to %s", f.sent, idOf(8))
	}
	s.has("│ bank: (NOT VERIFIED)")
	s.press("again", "enter")
	if f.sent[1].Re != "" {
		t.Error("the next message answers too, want only the first to")
	}
	s.press("esc", "up", "up", "up", "r", "esc")
	s.lacks("answering")
}

func TestQuoteThatIsntLoaded(t *testing.T) {
	f := twoTalks()
	old := written(9000, "so long ago")
	m := written(0, "yes")
	m.Re = old.ID
	f.talks["elsewhere"] = []Message{old}
	f.talks[bobAddress] = append(f.talks[bobAddress], m)
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	s.has("│ bob: so long ago")
	unknown := written(-1, "no")
	unknown.Re = idOf(12345)
	s.tell(newsMsg{Message: &unknown, Fresh: true})
	s.has("│ answers a message that isn't here")
}

func TestUnread(t *testing.T) {
	f := twoTalks()
	path := filepath.Join(t.TempDir(), "marks.json")
	marks, err := OpenMarks(path)
	if err != nil {
		t.Fatal(err)
	}
	s := screenWith(t, f, marks, 80, 24)
	s.has("(6)") // of bob
	s.has("(1)") // of the stranger
	s.press("enter")
	s.has("1 unread")
	s.lacks("(6)")
	s.press("pgup")
	s.has("─ new ─")
	s.press("pgdown")

	// A message that comes while it is open is read; one elsewhere isn't.
	m := written(0, "and one more")
	m.State, m.Height = Seen, -1
	s.tell(newsMsg{Message: &m, Fresh: true})
	s.has("and one more")
	other := f.talks[carolAddress][0]
	other.ID, other.Text, other.State = idOf(501), "still there?", Seen
	s.tell(newsMsg{Message: &other, Fresh: true})
	s.has("(2)")

	// Somebody looks at another window.
	s.tell(tea.BlurMsg{})
	late := written(-1, "while you were away")
	late.State = Seen
	s.tell(newsMsg{Message: &late, Fresh: true})
	s.has("3 unread")
	s.tell(tea.FocusMsg{})
	s.has("2 unread")
	if err := marks.Save(); err != nil {
		t.Fatal(err)
	}

	// The next run knows, also when blocks were replaced and messages stand
	// elsewhere in the list.
	f.talks[bobAddress] = append([]Message{late, m}, f.talks[bobAddress]...)
	f.talks[carolAddress] = append(f.talks[carolAddress], other)
	if marks, err = OpenMarks(path); err != nil {
		t.Fatal(err)
	}
	s = screenWith(t, f, marks, 80, 24)
	s.has("2 unread")
	s.has("(2)")
}

func TestUnreadConfirmedOnly(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter") // bob's are read
	// A message that the chain told without its being seen before is counted; an old
	// one that moves into a block isn't counted again.
	m := f.talks[carolAddress][0]
	m.ID = idOf(600)
	f.talks[carolAddress] = append(f.talks[carolAddress], m)
	s.tell(newsMsg{Message: &m})
	s.has("(2)")
	s.tell(newsMsg{Message: &f.talks[carolAddress][0]})
	s.has("(2)")
	s.lacks("(3)")
}

func TestNewConversation(t *testing.T) {
	f := twoTalks()
	f.names["dave"] = Peer{Address: "mrn7yLTLTPrCxbHkLRw1v4pHZkSfQ1E1FW", Name: "dave", Warnings: []string{"name \"dave\" looks like contact \"Dave\", and is somebody else"}}
	s := newScreen(t, f, 80, 24)
	s.press("n", "nobody", "enter")
	s.has(`name "nobody" is not registered`)
	s.press("n", "dave", "enter")
	s.has("! name \"dave\" looks like contact")
	s.has("nothing yet: write the first message")
	s.press("hi", "enter")
	if len(f.sent) != 1 || f.sent[0].To.Name != "dave" {
		t.Errorf("sent: got %+v, want to dave", f.sent)
	}
}

func TestSeal(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	s.has("sealed>") // bob encrypted
	s.press("ctrl+e")
	s.has("public>")
	s.press("x", "enter")
	s.press("ctrl+e", "y", "enter")
	if f.sent[0].Sealed || !f.sent[1].Sealed {
		t.Errorf("sealed: got %v and %v, want the second only", f.sent[0].Sealed, f.sent[1].Sealed)
	}
}

func TestFiles(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter", "ctrl+o", "/tmp/photo.png", "enter")
	if len(f.sent) != 1 || f.sent[0].File != "/tmp/photo.png" {
		t.Errorf("sent: got %+v, want the file", f.sent)
	}
	s.press("esc", "up", "up", "up", "up", "s")
	s.has("Save as: plan.pdf")
	s.press("enter")
	if len(f.saved) != 1 || f.saved[0] != idOf(12)[:8]+" plan.pdf" {
		t.Errorf("saved: got %q", f.saved)
	}
	s.has("saved as /home/alice/plan.pdf")
}

func TestSearch(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("/", "know", "enter")
	s.has(`1 with "know"`)
	s.press("enter")
	s.has("hello, do I know you?")
	if s.book.open.peer.Address != carolAddress {
		t.Errorf("open: got %s, want the stranger", s.book.open.peer.Address)
	}
}

func TestSearchFarBack(t *testing.T) {
	f := long(1000)
	s := newScreen(t, f, 80, 24)
	s.press("/", "message 123.", "enter", "enter")
	s.has("message 123.")
	if at := s.selected(); at == nil || at.Text != "message 123." {
		t.Errorf("under the cursor: got %+v, want message 123", at)
	}
}

func TestPaste(t *testing.T) {
	f := twoTalks()
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	s.tell(tea.PasteMsg{Content: "one\r\ntwo\rthree\x1b[31m\u202eevil\x00"})
	s.has("sealed> one")
	s.press("enter")
	if len(f.sent) != 1 || f.sent[0].Text != "one\ntwo\nthree[31mevil" {
		t.Errorf("sent: got %+v", f.sent)
	}
	s.tell(tea.PasteMsg{Content: strings.Repeat("x", longestTyped+1)})
	s.has("send it as a file")
	if v := s.writing.Value(); v != "" {
		t.Errorf("typed: got %d bytes, want none", len(v))
	}
}

func TestPictures(t *testing.T) {
	f := twoTalks()
	m := written(0, "")
	m.Type, m.FileName, m.Picture = "image/png", "sunset.png", &Picture{Width: 480, Height: 320, Small: image.NewRGBA(image.Rect(0, 0, 96, 64))}
	f.talks[bobAddress] = append(f.talks[bobAddress], m)
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	s.has("▀▀▀▀")
	s.has("sunset.png, image/png 480 x 320")
	s.tell(tea.ColorProfileMsg{}) // no colours
	s.lacks("▀▀▀▀")
	s.has("(sunset.png, image/png, 0 B: s saves it)")
}

func TestEndKeys(t *testing.T) {
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"enter", "ctrl+c"}, {"?", "ctrl+c"}, {"/", "ctrl+c"}, {"/", "x", "enter", "ctrl+c"}, {"enter", "esc", "v", "ctrl+c"}} {
		s := newScreen(t, twoTalks(), 80, 24)
		s.press(keys[:len(keys)-1]...)
		last := keys[len(keys)-1]
		msg, ok := keyNames[last]
		if !ok {
			msg = tea.KeyPressMsg{Code: rune(last[0]), Text: last}
		}
		_, cmd := s.Update(msg)
		if !quits(cmd) {
			t.Errorf("%q doesn't end the program", keys)
		}
	}
}

func quits(cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	switch msg := cmd().(type) {
	case tea.QuitMsg:
		return true
	case tea.BatchMsg:
		for _, c := range msg {
			if quits(c) {
				return true
			}
		}
	}
	return false
}

// long is a conversation of n messages.
func long(n int) *fake {
	f := newFake()
	for i := range n {
		m := written(n-i, "message "+itoa(i)+".")
		m.Time = noon.Add(-time.Duration(n-i) * time.Minute).UnixMilli()
		f.talks[bobAddress] = append(f.talks[bobAddress], m)
	}
	f.order = []string{bobAddress}
	return f
}
