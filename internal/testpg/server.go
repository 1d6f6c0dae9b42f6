package testpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Server is a PostgreSQL server with its own data, in a folder that ends with
// it. One goroutine uses it.
type Server struct {
	durable  bool
	settings []string // arguments for the server
	bin      string   // folder of the programs
	home     string   // folder of the data, the socket and the log
	leash    io.Closer
	over     chan struct{} // closed when the server has ended
}

// watched runs the server and ends it when the standard input ends, which is
// when the test process does, however it does. Then the folder goes too.
const watched = `
home=$1; shift
exec 3<&0
"$@" 3<&- &
server=$!
{ cat <&3 >/dev/null; : >"$home/abandoned"; kill -QUIT $server; } &
watch=$!
wait $server
kill $watch 2>/dev/null
if [ -e "$home/abandoned" ]; then rm -rf "$home"; fi
`

func (s *Server) create() (err error) {
	if s.bin, err = find(); err != nil {
		return err
	}
	if s.home, err = os.MkdirTemp("", "metaim-pg-"); err != nil {
		return err
	}
	if err := giveAway(s.home); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", superuser, "-A", "trust", "-E", "UTF8",
		"--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir = s.home
	if err := drop(cmd); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(s.home))
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.home, "data") }

func (s *Server) arguments() []string {
	args := []string{"-c", watched, "sh", s.home, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.home,
		"-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=100", "-c", "timezone=UTC"}
	if !s.durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return append(args, s.settings...) // the last of two says
}

// launch starts the server and waits until it answers.
func (s *Server) launch() error {
	log, err := os.OpenFile(filepath.Join(s.home, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the server has its own
	cmd := exec.Command("sh", s.arguments()...)
	cmd.Dir = s.home
	// Not the test's own: "go test" waits until those are closed.
	cmd.Stdout, cmd.Stderr = log, log
	if err := drop(cmd); err != nil {
		return err
	}
	end, leash, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin = end
	err = cmd.Start()
	end.Close() // the server has its own
	if err != nil {
		return errors.Join(err, leash.Close())
	}
	s.leash = leash
	over := make(chan struct{})
	s.over = over
	go func() {
		defer close(over)
		_ = cmd.Wait() // how it ended, its log says
	}()
	return s.await()
}

func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.over:
			return fmt.Errorf("PostgreSQL has ended; its last words:\n%s", s.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL doesn't answer: %w; its last words:\n%s", err, s.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) lastWords() []byte {
	const enough = 4_000
	log, err := os.ReadFile(filepath.Join(s.home, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return log[max(0, len(log)-enough):]
}

// Start starts a server that was stopped.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.launch(); err != nil {
		t.Fatal(err)
	}
}

// Stop stops the server: in order, with its connections ended, or at once, as if
// the power had failed.
func (s *Server) Stop(t testing.TB, immediate bool) {
	t.Helper()
	if err := s.stop(immediate); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) stop(immediate bool) error {
	mode := "fast"
	if immediate {
		mode = "immediate"
	}
	cmd := exec.Command(filepath.Join(s.bin, "pg_ctl"), "-D", s.data(), "-m", mode, "-w", "stop")
	cmd.Dir = s.home
	if err := drop(cmd); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_ctl stop: %w\n%s%s", err, bytes.TrimSpace(out), s.lastWords())
	}
	select {
	case <-s.over:
		return s.leash.Close()
	case <-time.After(patience):
		return errors.New("PostgreSQL doesn't end")
	}
}

func (s *Server) running() bool {
	if s.over == nil {
		return false
	}
	select {
	case <-s.over:
		return false
	default:
		return true
	}
}

func (s *Server) remove() error {
	var err error
	if s.running() {
		err = s.stop(true)
	}
	return errors.Join(err, os.RemoveAll(s.home))
}
