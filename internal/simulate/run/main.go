// Command run plays scenarios of the simulator: make simulate.
//
// It first builds itself again with the curve's answers remembered (see
// simulate.Build), which makes runs a few times faster and changes nothing else;
// -plain leaves that out. A difference is printed with its seed and the smallest
// scenario that shows one, and the status is 3.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simulate"
)

func main() {
	testing.Init() // for rapid, which shrinks
	seed := flag.Int("seed", 1, "the first `seed`, from 1")
	runs := flag.Int("runs", 1000, "how many scenarios")
	mutate := flag.String("mutate", "", "try the product with mistakes instead: a part of their `name`, or all")
	plain := flag.Bool("plain", false, "don't build again")
	shrink := flag.Bool("shrink", true, "look for the smallest scenario that shows a difference")
	flag.Parse()
	if *seed < 1 || *runs < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: run [-seed 1] [-runs 1000] [-mutate all]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	status, err := 0, error(nil)
	switch {
	case *mutate != "":
		status, err = mutations(ctx, *mutate, *runs)
	case *plain:
		status = play(*seed, *runs, *shrink)
	default:
		status, err = again(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// again builds the command made fast, and runs it with the same flags.
func again(ctx context.Context) (int, error) {
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program, err := simulate.Build(ctx, dir, nil)
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-plain"}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func play(seed, runs int, shrink bool) int {
	debug.SetGCPercent(400)
	begun := time.Now()
	stats, failure := simulate.Seeds(seed, runs, func(done int) {
		fmt.Fprintf(os.Stderr, "%d runs, %s\n", done, time.Since(begun).Round(time.Second))
	})
	if failure == nil {
		fmt.Printf("%d runs from seed %d in %s: no difference\n", stats.Runs, seed, time.Since(begun).Round(time.Millisecond))
		fmt.Printf("%d steps, %d comparisons, %d reorganisations, %d faults, %d deaths\n", stats.Steps, stats.Checks, stats.Reorganisations, stats.Faults, stats.Deaths)
		for _, v := range frame.Verdicts {
			fmt.Printf("%-20s confirmed %d, unconfirmed %d\n", v, stats.Verdicts[v], stats.Provisional[v])
		}
		return simulate.ExitSame
	}
	fmt.Printf("run %d, seed %d: %v\n", failure.Run, failure.Seed, failure.Err)
	if shrink {
		small, err := simulate.Shrink(failure.Seed, 30*time.Second)
		if err != nil {
			fmt.Println("no smaller scenario:", err)
			small = failure
		}
		fmt.Printf("\nthe smallest scenario found:\n%s%v\n", small.Script, small.Err)
	}
	return simulate.ExitDifferent
}

// mutations tries the mistakes whose names hold a text.
func mutations(ctx context.Context, which string, runs int) (int, error) {
	missed := 0
	for i := range simulate.Mutations {
		m := &simulate.Mutations[i]
		if which != "all" && !strings.Contains(m.Name, which) {
			continue
		}
		said, err := try(ctx, m, runs)
		if err != nil {
			return 1, fmt.Errorf("%s: %w", m.Name, err)
		}
		if said == "" {
			missed++
			said = fmt.Sprintf("NOT FOUND in %d runs", runs)
		}
		fmt.Printf("%-55s %s\n", m.Name, said)
	}
	if missed > 0 {
		return simulate.ExitDifferent, nil
	}
	return simulate.ExitSame, nil
}

func try(ctx context.Context, m *simulate.Mutation, runs int) (string, error) {
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	report, caught, err := simulate.Caught(ctx, dir, m, runs)
	if err != nil || !caught {
		return "", err
	}
	first, _, _ := strings.Cut(report, ":")
	return first, nil
}
