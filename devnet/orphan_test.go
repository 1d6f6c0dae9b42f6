//go:build unix

package devnet

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// leave starts a process that nobody stops, and names it in a pid file.
func leave(t *testing.T, dir string, cmd *exec.Cmd) (gone <-chan struct{}) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill() // when the test has failed
		<-done
	})
	pid := []byte(strconv.Itoa(cmd.Process.Pid))
	if err := os.WriteFile(filepath.Join(dir, "bsvd.pid"), pid, 0o600); err != nil {
		t.Fatal(err)
	}
	return done
}

func TestOrphanIsStopped(t *testing.T) {
	binary, err := Build(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ports, err := choosePorts(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	orphan := &Node{cfg: Config{Dir: dir, Binary: binary}}
	orphan.connection = Connection{P2P: "127.0.0.1:" + ports[0], RPC: "http://127.0.0.1:" + ports[1]}
	if err := os.WriteFile(filepath.Join(dir, "bsvd.conf"), []byte("[Application Options]\nrpcuser=u\nrpcpass=p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	orphan.key, err = minerKey(filepath.Join(dir, "miner.key"))
	if err != nil {
		t.Fatal(err)
	}
	gone := leave(t, dir, exec.Command(binary, orphan.arguments()...))

	n, err := Start(t.Context(), Config{Dir: dir, Binary: binary})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	select {
	case <-gone:
	default:
		t.Error("the orphan still runs after Start")
	}
	if err := n.RPC().Ping(t.Context()); err != nil {
		t.Errorf("the new node: %v", err)
	}
}

func TestStrangersProcessIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	gone := leave(t, dir, exec.Command("sleep", "600"))
	pidFile := filepath.Join(dir, "bsvd.pid")
	if err := stopOrphan(t.Context(), pidFile, "--datadir="+filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
		t.Error("a process that isn't ours was stopped")
	default:
	}
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Errorf("the wrong pid file: %v, want it gone", err)
	}
}

func TestPidFileOfNonsense(t *testing.T) {
	for _, text := range []string{"", "0", "1", "-1", "x", "99999999999999999999"} {
		path := filepath.Join(t.TempDir(), "bsvd.pid")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := stopOrphan(t.Context(), path, "--datadir=x"); err != nil {
			t.Errorf("pid file %q: %v", text, err)
		}
	}
}
