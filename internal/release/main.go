// Command release builds what people download: for each system an archive with the
// program, its manual pages, completions and papers, a bill of materials beside
// it, and the digests of all.
//
//	go run ./internal/release -version 1.2.3 -out dist
//
// The same source, built by the same version of Go, gives the same bytes: no path,
// user or time of day is in them. The times in archives are SOURCE_DATE_EPOCH, or
// that of the commit.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is a system that programs are built for.
type target struct{ system, machine string }

var targets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

func (t target) String() string { return t.system + "-" + t.machine }

// program is the name of the program's file.
func (t target) program() string {
	if t.system == "windows" {
		return "metaim.exe"
	}
	return "metaim"
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := release{targets: targets}
	flag.StringVar(&r.version, "version", "", "version, such as 1.2.3")
	flag.StringVar(&r.out, "out", "dist", "folder for the result; it must be empty or not there")
	flag.StringVar(&r.root, "root", ".", "folder of the module")
	only := flag.String("only", "", "build for one system, such as linux-amd64")
	flag.Parse()
	if *only != "" {
		r.targets = slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return t.String() != *only })
	}
	if err := r.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// A release is what is built at once.
type release struct {
	version   string
	root, out string
	targets   []target
	stamp     time.Time // of everything in archives
	environ   []string  // beside ours, for go
}

var versions = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func (r *release) run(ctx context.Context) (err error) {
	if !versions.MatchString(r.version) {
		return fmt.Errorf("version %q is none such as 1.2.3 or 1.2.3-rc.1", r.version)
	}
	if len(r.targets) == 0 {
		return errors.New("there is no such system to build for")
	}
	if left, err := os.ReadDir(r.out); err == nil && len(left) > 0 {
		return fmt.Errorf("folder %s isn't empty", r.out)
	}
	if r.stamp, err = r.time(ctx); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "metaim-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	papers, err := r.papers(ctx, scratch)
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		if err := r.one(ctx, t, scratch, papers); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return sums(r.out)
}

// time returns when the source was made.
func (r *release) time(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := r.command(ctx, "git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("there is no commit: set SOURCE_DATE_EPOCH: %w", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is no time: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func (r *release) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	cmd.Env = append(os.Environ(), r.environ...)
	return cmd
}

// build builds the program.
func (r *release) build(ctx context.Context, t target, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	cmd := r.command(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -buildid= -X main.version="+r.version, "-o", to, "./cmd/metaim")
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOOS="+t.system, "GOARCH="+t.machine)
	cmd.Stdout = os.Stderr
	return cmd.Run()
}

// papers collects what is the same in every archive: papers of the repository,
// manual pages, completions. The program itself writes these.
func (r *release) papers(ctx context.Context, scratch string) (files []file, err error) {
	program := filepath.Join(scratch, "metaim-here")
	here, err := r.command(ctx, "go", "env", "GOHOSTOS", "GOHOSTARCH").Output()
	if err != nil {
		return nil, err
	}
	host := strings.Fields(string(here))
	if len(host) != 2 {
		return nil, fmt.Errorf("go env says %q", here)
	}
	if err := r.build(ctx, target{host[0], host[1]}, program); err != nil {
		return nil, err
	}
	for _, name := range []string{"README.md", "LICENSE", "NOTICE", "CHANGELOG.md"} {
		files = append(files, file{name: name, path: filepath.Join(r.root, name), mode: 0o644})
	}
	pages := filepath.Join(scratch, "man")
	if err := r.command(ctx, program, "man", pages).Run(); err != nil {
		return nil, fmt.Errorf("manual pages: %w", err)
	}
	list, err := os.ReadDir(pages)
	if err != nil {
		return nil, err
	}
	for _, page := range list {
		files = append(files, file{name: "man/man1/" + page.Name(), path: filepath.Join(pages, page.Name()), mode: 0o644})
	}
	for shell, name := range map[string]string{"bash": "metaim.bash", "zsh": "_metaim", "fish": "metaim.fish"} {
		script, err := r.command(ctx, program, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("completion for %s: %w", shell, err)
		}
		path := filepath.Join(scratch, name)
		if err := os.WriteFile(path, script, 0o600); err != nil {
			return nil, err
		}
		files = append(files, file{name: "completions/" + name, path: path, mode: 0o644})
	}
	return files, nil
}

// one makes the archive for a system and the bill of materials beside it.
func (r *release) one(ctx context.Context, t target, scratch string, papers []file) error {
	name := "metaim-" + r.version + "-" + t.String()
	program := filepath.Join(scratch, name, t.program())
	if err := r.build(ctx, t, program); err != nil {
		return err
	}
	bill := filepath.Join(r.out, name+".cdx.json")
	if err := writeBill(bill, program, t, r.version); err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	files := append(slices.Clone(papers), file{name: t.program(), path: program, mode: 0o755}, file{name: "metaim.cdx.json", path: bill, mode: 0o644})
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	if t.system == "windows" {
		return writeZip(filepath.Join(r.out, name+".zip"), name, files, r.stamp)
	}
	return writeTar(filepath.Join(r.out, name+".tar.gz"), name, files, r.stamp)
}

// sums writes SHA256SUMS, as sha256sum --check reads it.
func sums(dir string) error {
	list, err := os.ReadDir(dir) // by name
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, entry := range list {
		digest, err := digestOf(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%x  %s\n", digest, entry.Name())
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(out.String()), 0o644) //nolint:gosec // it is published
}

func digestOf(path string) (digest [sha256.Size]byte, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return digest, err
	}
	return sha256.Sum256(data), nil
}
