//go:build !unix

package testpg

import (
	"errors"
	"os/exec"
)

var errSystem = errors.New("tests with PostgreSQL need a Unix system")

func drop(*exec.Cmd) error { return errSystem }

func giveAway(string) error { return errSystem }

func lock(string) (unlock func(), err error) { return nil, errSystem }
