package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/metaim/metaim/internal/noderpc"
)

// gentleness is how long bsvd may take to end after SIGTERM. It loses nothing
// when it is killed: on regtest it deletes its chain at the next start anyway.
const gentleness = 5 * time.Second

// A child is a running bsvd.
type child struct {
	process *os.Process
	done    chan struct{} // closed when it has ended and was waited for
	err     error         // why it ended; read after done
	log     string        // the file its output goes to
	pidFile string
}

// startChild starts a program with its output in a file. Where the system can, the
// program dies with this process.
func startChild(binary string, args []string, home, logFile, pidFile string) (*child, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = home
	// bsvd insists on a .bsvd folder in a home that it can write to. It takes the
	// home of /etc/passwd where that knows the user, else this one.
	cmd.Env = append(os.Environ(), "HOME="+home)
	prepare(cmd)
	c := &child{done: make(chan struct{}), log: logFile, pidFile: pidFile}
	started := make(chan error)
	go c.run(cmd, out, started)
	if err := <-started; err != nil {
		return nil, err
	}
	c.process = cmd.Process
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// run starts the program and waits for it, all in one thread: the kernel
// kills it when the thread that started it ends.
func (c *child) run(cmd *exec.Cmd, out io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	err := cmd.Start()
	started <- err
	if err == nil {
		c.err = cmd.Wait()
	}
	out.Close() // the child wrote it, not we: there is nothing to lose
}

// stop ends the program and returns when it is gone.
func (c *child) stop() {
	select {
	case <-c.done: // its number may be another's by now
	default:
		terminate(c.process)
	}
	select {
	case <-c.done:
	case <-time.After(gentleness):
		kill(c.process)
		<-c.done
	}
	os.Remove(c.pidFile) // a left one is checked before anything is done with it
}

// ended says why a program that should run doesn't, with its last words.
func (c *child) ended() error {
	return fmt.Errorf("bsvd has ended (%v); its last lines: %s", c.err, lastLines(c.log))
}

const lastBytes = 600

// lastLines returns the end of a log file, printable.
func lastLines(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "none"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > lastBytes {
		if _, err := f.Seek(-lastBytes, io.SeekEnd); err != nil {
			return "none"
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, lastBytes))
	if err != nil || len(b) == 0 {
		return "none"
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i, line := range lines {
		lines[i] = noderpc.Clean(line)
	}
	return strings.Join(lines[max(0, len(lines)-4):], " / ")
}

// stopOrphan ends the bsvd of an earlier run of ours that was killed and couldn't
// stop it. A process is touched only if it was started with the argument,
// which names the folder that we hold the lock of.
func stopOrphan(ctx context.Context, pidFile, argument string) error {
	b, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 || !commandHas(pid, argument) {
		return os.Remove(pidFile)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return os.Remove(pidFile)
	}
	terminate(p)
	killAt := time.Now().Add(gentleness)
	for commandHas(pid, argument) {
		if time.Now().After(killAt) {
			kill(p)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop the node that an earlier run left (process %d, %s): %w", pid, filepath.Base(pidFile), context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return os.Remove(pidFile)
}
