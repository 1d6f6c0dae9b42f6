//go:build unix

package testpg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// drop prepares a program to run as somebody who isn't root, which PostgreSQL
// insists on, and out of reach of the terminal's Ctrl-C: it ends with us anyway.
func drop(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	uid, gid, ok, err := other()
	if ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return err
}

// giveAway gives a folder to whom the programs run as.
func giveAway(folder string) error {
	uid, gid, ok, err := other()
	if err != nil || !ok {
		return err
	}
	return os.Chown(folder, int(uid), int(gid))
}

// other returns who runs the programs when we are root.
func other() (uid, gid uint32, ok bool, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, false, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		id, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		group, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return 0, 0, false, fmt.Errorf("user %s: %w", name, err)
		}
		return uint32(id), uint32(group), true, nil
	}
	return 0, 0, false, errors.New("PostgreSQL doesn't run as root, and there is no user postgres or nobody")
}

// lock takes a lock that ends with unlock or with this process. It waits for it.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}
