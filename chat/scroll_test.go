package chat

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

var messageNumber = regexp.MustCompile(`message (\d+)\.`)

// quick presses a key without checking the window.
func (s *screen) quick(key string) {
	_, cmd := s.Update(keyNames[key])
	s.do(cmd)
}

// numbersShown returns the numbers of the messages in the window of long.
func (s *screen) numbersShown() (all []int) {
	// The list's preview stands left of the line between the panes.
	for row := range strings.Lines(s.text()) {
		row = row[strings.LastIndex(row, "│")+1:]
		if m := messageNumber.FindStringSubmatch(row); m != nil {
			n, _ := strconv.Atoi(m[1])
			all = append(all, n)
		}
	}
	return all
}

func TestScrollThroughAll(t *testing.T) {
	const n = 10_000
	f := long(n)
	s := newScreen(t, f, 80, 100)
	s.press("enter")
	first := s.numbersShown()
	if len(first) == 0 || first[len(first)-1] != n-1 {
		t.Fatalf("the window begins with %v, want the newest", first)
	}
	// All the way back: no message is left out, and the memory stays bounded.
	next := first[0] - 1
	pages := 0
	for next >= 0 {
		s.quick("pgup")
		if size := s.book.open.size(); size > mostHeld+pageSize {
			t.Fatalf("%d messages are held, want %d at most", size, mostHeld+pageSize)
		}
		if len(s.cache) > 3*mostHeld {
			t.Fatalf("%d painted messages are held", len(s.cache))
		}
		shown := s.numbersShown()
		for i := 1; i < len(shown); i++ {
			if shown[i] != shown[i-1]+1 {
				t.Fatalf("the window shows %v: something is left out", shown)
			}
		}
		if shown[len(shown)-1] < next {
			t.Fatalf("the window shows %v after %d: something is left out", shown, next+1)
		}
		next = shown[0] - 1
		if pages++; pages > n {
			t.Fatal("it doesn't end")
		}
	}
	s.press("pgup", "pgup")
	s.has("the beginning")
	// News at the other end disturb nobody.
	before := s.text()
	m := written(-5, "message 10000.")
	f.talks[bobAddress] = append(f.talks[bobAddress], m)
	s.tell(newsMsg{Message: &m, Fresh: true})
	after := s.numbersShown()
	if after[0] != 0 {
		t.Errorf("news moved the window:\n%s\nwas\n%s", s.text(), before)
	}
	s.has("1 newer below")
	// And forward again.
	next = after[len(after)-1] + 1
	for pages = 0; next <= n; pages++ {
		s.quick("pgdown")
		shown := s.numbersShown()
		if size := s.book.open.size(); size > mostHeld+pageSize {
			t.Fatalf("%d messages are held, want %d at most", size, mostHeld+pageSize)
		}
		if shown[0] > next {
			t.Fatalf("the window shows %v after %d: something is left out", shown, next-1)
		}
		next = shown[len(shown)-1] + 1
		if pages > n {
			t.Fatal("it doesn't end")
		}
	}
	if !s.scroll.follow {
		t.Error("at the end the window doesn't follow what comes")
	}
	s.press("esc", "home", "end")
	if at := s.numbersShown(); at[len(at)-1] != n {
		t.Errorf("G shows %v, want the newest", at)
	}
}

func TestCursorThroughAll(t *testing.T) {
	f := long(80)
	tall := written(0, strings.Repeat("a row of words that is long enough to be wrapped once or twice\n", 60))
	f.talks[bobAddress] = append(f.talks[bobAddress], tall)
	s := newScreen(t, f, 80, 24)
	s.press("enter", "esc")
	met := map[string]bool{}
	for range 110 {
		at := s.selected()
		if at == nil {
			t.Fatal("no message is under the cursor")
		}
		if !strings.Contains(s.text(), "▌") {
			t.Fatalf("the cursor isn't shown:\n%s", s.text())
		}
		met[at.ID] = true
		s.press("up")
	}
	if len(met) != 81 {
		t.Errorf("%d messages were under the cursor, want 81", len(met))
	}
	for range 110 {
		s.press("down")
	}
	if at := s.selected(); at == nil || at.ID != tall.ID || !s.scroll.follow {
		t.Errorf("going down ends at %s (follow %t), want the last message", at.ID, s.scroll.follow)
	}
}

func TestManyLive(t *testing.T) {
	f := long(10)
	s := newScreen(t, f, 80, 24)
	s.press("enter")
	s.saving = true // nothing is saved here
	for i := range 1000 {
		m := written(-i-1, "message "+itoa(10+i)+".")
		m.ID = idOf(100_000 + i)
		f.talks[bobAddress] = append(f.talks[bobAddress], m)
		_, cmd := s.Update(newsMsg{Message: &m, Fresh: true})
		s.do(cmd)
		if i%100 == 0 {
			s.tell(newsMsg{Tip: int32(101 + i)})
		}
	}
	s.tell(newsMsg{Tip: 5000})
	s.press("pgup", "pgdown")
	if size := s.book.open.size(); size > mostHeld+pageSize {
		t.Errorf("%d messages are held, want %d at most", size, mostHeld+pageSize)
	}
	if at := s.numbersShown(); len(at) == 0 || at[len(at)-1] != 1009 {
		t.Errorf("the window shows %v, want the newest", at)
	}
}
