package reliability

import (
	"bufio"
	"context"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/internal/testpg"
)

// TestSecondWriter runs three servers on one PostgreSQL database: one writes, one
// waits to write, one only reads. When the first is killed the second takes over,
// and the reader never stops.
func TestSecondWriter(t *testing.T) {
	tree := simchain.NewTree()
	tip := newTown(31).extend(tree, tree.Genesis, 30, 5)
	file := filepath.Join(t.TempDir(), "chain.dat")
	writeBlocks(t, file, tip.Branch()[1:])
	want, _ := clean(t, tree, tip)
	args := []string{"serve", "--network", "regtest", "--listen", "127.0.0.1:0", "--store", testpg.URL(t)}
	writing := append(args, "--source", "blocks:"+file)

	first := start(t, writing...)
	atTip(t, <-first.url, want.StateHash)
	second := start(t, writing...)
	reader := start(t, append(args, "--read-only")...)
	readerURL := <-reader.url
	atTip(t, readerURL, want.StateHash)
	select {
	case url := <-second.url:
		t.Fatalf("the second writer serves on %s while the first is there", url)
	case <-time.After(500 * time.Millisecond): // long enough to have begun
	}
	begin := time.Now()
	first.kill(t)
	select {
	case url := <-second.url:
		atTip(t, url, want.StateHash)
		t.Logf("the second writer took over after %v", time.Since(begin).Round(time.Millisecond))
	case <-time.After(20 * time.Second):
		t.Fatal("the second writer didn't take over")
	}
	atTip(t, readerURL, want.StateHash)
}

// A server is a running `metaim serve`.
type server struct {
	cmd *exec.Cmd
	url chan string // receives once it serves
}

func start(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(program, args...), url: make(chan string, 1)}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "serving regtest on "); ok {
				s.url <- url
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may be gone
		<-read
		_ = s.cmd.Wait() // killed
	})
	return s
}

func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// atTip waits until a server says a state hash.
func atTip(t *testing.T, url string, hash [32]byte) {
	t.Helper()
	c, err := client.New(url)
	if err != nil {
		t.Fatal(err)
	}
	want := hex.EncodeToString(hash[:])
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		info, err := c.Info(context.Background())
		if err != nil {
			got = err.Error()
			continue
		}
		if got = info.StateHash; got == want {
			return
		}
	}
	t.Fatalf("%s says %s, want %s", url, got, want)
}
