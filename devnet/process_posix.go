//go:build unix && !linux

package devnet

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// prepare makes the child a process group of its own, so that Ctrl-C in a
// terminal reaches us only, and we stop it in order.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// commandHas tells whether a process lives and was started with an argument.
func commandHas(pid int, argument string) bool {
	line, err := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(" "+strings.TrimSpace(string(line))+" ", " "+argument+" ")
}
