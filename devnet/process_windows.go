package devnet

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

func prepare(*exec.Cmd) {}

// terminate ends a process: Windows has no gentler way, and there is nothing
// that bsvd on regtest would save.
func terminate(p *os.Process) { kill(p) }
func kill(p *os.Process)      { _ = p.Kill() } // gone already: good

// commandHas tells whether a process lives and was started with an argument.
func commandHas(pid int, argument string) bool {
	query := "(Get-CimInstance Win32_Process -Filter 'ProcessId=" + strconv.Itoa(pid) + "').CommandLine"
	line, err := exec.Command("powershell", "-NoProfile", "-Command", query).Output()
	return err == nil && strings.Contains(string(line), argument)
}
