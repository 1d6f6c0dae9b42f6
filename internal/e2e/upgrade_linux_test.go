package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/internal/testpg"
)

// A dynasty is a server that is replaced by another, and that by a third: each
// is started by the one before, on the same socket and store.
type dynasty struct {
	*server
	path string // of the program that is started next
	log  string // file that all write to
	pid  int    // of the one that serves now
	past []int  // of those that have handed over
	list string // file of all ids, for the watchman
}

// watchman ends all whose ids are in a file when its standard input ends, which is
// when the test process does, however it does: servers that others started outlive
// the test otherwise.
const watchman = `cat >/dev/null; while read -r pid; do kill -9 "$pid" 2>/dev/null; done <"$1"; true`

// found starts the first of a line of servers.
func found(t *testing.T, store string, follow ...string) *dynasty {
	t.Helper()
	dir := t.TempDir()
	d := newDynasty(t, dir, store, follow)
	d.install(plainProgram(t)) // under the race detector a process takes seconds to begin
	d.begin(append([]string{"--metrics", "127.0.0.1:0"}, follow...)...)
	t.Cleanup(d.end)
	return d
}

// newDynasty makes a line of servers without a first one, which keeps its files in a
// folder.
func newDynasty(t *testing.T, dir, store string, follow []string) *dynasty {
	t.Helper()
	// Whose parent has ended becomes our child, so that we learn how it ends.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	d := &dynasty{server: &server{t: t, follow: follow, store: store}, path: filepath.Join(dir, "metaim"), log: filepath.Join(dir, "log"), list: filepath.Join(dir, "pids")}
	d.watch()
	return d
}

// begin starts the first of a line, which has none now.
func (d *dynasty) begin(args ...string) {
	d.t.Helper()
	log, err := os.Create(d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.past = nil
	cmd := exec.Command(d.path, append([]string{"serve", "--network", "regtest", "--store", d.store, "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment(), log, log // no pipe: those who come later write on
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.note(cmd.Process.Pid)
	d.url = d.awaitSaid(`(?m)^metaim: serving regtest on (http://127\.0\.0\.1:\d+)$`, 1)
	if d.client, err = client.New(d.url); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dynasty) watch() {
	d.t.Helper()
	cmd := exec.Command("sh", "-c", watchman, "watchman", d.list)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = errors.Join(os.WriteFile(d.list, nil, 0o600), cmd.Start())
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			d.t.Errorf("the watchman: %v", err)
		}
	})
}

// note keeps who serves now.
func (d *dynasty) note(pid int) {
	d.t.Helper()
	d.pid = pid
	f, err := os.OpenFile(d.list, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(f, pid)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// install puts a program where the next is started from, as an upgrade does: by
// renaming.
func (d *dynasty) install(from string) {
	d.t.Helper()
	program, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(d.path+".new", program, 0o700)
	}
	if err == nil {
		err = os.Rename(d.path+".new", d.path)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *dynasty) said() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// awaitSaid waits until a pattern has been said so many times and returns the
// first group of the last.
func (d *dynasty) awaitSaid(pattern string, times int) (group string) {
	d.t.Helper()
	re := regexp.MustCompile(pattern)
	await(d.t, func() string {
		all := re.FindAllStringSubmatch(d.said(), -1)
		if len(all) < times {
			return fmt.Sprintf("%q is said %d times; it is said %d times", pattern, times, len(all))
		}
		last := all[times-1]
		group = last[len(last)-1]
		return ""
	})
	return group
}

// succeed has the server replaced, and returns when another has taken over.
func (d *dynasty) succeed() {
	d.t.Helper()
	if err := syscall.Kill(d.pid, syscall.SIGHUP); err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(d.awaitSaid(`a new process has taken over" process=(\d+)`, len(d.past)+1))
	if err != nil {
		d.t.Fatal(err)
	}
	d.past = append(d.past, d.pid)
	d.note(pid)
	d.awaitSaid(`(?m)^metaim: serving regtest on `, len(d.past)+1)
}

// refuse has the server replaced by what can't replace it.
func (d *dynasty) refuse(times int) {
	d.t.Helper()
	if err := syscall.Kill(d.pid, syscall.SIGHUP); err != nil {
		d.t.Fatal(err)
	}
	d.awaitSaid("this one goes on as before", times)
}

// awaitEnd waits until a server has ended, with status 0.
func (d *dynasty) awaitEnd(pid int) {
	d.t.Helper()
	await(d.t, func() string {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD) && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH):
			// It ended before the one that started it, which has waited for it.
		case errors.Is(err, syscall.ECHILD):
			return fmt.Sprintf("process %d, whose parent still sees people off, ends", pid)
		case err != nil:
			d.t.Fatalf("wait for process %d: %v", pid, err)
		case got == 0:
			return fmt.Sprintf("process %d, which has handed over, ends", pid)
		case !status.Exited() || status.ExitStatus() != 0:
			d.t.Errorf("process %d ended with status %v", pid, status)
		}
		return ""
	})
}

