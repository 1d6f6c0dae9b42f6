package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/spf13/cobra"
)

// How a finding of the doctor is.
const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

// A finding is one line of `doctor`, and what `doctor --json` prints of it.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`         // ok, warn, fail
	Says  string `json:"says"`          // one sentence
	Try   string `json:"try,omitempty"` // a command or a change; empty when all is well
}

// A doctor looks at a set-up. Its checks tell and change nothing.
type doctor struct {
	program *program
	cmd     *cobra.Command
	asked   bool // the checks were named: what isn't set up is a failure then
	network frame.Network
	info    *client.Info // of the server, once the check server has reached it
	server  *client.Client
	found   []finding
}

func (d *doctor) say(check, state, try, format string, args ...any) {
	d.found = append(d.found, finding{check, state, safetext.Line(fmt.Sprintf(format, args...)), safetext.Line(try)})
}

func (d *doctor) ok(check, format string, args ...any) { d.say(check, stateOK, "", format, args...) }

// absent says that a part isn't set up, which is wrong only for who asked for it.
func (d *doctor) absent(check, try, format string, args ...any) {
	if d.asked {
		d.say(check, stateFail, try, format, args...)
	}
}

// A doctorCheck is one check by its name. Those that stand later may use what
// earlier ones found.
type doctorCheck struct {
	name, what string
	look       func(d *doctor, ctx context.Context)
}

// healthCheck is what a container's engine asks: it stands for itself.
const healthCheck = "health"

func doctorChecks() []doctorCheck {
	return []doctorCheck{
		{"settings", "the file of settings and the environment", (*doctor).settings},
		{"keys", "the files with keys and passphrases, and who can read them", (*doctor).keys},
		{"server", "the server that is asked: network, version, whether it is ready", (*doctor).reach},
		{"clock", "this machine's clock against the chain's median time", (*doctor).clock},
		{"node", "the nodes that metaim serve would follow and submit to", (*doctor).node},
		{"store", "the index: version, network, free disk, how long a write takes", (*doctor).store},
		{"limits", "file descriptors, and the ports to serve on", (*doctor).limits},
		{"coins", "the coins of your keys", (*doctor).coins},
		{"names", "your names, and when they expire", (*doctor).names},
		{healthCheck, "the server's /readyz and nothing else; only when it is named", (*doctor).health},
	}
}

func newDoctor(p *program) *cobra.Command {
	var asJSON bool
	var names, lines []string
	for _, c := range doctorChecks() {
		names = append(names, c.name)
		lines = append(lines, fmt.Sprintf("  %-9s %s", c.name, c.what))
	}
	c := &cobra.Command{
		Use:   "doctor [CHECK...]",
		Short: "Check a set-up and say what to do about what is wrong",
		Long: `Checks the set-up of this machine and says, a sentence for each thing, whether it
is well and what to try if not. Nothing is changed, no passphrase is asked for and
no secret is printed. The exit status is 1 when something fails; warnings don't
count. Without CHECK all are made that concern this set-up: what metaim serve
needs is looked at where it is set up. The checks are

` + strings.Join(lines, "\n"),
		Example:     "  metaim doctor\n  metaim doctor node store --source p2p:127.0.0.1:8333\n  metaim doctor --json",
		ValidArgs:   names,
		Annotations: map[string]string{noSettings: "a file that is wrong is a finding"},
		Args: func(_ *cobra.Command, args []string) error {
			for _, a := range args {
				if !slices.Contains(names, a) {
					return usagef("there is no check %q: there are %s", safetext.Line(a), strings.Join(names, ", "))
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &doctor{program: p, cmd: cmd, asked: len(args) > 0}
			d.examine(cmd.Context(), args)
			return d.report(asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	for _, s := range []setting{serverSetting, networkSetting, homeSetting, storeSetting, sourceSetting, zmqSetting, peerSetting,
		rpcSetting, nodeDirectory, listenSetting, pprofSetting, metricsSetting} {
		s.add(c)
	}
	return c
}

// examine makes the checks named, or all but health.
func (d *doctor) examine(ctx context.Context, names []string) {
	settled := loadSettings(d.cmd, d.program)
	if settled == nil {
		d.network, settled = networkOf(d.cmd, d.program)
	}
	if settled != nil {
		d.say("settings", stateFail, "metaim config check", "%v", settled)
		return // what else would be looked at isn't known
	}
	for _, check := range doctorChecks() {
		if len(names) == 0 && check.name != healthCheck || slices.Contains(names, check.name) {
			check.look(d, ctx)
		}
	}
}

// report prints the findings; it fails when one of them is a failure.
func (d *doctor) report(asJSON bool) error {
	failed := 0
	style := d.program.style()
	for _, f := range d.found {
		if f.State == stateFail {
			failed++
		}
		if asJSON {
			if err := d.program.printJSON(f); err != nil {
				return err
			}
			continue
		}
		paint := map[string]func(string) string{stateOK: style.green, stateWarn: style.yellow, stateFail: style.red}[f.State]
		line := paint(fmt.Sprintf("%-5s", f.State)) + fmt.Sprintf("%-9s %s\n", f.Check, f.Says)
		if f.Try != "" {
			line += fmt.Sprintf("%14s try: %s\n", "", f.Try)
		}
		if _, err := fmt.Fprint(d.program.out, line); err != nil {
			return err
		}
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 of %d checks fails", len(d.found))
	}
	return fmt.Errorf("%d of %d checks fail", failed, len(d.found))
}

// serves tells whether this set-up is that of a server.
func (d *doctor) serves() bool {
	for _, s := range []setting{sourceSetting, peerSetting, rpcSetting, nodeDirectory, storeSetting} {
		if s.value(d.cmd, d.program) != "" {
			return true
		}
	}
	return false
}

// settings tells every fault of the environment; those of the file were told.
func (d *doctor) settings(context.Context) {
	faults, set := 0, 0
	for _, s := range settings() {
		value, origin := s.lookup(d.cmd, d.program)
		if origin != fromDefault && value != "" {
			set++
		}
		if err := s.refuse(value); err != nil {
			faults++
			d.say("settings", stateFail, "metaim config", "%v", at(origin, err))
		}
	}
	if faults == 0 {
		path, _, err := settingsPath(d.cmd, d.program)
		if err != nil || len(d.program.file) == 0 {
			path = "the environment and flags"
		}
		d.ok("settings", "%d settings are made, in %s", set, path)
	}
	if d.program.getenv(passphraseSetting.variable) != "" {
		d.say("settings", stateWarn, "put it into a file that only you can read, and its path into "+passphraseFileSetting.variable,
			"the passphrase stands in the environment, where other programs of yours can read it")
	}
}

// doctorPatience is how long the doctor waits for anything outside.
const doctorPatience = 10 * time.Second

// within gives a check its time.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, doctorPatience)
}

// people writes a time for people, roughly.
func people(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}
