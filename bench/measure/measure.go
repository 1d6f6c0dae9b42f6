// Package measure compares what this project does with a limit of the machine or
// with a peer, in one run: the sides of a comparison take turns, each for so many
// rounds, and what is told is a ratio of two sides of the same round, as median
// and range. Beside wall time stands CPU time, of every process that took part,
// which says the same on a busy machine.
//
// Nothing here can fail because something was slow.
package measure

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A Comparison is one row of the report: sides that take turns, and what is made
// of their samples.
type Comparison struct {
	Name    string // for -only, and a heading: "scan/foreign"
	Title   string // what is measured, for people
	Note    string // sizes, settings, durability class
	Sides   []Side
	Figures []Figure
	// Prepare makes what all sides need, once, and returns how to end it. The
	// sides may be set here.
	Prepare func(ctx context.Context, c *Comparison, size Size) (end func(), err error)
}

// A Size says how much work a measurement does.
type Size struct {
	Quick  bool // as little as shows that it runs
	Rounds int
}

// Pick returns quick in a quick run, else full.
func Pick[T any](s Size, full, quick T) T {
	if s.Quick {
		return quick
	}
	return full
}

// A Side is one of the things compared. Run does the work of one round, between
// Start and Stop of the round.
type Side struct {
	Name string // "metaim", "go-bt v2.2.5", "memory copy"
	Run  func(ctx context.Context, r *Round) error
}

// A Round takes one sample.
type Round struct {
	Sample
	pids    []int
	started time.Time
	before  time.Duration
}

// A Sample is what one side did in one round.
type Sample struct {
	Work    float64            // units done: messages, bytes, deliveries
	Wall    time.Duration      //
	CPU     time.Duration      // user and system, of this process and those counted
	Latency []time.Duration    // of single units, when they were taken
	Values  map[string]float64 // other measures: bytes, allocations
}

// Count adds the CPU time of other processes and of their children, which must
// outlive the round. With only set, that of this process is left out: it is who
// makes the load.
func (r *Round) Count(only bool, pids ...int) {
	if r.pids == nil && !only {
		r.pids = []int{0}
	}
	r.pids = append(r.pids, pids...)
}

// Start begins the measured part.
func (r *Round) Start() {
	if r.pids == nil {
		r.pids = []int{0}
	}
	r.before, r.started = cpuOf(r.pids), time.Now()
}

// Stop ends the measured part, in which work units were done.
func (r *Round) Stop(work float64) {
	r.Wall, r.Work = time.Since(r.started), work
	r.CPU = cpuOf(r.pids) - r.before
}

// Set notes another measure.
func (r *Round) Set(name string, value float64) {
	if r.Values == nil {
		r.Values = map[string]float64{}
	}
	r.Values[name] = value
}

// Rate is the units done in a second.
func (s Sample) Rate() float64 { return s.Work / s.Wall.Seconds() }

// PerCPU is the units done in a second of one core's time.
func (s Sample) PerCPU() float64 { return s.Work / s.CPU.Seconds() }

// Cost is the CPU time of one unit, in microseconds.
func (s Sample) Cost() float64 { return float64(s.CPU.Nanoseconds()) / 1e3 / s.Work }

// Percentile is the latency, in milliseconds, that p of the units stay below.
func (s Sample) Percentile(p float64) float64 {
	if len(s.Latency) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.Latency))
	at := min(len(sorted)-1, int(p*float64(len(sorted))))
	return float64(sorted[at].Nanoseconds()) / 1e6
}

// A Figure is a number made of the samples of one round, by the names of the
// sides.
type Figure struct {
	Name string
	Unit string // "µs CPU", "GB/s", "ratio"
	Goal *Goal  // nil: told beside the others
	Of   func(side map[string]Sample) float64
}

// A Goal is the bound that a figure is to reach.
type Goal struct {
	Bound float64
	Most  bool // at most, not at least
}

// AtLeast is the goal to reach a bound.
func AtLeast(bound float64) *Goal { return &Goal{Bound: bound} }

// AtMost is the goal to stay within a bound.
func AtMost(bound float64) *Goal { return &Goal{Bound: bound, Most: true} }

func (g *Goal) String() string {
	if g.Most {
		return fmt.Sprintf("at most %s", Number(g.Bound))
	}
	return fmt.Sprintf("at least %s", Number(g.Bound))
}

// Reached tells whether a value is within the goal.
func (g *Goal) Reached(v float64) bool { return g.Most && v <= g.Bound || !g.Most && v >= g.Bound }

// A Result is a figure over all rounds.
type Result struct {
	Comparison string  `json:"comparison"`
	Figure     string  `json:"figure"`
	Unit       string  `json:"unit"`
	Median     float64 `json:"median"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Goal       string  `json:"goal,omitempty"`
	Reached    *bool   `json:"reached,omitempty"` // by the median
}

// Run measures a comparison: in each round every side once, the order turned
// round by round.
func (c *Comparison) Run(ctx context.Context, size Size) ([]Result, error) {
	if c.Prepare != nil {
		end, err := c.Prepare(ctx, c, size)
		if end != nil {
			defer end()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	rounds := make([]map[string]Sample, size.Rounds)
	for i := range rounds {
		rounds[i] = map[string]Sample{}
		for j := range c.Sides {
			side := c.Sides[(i+j)%len(c.Sides)]
			r := &Round{}
			settle()
			if err := side.Run(ctx, r); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.Name, side.Name, err)
			}
			rounds[i][side.Name] = r.Sample
		}
	}
	return c.results(rounds), nil
}

func (c *Comparison) results(rounds []map[string]Sample) []Result {
	var results []Result
	for _, f := range c.Figures {
		values := make([]float64, len(rounds))
		for i, sides := range rounds {
			values[i] = f.Of(sides)
		}
		slices.Sort(values)
		r := Result{Comparison: c.Name, Figure: f.Name, Unit: f.Unit, Median: values[len(values)/2], Low: values[0], High: values[len(values)-1]}
		if f.Goal != nil {
			reached := f.Goal.Reached(r.Median)
			r.Goal, r.Reached = f.Goal.String(), &reached
		}
		results = append(results, r)
	}
	return results
}

// A Growth measures how a cost grows with the work, for a plot. Run adds the
// points as they are measured.
type Growth struct {
	Plot
	Run func(ctx context.Context, size Size, add func(series string, p Point)) error
}

// Measure runs a growth and returns its plot.
func (g *Growth) Measure(ctx context.Context, size Size) (*Plot, error) {
	p := g.Plot
	err := g.Run(ctx, size, func(series string, point Point) {
		for i := range p.Series {
			if p.Series[i].Name == series {
				p.Series[i].Points = append(p.Series[i].Points, point)
				return
			}
		}
		p.Series = append(p.Series, Series{series, []Point{point}})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.Name, err)
	}
	return &p, nil
}

// Repeat measures the same thing for so many rounds and returns the median of
// value with its range, as a point at x.
func Repeat(x float64, rounds int, value func() (float64, error)) (Point, error) {
	var values []float64
	for range rounds {
		v, err := value()
		if err != nil {
			return Point{}, err
		}
		values = append(values, v)
	}
	slices.Sort(values)
	return Point{x, values[len(values)/2], values[0], values[len(values)-1]}, nil
}