func (d *dynasty) end() {
	if err := syscall.Kill(d.pid, syscall.SIGTERM); err != nil {
		d.t.Errorf("end the last server: %v", err)
	} else {
		d.awaitEnd(d.pid)
	}
	said := d.said()
	if strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic:") || strings.Contains(said, "fatal error:") {
		d.t.Error("a server panicked or has a data race")
	}
	if d.t.Failed() {
		d.t.Logf("the servers said:\n%s", tail(said, 20_000))
	}
}

// A logReader checks that the log of events is told without a gap and without a
// repetition.
type logReader struct {
	last atomic.Int64 // seq of the last event
	lost atomic.Int64 // connections
	done chan struct{}
}

// readLog reads the whole log and everything that comes, over WebSocket or as
// server-sent events.
func readLog(t *testing.T, url string, socket bool) *logReader {
	t.Helper()
	c, err := client.New(url)
	if err != nil {
		t.Fatal(err)
	}
	r := &logReader{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	options := client.SubscribeOptions{From: "start", MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
		Lost: func(error, time.Duration) { r.lost.Add(1) }}
	events := c.Follow(ctx, nil, options)
	if socket {
		events = c.Subscribe(ctx, []client.Filter{{State: []string{"seen", "confirmed", "refused"}}, {Blocks: true}}, options)
	}
	go func() {
		defer close(r.done)
		for e, err := range events {
			if err != nil {
				t.Errorf("the subscription (WebSocket: %t) ended: %v", socket, err)
				return
			}
			seq, err := seqOf(e.Cursor)
			if want := r.last.Load() + 1; err != nil || seq != want {
				t.Errorf("told event %d (%v, WebSocket: %t), want %d", seq, err, socket, want)
				return
			}
			r.last.Store(seq)
		}
	}()
	return r
}

// seqOf knows what cursors are made of, which is nobody else's business.
func seqOf(cursor string) (int64, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, err
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(string(b), "e"), ":")
	return strconv.ParseInt(number, 10, 64)
}

// A customer asks a server over HTTP and counts what it must not be answered.
type customer struct {
	t       *testing.T
	web     http.Client
	asked   atomic.Int64
	delayed atomic.Int64 // 503 with Retry-After
}

// ask asks until there is an answer that isn't "later".
func (c *customer) ask(method, url string, body []byte) {
	for !c.t.Failed() {
		c.asked.Add(1)
		status, again, err := c.once(method, url, body)
		switch {
		case err != nil:
			c.t.Errorf("%s: %v", method, err)
		case status == http.StatusServiceUnavailable && again != "":
			c.delayed.Add(1)
			time.Sleep(20 * time.Millisecond)
			continue
		case status >= 300:
			c.t.Errorf("%s %s: status %d", method, url, status)
		}
		return
	}
}

func (c *customer) once(method, url string, body []byte) (status int, again string, err error) {
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header["X-Idempotency-Key"] = nil // net/http asks again when a connection ends under it, as our client does
	resp, err := c.web.Do(r)
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), errors.Join(err, resp.Body.Close())
}

// TestUpgradeUnderLoad: a server is replaced by new processes while messages are
// submitted to it, pages asked for and subscriptions held; then by programs that
// can't replace it. Nobody notices.
func TestUpgradeUnderLoad(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		upgradeUnderLoad(t, "sqlite:"+filepath.Join(t.TempDir(), "index.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		upgradeUnderLoad(t, testpg.URL(t))
	})
}

