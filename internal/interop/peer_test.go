package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience is how long installing may take.
const patience = 5 * time.Minute

// packages are what npm needs to install.
var packages = []string{"package.json", "package-lock.json"}

// A peer is the one Node process that all tests ask, in turn.
type peer struct {
	mu     sync.Mutex
	ask    *json.Encoder
	answer *bufio.Reader
	stop   func() error
	errors *bytes.Buffer
}

var start = sync.OnceValues(startPeer)

func TestMain(m *testing.M) {
	status := m.Run()
	if os.Getenv(skipVariable) == "" && asked {
		if p, err := start(); err == nil {
			if err := p.stop(); err != nil {
				fmt.Fprintf(os.Stderr, "node: %v\n%s", err, p.errors)
				status = 1
			}
		}
	}
	os.Exit(status)
}

const skipVariable = "METAIM_SKIP_NPM"

var asked bool // whether a test has started the peer

func newPeer(t *testing.T) *peer {
	t.Helper()
	if os.Getenv(skipVariable) != "" {
		t.Skipf("%s is set", skipVariable)
	}
	asked = true
	p, err := start()
	if err != nil {
		t.Fatalf("%v\nset %s=1 to leave these tests out", err, skipVariable)
	}
	return p
}

// A question is a line that testdata/peer.mjs reads.
type question struct {
	Do    string            `json:"do"`
	Key   string            `json:"key,omitempty"`
	To    string            `json:"to,omitempty"`
	Alg   string            `json:"alg,omitempty"`
	Cost  int               `json:"cost,omitempty"`
	JWKs  []json.RawMessage `json:"jwks,omitempty"`
	Plain []byte            `json:"plain"` // base64
	Body  string            `json:"body,omitempty"`
}

// do asks and returns the answer, or the error that the other program gave.
func (p *peer) do(t *testing.T, q question) (string, error) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ask.Encode(q); err != nil {
		t.Fatalf("ask node: %v\n%s", err, p.errors)
	}
	line, err := p.answer.ReadBytes('\n')
	if err != nil {
		t.Fatalf("node: %v\n%s", err, p.errors)
	}
	var answer struct{ Result, Error string }
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatalf("node answered %q: %v", line, err)
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Result, nil
}

// must is do for what has to go well.
func (p *peer) must(t *testing.T, q question) string {
	t.Helper()
	result, err := p.do(t, q)
	if err != nil {
		t.Fatalf("%s: %v", q.Do, err)
	}
	return result
}

func startPeer() (*peer, error) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is missing: install Node.js 18 or later with npm (apt-get install nodejs npm)", program)
		}
	}
	dir, err := install()
	if err != nil {
		return nil, err
	}
	script, err := os.ReadFile(filepath.Join("testdata", "peer.mjs"))
	if err != nil {
		return nil, err
	}
	// Packages are looked for beside the script; standard input is the questions'.
	cmd := exec.Command("node", "--input-type=module", "--eval", string(script))
	cmd.Dir = dir
	p := &peer{errors: &bytes.Buffer{}}
	cmd.Stderr = p.errors
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.ask, p.answer = json.NewEncoder(in), bufio.NewReader(out)
	p.stop = func() error {
		err := in.Close()
		_, _ = io.Copy(io.Discard, out)
		return errors.Join(err, cmd.Wait())
	}
	return p, cmd.Start()
}

// install returns a folder in which the packages are installed: one for each
// state of the lock file, kept between runs.
func install() (string, error) {
	lock, err := os.ReadFile(filepath.Join("testdata", packages[1]))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "metaim-interop")
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for _, name := range packages {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(fresh, name), b, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
	npm.Dir = fresh
	if said, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, said)
	}
	// Another run may have been faster: its folder is as good.
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}
