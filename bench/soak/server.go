package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A server is metaim serve as a child.
type server struct {
	cmd     *exec.Cmd
	url     string
	metrics string // URL
	log     string // file of what it says
	ended   chan error
}

const startTime = time.Minute // for a child to be there

// serve starts the server beside a node.
func (s *soak) serve(ctx context.Context, node string) (*server, error) {
	if s.program == "" {
		s.program = filepath.Join(s.dir, "metaim")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.program, "./cmd/metaim").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build metaim: %w\n%s", err, out)
		}
	}
	v := &server{log: filepath.Join(s.dir, "server.log"), ended: make(chan error, 1)}
	log, err := os.Create(v.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	v.cmd = exec.Command(s.program, "serve", "--network", "regtest", "--devnet-dir", node, "--store", s.store, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	v.cmd.Stdout, v.cmd.Stderr = log, log
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { v.ended <- v.cmd.Wait() }()
	for until := time.Now().Add(startTime); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		said, err := os.ReadFile(v.log)
		if err != nil {
			return v, err
		}
		url := regexp.MustCompile(`serving regtest on (http://\S+)`).FindSubmatch(said)
		metrics := regexp.MustCompile(`metrics are served" url=(http://\S+)`).FindSubmatch(said)
		if url != nil && metrics != nil {
			v.url, v.metrics = string(url[1]), string(metrics[1])
			return v, nil
		}
	}
	said, _ := os.ReadFile(v.log)
	return v, fmt.Errorf("the server doesn't serve; it says:\n%s", said)
}

// stop asks the server to end and says how it did.
func (v *server) stop() error {
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-v.ended:
		return err
	case <-time.After(startTime):
		return fmt.Errorf("the server doesn't end: %w", v.cmd.Process.Kill())
	}
}

// look samples the server.
func (v *server) look(ctx context.Context, since time.Time) (s sample, err error) {
	s.at = time.Since(since).Seconds()
	pid := v.cmd.Process.Pid
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return s, err
	}
	fields := strings.Fields(string(status))
	if len(fields) < 2 {
		return s, fmt.Errorf("statm says %q", status)
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return s, err
	}
	s.rss = pages * float64(os.Getpagesize())
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return s, err
	}
	s.descriptors = float64(len(open))
	values, err := scrape(ctx, v.metrics)
	if err != nil {
		return s, err
	}
	for name, to := range map[string]*float64{"go_goroutines": &s.goroutines, queueMetric: &s.queue} {
		value, ok := values[name]
		if !ok {
			return s, fmt.Errorf("the server has no metric %s", name)
		}
		*to = value
	}
	return s, nil
}

// cpu returns the seconds of CPU that the server has used.
func (v *server) cpu() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from the third of proc(5) on
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat says %q", text)
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(err1, err2)
}

// ticksPerSecond is what Linux counts CPU time in for programs, on all machines.
const ticksPerSecond = 100

// queueMetric is the one of what waits for subscribers.
const queueMetric = "metaim_queue_bytes"

// scrape reads the metrics without labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	values := map[string]float64{}
	in := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20))
	for in.Scan() {
		name, text, ok := strings.Cut(in.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); ok && err == nil && !strings.HasPrefix(name, "#") {
			values[name] = value
		}
	}
	return values, in.Err()
}
