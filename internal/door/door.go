// Package door stands between the network and a server of HTTP: it bounds the
// connections that strangers hold, the time that they take for a request, and
// brings the certificates.
package door

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limits bound the connections of a listener at one time, whatever is done on
// them.
type Limits struct {
	All    int // 0: no bound
	Prefix int // of one IPv4 address or IPv6 /64; 0: no bound
	// Exempt tells which addresses Prefix doesn't hold for, such as a proxy's; nil:
	// none.
	Exempt func(netip.Addr) bool
}

// Limit returns a listener that closes what is more than the limits allow as soon
// as it has come. Nothing is said to whom it closes on: a word would have to wait
// until he reads it.
func Limit(l net.Listener, limits Limits) net.Listener {
	return &limited{Listener: l, limits: limits, by: map[netip.Prefix]int{}}
}

type limited struct {
	net.Listener
	limits Limits

	mu  sync.Mutex
	all int
	by  map[netip.Prefix]int
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		prefix, counted := l.prefixOf(c.RemoteAddr())
		if !l.enter(prefix, counted) {
			_ = c.Close() // it has nothing of ours to lose
			continue
		}
		leave := sync.OnceFunc(func() { l.leave(prefix, counted) })
		if plain, ok := c.(*net.TCPConn); ok {
			return &tcpGuest{plain, leave}, nil
		}
		return &guest{c, leave}, nil
	}
}

// prefixOf returns what a connection is counted under, and whether it is.
func (l *limited) prefixOf(from net.Addr) (netip.Prefix, bool) {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return netip.Prefix{}, true // no network: all such are one
	}
	a := at.Addr().Unmap().WithZone("")
	if l.limits.Exempt != nil && l.limits.Exempt(a) {
		return netip.Prefix{}, false
	}
	bits := 64
	if a.Is4() {
		bits = 32
	}
	prefix, err := a.Prefix(bits)
	return prefix, err == nil
}

func (l *limited) enter(prefix netip.Prefix, counted bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.All > 0 && l.all >= l.limits.All {
		return false
	}
	if counted && l.limits.Prefix > 0 && l.by[prefix] >= l.limits.Prefix {
		return false
	}
	l.all++
	if counted {
		l.by[prefix]++
	}
	return true
}

func (l *limited) leave(prefix netip.Prefix, counted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if !counted {
		return
	}
	if l.by[prefix]--; l.by[prefix] == 0 {
		delete(l.by, prefix)
	}
}

// A guest is a connection that gives its place back when it is closed.
type guest struct {
	net.Conn
	leave func()
}

// A tcpGuest is the same with all that a TCP connection can: to close one side
// only, and to be written without a goroutine.
type tcpGuest struct {
	*net.TCPConn
	leave func()
}

func (g *tcpGuest) Close() error {
	defer g.leave()
	return g.TCPConn.Close()
}

func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}

// Times of a server, for what a client takes before its request is handled and
// after its answer; what lies between is the handler's.
type Times struct {
	Header time.Duration // until the headers are there, and for a TLS handshake; 10 s
	Idle   time.Duration // between requests; 2 minutes
	Write  time.Duration // in which an HTTP/2 connection must take some bytes; 10 s
	Ping   time.Duration // of silence before an HTTP/2 connection is pinged; 30 s
}

func or(d *time.Duration, preset time.Duration) {
	if *d <= 0 {
		*d = preset
	}
}

// headerBytes bounds the headers that are read at all.
const headerBytes = 64 << 10

// streamsMost is how many requests one HTTP/2 connection may have open.
const streamsMost = 100

// NewServer returns a server of HTTP/1.1, and over TLS of HTTP/2 too, that gives
// up on who is slow. log gets what net/http complains of, which includes what
// strangers do wrong.
func NewServer(handler http.Handler, times Times, log *slog.Logger) *http.Server {
	or(&times.Header, 10*time.Second)
	or(&times.Idle, 2*time.Minute)
	or(&times.Write, 10*time.Second)
	or(&times.Ping, 30*time.Second)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: times.Header, IdleTimeout: times.Idle, MaxHeaderBytes: headerBytes,
		Protocols: protocols, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streamsMost, MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 256 << 10,
			SendPingTimeout: times.Ping, PingTimeout: times.Write, WriteByteTimeout: times.Write,
		},
	}
}

// Serve serves until ctx ends, then lets requests end, for so long.
func Serve(ctx context.Context, web *http.Server, l net.Listener, patience time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := web.Shutdown(stop); err != nil {
		_ = web.Close() // those who don't end
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
