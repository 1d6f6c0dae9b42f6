// Command metaim sends and receives signed messages through Bitcoin SV, gives
// names to addresses there, and runs the service that indexes both.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // asked for wrongly
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], &program{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}))
}

// A program is what a command may touch of the world around it.
type program struct {
	in     io.Reader
	out    io.Writer // what was asked for
	err    io.Writer // all the rest
	getenv func(string) string
	file   map[string]fileValue // of the settings; nil: there is none
}

// A usageError says that the command was asked for wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run runs the program and returns its exit status.
func run(ctx context.Context, args []string, p *program) int {
	root := newRoot(p)
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	at, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(p.err, "metaim: %s\n", err)
	var usage usageError
	if errors.As(err, &usage) || isCobraUsage(err) {
		fmt.Fprintf(p.err, "try: %s --help\n", at.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// isCobraUsage tells cobra's own complaints about a command line, which have no
// type.
func isCobraUsage(err error) bool {
	for _, start := range []string{"unknown command", "required flag", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:           "metaim",
		Short:         "Signed messages through Bitcoin SV",
		Long:          "metaim sends and receives signed, optionally encrypted messages through Bitcoin SV\ntransactions, gives names to addresses there, and runs the service that indexes both.\n\nNew here? Try: metaim demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().String(configFlag, "", "file of settings ["+configVariable+"] (default: metaim/metaim.toml in the user's folder of settings)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return prepare(cmd, p) }
	for _, command := range commands {
		root.AddCommand(command(p))
	}
	root.CompletionOptions.DisableDefaultCmd = true // ours is completion.go
	asUsage(root)
	addCompletions(root, p)
	return root
}

// noSettings marks commands that read no settings: a file that is wrong must not
// keep anyone from mending it.
const noSettings = "metaim_no_settings"

// noJSON marks commands that have no --json, with the reason.
const noJSON = "metaim_no_json"

// prepare reads and checks the settings before a command runs.
func prepare(cmd *cobra.Command, p *program) error {
	if cmd.Annotations[noSettings] != "" || cmd.Name() == "help" || cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	if err := loadSettings(cmd, p); err != nil {
		return err
	}
	return checkSettings(cmd, p)
}

// asUsage makes a wrong number of arguments, of any command, a usage error.
func asUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		asUsage(sub)
	}
}

// commands are the program's commands, in the order in which help lists them.
var commands = []func(*program) *cobra.Command{
	newDemo,
	newServe,
	newToken,
	newDevnet,
	newKey,
	newWallet,
	newName,
	newPeer,
	newSend,
	newOutbox,
	newInbox,
	newShow,
	newSave,
	newWatch,
	newChat,
	newContact,
	newFrame,
	newIndex,
	newProof,
	newState,
	newAudit,
	newExport,
	newBroadcast,
	newConfig,
	newDoctor,
	newCompletion,
	newMan,
	newVersion,
}
