// Bench measures metaim against limits of the machine and against peers, and
// writes docs/benchmarks.md. `make bench` runs all of it, `make bench QUICK=1` as
// little as shows that it runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"

	"github.com/metaim/metaim/bench/load"
	"github.com/metaim/metaim/bench/measure"
)

// comparisons and growths are all that is measured, in the order of the report.
func comparisons() []*measure.Comparison {
	return slices.Concat(scanComparisons(), verifyComparisons(), ingestComparisons(), copyComparisons(), publishComparisons(),
		fanOutComparisons(), connectionComparisons(), inboxComparisons())
}

func growths() []*measure.Growth {
	return slices.Concat(scanGrowths(), publishGrowths(), fanOutGrowths(), inboxGrowths())
}

// roles are what this program does as a child of itself.
var roles = map[string]func(ctx context.Context, args []string) error{
	load.Role: load.Serve, roleFeed: serveFeed, roleScanNode: serveScanNode, roleIngest: ingestChild,
	rolePublishServer: servePublishing, rolePublisher: servePublisher,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if role := os.Getenv(measure.RoleVariable); role != "" {
		serve := roles[role]
		if serve == nil {
			return fmt.Errorf("no role %q", role)
		}
		return profiled(role, func() error { return serve(ctx, args) })
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "as little work as shows that it runs; writes nothing")
	rounds := flags.Int("rounds", 5, "of each comparison")
	only := flags.String("only", "", "a regular expression for the names of comparisons and plots")
	out := flags.String("out", "docs", "folder for benchmarks.json and the plots; \"\" writes nothing")
	flags.IntVar(&libraryMessages, "messages", libraryMessages, "in the stores whose pages, bytes and growth are measured")
	list := flags.Bool("list", false, "list what there is to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	s := &session{size: measure.Size{Quick: *quick, Rounds: *rounds}, out: *out}
	if *quick {
		s.size.Rounds, s.out = 1, ""
	}
	for _, c := range comparisons() {
		if chosen.MatchString(c.Name) {
			s.comparisons = append(s.comparisons, c)
		}
	}
	for _, g := range growths() {
		if chosen.MatchString(g.Name) {
			s.growths = append(s.growths, g)
		}
	}
	if *list {
		fmt.Println(strings.Join(s.names(), "\n"))
		return nil
	}
	return profiled("bench", func() error { return s.run(ctx) })
}

// profileVariable names, in the environment, where this program and its
// children write CPU profiles of their whole life: PATH.role.pid.
const profileVariable = "METAIM_BENCH_PROFILE"

func profiled(role string, run func() error) error {
	path := os.Getenv(profileVariable)
	if path == "" {
		return run()
	}
	out, err := os.Create(fmt.Sprintf("%s.%s.%d", path, role, os.Getpid()))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = run()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
