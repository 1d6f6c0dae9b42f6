package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/metrics"
	"github.com/metaim/metaim/signer/broadcast"
)

// A fakeSink fails when it is told to.
type fakeSink struct {
	chainwatch.Sink
	err error
}

func (s *fakeSink) Tip(context.Context) (index.Tip, error) { return index.Tip{Height: 110}, s.err }
func (s *fakeSink) Connect(context.Context, []*index.Block) error {
	return s.err
}
func (s *fakeSink) Disconnect(context.Context, int32) error { return s.err }
func (s *fakeSink) Seen(_ context.Context, txs []*index.Transaction) ([][]index.Decision, error) {
	return make([][]index.Decision, len(txs)), s.err
}
func (s *fakeSink) Drop(context.Context, []frame.Hash, string) error { return s.err }

type fakeIndex struct{ err error }

func (i *fakeIndex) View(context.Context, func(index.View) error) error { return i.err }

func transaction(frames int) *index.Transaction {
	return &index.Transaction{Frames: make([]*index.Frame, frames)}
}

// full returns metrics in which everything has been counted at least once.
func full(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New(metrics.Build{Version: "1.2.3", Network: "regtest"})
	ctx := t.Context()
	under := &fakeSink{}
	sink := m.Sink(under)
	do := func() {
		_, _ = sink.Tip(ctx)
		_ = sink.Disconnect(ctx, 107)
		_ = sink.Connect(ctx, []*index.Block{{Transactions: []*index.Transaction{transaction(2), transaction(1)}}, {}})
		_, _ = sink.Seen(ctx, []*index.Transaction{transaction(4)})
		_ = sink.Drop(ctx, nil, "")
	}
	do()
	under.err = errors.New("the disk is full")
	do()
	for _, err := range []error{nil, &client.Problem{}, fmt.Errorf("read: %w", index.ErrNotFound), context.Canceled, context.DeadlineExceeded, errors.New("broken")} {
		if got := m.Index(&fakeIndex{err}).View(ctx, nil); !errors.Is(got, err) {
			t.Errorf("a read that fails with %v: got %v", err, got)
		}
	}
	m.Committed([]*index.Event{{Kind: index.EventConnected}, {Kind: index.KindOf(frame.IM, index.EventConfirmed), Verdict: frame.Valid}})
	for _, r := range []api.Request{
		{Method: "GET", Route: "/v1/info", Status: 200, Took: time.Millisecond}, {Method: "GET", Route: "/v1/ws", Status: 101},
		{Method: "GET", Route: "/v1/events", Status: 200, Took: time.Hour, Stream: true},
	} {
		m.Answered(r)
	}
	for _, err := range []error{nil, fmt.Errorf("x: %w", broadcast.ErrDoubleSpend), &broadcast.Refused{Reason: "no"}, broadcast.ErrUnavailable, broadcast.ErrSafeMode} {
		w := m.Way(broadcast.Way{Name: "node", Submit: func(context.Context, *broadcast.Transaction) error { return err }})
		if got := w.Submit(ctx, nil); !errors.Is(got, err) {
			t.Errorf("a way that fails with %v: got %v", err, got)
		}
	}
	m.Watch(metrics.Watched{
		Health: func() chainwatch.Health {
			return chainwatch.Health{Height: 100, Best: 103, TipTime: time.Unix(1000, 0), BestTime: time.Unix(2800, 0), Unconfirmed: 6,
				Source: chainwatch.Status{Connected: 1, Height: 104, Nodes: []chainwatch.Node{
					{Address: "127.0.0.1:8333", Connected: true, Height: 104}, {Address: "127.0.0.1:8334", Height: -1}, {Address: "127.0.0.1:8334"}}}}
		},
		Stats: func() api.Stats {
			return api.Stats{Connections: 5, QueueBytes: 77, Live: 8, History: 9, Streamed: 10, Resumes: 11, SlowCloses: 12, Limited: 13, Read: time.Unix(5, 0)}
		},
		Ready: func() error { return errors.New("the chain isn't followed") },
	})
	return m
}

