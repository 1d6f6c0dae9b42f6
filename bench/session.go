package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/improtocol/frame"
)

// A session is one run of the program.
type session struct {
	size        measure.Size
	out         string
	comparisons []*measure.Comparison
	growths     []*measure.Growth
}

func (s *session) names() []string {
	var names []string
	for _, c := range s.comparisons {
		names = append(names, c.Name)
	}
	for _, g := range s.growths {
		names = append(names, g.Name)
	}
	return names
}

// A record is what is kept of a comparison.
type record struct {
	Name    string           `json:"name"`
	Title   string           `json:"title"`
	Note    string           `json:"note,omitempty"`
	Machine machine          `json:"machine"` // as it was when this was measured
	Results []measure.Result `json:"results"`
}

// A machine is where, and with what, something was measured.
type machine struct {
	Date      string `json:"date"`
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	Signature string `json:"signatures"`
	Load      string `json:"load"` // averages of 1, 5 and 15 minutes
	Rounds    int    `json:"rounds"`
}

func describe(rounds int) machine {
	m := machine{Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Signature: frame.SignatureBackend, Rounds: rounds}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(kernel))
	load, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(load)); len(f) > 3 {
		m.Load = strings.Join(f[:3], " ")
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			m.CPU = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
			break
		}
	}
	return m
}

func (s *session) run(ctx context.Context) error {
	defer shelves.end()
	var failed []error
	for _, c := range s.comparisons {
		m := describe(s.size.Rounds)
		results, err := c.Run(ctx, s.size)
		if err != nil {
			failed = append(failed, err)
			fmt.Println("FAILED", err)
			continue
		}
		r := record{c.Name, c.Title, c.Note, m, results}
		fmt.Print(r.text())
		if err := s.keep(r); err != nil {
			return err
		}
	}
	for _, g := range s.growths {
		plot, err := g.Measure(ctx, s.size)
		if err != nil {
			failed = append(failed, err)
			fmt.Println("FAILED", err)
			continue
		}
		fmt.Print(text(plot))
		if err := s.draw(plot); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func (r record) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n", r.Name, r.Title)
	if r.Note != "" {
		fmt.Fprintf(&b, "  %s\n", r.Note)
	}
	fmt.Fprintf(&b, "  %s, %d cores, Linux %s, %s, signatures by %s, load %s, %d rounds\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.Signature, r.Machine.Load, r.Machine.Rounds)
	for _, f := range r.Results {
		fmt.Fprintf(&b, "  %-58s %10s %-12s (%s to %s)", f.Figure, measure.Number(f.Median), f.Unit, measure.Number(f.Low), measure.Number(f.High))
		if f.Goal != "" {
			fmt.Fprintf(&b, "  goal %s: %s", f.Goal, map[bool]string{true: "reached", false: "NOT reached"}[*f.Reached])
		}
		b.WriteString("\n")
	}
	return b.String()
}

func text(p *measure.Plot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n", p.Name, p.Title)
	for _, series := range p.Series {
		fmt.Fprintf(&b, "  %s:", series.Name)
		for _, pt := range series.Points {
			fmt.Fprintf(&b, "  %s -> %s", measure.Number(pt.X), measure.Number(pt.Y))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// keep puts a record into the file of results, in place of the one of its name
// measured before, and writes the report anew.
func (s *session) keep(r record) error {
	if s.out == "" {
		return nil
	}
	path := filepath.Join(s.out, "benchmarks.json")
	var all []record
	old, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(old, &all)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	at := slices.IndexFunc(all, func(o record) bool { return o.Name == r.Name })
	if at < 0 {
		all = append(all, r)
	} else {
		all[at] = r
	}
	order := map[string]int{}
	for i, c := range comparisons() {
		order[c.Name] = i
	}
	slices.SortStableFunc(all, func(a, b record) int { return order[a.Name] - order[b.Name] })
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return report(filepath.Join(s.out, "benchmarks.md"), all)
}

func (s *session) draw(p *measure.Plot) error {
	if s.out == "" {
		return nil
	}
	folder := filepath.Join(s.out, "benchmarks")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, p.Name+".svg"), p.SVG(), 0o644)
}

// The report's table stands between these lines; the text around it is written
// by hand.
const (
	tableBegins = "<!-- figures: written by make bench -->\n"
	tableEnds   = "<!-- end of figures -->\n"
)

// report writes the table of figures into the page.
func report(path string, all []record) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(tableBegins))
	_, after, ended := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ended {
		return fmt.Errorf("%s: the lines around the table are missing", path)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(tableBegins)
	for _, r := range all {
		r.markdown(&b)
	}
	b.WriteString(tableEnds)
	b.Write(after)
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func (r record) markdown(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n### %s\n\n", r.Title)
	if r.Note != "" {
		fmt.Fprintf(b, "%s\n\n", r.Note)
	}
	b.WriteString("| figure | median | range | goal |\n| --- | ---: | ---: | --- |\n")
	for _, f := range r.Results {
		goal := ""
		if f.Goal != "" {
			goal = f.Goal + map[bool]string{true: ": reached", false: ": **not reached**"}[*f.Reached]
		}
		fmt.Fprintf(b, "| %s | %s %s | %s to %s | %s |\n", f.Figure, measure.Number(f.Median), f.Unit, measure.Number(f.Low), measure.Number(f.High), goal)
	}
	fmt.Fprintf(b, "\n`%s` on %s, %d cores, %s, signatures by %s, load %s, %d rounds, %s.\n",
		r.Name, r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Signature, r.Machine.Load, r.Machine.Rounds, r.Machine.Date)
}
