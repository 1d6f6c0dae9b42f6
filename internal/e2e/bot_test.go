package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

// TestGuideHasTheBot: the program in the guide is the one that is tried here, and
// has at most 30 lines.
func TestGuideHasTheBot(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root(), "docs", "guide", "bot", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(filepath.Join(root(), "docs", "guide", "bot.md"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines > 30 {
		t.Errorf("the bot has %d lines, want 30 at most", lines)
	}
	if !strings.Contains(string(guide), "```go\n"+string(source)+"```\n") {
		t.Error("docs/guide/bot.md doesn't show docs/guide/bot/main.go as it is")
	}
}

// TestBot: the bot of the guide answers every message once, while the server, and
// the bot too, are killed again and again.
func TestBot(t *testing.T) {
	t.Parallel()
	kills, messages := rounds(4, 100), rounds(60, 3000)
	node := testnode.Start(t)
	s := serve(t, following(node)...)
	w := newWallet(t, filepath.Join(t.TempDir(), "home"), "bot")
	owner := authorOf(t, w.keys["bot"])
	alice := newAuthor(t)
	alice.fund(node)
	s.awaitTip(node)
	fundWallet(t, w, s, owner.fund(node))

	program := filepath.Join(t.TempDir(), "bot")
	build := exec.Command("go", "build", "-o", program, "./docs/guide/bot")
	build.Dir = root()
	run(t, build)
	startBot := func() *process {
		cmd := exec.Command(program)
		cmd.Env = environment(w.environment(s.url)...)
		return start(t, cmd)
	}
	bot := startBot()
	awaitFile(t, filepath.Join(w.home, "mail-"+owner.address()+".log"))
	stopMining := mineAlong(t, node, 400*time.Millisecond)

	ids := map[string]string{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range messages {
			text := fmt.Sprintf("message %d", i+1)
			m := alice.message("", text, owner.hash())
			if _, err := node.RPC().SendRawTransaction(t.Context(), m.raw); err != nil {
				t.Errorf("send %q: %v", text, err)
				return
			}
			ids[m.id.String()] = text
			time.Sleep(20 * time.Millisecond) // a pace, nothing is waited for
		}
	}()
	for i := range kills {
		time.Sleep(rand.N(400 * time.Millisecond)) // the moment is chance's
		s.kill()
		if i%2 == 1 {
			bot.kill()
		}
		s.start()
		s.awaitReady()
		if i%2 == 1 {
			bot = startBot()
		}
	}
	<-done
	stopMining()
	answers := map[string][]string{}
	await(t, func() string {
		answers = answersOf(t, s, owner.address())
		if len(answers) == len(ids) {
			return ""
		}
		return fmt.Sprintf("%d messages are answered; %d are now, and the bot said %s", len(ids), len(answers), bot.said)
	})
	if err := bot.stop(); err != nil {
		t.Errorf("interrupted, the bot ended with %v: %s", err, bot.said)
	}
	for id, text := range ids {
		if got := answers[id]; len(got) != 1 || got[0] != "You wrote: "+text {
			t.Errorf("%q was answered by %q, want one answer", text, got)
		}
	}
	t.Logf("%d messages, %d kills of the server, %d of the bot: each answered once", len(ids), kills, kills/2)
}

// answersOf returns the answers that an address sent, by what they answer. Every
// valid message counts, so that one sent twice would be seen.
func answersOf(t testing.TB, s *server, address string) map[string][]string {
	t.Helper()
	answers := map[string][]string{}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for m, err := range s.client.AllMessages(ctx, client.MessageQuery{Address: address}) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Address == address && m.Verdict == string(frame.Valid) && m.Text != nil {
			re := m.OtherMap["re"]
			answers[re] = append(answers[re], *m.Text)
		}
	}
	return answers
}

func awaitFile(t testing.TB, path string) {
	t.Helper()
	await(t, func() string {
		if _, err := os.Stat(path); err != nil {
			return err.Error()
		}
		return ""
	})
}

// fundWallet shows a transaction that pays one of the wallet's keys to its coins.
func fundWallet(t testing.TB, w *wallet, s *server, raw []byte) {
	t.Helper()
	cmd := w.command(s.url, "wallet", "add")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("%x\n", raw))
	run(t, cmd)
}