// TestLint holds names, units and help texts to Prometheus' own rules.
func TestLint(t *testing.T) {
	m := full(t)
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestFigures(t *testing.T) {
	scraped := scrape(t, full(t))
	for _, want := range []string{
		`metaim_build_info{go_version=`,
		`metaim_chain_lag_blocks 3`, `metaim_chain_lag_seconds 1800`, `metaim_unconfirmed_transactions 6`, `metaim_ready 0`,
		`metaim_source_node_connected{node="127.0.0.1:8333"} 1`, `metaim_source_node_height_blocks{node="127.0.0.1:8334"} -1`,
		`metaim_reorganisation_depth_blocks_bucket{le="2"} 0`, `metaim_reorganisation_depth_blocks_bucket{le="3"} 1`, `metaim_reorganisation_depth_blocks_count 1`,
		`metaim_blocks_disconnected_total 3`, `metaim_blocks_connected_total 2`,
		`metaim_transactions_total{place="block"} 2`, `metaim_transactions_total{place="mempool"} 1`,
		`metaim_save_size_frames_sum{operation="connect"} 3`, `metaim_save_size_frames_sum{operation="seen"} 4`, `metaim_save_size_blocks_sum 2`,
		`metaim_save_duration_seconds_count{operation="drop"} 1`,
		`metaim_events_total{kind="message.confirmed",verdict="valid"} 1`,
		`metaim_store_errors_total{operation="connect"} 1`, `metaim_store_errors_total{operation="disconnect"} 1`,
		`metaim_store_errors_total{operation="seen"} 1`, `metaim_store_errors_total{operation="drop"} 1`,
		`metaim_store_errors_total{operation="read"} 3`, // of a tip, a deadline, a fault
		`metaim_store_reads_total 6`,
		`metaim_http_requests_total{method="GET",route="/v1/ws",status="101"} 1`,
		`metaim_http_request_duration_seconds_count{route="/v1/info"} 1`,
		`metaim_submissions_total{outcome="accepted",way="node"} 1`, `metaim_submissions_total{outcome="double_spend",way="node"} 1`,
		`metaim_submissions_total{outcome="refused",way="node"} 1`, `metaim_submissions_total{outcome="safe_mode",way="node"} 1`,
		`metaim_submissions_total{outcome="unavailable",way="node"} 1`, `metaim_submission_duration_seconds_count{way="node"} 5`,
		`metaim_websocket_connections 5`, `metaim_queue_bytes 77`, `metaim_subscription_resumes_total 11`, `metaim_slow_closes_total 12`,
		`metaim_rate_limited_total 13`, `metaim_events_delivered_total{way="history"} 9`, `metaim_events_delivered_total{way="stream"} 10`,
		`go_goroutines`, `process_open_fds`,
	} {
		if !strings.Contains(scraped, "\n"+want) {
			t.Errorf("the scrape lacks %s", want)
		}
	}
	for _, never := range []string{`duration_seconds_count{route="/v1/events"}`, `duration_seconds_count{route="/v1/ws"}`} {
		if strings.Contains(scraped, never) {
			t.Errorf("the scrape has %s: streams last as long as their readers want", never)
		}
	}
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// TestStrangersMakeNoSeries: whatever is asked for, routes and methods stay those
// of the table.
func TestStrangersMakeNoSeries(t *testing.T) {
	m := metrics.New(metrics.Build{})
	server := api.New(api.Config{Index: m.Index(memory.New()), Rules: index.DefaultRules(frame.Regtest), Answered: m.Answered})
	h := server.Handler()
	ask := func(method, path string) {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
	}
	ask("GET", "/v1/names/alice")
	for i := range 200 {
		ask("GET", fmt.Sprintf("/v1/names/n%d", i))
		ask("GET", fmt.Sprintf("/nothing/%d", i))
		ask(fmt.Sprintf("METHOD%d", i), "/v1/info")
		ask("GET", fmt.Sprintf("/v1/info?x%d=y", i))
	}
	scraped := scrape(t, m)
	for _, want := range []string{
		`{method="GET",route="/v1/names/{name}",status="404"} 201`, `{method="GET",route="none",status="404"} 200`,
		`{method="other",route="none",status="405"} 200`, `{method="GET",route="/v1/info",status="400"} 200`,
	} {
		if !strings.Contains(scraped, want) {
			t.Errorf("the scrape lacks %s", want)
		}
	}
	if n := strings.Count(scraped, "\nmetaim_http_requests_total{"); n != 4 {
		t.Errorf("there are %d series of requests, want 4", n)
	}
}
