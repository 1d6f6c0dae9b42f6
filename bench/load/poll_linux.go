package load

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of what the reader takes at once: bytes of a connection, and connections.
const (
	readAtOnce = 256 << 10
	pollAtOnce = 512
)

// A poller reads all connections in one goroutine. It asks the kernel itself:
// with Go's poller every connection needs a goroutine, and every piece that comes
// a switch to it.
type poller struct {
	readers *Readers
	epoll   int
	wake    int // an eventfd, readable when reading is to end
	conns   map[int32]*walker
}

func newPoller(r *Readers) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	p := &poller{r, epoll, wake, map[int32]*walker{}}
	if err := p.watch(wake); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *poller) watch(fd int) error {
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// add takes over a connection. The readers' lock is held.
func (p *poller) add(conn *net.TCPConn, w *walker) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var fd int
	var dupErr error
	err = raw.Control(func(theirs uintptr) {
		fd, dupErr = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0) // stays non-blocking
	})
	if err := errors.Join(err, dupErr); err != nil {
		return err
	}
	// Go's poller forgets it, and only ours is woken by what comes.
	if err := conn.Close(); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	p.conns[int32(fd)] = w
	if p.readers.plan.Stalled {
		return nil
	}
	return p.watch(fd)
}

// run reads until stop.
func (p *poller) run() error {
	events := make([]unix.EpollEvent, pollAtOnce)
	buf := make([]byte, readAtOnce)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		if p.read(events[:n], buf) {
			return nil
		}
		if pause := p.readers.plan.Pause; pause > 0 {
			time.Sleep(pause)
		}
	}
}

// read reads once from each connection that has something, and tells whether
// reading is to end.
func (p *poller) read(events []unix.EpollEvent, buf []byte) (stop bool) {
	r := p.readers
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if int(e.Fd) == p.wake {
			stop = true
			continue
		}
		n, err := unix.Read(int(e.Fd), buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		w := p.conns[e.Fd]
		if err == nil && n > 0 {
			err = r.take(w, buf[:n], Now())
		}
		if err == nil && len(w.pongs) > 0 {
			_, err = unix.Write(int(e.Fd), w.pongs) // what doesn't fit was answered too late anyway
			w.pongs = w.pongs[:0]
		}
		if err != nil || n <= 0 {
			r.lost()
			delete(p.conns, e.Fd)
			_ = unix.Close(int(e.Fd)) // nothing is left to be told
		}
	}
	return stop
}

// stop ends run.
func (p *poller) stop() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:]) // fails only when it is set already
}

// close closes all connections. Run has ended.
func (p *poller) close() error {
	for fd := range p.conns {
		_ = unix.Close(int(fd))
	}
	p.conns = nil
	return errors.Join(unix.Close(p.wake), unix.Close(p.epoll))
}
