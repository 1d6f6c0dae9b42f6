// Package metrics makes Prometheus metrics of what the parts of a service count
// and tell. The parts know nothing of it: they are handed its functions as hooks,
// or wrapped ([Metrics.Sink], [Metrics.Index]), or asked at each scrape
// ([Metrics.Watch]). docs/operations.md, "Watching it", lists the metrics.
//
// No label holds what a stranger has written: routes are those of the server's
// table, nodes and ways to submit those of its settings.
package metrics

import (
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/signer/broadcast"
)

// A Build says what runs.
type Build struct {
	Version  string
	Revision string // of the source; may be empty
	Network  string // main, test or regtest
}

// Metrics are those of one service, in a registry of their own. Its methods may be
// called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	scrapes  http.Handler

	depth        prometheus.Histogram
	connected    prometheus.Counter
	disconnected prometheus.Counter
	transactions *prometheus.CounterVec
	events       *prometheus.CounterVec
	saveTime     *prometheus.HistogramVec
	saveBlocks   prometheus.Histogram
	saveFrames   *prometheus.HistogramVec
	storeErrors  *prometheus.CounterVec
	reads        prometheus.Counter
	requests     *prometheus.CounterVec
	requestTime  *prometheus.HistogramVec
	submissions  *prometheus.CounterVec
	submitTime   *prometheus.HistogramVec
}

// What the store is asked for, as labels say it.
const (
	opConnect    = "connect"
	opDisconnect = "disconnect"
	opSeen       = "seen"
	opDrop       = "drop"
	opRead       = "read"
)

// New returns metrics with nothing counted yet. It starts nothing.
func New(b Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
		m.registry.MustRegister(h)
		return h
	}
	quick := prometheus.ExponentialBuckets(0.001, 2.5, 12) // 1 ms to 24 s
	sizes := prometheus.ExponentialBuckets(1, 4, 8)        // 1 to 16,384

	m.depth = histogram("metaim_reorganisation_depth_blocks", "Blocks that reorganisations took off the index, each.", []float64{1, 2, 3, 5, 10, 25, 100})
	m.connected = counter("metaim_blocks_connected_total", "Blocks put on the index.")
	m.disconnected = counter("metaim_blocks_disconnected_total", "Blocks taken off the index by reorganisations.")
	m.transactions = counters("metaim_transactions_total", "Transactions with frames that were saved, by where they stood.", "place")
	m.events = counters("metaim_events_total", "Events of the index by kind and, where a frame is concerned, its verdict.", "kind", "verdict")
	m.saveTime = histograms("metaim_save_duration_seconds", "How long a commit of the store took, by what it saved.", quick, "operation")
	m.saveBlocks = histogram("metaim_save_size_blocks", "Blocks saved in one commit.", sizes)
	m.saveFrames = histograms("metaim_save_size_frames", "Frames saved in one commit, by what it saved.", sizes, "operation")
	m.storeErrors = counters("metaim_store_errors_total", "Failures of the store by what it was asked for.", "operation")
	m.reads = counter("metaim_store_reads_total", "Snapshots read from the store by the API.")
	m.requests = counters("metaim_http_requests_total", "HTTP requests answered, by route of the server's table (none: there is no such route) and status.", "method", "route", "status")
	m.requestTime = histograms("metaim_http_request_duration_seconds", "How long answers to HTTP requests took; streams and WebSockets aren't among them.", prometheus.ExponentialBuckets(0.0005, 3, 10), "route")
	m.submissions = counters("metaim_submissions_total", "Transactions handed to the network, by way and outcome.", "way", "outcome")
	m.submitTime = histograms("metaim_submission_duration_seconds", "How long a way took to answer for a transaction.", quick, "way")

	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "metaim_build_info", Help: "What runs; always 1."},
		[]string{"version", "revision", "go_version", "network"})
	build.WithLabelValues(b.Version, b.Revision, runtime.Version(), b.Network).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, op := range []string{opConnect, opDisconnect, opSeen, opDrop, opRead} {
		m.storeErrors.WithLabelValues(op) // 0 is a value: a rate needs one to begin with
	}
	m.scrapes = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 30 * time.Second})
	return m
}

// Gatherer gives what a scrape would show.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.scrapes)
	return mux
}

// Committed counts the events of a commit: for [index.Writer.OnCommit].
func (m *Metrics) Committed(events []*index.Event) {
	for _, ev := range events {
		m.events.WithLabelValues(string(ev.Kind), string(ev.Verdict)).Inc()
	}
}

// Answered counts a request: for api.Config.Answered.
func (m *Metrics) Answered(r api.Request) {
	m.requests.WithLabelValues(r.Method, r.Route, strconv.Itoa(r.Status)).Inc()
	if !r.Stream && r.Status != http.StatusSwitchingProtocols {
		m.requestTime.WithLabelValues(r.Route).Observe(r.Took.Seconds())
	}
}

// Submitted counts what came of handing a transaction to one way.
func (m *Metrics) Submitted(way string, took time.Duration, err error) {
	m.submissions.WithLabelValues(way, outcome(err)).Inc()
	m.submitTime.WithLabelValues(way).Observe(took.Seconds())
}

// outcome names what came of a submission.
func outcome(err error) string {
	var refused *broadcast.Refused
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, broadcast.ErrDoubleSpend):
		return "double_spend"
	case errors.Is(err, broadcast.ErrMissingInputs):
		return "missing_inputs"
	case errors.Is(err, broadcast.ErrFeeTooLow):
		return "fee_too_low"
	case errors.As(err, &refused):
		return "refused"
	case errors.Is(err, broadcast.ErrSafeMode):
		return "safe_mode"
	}
	return "unavailable"
}
