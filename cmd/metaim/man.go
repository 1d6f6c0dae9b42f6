package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// manDate stands in all pages: the same program writes the same bytes.
var manDate = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

func newMan(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "Print the manual page of metaim, or write those of all commands to a folder",
		Long: `Prints the manual page of metaim, or writes one page for each command to a folder,
which is made if it isn't there. The same program writes the same bytes.`,
		Example:     "  metaim man | man -l -\n  metaim man /usr/local/share/man/man1",
		Args:        cobra.MaximumNArgs(1),
		Hidden:      true,
		Annotations: map[string]string{noSettings: "x", noJSON: "prints a manual page"},
		RunE: func(cmd *cobra.Command, args []string) error {
			asMarkdown(cmd.Root())
			if len(args) == 0 {
				return writeMan(p.out, cmd.Root())
			}
			// #nosec G301 -- manual pages are for everybody
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writeManTree(args[0], cmd.Root())
		},
	}
}

// markdown escapes what Markdown, of which the pages are made, would take for its
// own signs.
var markdown = strings.NewReplacer("[", `\[`, "]", `\]`, "<", `\<`, "*", `\*`, "_", `\_`)

// asMarkdown makes the texts of a command and of all below it fit for pages.
func asMarkdown(c *cobra.Command) {
	escape := func(f *pflag.Flag) { f.Usage = markdown.Replace(f.Usage) }
	c.LocalNonPersistentFlags().VisitAll(escape)
	c.PersistentFlags().VisitAll(escape)
	var long strings.Builder
	for line := range strings.Lines(c.Long) {
		if strings.HasPrefix(line, "  ") {
			long.WriteString("  " + line) // four spaces are a piece of code
		} else {
			long.WriteString(markdown.Replace(line))
		}
	}
	c.Long = long.String()
	for _, sub := range c.Commands() {
		asMarkdown(sub)
	}
}

func writeMan(w io.Writer, c *cobra.Command) error {
	c.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: "", Section: "1", Date: &manDate, Source: "metaim", Manual: "metaim manual"}
	return doc.GenMan(c, header, w)
}

// writeManTree writes a command and all below it.
func writeManTree(dir string, c *cobra.Command) error {
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := writeManTree(dir, sub); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(dir, manName(c)))
	if err != nil {
		return err
	}
	if err := errors.Join(writeMan(f, c), f.Close()); err != nil {
		return fmt.Errorf("page of %s: %w", c.CommandPath(), err)
	}
	return nil
}

func manName(c *cobra.Command) string {
	name := c.Name()
	for at := c.Parent(); at != nil; at = at.Parent() {
		name = at.Name() + "-" + name
	}
	return name + ".1"
}
