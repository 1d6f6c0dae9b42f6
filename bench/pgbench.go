package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/postgres"
	"github.com/metaim/metaim/internal/simchain"
)

const sidePGBench = "pgbench, same statement"

func pgbenchFigures() []measure.Figure {
	return []measure.Figure{
		{Name: "pages a second, of pgbench with the same statement", Unit: "ratio", Goal: measure.AtLeast(0.8),
			Of: func(s map[string]measure.Sample) float64 { return s["eight readers"].Rate() / s[sidePGBench].Rate() }},
		{Name: "pgbench, 8 clients", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s[sidePGBench].Rate() }},
	}
}

// preparePGBench adds pgbench as a side: it runs the statement that a page of an
// inbox is read by, prepared, for the same addresses at places drawn anew, and
// throws away what comes.
func preparePGBench(ctx context.Context, c *measure.Comparison, lib *library, size measure.Size) (func(), error) {
	folder, err := os.MkdirTemp("", "metaim-pgbench-")
	if err != nil {
		return nil, err
	}
	end := func() { _ = os.RemoveAll(folder) }
	scripts, err := lib.scripts(ctx, folder, measure.Pick(size, 50, 3))
	if err != nil {
		return end, err
	}
	seconds := measure.Pick(size, 5, 1)
	c.Sides = append(c.Sides, measure.Side{Name: sidePGBench, Run: func(ctx context.Context, r *measure.Round) error {
		return lib.pgbench(ctx, r, scripts, seconds)
	}})
	return end, nil
}

// A listener notes the statements that a store runs.
type listener struct {
	mu   sync.Mutex
	sql  string // the longest
	args []any
}

func (l *listener) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	l.note(data.SQL, data.Args)
	return ctx
}

func (l *listener) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (l *listener) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		l.note(q.SQL, q.Arguments)
	}
	return ctx
}

func (l *listener) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (l *listener) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (l *listener) note(sql string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(sql) > len(l.sql) {
		l.sql, l.args = sql, args
	}
}

// scripts writes a script for each of some recipients.
func (l *library) scripts(ctx context.Context, folder string, n int) (paths []string, err error) {
	heard := &listener{}
	store, err := postgres.Open(ctx, l.spec, postgres.Config{Network: simchain.Network, ReadOnly: true, Trace: heard})
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // it was only read
	r := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		heard.sql, heard.args = "", nil
		const before = 7_654_321_987 // to be found among the arguments
		q := index.EntryQuery{Address: recipient(r.IntN(recipientsOfThem)), Limit: 50, Newest: true, Before: before}
		err := store.View(ctx, func(v index.View) error { _, err := v.Entries(q); return err })
		if err != nil {
			return nil, err
		}
		sql, err := inline(heard.sql, heard.args, before)
		if err != nil {
			return nil, err
		}
		script := fmt.Sprintf("\\set before random(%d, %d)\n%s;\n", 1+l.messages/10, l.messages+l.messages/10, sql)
		path := filepath.Join(folder, fmt.Sprintf("page%d.sql", i))
		if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, os.Chmod(folder, 0o755)
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// inline writes arguments into a statement; the one that is before becomes the
// script's variable.
func inline(sql string, args []any, before int64) (string, error) {
	found := false
	var failed error
	text := parameter.ReplaceAllStringFunc(sql, func(name string) string {
		n, _ := strconv.Atoi(name[1:])
		if n < 1 || n > len(args) {
			failed = fmt.Errorf("the statement has no argument %s", name)
			return name
		}
		if args[n-1] == before {
			found = true
			return ":before"
		}
		literal, err := literalOf(args[n-1])
		if err != nil {
			failed = err
		}
		return literal
	})
	if failed == nil && !found {
		failed = errors.New("the statement doesn't ask for what is before a place: " + sql)
	}
	return strings.Join(strings.Fields(text), " "), failed
}

func literalOf(arg any) (string, error) {
	switch v := arg.(type) {
	case int, int16, int32, int64:
		return fmt.Sprint(v), nil
	case bool:
		return fmt.Sprint(v), nil
	case []int32:
		return fmt.Sprintf("'{%s}'::integer[]", strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")), nil
	case []int16:
		return fmt.Sprintf("'{%s}'::smallint[]", strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")), nil
	case []int64:
		return fmt.Sprintf("'{%s}'::bigint[]", strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")), nil
	}
	return "", fmt.Errorf("an argument of type %T", arg)
}

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

func (l *library) pgbench(ctx context.Context, r *measure.Round, scripts []string, seconds int) error {
	at, err := url.Parse(l.spec)
	if err != nil {
		return err
	}
	args := []string{"-n", "-M", "prepared", "-c", strconv.Itoa(readers), "-j", "1", "-T", strconv.Itoa(seconds),
		"-h", at.Query().Get("host"), "-U", at.Query().Get("user")}
	for _, s := range scripts {
		args = append(args, "-f", s)
	}
	cmd := exec.CommandContext(ctx, l.at.server.Program("pgbench"), append(args, strings.TrimPrefix(at.Path, "/"))...)
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c plan_cache_mode=force_generic_plan") // as ours
	r.Count(true, l.at.pids...)
	r.Start()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	found := tps.FindSubmatch(out)
	if found == nil {
		return fmt.Errorf("pgbench told no rate:\n%s", out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	r.Stop(rate * float64(seconds))
	r.Wall = time.Duration(seconds) * time.Second // without connecting
	return err
}
