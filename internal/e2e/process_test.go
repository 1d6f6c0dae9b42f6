package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A transcript collects what processes write, in the order in which it comes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// A process is a child that runs beside a test.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	said *transcript // both of its outputs
	done chan struct{}
	err  error // how it ended; read after done
}

// start starts a program. When the test ends it is told to end, and what it said
// is printed if the test has failed. A data race that it found fails the test.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: fmt.Sprint(cmd.Args), cmd: cmd, said: &transcript{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.said, p.said
	// A pipe that a grandchild holds must not keep Wait from returning.
	cmd.WaitDelay = 5 * time.Second
	dieWithUs(cmd)
	started := make(chan error)
	go func() {
		// The kernel kills the child when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.finish)
	return p
}

func (p *process) finish() {
	if p.running() {
		if err := p.stop(); err != nil {
			p.t.Errorf("%s, told to end: %v", p.name, err)
		}
	}
	said := p.said.String()
	if strings.Contains(said, "DATA RACE") {
		p.t.Errorf("%s has a data race", p.name)
	}
	if strings.Contains(said, "panic:") || strings.Contains(said, "fatal error:") {
		p.t.Errorf("%s panicked", p.name)
	}
	if p.t.Failed() {
		p.t.Logf("%s said:\n%s", p.name, tail(said, 20_000))
	}
}

func tail(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return "..." + s[len(s)-most:]
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends a signal and returns how the process ended.
func (p *process) signal(s os.Signal) error {
	if p.running() {
		if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("it didn't end within %s of %s", patience, s)
	}
}

// stop asks the process to end, which is no failure: exit status 0.
func (p *process) stop() error { return p.signal(os.Interrupt) }

// kill ends the process where it stands. It has no time to save anything.
func (p *process) kill() {
	p.t.Helper()
	var killed *exec.ExitError
	if err := p.signal(os.Kill); !errors.As(err, &killed) {
		p.t.Fatalf("%s, killed: %v", p.name, err)
	}
}

// awaitLine waits until the process says what a pattern describes, and returns
// its groups.
func (p *process) awaitLine(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	await(p.t, func() string {
		// Whether it runs is asked first: what it said then is its last word.
		running := p.running()
		if found = re.FindStringSubmatch(p.said.String()); found != nil {
			return ""
		}
		if !running {
			p.t.Fatalf("%s ended (%v) before it said %q", p.name, p.err, pattern)
		}
		return fmt.Sprintf("%s says %q", p.name, pattern)
	})
	return found
}
