package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/nprotocol"
)

// patience is how long anything may take that must happen in the end.
const patience = 30 * time.Second

// await asks again and again until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %s", patience, what)
		}
	}
}

// cutOff ends the writer's connection on the server, and waits until it is gone.
func cutOff(t *testing.T, url string) {
	t.Helper()
	const writers = `pg_stat_activity WHERE application_name LIKE 'metaim, process%' AND datname = current_database()`
	testpg.Exec(t, url, `SELECT pg_terminate_backend(pid) FROM `+writers)
	await(t, "the connection is gone", func() bool { return ask(t, url, `SELECT count(*)::text FROM `+writers) == "0" })
}

func TestConnectionLost(t *testing.T) {
	for _, c := range []struct {
		name  string
		lose  func(t *testing.T, url string)
		write func(t *testing.T, url string, tx index.Tx)
		want  error
		names string // after the Update
	}{
		{"before", cutOff, nil, nil, "before lost"},
		{"while writing", nil, func(t *testing.T, url string, _ index.Tx) { cutOff(t, url) }, ErrUnavailable, "before"},
		{"while writing, and it is tried again", nil, func(t *testing.T, url string, tx index.Tx) {
			cutOff(t, url)
			if _, err := tx.LastSeq(); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a question: got %v, want ErrUnavailable", err)
			}
		}, ErrUnavailable, "before"},
		{"another has written meanwhile", func(t *testing.T, url string) {
			cutOff(t, url)
			other := openAt(t, url)
			putName(t, other, "another's")
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
		}, nil, ErrFenced, "another's before"},
		{"the fence was raised behind our back", func(t *testing.T, url string) {
			testpg.Exec(t, url, `UPDATE writer SET fence = fence + 1`)
		}, nil, ErrFenced, "before"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := testpg.URL(t)
			s := openAt(t, url)
			defer s.Close()
			putName(t, s, "before")
			if c.lose != nil {
				c.lose(t, url)
			}
			calls := 0
			err := s.Update(t.Context(), func(tx index.Tx) error {
				calls++
				if err := tx.PutNames([]*nprotocol.Name{{Name: "lost"}}); err != nil {
					return err
				}
				if c.write != nil {
					c.write(t, url, tx)
				}
				return nil
			})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if want := map[bool]int{true: 0, false: 1}[errors.Is(c.want, ErrFenced)]; calls != want {
				t.Errorf("the function was called %d times, want %d", calls, want)
			}
			if got := names(t, s); got != c.names {
				t.Errorf("got %q, want %q", got, c.names)
			}
			putName(t, s, "later")
			if got, want := names(t, s), strings.Replace(c.names+" later", "before lost later", "before later lost", 1); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTakenOver(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	defer s.Close()
	cutOff(t, url)
	other := openAt(t, url)
	defer other.Close()
	if err := tryName(s, "ours"); !errors.Is(err, ErrLocked) {
		t.Errorf("while another writes: got %v, want ErrLocked", err)
	}
	putName(t, other, "theirs")
	if got := names(t, s); got != "theirs" {
		t.Errorf("got %q, want theirs", got)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tryName(s, "ours"); !errors.Is(err, ErrFenced) {
		t.Errorf("after another wrote: got %v, want ErrFenced", err)
	}
	putName(t, s, "ours")
	if got := names(t, s); got != "ours theirs" {
		t.Errorf("got %q, want ours theirs", got)
	}
}

// What an Update of a writer that was taken over has under way, and who takes
// over: one waits for the other.
func TestFenceHoldsDuringUpdate(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	defer s.Close()
	raised := make(chan struct{})
	err := s.Update(t.Context(), func(tx index.Tx) error {
		go func() {
			defer close(raised)
			testpg.Exec(t, url, `UPDATE writer SET fence = fence + 1`)
		}()
		await(t, "the other waits for the fence", func() bool {
			return ask(t, url, `SELECT count(*)::text FROM pg_locks WHERE NOT granted AND database IS NULL`) == "1"
		})
		return tx.PutNames([]*nprotocol.Name{{Name: "in time"}})
	})
	if err != nil {
		t.Error(err)
	}
	<-raised
	if err := tryName(s, "late"); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if got := names(t, s); got != "in time" {
		t.Errorf("got %q, want in time", got)
	}
}

func TestServerStopped(t *testing.T) {
	for _, immediate := range []bool{false, true} {
		t.Run(fmt.Sprint("immediate ", immediate), func(t *testing.T) {
			server := testpg.Start(t, testpg.Durable())
			url := server.URL(t)
			s := openAt(t, url)
			defer s.Close()
			wakes, err := s.Listen(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			height := int32(0)
			block := func() error {
				err := s.Update(context.Background(), func(tx index.Tx) error { return indextest.Connect(tx, height, indextest.Batch(height, 5)) })
				if err == nil {
					height++
				}
				return err
			}
			for range 20 {
				if err := block(); err != nil {
					t.Fatal(err)
				}
			}
			server.Stop(t, immediate)
			for what, err := range map[string]error{"update": block(), "view": s.View(t.Context(), func(index.View) error { return nil })} {
				if !errors.Is(err, ErrUnavailable) || strings.Contains(fmt.Sprint(err), "metaim-pg") {
					t.Errorf("%s: got %v, want ErrUnavailable without its place", what, err)
				}
			}
			for len(wakes) > 0 {
				<-wakes
			}
			server.Start(t)
			select {
			case <-wakes:
			case <-time.After(patience):
				t.Error("nobody woke after the server came back")
			}
			whole(t, s, height)
			if err := block(); err != nil {
				t.Errorf("an update after the server came back: %v", err)
			}
			whole(t, s, height)
		})
	}
}

// whole checks that blocks below a height are there with all that is theirs, and
// nothing else.
func whole(t *testing.T, s *Store, height int32) {
	t.Helper()
	err := s.View(t.Context(), func(v index.View) error {
		tip, err := v.Tip()
		if err != nil {
			return err
		}
		counts, err := v.Counts()
		if err != nil {
			return err
		}
		seq, err := v.LastSeq()
		if n := int64(height); tip.Height != height-1 || counts[frame.Valid] != 5*n || seq != 6*n {
			t.Errorf("got tip %d, %d frames, %d events, want %d, %d, %d", tip.Height, counts[frame.Valid], seq, height-1, 5*n, 6*n)
		}
		return err
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
}

// A proxy stands between a store and the server, and can cut the line.
type proxy struct {
	folder   string
	listener net.Listener
	server   string
	// cut ends the next connection on which something goes that way.
	cutAsk, cutAnswer atomic.Bool
	running           sync.WaitGroup
}

func newProxy(t *testing.T, url string) (*proxy, string) {
	t.Helper()
	const socket = ".s.PGSQL.5432"
	folder := t.TempDir()
	_, rest, _ := strings.Cut(url, "host=")
	host, _, _ := strings.Cut(rest, "&")
	l, err := net.Listen("unix", filepath.Join(folder, socket))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{folder: folder, listener: l, server: filepath.Join(strings.ReplaceAll(host, "%2F", "/"), socket)}
	p.running.Go(p.serve)
	t.Cleanup(func() { l.Close(); p.running.Wait() })
	return p, strings.Replace(url, "host="+host, "host="+strings.ReplaceAll(folder, "/", "%2F"), 1)
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.running.Go(func() { pass(server, client, &p.cutAsk); client.Close(); server.Close() })
		p.running.Go(func() { pass(client, server, &p.cutAnswer); client.Close(); server.Close() })
	}
}

// pass copies until either end is closed or the line is cut.
func pass(to io.Writer, from io.Reader, cut *atomic.Bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil || cut.CompareAndSwap(true, false) {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// A commit whose answer is lost is found out about.
func TestLostDuringCommit(t *testing.T) {
	for _, c := range []struct {
		name  string
		cut   func(p *proxy)
		want  error
		names string
	}{
		{"it never arrived", func(p *proxy) { p.cutAsk.Store(true) }, ErrUnavailable, "before"},
		{"its answer was lost", func(p *proxy) { p.cutAnswer.Store(true) }, nil, "before during"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, url := newProxy(t, testpg.URL(t))
			s := openAt(t, url)
			defer s.Close()
			putName(t, s, "before")
			err := s.Update(t.Context(), func(tx index.Tx) error {
				defer c.cut(p)
				return tx.PutNames([]*nprotocol.Name{{Name: "during"}})
			})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if got := names(t, s); got != c.names {
				t.Errorf("got %q, want %q", got, c.names)
			}
			putName(t, s, "zlater")
			if got := names(t, s); got != c.names+" zlater" {
				t.Errorf("got %q, want %q and zlater", got, c.names)
			}
		})
	}
}

func TestListen(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	reader, err := Open(t.Context(), url, Config{Network: frame.Regtest, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithCancel(t.Context())
	theirs, err := reader.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	woken := func(what string, wakes <-chan struct{}, open bool) {
		t.Helper()
		select {
		case _, ok := <-wakes:
			if ok != open {
				t.Errorf("%s: got an open channel %v, want %v", what, ok, open)
			}
		case <-time.After(patience):
			t.Errorf("%s: nobody woke", what)
		}
	}
	for range 3 {
		err := s.Update(t.Context(), func(tx index.Tx) error {
			return tx.AppendEvents([]*index.Event{{Kind: index.EventConnected, Height: 0, Block: frame.Hash{1}}})
		})
		if err != nil {
			t.Fatal(err)
		}
		woken("another process", theirs, true)
		woken("this process", ours, true)
	}
	putName(t, s, "no event")
	const listeners = `pg_stat_activity WHERE query = 'LISTEN metaim' AND datname = current_database()`
	testpg.Exec(t, url, `SELECT pg_terminate_backend(pid) FROM `+listeners)
	woken("after the connection was lost", theirs, true)
	cancel()
	woken("after its context ended", theirs, false)
	woken("after the connection was lost", ours, true)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	woken("after the store was closed", ours, false)
	if _, err := s.Listen(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// A disk that is full, as the server tells of it: the Update fails with what the
// server says, leaves nothing, and the next one works.
func TestRefusedByServer(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	defer s.Close()
	testpg.Exec(t, url, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100', DETAIL = 'a row'; END $$`,
		`CREATE TRIGGER full_disk BEFORE INSERT ON peers EXECUTE FUNCTION full_disk()`)
	err := s.Update(t.Context(), func(tx index.Tx) error {
		if err := tx.PutNames([]*nprotocol.Name{{Name: "before"}}); err != nil {
			return err
		}
		return tx.PutPeers([]*nprotocol.Peer{{}})
	})
	if err == nil || !strings.Contains(err.Error(), "No space left on device (SQLSTATE 53100)") || strings.Contains(err.Error(), "a row") {
		t.Errorf("got %v, want what the server says without its detail", err)
	}
	putName(t, s, "after")
	if got := names(t, s); got != "after" {
		t.Errorf("got %q, want after", got)
	}
}
