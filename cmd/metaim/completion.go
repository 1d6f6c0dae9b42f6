package main

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

func newCompletion(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes commands, flags, keys and names in a shell",
		Long: `Prints the script that lets a shell complete what you type: commands, flags,
labels of keys, contacts and names of your own keys. It asks for no passphrase
and no server.

  bash: source <(metaim completion bash)
  zsh:  metaim completion zsh > "${fpath[1]}/_metaim"
  fish: metaim completion fish > ~/.config/fish/completions/metaim.fish`,
		Example:     "  metaim completion bash",
		Args:        cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs:   []string{"bash", "zsh", "fish"},
		Annotations: map[string]string{noSettings: "x", noJSON: "prints a script"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.out, true)
			case "zsh":
				return root.GenZshCompletion(p.out)
			default:
				return root.GenFishCompletion(p.out, true)
			}
		},
	}
}

// A completer lists what a word may be.
type completer func(c *cobra.Command, p *program) []string

// completedFlags are the flags whose values are known here, whatever command has
// them.
var completedFlags = map[string]completer{
	"from": keyLabels, "as": keyLabels, "key": keyLabels,
	"to": parties, "to-address": parties, "peer-with": parties,
	"network": fixed("main", "test", "regtest"),
	"log":     fixed("debug", "info", "warn", "error"),
	"encrypt": fixed("auto", "plain", "ECC", "RSA", "AES", "HPKE"),
}

// completedArgs are the commands whose first argument is known here.
var completedArgs = map[string]completer{
	"metaim key export": keyLabels, "metaim key remove": keyLabels, "metaim key fund": keyLabels,
	"metaim wallet balance": keyLabels, "metaim wallet coins": keyLabels, "metaim wallet receive": keyLabels,
	"metaim wallet sweep": keyLabels, "metaim wallet scan": keyLabels,
	"metaim inbox": parties, "metaim watch": parties, "metaim chat": parties, "metaim peer list": parties,
	"metaim name show": ownNames, "metaim name renew": ownNames, "metaim name transfer": ownNames,
	"metaim name delete": ownNames, "metaim name history": ownNames,
}

// addCompletions gives the commands that exist their completions.
func addCompletions(c *cobra.Command, p *program) {
	for name, complete := range completedFlags {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, complete.values(p)) // fails only for a flag that isn't there
		}
	}
	if complete, ok := completedArgs[c.CommandPath()]; ok && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return complete.values(p)(cmd, args, word)
		}
	}
	for _, sub := range c.Commands() {
		addCompletions(sub, p)
	}
}

// values is what cobra asks. Settings that are wrong complete nothing.
func (complete completer) values(p *program) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if err := loadSettings(cmd, p); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var found []string
		for _, s := range complete(cmd, p) {
			if strings.HasPrefix(s, word) && !strings.ContainsFunc(s, unprintable) {
				found = append(found, s)
			}
		}
		slices.Sort(found)
		return slices.Compact(found), cobra.ShellCompDirectiveNoFileComp
	}
}

// unprintable tells what has no place in a line of a completion: the shell would
// act on it.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("`$\\\"'", r) }

func fixed(values ...string) completer {
	return func(*cobra.Command, *program) []string { return values }
}

// keyLabels are the labels of the keys of this machine.
func keyLabels(c *cobra.Command, p *program) (labels []string) {
	ring, err := openKeyring(c, p)
	if err != nil {
		return nil
	}
	keys, err := ring.store.List()
	if err != nil {
		return nil
	}
	for _, e := range keys {
		labels = append(labels, e.Label)
	}
	return labels
}

// parties are who can be written to that is known without a server.
func parties(c *cobra.Command, p *program) []string {
	return slices.Concat(contactLabels(c, p), ownNames(c, p))
}

// contactLabels are the labels and names of the contacts.
func contactLabels(c *cobra.Command, p *program) (labels []string) {
	ring, err := openKeyring(c, p)
	if err != nil {
		return nil
	}
	contacts, err := ring.contacts()
	if err != nil {
		return nil
	}
	for _, contact := range contacts.List() {
		labels = append(labels, contact.Label)
		if contact.Name != "" {
			labels = append(labels, contact.Name)
		}
	}
	return labels
}

// ownNames are the names of the keys of this machine, as a server last told
// them.
func ownNames(c *cobra.Command, p *program) (names []string) {
	ring, err := openKeyring(c, p)
	if err != nil {
		return nil
	}
	for _, n := range ring.knownNames() {
		names = append(names, n.Name)
	}
	return names
}

// readLimited reads a small JSON file of ours.
func readLimited(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(into)
}
