package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/chainwatch"
)

// Watched is who is asked at each scrape. What is nil isn't there.
type Watched struct {
	Health func() chainwatch.Health // of the follower, in a process that has one
	Stats  func() api.Stats
	Ready  func() error // tells why the server shouldn't be asked, if so
}

// Watch adds the metrics of a service's state. It is called once.
func (m *Metrics) Watch(w Watched) { m.registry.MustRegister(&snapshot{w}) }

// A figure is one metric that is read off a state.
type figure[State any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*State) float64
}

func gauge[S any](name, help string, value func(*S) float64) figure[S] {
	return figure[S]{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value}
}

func total[S any](name, help string, value func(*S) float64) figure[S] {
	return figure[S]{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, value}
}

func (f *figure[S]) show(state *S, out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(state))
}

type health = chainwatch.Health

var ofFollower = []figure[health]{
	gauge("metaim_chain_best_height_blocks", "Height of the best branch known, with proof of work checked.", func(h *health) float64 { return float64(h.Best) }),
	gauge("metaim_chain_best_timestamp_seconds", "Time in the header of the best branch's tip, Unix seconds; 0: there is none.", func(h *health) float64 {
		if h.BestTime.IsZero() {
			return 0
		}
		return float64(h.BestTime.Unix())
	}),
	gauge("metaim_chain_lag_blocks", "Blocks of the best branch known that the index hasn't got yet.", func(h *health) float64 { return float64(max(h.Best-h.Height, 0)) }),
	gauge("metaim_chain_lag_seconds", "How much older the index's tip is than that of the best branch known, by their headers.", func(h *health) float64 {
		if h.Best <= h.Height || h.TipTime.IsZero() {
			return 0
		}
		return max(h.BestTime.Sub(h.TipTime).Seconds(), 0)
	}),
	gauge("metaim_follower_synced", "1: the index was at the best tip when the nodes were last asked.", func(h *health) float64 { return truth(h.Synced) }),
	gauge("metaim_follower_since_answer_seconds", "How long ago a round of questions to the nodes last came to its end.", func(h *health) float64 { return h.Since.Seconds() }),
	gauge("metaim_follower_behind_seconds", "How long a header with more work than the index's tip has been known without a block connected meanwhile.", func(h *health) float64 { return h.Behind.Seconds() }),
	gauge("metaim_follower_standing_seconds", "How long the loop that follows the chain has waited for one answer.", func(h *health) float64 { return h.Standing.Seconds() }),
	gauge("metaim_follower_saving_seconds", "How long the commit under way has lasted.", func(h *health) float64 { return h.Saving.Seconds() }),
	gauge("metaim_unconfirmed_transactions", "Transactions with frames that are kept and that no block has.", func(h *health) float64 { return float64(h.Unconfirmed) }),
	gauge("metaim_offers_waiting_bytes", "Transactions that were submitted and wait to be taken into the index.", func(h *health) float64 { return float64(h.WaitingBytes) }),
	gauge("metaim_source_nodes_connected", "Nodes that the source is connected to.", func(h *health) float64 { return float64(h.Source.Connected) }),
	gauge("metaim_source_claimed_height_blocks", "The highest that a node has claimed, -1 when unknown; nothing proves it.", func(h *health) float64 { return float64(h.Source.Height) }),
	total("metaim_frames_proved_total", "Frames of blocks whose signatures were proved.", func(h *health) float64 { return float64(h.Proved) }),
	total("metaim_frames_remembered_total", "Frames of blocks that had been proved while unconfirmed.", func(h *health) float64 { return float64(h.Remembered) }),
}

