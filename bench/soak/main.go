// Command soak runs a server under load for any length of time and says whether it
// stays as it was: nothing lost, nothing told twice, memory and descriptors flat.
//
//	go run ./bench/soak -minutes 30 -rate 500
//
// A real node (bsvd) carries the messages, which are submitted to the server over
// HTTP and mined all along. Subscribers read the whole log, over WebSocket and as
// server-sent events, and check that no event is missing or comes twice. Only the
// server is measured: all else is other processes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// A soak is what is asked for.
type soak struct {
	minutes     float64
	rate        int // messages a second
	senders     int
	subscribers int
	store       string // --store of the server; "": SQLite in a folder that goes
	program     string // metaim; "": it is built
	every       time.Duration
	dir         string // scratch
}

func main() {
	var s soak
	flag.Float64Var(&s.minutes, "minutes", 30, "how long")
	flag.IntVar(&s.rate, "rate", 500, "messages a second")
	flag.IntVar(&s.senders, "senders", 16, "who send at the same time")
	flag.IntVar(&s.subscribers, "subscribers", 8, "who read the whole log: every fourth as server-sent events")
	flag.StringVar(&s.store, "store", "", "an empty store for the server, such as postgres://... (default: SQLite)")
	flag.StringVar(&s.program, "metaim", "", "the program to run (default: it is built)")
	flag.DurationVar(&s.every, "every", 10*time.Second, "between looks at the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.inFolder(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1)
	}
}

func (s *soak) inFolder(ctx context.Context) (err error) {
	if s.minutes <= 0 || s.rate < 1 || s.senders < 1 || s.subscribers < 1 || s.every <= 0 {
		return fmt.Errorf("all numbers must be more than 0")
	}
	if s.dir, err = os.MkdirTemp("", "metaim-soak-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir) //nolint:errcheck // the system clears it
	if s.store == "" {
		s.store = "sqlite:" + filepath.Join(s.dir, "index.db")
	}
	return s.run(ctx)
}
