// Package handover lets a new process take the place of a server, with no moment
// at which nobody listens and none at which both write.
//
// The server listens through its [Doors]. To be replaced it calls
// [Doors.HandOver], which starts the new program with the listening sockets and a
// line to talk over. The new process finds both with [Inherit], makes itself
// ready and calls [Elder.TakeOver]:
//
//	new: ready     it could serve, but neither accepts nor writes yet
//	old: released  it writes no more; it still serves
//	new: taken     it writes, and accepts connections
//	old            leaves its doors, says good-bye to those inside, ends
//
// Until "taken" is said, the end of the new process, or its silence, costs
// nobody anything: the old one kills it, takes back what it let go, and goes on.
// When the old one dies before, the new one takes over what is left.
//
// What a process inherits is its sockets and no state. It is for Unix; elsewhere
// HandOver fails with [ErrUnsupported].
package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// variable tells a process what it inherits: the names of its doors, as a JSON
// array, in the order of their descriptors. They begin after the line's, which is
// the first after those that every process has.
const (
	variable = "METAIM_HANDOVER"
	lineFile = 3
	mostLine = 4 << 10 // bytes of the variable
)

// What the two say.
const (
	sayReady    = "ready"
	sayReleased = "released"
	sayTaken    = "taken"
)

// ErrUnsupported says that processes can't be replaced on this system.
var ErrUnsupported = errors.New("a running server can't be replaced on this system")

// Doors are the listeners of a process, by name. They may be used from several
// goroutines.
type Doors struct {
	mu        sync.Mutex
	inherited map[string]net.Listener // that nobody asked for yet
	open      []*Door
}

// A Door is a listener that can be left to another process.
type Door struct {
	net.Listener
	key          string
	left, closed chan struct{}
	leave, close sync.Once
}

// key names a door: one of another address is another door.
func key(name, address string) string { return name + " " + address }

// Listen returns the listener that was inherited under this name and address, or
// a new one for TCP.
func (d *Doors) Listen(ctx context.Context, name, address string) (*Door, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := key(name, address)
	l, ok := d.inherited[k]
	if !ok {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			return nil, err
		}
	}
	delete(d.inherited, k)
	door := &Door{Listener: l, key: k, left: make(chan struct{}), closed: make(chan struct{})}
	d.open = append(d.open, door)
	return door, nil
}

// CloseRest closes what was inherited and nobody asked for.
func (d *Doors) CloseRest() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, l := range d.inherited {
		errs = append(errs, l.Close())
	}
	clear(d.inherited)
	return errors.Join(errs...)
}

// Leave stops accepting at all doors, so that who comes from now on is the other
// process's. Whoever waits in Accept goes on to wait until the door is closed.
func (d *Doors) Leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, door := range d.open {
		door.leave.Do(func() {
			close(door.left)
			_ = door.Listener.Close() // of our descriptor only: the socket lives on
		})
	}
}

// Accept implements [net.Listener].
func (d *Door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err == nil {
		return conn, nil
	}
	select {
	case <-d.left:
		<-d.closed
		return nil, net.ErrClosed
	default:
		return nil, err
	}
}

// Close implements [net.Listener].
func (d *Door) Close() error {
	var err error
	d.close.Do(func() {
		close(d.closed)
		select {
		case <-d.left:
		default:
			err = d.Listener.Close()
		}
	})
	return err
}

// names reads what an environment says is inherited.
func names(text string) (keys []string, err error) {
	if len(text) > mostLine {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", variable, len(text), mostLine)
	}
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		return nil, fmt.Errorf("%s is no list of names: it is for a server that replaces another", variable)
	}
	return keys, nil
}
