package signer

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

func TestSecondWalletWaitsAndSaysWho(t *testing.T) {
	k := testKey(t, 1, false)
	o := Options{Network: frame.Regtest, Keys: []Key{k}, Journal: filepath.Join(t.TempDir(), "coins")}
	first := newWallet(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	var held *LockError
	_, err := OpenWallet(ctx, o)
	if !errors.As(err, &held) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "process "+itoa(os.Getpid())) {
		t.Fatalf("got %v, want a *LockError that names this process", err)
	}
	opened := make(chan error, 1)
	go func() {
		second, err := OpenWallet(t.Context(), o)
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("opened beside the first: %v", err)
	case <-time.After(60 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		if err != nil {
			t.Errorf("after the first was closed: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("not opened after the first was closed")
	}
}

// A process that is killed leaves neither a lock nor a lost transaction behind.
func TestKilledProcess(t *testing.T) {
	k := testKey(t, 1, false)
	o := Options{Network: frame.Regtest, Keys: []Key{k}, Journal: os.Getenv("SIGNER_TEST_JOURNAL")}
	if o.Journal != "" { // the process that is killed
		w := newWallet(t, o)
		mustAdd(t, w, funding(t, 1, k.KeyHash(), 10_000))
		s := mustBuild(t, w, Request{Script: message(100)})
		os.Stdout.WriteString("built " + s.TxID.String() + "\n")
		select {}
	}
	o.Journal = filepath.Join(t.TempDir(), "coins")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), exe, "-test.run=^TestKilledProcess$")
	child.Env = append(os.Environ(), "SIGNER_TEST_JOURNAL="+o.Journal)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("built ")+64)
	if _, err := out.Read(line); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if _, err := OpenWallet(ctx, o); err == nil || !strings.Contains(err.Error(), "process "+itoa(child.Process.Pid)) {
		t.Errorf("got %v, want a refusal that names process %d", err, child.Process.Pid)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	w := newWallet(t, o)
	p := w.Pending()
	if len(p) != 1 || "built "+frame.HashOf(p[0]).String() != string(line) {
		t.Errorf("got %d pending, want what was %s", len(p), line)
	}
}