func upgradeUnderLoad(t *testing.T, store string) {
	upgrades := rounds(3, 50)
	node := testnode.Start(t)
	d := found(t, store, following(node)...)
	bob := newAuthor(t)
	var authors []*author
	for range senders {
		a := newAuthor(t)
		a.fund(node)
		authors = append(authors, a)
	}
	testnode.Mine(t, node, 1)
	d.awaitTip(node)
	readers := []*logReader{readLog(t, d.url, true), readLog(t, d.url, true), readLog(t, d.url, false), readLog(t, d.url, false)}
	u := subscribe(t, d.server, client.Filter{Address: []string{bob.address()}})
	stopMining := mineAlong(t, node, 500*time.Millisecond)
	load := startLoad(t, d, authors, bob)

	for i := range upgrades {
		lost := u.connectionsLost()
		d.succeed()
		if i%2 == 1 {
			continue // the next comes while the one before still sees people off
		}
		await(t, func() string {
			if u.connectionsLost() > lost {
				return ""
			}
			return "the subscriber is asked to come again"
		})
		heard := len(u.all())
		await(t, func() string {
			if len(u.all()) > heard {
				return ""
			}
			return "messages reach the subscriber through the new server"
		})
	}
	for i, script := range []string{
		"#!/bin/sh\nexit 1\n", // ends at once
		"no program",          // can't be started
		"#!/bin/sh\necho ready >&3\nread x <&3\n",  // dies when it is its turn
		"#!/bin/sh\necho nonsense >&3\nread x <&3", // says what it shouldn't
	} {
		broken := filepath.Join(t.TempDir(), "broken")
		if err := os.WriteFile(broken, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		d.install(broken)
		d.refuse(i + 1)
	}
	d.awaitSaid("this process writes the index again", 1)
	d.install(plainProgram(t))
	d.succeed()

	texts := load.stop()
	stopMining()
	d.awaitMined(node)
	info := d.awaitTip(node)
	for _, pid := range d.past {
		d.awaitEnd(pid)
	}
	u.awaitCount("message.confirmed", len(texts))
	u.checkEach("message.confirmed", texts)
	last, err := seqOf(info.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	lost := int64(0)
	for i, r := range readers {
		await(t, func() string {
			if got := r.last.Load(); got < last {
				return fmt.Sprintf("reader %d is told up to %d; it is at %d", i, last, got)
			}
			return ""
		})
		lost += r.lost.Load()
	}
	if lost < int64(upgrades) {
		t.Errorf("%d upgrades cost the readers %d connections: did the servers end?", upgrades, lost)
	}
	t.Logf("%d upgrades, %d messages, %d requests (%d answered with 503 and Retry-After), %d events to each of %d readers, %d connections lost and made again",
		upgrades+1, len(texts), load.asked(), load.delayed(), last, len(readers), lost)
	d.checkFresh(node)
}

// checkEach compares the texts of messages with what was sent by several: each
// once, in any order.
func (u *subscriber) checkEach(kind string, want []string) {
	u.t.Helper()
	count := map[string]int{}
	for _, e := range u.all() {
		if e.Message != nil && e.Kind == kind {
			count[string(e.Message.Body)]++
		}
	}
	for _, text := range want {
		if count[text] != 1 {
			u.t.Errorf("%q is told %d times as %s, want once", text, count[text], kind)
		}
	}
	if len(count) != len(want) {
		u.t.Errorf("%d messages are told as %s, want %d", len(count), kind, len(want))
	}
}

func (u *subscriber) connectionsLost() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lost
}

// A load is what customers do to a server.
type load struct {
	end       context.CancelFunc
	running   sync.WaitGroup
	customers []*customer
	mu        sync.Mutex
	texts     []string // of the messages that were taken
}

// senders is how many send at the same time.
const senders = 8

// startLoad submits 100 messages a second and asks for pages, over connections
// that are kept and over new ones.
func startLoad(t *testing.T, d *dynasty, from []*author, to *author) *load {
	ctx, end := context.WithCancel(context.Background())
	l := &load{end: end}
	customer := func(fresh bool) *customer {
		c := &customer{t: t, web: http.Client{Transport: &http.Transport{DisableKeepAlives: fresh}, Timeout: patience}}
		l.customers = append(l.customers, c)
		return c
	}
	for i, a := range from {
		c, n := customer(i%4 == 3), 0
		l.every(ctx, time.Duration(len(from))*time.Second/100, func() {
			n++
			text := fmt.Sprintf("message %d of author %d", n, i+1)
			c.ask(http.MethodPost, d.url+"/v1/transactions", a.message("", text, to.hash()).raw)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.texts = append(l.texts, text)
		})
	}
	for _, fresh := range []bool{true, false} {
		c := customer(fresh)
		l.every(ctx, 20*time.Millisecond, func() { c.ask(http.MethodGet, d.url+"/v1/messages?limit=5", nil) })
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) every(ctx context.Context, pace time.Duration, do func()) {
	l.running.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for ctx.Err() == nil {
			do()
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
}

func (l *load) stop() []string {
	l.end()
	l.running.Wait()
	return l.texts
}

func (l *load) asked() (n int64) {
	for _, c := range l.customers {
		n += c.asked.Load()
	}
	return n
}

func (l *load) delayed() (n int64) {
	for _, c := range l.customers {
		n += c.delayed.Load()
	}
	return n
}
