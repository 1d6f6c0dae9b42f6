// Package peer is what the peers share: the protocol of bench/measure's Child on
// standard input and output, and publishing at a pace.
//
// A peer says in one line of JSON where it listens, answers each line that it is
// asked with another, and ends with its standard input.
package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A question asks a server to publish, which is all that may be asked of one.
type question struct {
	Messages int    `json:"messages"`
	Bytes    int    `json:"bytes"`             // of a message, at least Least
	Rate     int    `json:"rate"`              // a second; 0: as fast as it goes
	Channel  string `json:"channel,omitempty"` // where there are channels
}

// A published says what was published.
type published struct {
	Published int   `json:"published"`
	Nanos     int64 `json:"nanos"` // from the first to after the last
}

// Least is the size of the smallest message, in bytes: it holds its time.
const Least = 40

// most bounds what one question may ask for.
const (
	mostBytes    = 1 << 20
	mostMessages = 100_000_000
)

func (q question) check() error {
	if q.Bytes < Least || q.Bytes > mostBytes {
		return fmt.Errorf("a message has %d to %d bytes, not %d", Least, mostBytes, q.Bytes)
	}
	if q.Messages < 0 || q.Messages > mostMessages || q.Rate < 0 {
		return fmt.Errorf("%d messages at %d a second can't be published", q.Messages, q.Rate)
	}
	return nil
}

// A Publish hands a message to all who listen to a channel. Sent is when it was
// due, as Now tells it.
type Publish func(channel string, sent int64, size int) error

// Serve serves HTTP on a port of 127.0.0.1 that was free, says so, and answers
// questions by publishing until the standard input ends. The name it gives is
// that of a module with its version.
func Serve(name, module string, handler http.Handler, publish Publish) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = Answer(Ready{listener.Addr().String(), name + " " + Version(module)}, func(line []byte) (any, error) {
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, err
		}
		if err := q.check(); err != nil {
			return nil, err
		}
		return pace(q, publish)
	})
	return errors.Join(err, server.Close(), closed(<-served))
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Ready is the first line of a peer.
type Ready struct {
	Addr string `json:"addr,omitempty"` // host:port that it listens at
	Name string `json:"name,omitempty"` // with its version
}

// Answer says that a peer is ready, and answers questions until the standard
// input ends.
func Answer(ready Ready, answer func(question []byte) (any, error)) error {
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(ready); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		reply, err := answer(in.Bytes())
		if err != nil {
			return err
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
	return in.Err()
}

// pace publishes. A message that is published late, because the ones before took
// their time, keeps the time that it was due: who is behind isn't flattered.
func pace(q question, publish Publish) (published, error) {
	begun := Now()
	for i := range q.Messages {
		sent := Now()
		if q.Rate > 0 {
			sent = begun + int64(i)*int64(time.Second)/int64(q.Rate)
			SleepUntil(sent)
		}
		if err := publish(q.Channel, sent, q.Bytes); err != nil {
			return published{}, err
		}
	}
	return published{Published: q.Messages, Nanos: Now() - begun}, nil
}

// Now is the time since the machine started, in nanoseconds, which is the same
// clock in every process.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// SleepUntil sleeps by the kernel's timer: Go's rounds up to milliseconds.
func SleepUntil(at int64) {
	for t := unix.NsecToTimespec(at); Now() < at; {
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// JSON makes a message of size bytes that tells when it was sent: {"t":1234,"p":"..."}.
func JSON(sent int64, size int) []byte {
	b := make([]byte, 0, size)
	b = strconv.AppendInt(append(b, `{"t":`...), sent, 10)
	b = append(b, `,"p":"`...)
	return append(pad(b, size-len(b)-len(`"}`)), `"}`...)
}

// Text makes a message of size bytes that begins with when it was sent.
func Text(sent int64, size int) []byte {
	b := append(strconv.AppendInt(make([]byte, 0, size), sent, 10), ' ')
	return pad(b, size-len(b))
}

func pad(b []byte, n int) []byte {
	for range n {
		b = append(b, 'x')
	}
	return b
}

// Version is that of a module that the program was built with.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of an unknown version"
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return "of an unknown version"
}

// Main ends the program as run says.
func Main(run func() error) {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
