package e2e

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testpg"
)

// A docLine is a command line in a document.
type docLine struct {
	file string
	line int
	text string
}

func (l docLine) String() string { return fmt.Sprintf("%s:%d: %s", l.file, l.line, l.text) }

// docLines returns the command lines of the documents: what stands in fenced
// blocks of sh, and after "$ " in other fenced blocks. A backslash at the end
// goes on in the next line.
func docLines(t testing.TB) []docLine {
	t.Helper()
	files := []string{"README.md", "CONTRIBUTING.md"}
	err := filepath.WalkDir(filepath.Join(root(), "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".md" {
			path, err = filepath.Rel(root(), path)
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []docLine
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root(), file))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, linesOf(file, string(text))...)
	}
	return all
}

func linesOf(file, text string) (lines []docLine) {
	fence, continued := "", false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if mark, ok := strings.CutPrefix(line, "```"); ok {
			if fence == "" {
				fence = "```" + mark
			} else {
				fence = ""
			}
			continued = false
			continue
		}
		shell := slices.Contains([]string{"```sh", "```bash", "```shell"}, fence)
		command, prompted := strings.CutPrefix(line, "$ ")
		switch {
		case fence == "" || !shell && !prompted && !continued:
			continue
		case continued:
			last := &lines[len(lines)-1]
			last.text = strings.TrimSuffix(last.text, "\\") + line
		case command == "" || strings.HasPrefix(command, "#"):
			continue
		default:
			lines = append(lines, docLine{file, i + 1, command})
		}
		continued = strings.HasSuffix(line, "\\")
	}
	return lines
}