var ofServer = []figure[api.Stats]{
	gauge("metaim_index_tip_height_blocks", "Height of the index's last block, -1 before the first.", func(s *api.Stats) float64 { return float64(s.Height) }),
	gauge("metaim_index_tip_timestamp_seconds", "Time in the header of the index's last block, Unix seconds; 0: there is none.", func(s *api.Stats) float64 {
		if s.TipTime.IsZero() {
			return 0
		}
		return float64(s.TipTime.Unix())
	}),
	gauge("metaim_log_read_timestamp_seconds", "When the log of events was last read from the store, Unix seconds; 0: not yet.", func(s *api.Stats) float64 {
		if s.Read.IsZero() {
			return 0
		}
		return float64(s.Read.UnixMilli()) / 1000
	}),
	gauge("metaim_websocket_connections", "WebSockets that are open.", func(s *api.Stats) float64 { return float64(s.Connections) }),
	gauge("metaim_streams", "Streams of events over HTTP that are open and go on.", func(s *api.Stats) float64 { return float64(s.Streams) }),
	gauge("metaim_subscriptions", "Subscriptions of the WebSockets.", func(s *api.Stats) float64 { return float64(s.Subscriptions) }),
	gauge("metaim_subscriptions_behind", "Subscriptions that read from the store and aren't live yet or any more.", func(s *api.Stats) float64 { return float64(s.Behind) }),
	gauge("metaim_queue_bytes", "Events that wait to be written to WebSockets.", func(s *api.Stats) float64 { return float64(s.QueueBytes) }),
	gauge("metaim_followed_names", "Names that subscriptions and streams follow.", func(s *api.Stats) float64 { return float64(s.Names) }),
	gauge("metaim_quota_visitors", "Visitors whose quota is remembered.", func(s *api.Stats) float64 { return float64(s.Visitors) }),
	total("metaim_subscription_resumes_total", "Live subscriptions that didn't keep up and read from the store again.", func(s *api.Stats) float64 { return float64(s.Resumes) }),
	total("metaim_slow_closes_total", "WebSockets closed because they stayed behind.", func(s *api.Stats) float64 { return float64(s.SlowCloses) }),
	total("metaim_rate_limited_total", "Requests refused because a quota was used up.", func(s *api.Stats) float64 { return float64(s.Limited) }),
	total("metaim_connections_refused_total", "WebSockets and streams refused because there were too many.", func(s *api.Stats) float64 { return float64(s.Crowded) }),
}

var (
	deliveredDesc = prometheus.NewDesc("metaim_events_delivered_total",
		"Events handed to subscribers: live as they happened, history from the store, stream over HTTP.", []string{"way"}, nil)
	readyDesc     = prometheus.NewDesc("metaim_ready", "1: /readyz says that the server may be asked.", nil, nil)
	connectedDesc = prometheus.NewDesc("metaim_source_node_connected", "1: the source is connected to the node.", []string{"node"}, nil)
	heightDesc    = prometheus.NewDesc("metaim_source_node_height_blocks", "The highest that the node has claimed, -1 when unknown.", []string{"node"}, nil)
)

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// A snapshot reads each state once for a scrape.
type snapshot struct{ Watched }

func (s *snapshot) Describe(out chan<- *prometheus.Desc) {
	if s.Health != nil {
		for _, f := range ofFollower {
			out <- f.desc
		}
		out <- connectedDesc
		out <- heightDesc
	}
	if s.Stats != nil {
		for _, f := range ofServer {
			out <- f.desc
		}
		out <- deliveredDesc
	}
	if s.Ready != nil {
		out <- readyDesc
	}
}

func (s *snapshot) Collect(out chan<- prometheus.Metric) {
	if s.Health != nil {
		h := s.Health()
		for _, f := range ofFollower {
			f.show(&h, out)
		}
		nodes(h.Source.Nodes, out)
	}
	if s.Stats != nil {
		st := s.Stats()
		for _, f := range ofServer {
			f.show(&st, out)
		}
		for way, n := range map[string]uint64{"live": st.Live, "history": st.History, "stream": st.Streamed} {
			out <- prometheus.MustNewConstMetric(deliveredDesc, prometheus.CounterValue, float64(n), way)
		}
	}
	if s.Ready != nil {
		out <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, truth(s.Ready() == nil))
	}
}

// nodes shows each node once: two with one address would make the scrape fail.
func nodes(all []chainwatch.Node, out chan<- prometheus.Metric) {
	shown := map[string]bool{}
	for _, n := range all {
		if shown[n.Address] {
			continue
		}
		shown[n.Address] = true
		out <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, truth(n.Connected), n.Address)
		out <- prometheus.MustNewConstMetric(heightDesc, prometheus.GaugeValue, float64(n.Height), n.Address)
	}
}
