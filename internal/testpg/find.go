package testpg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// places are where servers are installed without being in PATH.
var places = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"}

var errMissing = errors.New("there is no PostgreSQL server: install one (Debian: apt-get install postgresql) " +
	"or set METAIM_PG_BIN to the folder of initdb and postgres")

// find returns the folder of a server's programs.
func find() (string, error) {
	if bin := os.Getenv("METAIM_PG_BIN"); bin != "" {
		if !complete(bin) {
			return "", fmt.Errorf("METAIM_PG_BIN is %s, where there are no initdb, postgres and pg_ctl", bin)
		}
		return bin, nil
	}
	if bin, ok := installed(); ok {
		return bin, nil
	}
	if err := install(); err != nil {
		return "", err
	}
	if bin, ok := installed(); ok {
		return bin, nil
	}
	return "", errMissing
}

// installed looks for a server, the newest first.
func installed() (string, bool) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// postgres looks for its files from where it really is.
		if path, err = filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(path)) {
			return filepath.Dir(path), true
		}
	}
	for _, place := range places {
		found, err := filepath.Glob(place)
		if err != nil {
			continue
		}
		slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
		for _, bin := range found {
			if complete(bin) {
				return bin, true
			}
		}
	}
	return "", false
}

// version is the number in a path, 0 when there is none.
func version(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, err := strconv.Atoi(digits[0])
	if err != nil {
		return 0
	}
	return n
}

func complete(bin string) bool {
	for _, program := range []string{"initdb", "postgres", "pg_ctl"} {
		if _, err := exec.LookPath(filepath.Join(bin, program)); err != nil {
			return false
		}
	}
	return true
}

// noCluster keeps Debian's package from making and starting a server of its own.
const (
	noClusterFile = "/etc/postgresql-common/createcluster.d/no-main-cluster.conf"
	noCluster     = "create_main_cluster = false\n"
)

// install installs Debian's package where that may be done. Of several test
// processes one does it while the others wait.
func install() error {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return errMissing
	}
	unlock, err := lock(filepath.Join(os.TempDir(), "metaim-testpg.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := installed(); ok {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(noClusterFile), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(noClusterFile, []byte(noCluster), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-q", "update"},
		{"-q", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends", "postgresql"},
	} {
		cmd := exec.Command(apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w; installing it: apt-get %s: %w\n%s", errMissing, strings.Join(args, " "), err, out)
		}
	}
	return nil
}
