//go:build !linux

package load

import (
	"net"
	"sync"
	"time"
)

// readAtOnce is what is read at once from a connection, in bytes.
const readAtOnce = 64 << 10

// A poller reads every connection in a goroutine of its own, which costs more
// than on Linux.
type poller struct {
	readers *Readers
	conns   map[*net.TCPConn]*walker
	quit    chan struct{}
}

func newPoller(r *Readers) (*poller, error) {
	return &poller{r, map[*net.TCPConn]*walker{}, make(chan struct{})}, nil
}

func (p *poller) add(conn *net.TCPConn, w *walker) error {
	p.conns[conn] = w
	return nil
}

func (p *poller) run() error {
	var joined sync.WaitGroup
	for conn, w := range p.conns {
		if !p.readers.plan.Stalled {
			joined.Go(func() { p.read(conn, w) })
		}
	}
	<-p.quit
	for conn := range p.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
	joined.Wait()
	return nil
}

func (p *poller) read(conn *net.TCPConn, w *walker) {
	r, buf := p.readers, make([]byte, readAtOnce)
	for {
		n, err := conn.Read(buf)
		now := Now()
		r.mu.Lock()
		if err == nil {
			err = r.take(w, buf[:n], now)
		}
		if err != nil {
			r.lost()
		}
		r.mu.Unlock()
		if err == nil && len(w.pongs) > 0 {
			_, err = conn.Write(w.pongs)
			w.pongs = w.pongs[:0]
		}
		if err != nil {
			return
		}
		time.Sleep(r.plan.Pause)
	}
}

func (p *poller) stop() { close(p.quit) }

func (p *poller) close() error {
	for conn := range p.conns {
		_ = conn.Close()
	}
	return nil
}
