package devnet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// prepare makes a child that dies with us: the kernel kills it when the thread
// that started it ends, and it is a process group of its own, so that Ctrl-C in
// a terminal reaches us only, and we stop it in order.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// commandHas tells whether a process lives and was started with an argument.
func commandHas(pid int, argument string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty for a zombie
	return err == nil && slices.ContainsFunc(bytes.Split(line, []byte{0}), func(a []byte) bool {
		return string(a) == argument
	})
}
