package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/metaim/metaim/devnet"
)

// startDemo starts a demo with a folder of its own for temporary files.
func startDemo(t *testing.T, args ...string) (p *process, tmp string) {
	t.Helper()
	tmp = t.TempDir()
	cmd := metaim(t, append([]string{"demo"}, args...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp, "HOME="+t.TempDir(), devnet.BinaryVariable+"="+bsvd(t))
	return start(t, cmd), tmp
}

// checkGone checks that a demo that has ended left no file and no process.
func checkGone(t *testing.T, p *process, tmp string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, err)
	}
	node := regexp.MustCompile(`process (\d+)`).FindStringSubmatch(p.said.String())
	if node == nil {
		t.Fatal("the demo didn't say which process its node is")
	}
	pid, err := strconv.Atoi(node[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the node, process %d, still runs (%v)", pid, err)
	}
}

func TestDemoOnce(t *testing.T) {
	began := time.Now()
	p, tmp := startDemo(t, "--once")
	p.awaitLine(`bob +confirmed`)
	first := time.Since(began)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("the demo hasn't ended after %s", patience)
	}
	if p.err != nil {
		t.Errorf("the demo ended with %v, want status 0", p.err)
	}
	p.awaitLine(`everything arrived and verified`)
	checkGone(t, p, tmp)
	t.Logf("first confirmed message %s after the start, the end after %s", first, time.Since(began))
	if limit := 20 * time.Second; first > limit {
		t.Errorf("the first confirmed message took %s, want less than %s (5 s on a machine that does nothing else)", first, limit)
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, after string }{
		{"while it stays up", `It stays up`},
		{"as soon as the node runs", `a real Bitcoin SV node`},
		{"when the server listens", `server +http://`},
		{"before names are in a block", `registers the name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, tmp := startDemo(t)
			p.awaitLine(tt.after)
			stayed := tt.after == `It stays up`
			if err := p.signal(os.Interrupt); stayed && err != nil {
				t.Errorf("interrupted it ends with %v, want status 0", err)
			} else if !stayed && err != nil && p.cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("interrupted it ends with %v, want status 0 or 1", err)
			}
			checkGone(t, p, tmp)
		})
	}
}
