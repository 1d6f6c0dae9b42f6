package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

const chatPassphrase = "of a test"

// homeOf makes a folder with an author's key, under a label, and with coins.
func homeOf(t *testing.T, a *author, label string, funds []byte) string {
	t.Helper()
	home := t.TempDir()
	store := &signer.Keystore{Path: filepath.Join(home, "keys.age"), WorkFactor: 8}
	if _, err := store.Add(context.Background(), chatPassphrase, label, a.key); err != nil {
		t.Fatal(err)
	}
	wallet, err := signer.OpenWallet(context.Background(), signer.Options{Network: frame.Regtest, Keys: []signer.Key{a.key},
		Journal: filepath.Join(home, "coins-regtest.journal")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wallet.Add(funds); err != nil {
		t.Fatal(err)
	}
	if err := wallet.Close(); err != nil {
		t.Fatal(err)
	}
	return home
}

// A typist sits at a terminal of 80 by 24 where the program runs.
type typist struct {
	t      *testing.T
	tty    *os.File
	screen *transcript // all that the terminal was sent
	done   chan error
	ended  bool
}

func sit(t *testing.T, home, server string, args ...string) *typist {
	t.Helper()
	cmd := metaim(t, append([]string{"chat"}, args...)...)
	cmd.Env = append(cmd.Env, "METAIM_HOME="+home, "METAIM_PASSPHRASE="+chatPassphrase, "METAIM_SERVER="+server,
		"METAIM_NETWORK=regtest", "TERM=xterm-256color", "NO_COLOR=")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	s := &typist{t: t, tty: tty, screen: &transcript{}, done: make(chan error, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 4096)
		for {
			n, err := tty.Read(buffer)
			_, _ = s.screen.Write(buffer[:n]) // in memory
			if err != nil {
				return // the program has ended
			}
		}
	}()
	go func() { s.done <- cmd.Wait() }()
	t.Cleanup(func() {
		if !s.ended {
			_ = cmd.Process.Kill() // the test has failed before
			<-s.done
		}
		_ = tty.Close()
		<-read
		if t.Failed() {
			t.Logf("the terminal was sent: %q", tail(s.screen.String(), 6000))
		}
	})
	return s
}

// types presses keys.
func (s *typist) types(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// sees waits until the terminal was sent a text without spaces: a window that is
// painted over moves the cursor where nothing changes.
func (s *typist) sees(text string) {
	s.t.Helper()
	await(s.t, func() string {
		if strings.Contains(s.screen.String(), text) {
			return ""
		}
		return fmt.Sprintf("the terminal shows %q", text)
	})
}

// ends presses ctrl+c and waits for the end.
func (s *typist) ends() {
	s.t.Helper()
	s.types("\x03")
	select {
	case err := <-s.done:
		s.ended = true
		if err != nil {
			s.t.Errorf("chat ended with %v, want status 0", err)
		}
	case <-time.After(patience):
		s.t.Fatal("chat doesn't end")
	}
}

// TestChat: a person writes and reads, writes while the server is gone, ends the
// program, and what was written is sent once by the next run.
func TestChat(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	s := serve(t, following(node)...)
	alice, bob := newAuthor(t), newAuthor(t)
	bob.fund(node)
	home := homeOf(t, alice, "alice", alice.fund(node))
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	told := subscribe(t, s, client.Filter{Address: []string{bob.address()}})
	texts := func(text string) string {
		n := 0
		for _, e := range told.all() {
			if e.Kind == "message.seen" && e.Message.Text != nil && *e.Message.Text == text {
				n++
			}
		}
		if n == 1 {
			return ""
		}
		return fmt.Sprintf("bob gets %q once, not %d times", text, n)
	}

	desk := sit(t, home, s.url, "--from", "alice", bob.address())
	desk.sees("connected")
	desk.types("written-by-alice\r")
	await(t, func() string { return texts("written-by-alice") })
	desk.sees("seen")
	submit(t, bob.message("", "written-by-bob", alice.hash()).raw, node)
	desk.sees("written-by-bob")
	submit(t, bob.message("", "evil\x1b]0;title\a\x1b[5mblinks\u009b5m\u202egnirts", alice.hash()).raw, node)
	desk.sees("blinks")
	testnode.Mine(t, node, 1)
	desk.sees("confirmed")

	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	desk.sees("offline")
	desk.types("kept-for-later\r")
	desk.sees("(offline)")
	desk.ends()
	for _, raw := range []string{"\x1b]0;title", "\x1b[5m", "\u009b5m", "\u202e"} {
		if strings.Contains(desk.screen.String(), raw) {
			t.Errorf("the terminal was sent %q, which stands in a message", raw)
		}
	}

	desk = sit(t, home, s.url, "--from", "alice", bob.address())
	desk.sees("kept-for-later")
	desk.sees("offline")
	s.start()
	await(t, func() string { return texts("kept-for-later") })
	desk.sees("connected")
	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	desk.sees("confirmed")
	desk.ends()
	desk = sit(t, home, s.url, "--from", "alice", bob.address())
	desk.sees("connected")
	desk.ends()
	n := 0
	for m, err := range s.client.AllMessages(within(t), client.MessageQuery{Address: alice.address(), Peer: bob.address()}) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Text != nil && *m.Text == "kept-for-later" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("what waited was sent %d times, want once", n)
	}
}
