package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Patch changes one place of a file of the module for a build of the
// simulator. The file itself stays as it is: go build -overlay puts the changed
// copy in its place. So the product has no hook for the simulator, and the
// simulator can change every line of it.
type Patch struct {
	File string // slash-separated, from the module's folder
	Old  string // stands in the file exactly once
	New  string
}

// fast makes a build remember what the curve said: nearly all frames of a run
// were in runs before it. The scanner's buffer becomes so small that blocks and
// transactions don't fit into it.
var fast = []Patch{
	{"chainwatch/scan.go", "scanBuffer = 1 << 20", "scanBuffer = 1 << 9"},
	{"improtocol/frame/signature.go", "import (\n", "import (\n\t\"sync\"\n"},
	{"improtocol/frame/signature.go", "curve.recoverKey(s, signedMessageDigest(preimage))", "memoRecover(s, signedMessageDigest(preimage))"},
	{"improtocol/frame/signature.go", "curve.verify(s, sha256.Sum256(preimage), key)", "memoVerify(s, sha256.Sum256(preimage), string(key))"},
	{"improtocol/frame/signature.go", "const signedMessageMagic =", `type memoAsked struct {
	s      Signature
	digest [32]byte
	key    string
}

var memoRecovered, memoVerified sync.Map

func memoRecover(s Signature, digest [32]byte) []byte {
	at := memoAsked{s: s, digest: digest}
	if key, ok := memoRecovered.Load(at); ok {
		return key.([]byte)
	}
	key := curve.recoverKey(s, digest)
	memoRecovered.Store(at, key)
	return key
}

func memoVerify(s Signature, digest [32]byte, key string) (isKey, signed bool) {
	at := memoAsked{s, digest, key}
	if said, ok := memoVerified.Load(at); ok {
		return said.([2]bool)[0], said.([2]bool)[1]
	}
	isKey, signed = curve.verify(s, digest, []byte(key))
	memoVerified.Store(at, [2]bool{isKey, signed})
	return isKey, signed
}

const signedMessageMagic =`},
}

// moduleFolder returns the folder of the module that the current folder is in.
func moduleFolder(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// overlay writes the patched files and the list that go build -overlay reads,
// into the folder given, and returns the list's path.
func overlay(root, dir string, patches []Patch) (string, error) {
	texts := map[string]string{}
	for _, p := range patches {
		text, ok := texts[p.File]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p.File)))
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		if n := strings.Count(text, p.Old); n != 1 {
			return "", fmt.Errorf("%s holds the text to be changed %d times, not once: %q", p.File, n, p.Old)
		}
		texts[p.File] = strings.Replace(text, p.Old, p.New, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(file))] = changed
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// Build builds the simulator's command, made fast and with a mutation if one is
// given, into the folder given. It returns the program's path.
func Build(ctx context.Context, dir string, m *Mutation) (string, error) {
	root, err := moduleFolder(ctx)
	if err != nil {
		return "", err
	}
	patches := fast
	if m != nil {
		patches = append(patches[:len(patches):len(patches)], m.Patches...)
	}
	list, err := overlay(root, dir, patches)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "simulate.exe") // the name Windows needs, and others allow
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-o", program, "./internal/simulate/run")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the simulator: %w\n%s", err, out)
	}
	return program, nil
}

// Exit statuses of the command.
const (
	ExitSame      = 0
	ExitDifferent = 3
)

// Caught builds the simulator with a mutation and runs it. It returns what the
// command says, which begins with the number of the run that found a difference.
func Caught(ctx context.Context, dir string, m *Mutation, runs int) (report string, caught bool, err error) {
	program, err := Build(ctx, dir, m)
	if err != nil {
		return "", false, err
	}
	out, err := exec.CommandContext(ctx, program, "-plain", "-shrink=false", "-seed=1", fmt.Sprintf("-runs=%d", runs)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == ExitDifferent {
		return string(out), true, nil
	}
	return string(out), false, err
}