func TestLinesOf(t *testing.T) {
	text := "metaim outside\n```sh\n# a comment\nmetaim a \\\n  --b\n\n$ metaim c\n```\n```json\nmetaim d\n```\n" +
		"```text\n$ metaim e\nwhat it prints\n```\n"
	var got []string
	for _, l := range linesOf("f", text) {
		got = append(got, l.String())
	}
	want := []string{"f:4: metaim a --b", "f:7: metaim c", "f:13: metaim e"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// docsKnow are commands of documents that are not run here, with the reason. The
// pattern is of the whole line.
var docsKnow = []struct{ pattern, why string }{
	{`make( [A-Z]+=\S+)*( [a-z]+)?( [A-Z]+=\S+)*`, "CI runs demo and test; here the target is looked up"},
	{`go (build|install|test|run|vet|tool|generate) .*`, "the tests themselves are run by it"},
	{`\.?/?\.ci/run`, "it runs these tests"},
	{`git (clone|checkout|log|diff|status).*`, "nothing of ours"},
	{`cd \S+`, "nothing of ours"},
	{`deploy/secrets\.sh`, "cmd/metaim tries it where it leaves nothing behind"},
	{`sudo .*`, "TestOperations runs them, with folders of its own"},
	{`(docker|podman|kubectl|apt-get|brew) .*`, "not on every machine"},
}

// longRunning are the commands that run until they are interrupted, with what
// they say when they are up.
var longRunning = map[string]string{
	"serve": `metaim: serving \S+ on http`, "watch": `Watching `, "devnet": `control http`, "demo": `It stays up`,
}

// staysUp tells whether a line runs until it is interrupted, and what it says.
func staysUp(line string) (says string, ok bool) {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "metaim" || slices.Contains(words, "--once") || slices.Contains(words, "--json") {
		return "", false
	}
	if len(words) > 2 && words[1] == "devnet" && !strings.HasPrefix(words[2], "-") {
		return "", false // a subcommand
	}
	says, ok = longRunning[words[1]]
	return says, ok
}

// TestDocuments runs the command lines of the documents, in their order, with a
// devnet and a server: keys, names and messages of one line are there in the
// next. Those that stay up must say something, and end well when interrupted.
func TestDocuments(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	local := startDevnet(t, filepath.Join(folder, "node"))
	s := serve(t, "--devnet-dir", filepath.Join(folder, "node"))
	s.awaitReady()
	// What the demo has when a reader begins to try things.
	w := newWallet(t, filepath.Join(folder, "home"), "alice", "bob")
	env := append(w.environment(s.url), "METAIM_DEVNET="+local.control, "METAIM_LISTEN=127.0.0.1:0",
		"TMPDIR="+t.TempDir(), "NO_COLOR=1",
		devnet.BinaryVariable+"="+bsvd(t), "PATH="+filepath.Dir(plainProgram(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, label := range []string{"alice", "bob"} {
		for _, args := range [][]string{{"key", "fund", label}, {"name", "register", label, "--from", label, "--wait"}} {
			cmd := metaim(t, args...)
			cmd.Env = environment(env...)
			run(t, cmd)
		}
	}
	place := &docPlace{t: t, devnet: filepath.Join(folder, "node")}
	work := t.TempDir()
	prepareFiles(t, work)
	sh := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env = work, environment(env...)
		return cmd
	}
	targets := makeTargets(t)
	ran := 0
	for _, l := range docLines(t) {
		line := strings.TrimSpace(strings.TrimSuffix(l.text, "&"))
		line = place.fit(regexp.MustCompile(`^(\./|bin/)metaim\b`).ReplaceAllString(line, "metaim"))
		says, stays := staysUp(line)
		switch {
		case strings.HasPrefix(line, "export METAIM_"):
			ran++ // the settings of a demo: here they are ours
		case stays:
			ran++
			runUntilSaid(t, l, sh("exec "+line), says)
		case regexp.MustCompile(`(^|[|;&(] *)metaim\b`).MatchString(line):
			ran++
			if out, err := finished(t, sh(line)); err != nil {
				t.Errorf("%s\n%v\n%s", l, err, out)
			}
		case strings.HasPrefix(line, "make"):
			checkMake(t, l, line, targets)
		case !slices.ContainsFunc(docsKnow, func(k struct{ pattern, why string }) bool {
			return regexp.MustCompile(`^(` + k.pattern + `)$`).MatchString(line)
		}):
			t.Errorf("%s\nthis test doesn't know how to run that: teach it, or mark the block otherwise than as sh", l)
		}
	}
	if ran < 5 {
		t.Errorf("only %d lines of metaim were found in the documents", ran)
	}
	t.Logf("%d lines of metaim", ran)
}

// finished runs a line to its end, and ends one that doesn't come to it.
func finished(t testing.TB, cmd *exec.Cmd) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	limited := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	limited.Dir, limited.Env, limited.WaitDelay = cmd.Dir, cmd.Env, time.Second
	endWhole(limited)
	out, err := limited.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("it hadn't ended after %s", patience))
	}
	return out, err
}

// A docPlace stands for what a reader of the documents has, and a test hasn't:
// ports that nobody else uses, a devnet in a folder, a database.
type docPlace struct {
	t        *testing.T
	devnet   string
	postgres string // one for all lines, made when the first asks
}

var (
	listenFlag   = regexp.MustCompile(`--listen[ =]\S+`)
	devnetFlag   = regexp.MustCompile(`--devnet-dir[ =]\S+`)
	postgresText = regexp.MustCompile(`postgres(ql)?://[^\s'"]+`)
)

// fit puts what there is here in place of what a line names.
func (d *docPlace) fit(line string) string {
	line = listenFlag.ReplaceAllLiteralString(line, "--listen 127.0.0.1:0")
	line = devnetFlag.ReplaceAllLiteralString(line, "--devnet-dir "+d.devnet)
	if strings.HasPrefix(line, "metaim devnet ") && !listenFlag.MatchString(line) {
		if _, up := staysUp(line); up {
			line += " --listen 127.0.0.1:0"
		}
	}
	if postgresText.MatchString(line) {
		if d.postgres == "" {
			d.postgres = testpg.URL(d.t)
		}
		line = postgresText.ReplaceAllLiteralString(line, "'"+d.postgres+"'")
	}
	return line
}

// runUntilSaid runs what stays up, waits until it says that it is, and interrupts
// it.
func runUntilSaid(t *testing.T, l docLine, cmd *exec.Cmd, says string) {
	t.Helper()
	t.Log(l)
	p := start(t, cmd)
	p.awaitLine(says)
	if err := p.stop(); err != nil {
		t.Errorf("%s\ninterrupted, it ended with %v\n%s", l, err, p.said)
	}
}

// prepareFiles makes the files that the documents' lines read.
func prepareFiles(t *testing.T, dir string) {
	t.Helper()
	decode, err := os.ReadFile(filepath.Join("testdata", "decode.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	_, good, ok := strings.Cut(string(decode), "-- good --\n")
	good, _, _ = strings.Cut(good, "-- ")
	if !ok || good == "" {
		t.Fatal("testdata/decode.txtar has no file called good")
	}
	if err := os.Mkdir(filepath.Join(dir, "blocks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"blocks/blk00000.dat": string(firstBlock(t)),
		"scripts.txt":         good, "photo.png": "\x89PNG\r\n\x1a\n", "hello.txt": "hello\n",
		"key.txt": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// firstBlock returns a block file of mainnet with its genesis block.
func firstBlock(t *testing.T) []byte {
	t.Helper()
	coinbase, err := hex.DecodeString("01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104" +
		"455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220" +
		"62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504" +
		"e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000")
	if err != nil {
		t.Fatal(err)
	}
	params := chainwatch.ParamsOf(frame.Main)
	b := binary.LittleEndian.AppendUint32(nil, params.Magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(chainwatch.HeaderSize+1+len(coinbase)))
	b = append(append(b, params.Genesis[:]...), 1)
	return append(b, coinbase...)
}

// makeTargets returns the targets of the Makefile.
func makeTargets(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):([^=]|$)`).FindAllStringSubmatch(string(text), -1) {
		targets[m[1]] = true
	}
	return targets
}

func checkMake(t *testing.T, l docLine, line string, targets map[string]bool) {
	t.Helper()
	for _, word := range strings.Fields(line)[1:] {
		if strings.HasPrefix(word, "#") {
			return
		}
		if !strings.Contains(word, "=") && !targets[word] {
			t.Errorf("%s\nthe Makefile has no target %q", l, word)
		}
	}
}
