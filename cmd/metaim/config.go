package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// A settingInForce is a setting as `config --json` prints it.
type settingInForce struct {
	Setting  string `json:"setting"`
	Value    string `json:"value"`          // passwords are left out
	Origin   string `json:"from"`           // flag, default, the environment variable, or file:line
	Variable string `json:"variable"`       // the environment variable
	Flag     string `json:"flag,omitempty"` // empty: no command has it
}

func newConfig(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the settings in force, and where each comes from",
		Long: `Prints every setting as it is in force and where it comes from: a flag, else an
environment variable, else the file of settings, else a default. Passwords are
not shown. The file is metaim/metaim.toml in $XDG_CONFIG_HOME or ~/.config; --config
or METAIM_CONFIG names another. Its keys are the settings' names:

  network = "main"
  server = "https://example.org"
  peer = ["127.0.0.1:8333", "127.0.0.2:8333"]`,
		Example: "  metaim config\n  metaim config --network test --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.printSettings(cmd, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	for _, s := range settings() {
		if !s.only {
			s.add(c)
		}
	}
	c.AddCommand(newConfigPath(p), newConfigInit(p), newConfigCheck(p))
	return c
}

func (p *program) printSettings(cmd *cobra.Command, asJSON bool) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	for _, s := range settings() {
		value, origin := s.lookup(cmd, p)
		if s.flag == homeSetting.flag && value == "" {
			value, _ = homeOf(cmd, p) //nolint:errcheck // then there is none
		}
		in := settingInForce{Setting: s.flag, Value: s.shown(value), Origin: origin, Variable: s.variable}
		if !s.only {
			in.Flag = "--" + s.flag
		}
		if asJSON {
			if err := encoder.Encode(in); err != nil {
				return err
			}
			continue
		}
		line := fmt.Sprintf("%-16s %-32s %s", in.Setting, in.Value, p.style().dim(origin))
		if _, err := fmt.Fprintln(p.out, line); err != nil {
			return err
		}
	}
	return nil
}

func newConfigPath(p *program) *cobra.Command {
	return &cobra.Command{
		Use:         "path",
		Short:       "Print where the file of settings is, or would be",
		Long:        "Prints where the file of settings is, or would be. Nothing else is printed, so it\nneeds no --json.",
		Example:     "  metaim config path",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{noSettings: "x", noJSON: "prints one path and no more"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := neededPath(cmd, p)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.out, path)
			return err
		},
	}
}

func neededPath(cmd *cobra.Command, p *program) (string, error) {
	path, _, err := settingsPath(cmd, p)
	if err == nil && path == "" {
		err = errors.New("there is no home folder: give --config")
	}
	return path, err
}

func newConfigInit(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a file of settings with everything in it as a comment",
		Long: `Writes a file of settings that only you can read, with every setting in it as a
comment. A file that is there is left alone.`,
		Example:     "  metaim config init",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{noSettings: "x", noJSON: "prints one path and no more"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := neededPath(cmd, p)
			if err != nil {
				return err
			}
			if err := writeNew(path, settingsTemplate()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.out, path)
			return err
		},
	}
}

// writeNew writes a file that only its owner can read, where there is none yet.
func writeNew(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: it was left as it is", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// settingsTemplate is what `config init` writes.
func settingsTemplate() string {
	var b strings.Builder
	b.WriteString("# Settings of metaim. A flag and the environment go before what stands here.\n# metaim config prints what is in force.\n")
	for _, s := range settings() {
		if s.secret {
			continue
		}
		fmt.Fprintf(&b, "\n# %s [%s]\n# %s = %s\n", s.usage, s.variable, s.flag, strconv.Quote(s.fallback))
	}
	return b.String()
}

func newConfigCheck(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the file of settings and the environment, and report every fault",
		Long: `Reads the file of settings and the METAIM_ variables and reports every fault in
them, with file and line. Nothing is printed when there is none.`,
		Example:     "  metaim config check\n  metaim config check --config ./metaim.toml",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{noSettings: "x", noJSON: "says nothing when all is right"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			faults := []error{loadSettings(cmd, p)}
			for _, s := range settings() {
				if err := s.refuse(p.getenv(s.variable)); err != nil {
					faults = append(faults, at(s.variable, err))
				}
			}
			return errors.Join(faults...)
		},
	}
}
