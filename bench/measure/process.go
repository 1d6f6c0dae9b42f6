package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is how many of them the kernel counts in a second of CPU time, on every
// Linux that Go runs on.
const ticks = 100

// settle lets what the side before has left behind be collected.
func settle() { runtime.GC() }

// cpuOf is the CPU time of processes with all their children, dead or alive; 0
// stands for this one, without children.
func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		if pid != 0 {
			sum += tree(pid)
			continue
		}
		var use syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &use) == nil {
			sum += time.Duration(use.Utime.Nano() + use.Stime.Nano())
		}
	}
	return sum
}

// tree adds up a process and the processes below it.
func tree(pid int) time.Duration {
	sum := stat(pid)
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, field := range strings.Fields(string(list)) {
		if child, err := strconv.Atoi(field); err == nil {
			sum += tree(child)
		}
	}
	return sum
}

// stat reads user and system time of a process, and of its children that have
// ended, from /proc.
func stat(pid int) time.Duration {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(line), ") ") // the name before may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0
	}
	var n int64
	for _, f := range fields[11:15] { // utime stime cutime cstime
		v, _ := strconv.ParseInt(f, 10, 64)
		n += v
	}
	return time.Duration(n) * time.Second / ticks
}

// RSS is the memory that a process holds, in bytes.
func RSS(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n * 1024, err
		}
	}
	return 0, errors.New("no VmRSS in the status of the process")
}

// A Child is a process that is measured, or that makes load: this program again
// in another role, or a peer. It says in one line of JSON on its standard output
// that it is ready, answers each line that it is asked with another, and ends
// with its standard input.
type Child struct {
	Ready
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

// Ready is the first line of a child.
type Ready struct {
	Addr string `json:"addr,omitempty"` // host:port that it listens at
	Name string `json:"name,omitempty"` // with its version
}

// RoleVariable names, in the environment, the role in which this program is to
// run.
const RoleVariable = "METAIM_BENCH_ROLE"

// Role starts this program again in a role.
func Role(ctx context.Context, role string, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start(ctx, []string{RoleVariable + "=" + role}, self, args...)
}

// Start starts a program as a child and waits until it is ready.
func Start(ctx context.Context, env []string, program string, args ...string) (*Child, error) {
	c := &Child{cmd: exec.CommandContext(ctx, program, args...)}
	c.cmd.Env, c.cmd.Stderr = append(os.Environ(), env...), os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.in, c.lines = in, bufio.NewReader(out)
	if err := c.read(&c.Ready); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return c, nil
}

// PID is the child's process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ask sends the child a line of JSON and reads its answer into answer.
func (c *Child) Ask(question, answer any) error {
	line, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return err
	}
	return c.read(answer)
}

func (c *Child) read(into any) error {
	line, err := c.lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// Stop ends the child and waits for it; one that doesn't end by itself within
// five seconds is killed.
func (c *Child) Stop() {
	_ = c.in.Close()
	timer := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	_ = c.cmd.Wait()
}

// Serve is the child's side: it says that it is ready, then answers each line
// until its standard input ends.
func Serve(ready Ready, answer func(question []byte) (any, error)) error {
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(ready); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		reply, err := answer(in.Bytes())
		if err != nil {
			return err
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
	return in.Err()
}

// CPU is the CPU time that processes have used, with all their children.
func CPU(pids ...int) time.Duration { return cpuOf(pids) }
