package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

// A household is a folder of keys on this machine, and the server it asks.
type household struct {
	t    *testing.T
	home string
	env  []string
}

// newHousehold makes the keys of the labels and returns their addresses.
func newHousehold(t *testing.T, s *server, labels ...string) (h *household, addresses []string) {
	t.Helper()
	h = &household{t: t, home: filepath.Join(t.TempDir(), "home")}
	h.env = environment("METAIM_HOME="+h.home, "METAIM_PASSPHRASE="+passphrase, "METAIM_SERVER="+s.url, "METAIM_NETWORK=regtest", cacheOf(h.home))
	store := &signer.Keystore{Path: filepath.Join(h.home, "keys.age"), WorkFactor: 10}
	for _, label := range labels {
		key := signer.NewKey()
		if _, err := store.Add(t.Context(), passphrase, label, key); err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, key.Address(frame.Regtest))
	}
	return h, addresses
}

// command returns a command line of the household.
func (h *household) command(args ...string) *exec.Cmd {
	h.t.Helper()
	path, err := plain()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = h.env
	return cmd
}

// run runs a command line that must succeed and returns its standard output.
func (h *household) run(args ...string) string {
	h.t.Helper()
	cmd := h.command(args...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("metaim %q: %v\n%s%s", args, err, out, &complaint)
	}
	return string(out)
}

// TestKilledSender: `send` of a file in parts, encrypted to two recipients, is
// killed again and again in the middle. It goes on where it stood, and the file
// arrives byte for byte with no part missing and none twice.
func TestKilledSender(t *testing.T) {
	t.Parallel()
	node := testnode.Start(t)
	s := serve(t, following(node)...)
	h, to := newHousehold(t, s, "alice", "bob", "carol")
	for _, address := range to {
		hash, err := frame.Regtest.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		receive := h.command("key", "receive")
		receive.Stdin = strings.NewReader(fmt.Sprintf("%x", testnode.Fund(t, node, hash, 2_000_000)))
		if out, err := receive.CombinedOutput(); err != nil {
			t.Fatalf("receive: %v\n%s", err, out)
		}
	}
	// Each sends something once, which proves their public keys.
	h.run("send", "--from", "bob", "--to", to[0], "hello")
	h.run("send", "--from", "carol", "--to", to[0], "hello")
	testnode.Mine(t, node, 1)
	s.awaitTip(node)

	var file []byte
	for i := uint64(0); len(file) < 350_000; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		file = append(file, sum[:]...)
	}
	path := filepath.Join(t.TempDir(), "film.mp4")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	send := []string{"send", "--from", "alice", "--to", to[1], "--to", to[2], "--encrypt", "auto", "--file", path, "--type", "video/mp4", "--json"}
	kills := 0
	for _, parts := range []int{1, 4, 7} {
		if !h.killed(s, to, parts, send...) {
			break // it was faster: what follows would send the file once more
		}
		kills++
	}
	if kills == 0 {
		t.Errorf("no sender was killed in the middle")
	}
	h.run("send", "--from", "alice", "--resume")
	if waiting := h.run("outbox", "list"); waiting != "" {
		t.Errorf("the outbox still holds %q", waiting)
	}

	testnode.Mine(t, node, 1)
	s.awaitTip(node)
	for i, label := range []string{"bob", "carol"} {
		address := to[i+1]
		parts := h.parts(s, to[0], address)
		if len(parts) != 5 {
			t.Errorf("%s has %d parts, want 5", label, len(parts))
		}
		for id, m := range parts {
			if len(m.Occurrences) != 1 {
				t.Errorf("%s of %s is on the chain %d times", m.OtherMap[improtocol.OtherPart], id, len(m.Occurrences))
			}
		}
		inbox := h.run("inbox", address)
		found := regexp.MustCompile(`\(video/mp4 film\.mp4, encrypted with ECC, [0-9.]+ kB in 5 parts: metaim save ([0-9a-f]+)\)`).FindStringSubmatch(inbox)
		if found == nil {
			t.Fatalf("%s's inbox has no whole file:\n%s", label, inbox)
		}
		saved := filepath.Join(t.TempDir(), "saved.mp4")
		h.run("save", found[1], "-o", saved)
		got, err := os.ReadFile(saved)
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("%s saves %d bytes (%v), want the %d that were sent", label, len(got), err, len(file))
		}
	}
	t.Logf("%d kills in the middle", kills)
}

// killed runs a command and kills it when the recipients have so many parts. It
// tells whether the kill came before its end.
func (h *household) killed(s *server, to []string, parts int, args ...string) bool {
	h.t.Helper()
	cmd := h.command(args...)
	said := &transcript{}
	cmd.Stdout, cmd.Stderr = said, said
	dieWithUs(cmd)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	await(h.t, func() string {
		select {
		case err = <-ended:
			return ""
		default:
		}
		n := len(h.parts(s, to[0], to[1])) + len(h.parts(s, to[0], to[2]))
		if n >= parts {
			_ = cmd.Process.Kill()
			err = <-ended
			return ""
		}
		return fmt.Sprintf("%d parts are there; there are %d\n%s", parts, n, said)
	})
	if err == nil {
		h.t.Logf("a sender ended before it was killed:\n%s", said)
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Exited()) {
		h.t.Fatalf("the sender ended by itself: %v\n%s", err, said)
	}
	return err != nil
}

// parts returns the messages in parts from one address to another, with their
// occurrences.
func (h *household) parts(s *server, from, to string) map[string]client.Message {
	h.t.Helper()
	found := map[string]client.Message{}
	for m, err := range s.client.AllMessages(within(h.t), client.MessageQuery{Address: from, Peer: to}) {
		if err != nil {
			h.t.Fatal(err)
		}
		if m.Address != from || m.OtherMap[improtocol.OtherPart] == "" {
			continue
		}
		full, err := s.client.Message(within(h.t), m.ID)
		if err != nil {
			h.t.Fatal(err)
		}
		found[m.ID] = full.Message
	}
	return found
}
