//go:build unix

package handover

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// Inherit returns the doors of this process, and who hands over to it: nil, when
// nobody does. It is called once, before any child is started.
func Inherit() (*Doors, *Elder, error) {
	d := &Doors{inherited: map[string]net.Listener{}}
	text, ok := os.LookupEnv(variable)
	if !ok {
		return d, nil, nil
	}
	if err := os.Unsetenv(variable); err != nil { // it isn't for our children
		return nil, nil, err
	}
	keys, err := names(text)
	if err != nil {
		return nil, nil, err
	}
	conn, err := inherited(lineFile, net.FileConn)
	if err != nil {
		return nil, nil, fmt.Errorf("inherit the line to the running server: %w", err)
	}
	for i, k := range keys {
		l, err := inherited(lineFile+1+i, net.FileListener)
		if err != nil {
			return nil, nil, fmt.Errorf("inherit the listener %q: %w", k, err)
		}
		d.inherited[k] = l
	}
	return d, &Elder{newLine(conn)}, nil
}

// inherited opens a descriptor that was passed on. What reads it has one of its
// own.
func inherited[T any](fd int, open func(*os.File) (T, error)) (T, error) {
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "inherited") //nolint:gosec // a small constant
	if f == nil {
		var none T
		return none, os.ErrInvalid
	}
	defer f.Close() //nolint:errcheck // open has its own
	return open(f)
}

// start starts the heir with all open doors. [os.StartProcess] isn't used: it
// makes what it passes on blocking, and with it the listeners of both processes.
func (d *Doors) start(command []string) (*heir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // only read
	files := []uintptr{null.Fd(), 1, 2, uintptr(theirs)}
	defer func() {
		for _, fd := range files[lineFile:] {
			_ = syscall.Close(int(fd)) //nolint:gosec // descriptors are small
		}
	}()
	keys := []string{}
	for _, door := range d.open {
		fd, err := duplicate(door)
		if err != nil {
			_ = ours.Close()
			return nil, err
		}
		files, keys = append(files, uintptr(fd)), append(keys, door.key)
	}
	said, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	env := []string{variable + "=" + string(said)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, variable+"=") {
			env = append(env, v)
		}
	}
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("%s: %w", command[0], err)
	}
	return watch(pid, ours)
}

// watch waits for the end of the heir in a goroutine, which ends with it.
func watch(pid int, conn net.Conn) (*heir, error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	h := &heir{line: newLine(conn), pid: pid, ended: make(chan struct{}), kill: func() { _ = process.Kill() }}
	go func() {
		defer close(h.ended)
		_, _ = process.Wait() // how it ended, it says itself
	}()
	return h, nil
}

// pair makes the line: our end, and the descriptor of the heir's.
func pair() (ours net.Conn, theirs int, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, 0, err
	}
	if ours, err = inherited(fds[0], net.FileConn); err != nil {
		_ = syscall.Close(fds[1])
		return nil, 0, err
	}
	return ours, fds[1], nil
}

// duplicate returns a descriptor of a door's socket for a child.
func duplicate(d *Door) (fd int, err error) {
	l, ok := d.Listener.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("the listener %q can't be passed on", d.key)
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return 0, err
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	refused := raw.Control(func(from uintptr) {
		if fd, err = syscall.Dup(int(from)); err == nil { //nolint:gosec // descriptors are small
			syscall.CloseOnExec(fd)
		}
	})
	if refused != nil {
		return 0, refused
	}
	return fd, err
}
