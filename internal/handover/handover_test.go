//go:build unix

package handover

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// role is what this program does when a test has started it again.
const role = "METAIM_TEST_HEIR"

func TestMain(m *testing.M) {
	if as, ok := os.LookupEnv(role); ok {
		if err := heirs[as](); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var heirs = map[string]func() error{
	"good":   func() error { return inheritAndServe(nil) },
	"faulty": func() error { return inheritAndServe(errors.New("no database")) },
	"ends":   func() error { return nil },
	"silent": func() error { time.Sleep(time.Hour); return nil },
	"babbles": func() error {
		return speak("I am ready when you are")
	},
	"babbles for ever": func() error {
		return speak(strings.Repeat("x", 1<<20))
	},
	"stops amid a word": func() error {
		_, elder, err := Inherit()
		if err == nil {
			_, err = io.WriteString(elder.line.conn, "rea")
		}
		return err
	},
	"falls silent": func() error {
		_, elder, err := Inherit()
		if err != nil {
			return err
		}
		return elder.TakeOver(context.Background(), func(context.Context) error { time.Sleep(time.Hour); return nil })
	},
}

func speak(word string) error {
	_, elder, err := Inherit()
	if err != nil {
		return err
	}
	_ = elder.line.say(word) // nobody may listen to its end
	time.Sleep(time.Hour)
	return nil
}

// inheritAndServe takes over and says hello to one who comes.
func inheritAndServe(fault error) error {
	doors, elder, err := Inherit()
	if err != nil {
		return err
	}
	if os.Getenv(variable) != "" {
		return errors.New("what is inherited is passed on to children")
	}
	door, err := doors.Listen(context.Background(), "http", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := elder.TakeOver(context.Background(), func(context.Context) error { return fault }); err != nil {
		return err
	}
	return greet(door, "young")
}

func greet(l net.Listener, as string) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, as)
	return errors.Join(err, conn.Close())
}

func TestHandOver(t *testing.T) {
	for _, test := range []struct {
		name    string
		command string // "": this program
		calls   string
		err     string // in the sentence; "": it works
	}{
		{"good", "", "release", ""},
		{"ends", "", "", `ended before it was ready`},
		{"silent", "", "", `didn't say "ready" within 300ms`},
		{"babbles", "", "", `says "I am ready when you are", not "ready"`},
		{"babbles for ever", "", "", `the new process`},
		{"stops amid a word", "", "", `the new process`},
		{"faulty", "", "release resume", `ended before it was taken`},
		{"falls silent", "", "release resume", `didn't say "taken" within 300ms`},
		{"no such program", "/nowhere/metaim", "", "start the new process: /nowhere/metaim: no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(role, test.name)
			doors := &Doors{}
			door, err := doors.Listen(t.Context(), "http", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer door.Close()
			var calls []string
			command := test.command
			if command == "" {
				command = os.Args[0]
			}
			plan := Plan{Command: []string{command}, Ready: 300 * time.Millisecond, Taken: 300 * time.Millisecond,
				Release: func(context.Context) error { calls = append(calls, "release"); return nil },
				Resume:  func() { calls = append(calls, "resume") }}
			if !strings.Contains(test.err, "300ms") {
				plan.Ready, plan.Taken = time.Minute, time.Minute
			} else if test.calls != "" {
				plan.Ready = time.Minute // it isn't that which lasts
			}
			pid, err := doors.HandOver(t.Context(), plan)
			if got := strings.Join(calls, " "); got != test.calls {
				t.Errorf("called %q, want %q", got, test.calls)
			}
			if test.err == "" {
				if err != nil || pid == 0 {
					t.Fatalf("got process %d, %v", pid, err)
				}
				doors.Leave()
				checkGreeting(t, door, "young")
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			greeted := make(chan error, 1)
			go func() { greeted <- greet(door, "old") }()
			checkGreeting(t, door, "old")
			if err := <-greeted; err != nil {
				t.Error(err)
			}
		})
	}
}

// checkGreeting asks who is behind a door.
func checkGreeting(t *testing.T, door *Door, want string) {
	t.Helper()
	conn, err := net.Dial("tcp", door.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != want {
		t.Errorf("greeted by %q (%v), want %q", got, err, want)
	}
}

// TestElderDies: when the old process dies, the new one takes over all the same.
func TestElderDies(t *testing.T) {
	for _, test := range []struct {
		name string
		say  string // before it dies
		want error
	}{
		{"before it lets go", "", nil},
		{"after it has let go", sayReleased, nil},
		{"saying what it shouldn't", "what?", os.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				_ = newLine(theirs).await(context.Background(), sayReady)
				if test.say != "" {
					_ = newLine(theirs).say(test.say)
				}
				_ = theirs.Close()
			}()
			took := false
			err := (&Elder{newLine(ours)}).TakeOver(t.Context(), func(context.Context) error { took = true; return nil })
			if (err == nil) != (test.want == nil) || took != (test.want == nil) {
				t.Errorf("got %v, taken over: %t; want an error: %t", err, took, test.want != nil)
			}
		})
	}
}

// TestLeftDoor: who waits at a door that is left goes on to wait until it is
// closed, and closing it again does no harm.
func TestLeftDoor(t *testing.T) {
	doors := &Doors{}
	door, err := doors.Listen(t.Context(), "http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := door.Accept()
		accepted <- err
	}()
	doors.Leave()
	doors.Leave()
	select {
	case err := <-accepted:
		t.Fatalf("Accept returned with %v when the door was left", err)
	case <-time.After(20 * time.Millisecond): // sooner or later, it mustn't
	}
	if err := errors.Join(door.Close(), door.Close()); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		name, text string
		ok         bool
	}{
		{"none", `[]`, true},
		{"two", `["http :80","metrics :81"]`, true},
		{"no list", `http`, false},
		{"another kind", `{"http":3}`, false},
		{"too long", `["` + strings.Repeat("x", mostLine) + `"]`, false},
	} {
		if _, err := names(test.text); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want it read: %t", test.name, err, test.ok)
		}
	}
}
