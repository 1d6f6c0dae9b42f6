package p2p

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/metaim/metaim/chainwatch"
)

// Config says which nodes to use and how long to wait for them. Params and Peers
// must be given; a zero in another field stands for its default.
type Config struct {
	Params    *chainwatch.Params
	Peers     []string // host:port, or host for the default port
	Logger    *slog.Logger
	UserAgent string // default "/metaim:0.1/"; at most 256 bytes

	// Dial opens a connection; the default is that of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	DialTimeout      time.Duration // default 10 s
	HandshakeTimeout time.Duration // default 10 s
	WriteTimeout     time.Duration // default 20 s
	PingEvery        time.Duration // default 25 s
	SilenceTimeout   time.Duration // a node that sends nothing for so long is dropped; default 60 s
	BackoffLeast     time.Duration // before the first new attempt; default 100 ms
	BackoffMost      time.Duration // between attempts; default 30 s
	GoodSession      time.Duration // a connection that lasted so long resets the backoff; default 5 s

	HeadersTimeout time.Duration // for the answers of all nodes; default 30 s
	HeadersSpread  time.Duration // how long after the first answer the others are waited for; default 3 s
	BlockTimeout   time.Duration // from asking for a block to its first bytes; default 30 s
	Grace          time.Duration // for an answer that may come later than the pong after it; default 5 s
	StallWindow    time.Duration // in so much time spent reading at least StallBytes arrive, or the message ends; default 20 s
	StallBytes     int           // default 64 KiB

	RetryAfter   time.Duration // a transaction that didn't arrive is asked for again; default 2 s
	MempoolEvery time.Duration // pace of mempool messages to one node, three in advance; default 40 s

	MaxBlock    uint64 // bytes; default 64 GB
	MaxTx       uint64 // bytes; default 100 MB
	DrainLimit  uint64 // what is left of a block that wasn't read to its end is skipped up to this, else the connection is dropped; default 4 MiB
	QueueBytes  int    // transactions that wait for the reader of Transactions; default 256 MiB
	QueueLength int    // no more are asked for while so many wait; default 4,000
	SeenTxs     int    // transactions remembered as delivered, at least so many; default 200,000
}

// Bounds that are nobody's business to change.
const (
	protocolVersion = 70016  // understands messages over 4 GB
	getDataBatch    = 500    // more would count as misbehaviour with bsvd
	maxAnnounced    = 100000 // transactions announced by a node and not yet delivered
	maxAnnouncers   = 8      // nodes remembered for one transaction
	maxTries        = 10     // requests for one transaction
	maxPending      = 8      // questions that a node may leave open before it is dropped
	mempoolBurst    = 3      // bsvd bans above a score of 100, and each costs 33
	userAgent       = "/metaim:0.1/"
)

func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orInt := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	orSize := func(n *uint64, def uint64) {
		if *n == 0 {
			*n = def
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.UserAgent == "" {
		c.UserAgent = userAgent
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	orDuration(&c.DialTimeout, 10*time.Second)
	orDuration(&c.HandshakeTimeout, 10*time.Second)
	orDuration(&c.WriteTimeout, 20*time.Second)
	orDuration(&c.PingEvery, 25*time.Second)
	orDuration(&c.SilenceTimeout, time.Minute)
	orDuration(&c.BackoffLeast, 100*time.Millisecond)
	orDuration(&c.BackoffMost, 30*time.Second)
	orDuration(&c.GoodSession, 5*time.Second)
	orDuration(&c.HeadersTimeout, 30*time.Second)
	orDuration(&c.HeadersSpread, 3*time.Second)
	orDuration(&c.BlockTimeout, 30*time.Second)
	orDuration(&c.Grace, 5*time.Second)
	orDuration(&c.StallWindow, 20*time.Second)
	orDuration(&c.RetryAfter, 2*time.Second)
	orDuration(&c.MempoolEvery, 40*time.Second)
	orInt(&c.StallBytes, 64<<10)
	orInt(&c.QueueBytes, 256<<20)
	orInt(&c.QueueLength, 4000)
	orInt(&c.SeenTxs, 200000)
	orSize(&c.MaxBlock, 64e9)
	orSize(&c.MaxTx, 100e6)
	orSize(&c.DrainLimit, 4<<20)
	return c
}

// withPort gives an address its default port if it has none.
func withPort(addr string, port uint16) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(addr, strconv.Itoa(int(port)))
}
