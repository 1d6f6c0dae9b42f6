package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/proof"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// testProgram returns a program with nothing around it but what is named here.
func testProgram(env map[string]string) (p *program, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &program{in: strings.NewReader(""), out: out, err: errs, getenv: func(name string) string { return env[name] }}, out, errs
}

// everyCommand returns all commands that have no commands below them.
func everyCommand(c *cobra.Command) (leaves []*cobra.Command) {
	if !c.HasSubCommands() || c.Runnable() && c.Flags().Lookup("json") != nil {
		leaves = append(leaves, c)
	}
	for _, sub := range c.Commands() {
		leaves = append(leaves, everyCommand(sub)...)
	}
	return leaves
}

// withoutJSON are commands that have no --json and don't say why themselves.
var withoutJSON = map[string]string{
	"metaim demo": "a story for people", "metaim serve": "stays up and logs", "metaim devnet": "stays up",
	"metaim devnet fund": "prints one raw transaction", "metaim devnet mine": "prints hashes, one a line",
	"metaim devnet info": "always prints JSON", "metaim export": "always prints JSON", "metaim chat": "a terminal application",
	"metaim index": "says nothing on standard output", "metaim audit": "one sentence, and the exit status",
	"metaim version": "one line", "metaim key export": "one word", "metaim save": "one path", "metaim key remove": "says nothing",
	"metaim key new": "label and address on one line; key list has --json", "metaim key import": "label and address on one line; key list has --json",
	"metaim key fund": "one sentence; wallet balance has --json", "metaim key receive": "the same as wallet add, which has --json",
}

func TestEveryCommand(t *testing.T) {
	p, _, _ := testProgram(nil)
	leaves := everyCommand(newRoot(p))
	if len(leaves) < 30 {
		t.Fatalf("%d commands, want 30 or more", len(leaves))
	}
	for _, c := range leaves {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short text is %q, want one without a full stop", path, c.Short)
		}
		if c.Long == "" && c.Example == "" {
			t.Errorf("%s has neither a long text nor an example", path)
		}
		if c.Example != "" && !strings.Contains(c.Example, path) {
			t.Errorf("%s: its example doesn't use it: %q", path, c.Example)
		}
		hasJSON := c.Flags().Lookup("json") != nil
		if !hasJSON && c.Annotations[noJSON] == "" && withoutJSON[path] == "" {
			t.Errorf("%s has no --json and no reason why not", path)
		}
		if hasJSON && (c.Annotations[noJSON] != "" || withoutJSON[path] != "") {
			t.Errorf("%s has --json, and a reason why not", path)
		}
	}
}

// TestUsageErrors asks every command for what it doesn't have.
func TestUsageErrors(t *testing.T) {
	p, _, _ := testProgram(nil)
	for _, c := range everyCommand(newRoot(p)) {
		p, out, errs := testProgram(map[string]string{"HOME": "/nowhere"})
		words := append(strings.Fields(c.CommandPath())[1:], "--nonsense")
		if got := run(t.Context(), words, p); got != exitUsage {
			t.Errorf("%v: status %d, want %d", words, got, exitUsage)
		}
		want := "metaim: unknown flag: --nonsense\ntry: " + c.CommandPath() + " --help\n"
		if errs.String() != want || out.Len() > 0 {
			t.Errorf("%v: got %q and %q, want %q", words, out, errs, want)
		}
		help := append(strings.Fields(c.CommandPath())[1:], "--help")
		p, out, errs = testProgram(nil)
		if got := run(t.Context(), help, p); got != exitDone || !strings.Contains(out.String(), "Usage:") || errs.Len() > 0 {
			t.Errorf("%v: status %d, %q and %q; want help", help, got, out, errs)
		}
	}
}

func TestExitStatuses(t *testing.T) {
	env := map[string]string{"METAIM_HOME": t.TempDir(), "METAIM_SERVER": "http://127.0.0.1:1"}
	for _, tt := range []struct {
		line string
		want int
	}{
		{"", exitDone},
		{"version", exitDone},
		{"help send", exitDone},
		{"config path --config x", exitDone},
		{"key list", exitDone},
		{"wallet balance", exitFailed},  // there is no key
		{"name show alice", exitFailed}, // nobody listens
		{"nonsense", exitUsage},
		{"wallet nonsense", exitUsage},
		{"wallet balance a b", exitUsage},
		{"wallet sweep", exitUsage},
		{"wallet receive --amount -1", exitUsage},
		{"key list --network moon", exitUsage},
		{"completion tcsh", exitUsage},
	} {
		p, _, errs := testProgram(env)
		if got := run(t.Context(), strings.Fields(tt.line), p); got != tt.want {
			t.Errorf("%q: status %d, want %d: %s", tt.line, got, tt.want, errs)
		}
		if hint := strings.Contains(errs.String(), "\ntry: metaim"); hint != (tt.want == exitUsage) {
			t.Errorf("%q: a line to try is there: %t: %s", tt.line, hint, errs)
		}
	}
}

// shapes are what commands print with --json: one object, or with lines one
// object a line.
var shapes = map[string]struct {
	lines bool
	of    any
}{
	"metaim wallet balance": {false, walletBalance{}}, "metaim wallet coins": {true, listedCoin{}},
	"metaim wallet receive": {false, receiving{}}, "metaim wallet add": {false, receivedCoins{}},
	"metaim wallet sweep": {false, swept{}}, "metaim wallet scan": {true, scanned{}},
	"metaim name register": {false, sentRecord{}}, "metaim name renew": {false, sentRecord{}},
	"metaim name transfer": {false, sentRecord{}}, "metaim name submit": {false, sentRecord{}}, "metaim name delete": {false, sentRecord{}},
	"metaim name show": {false, client.NameReply{}}, "metaim name history": {false, client.History{}}, "metaim name list": {true, ownName{}},
	"metaim peer register": {false, sentRecord{}}, "metaim peer delete": {false, sentRecord{}}, "metaim peer list": {true, client.Peer{}},
	"metaim broadcast": {true, broadcastResult{}}, "metaim token new": {false, newTokenLine{}}, "metaim config": {true, settingInForce{}}, "metaim doctor": {true, finding{}}, "metaim key list": {true, listedKey{}},
	"metaim state": {false, state{}}, "metaim frame decode": {true, decoded{}}, "metaim inbox": {true, client.Message{}},
	"metaim watch": {true, client.Event{}}, "metaim key share list": {true, listedSecret{}},
	"metaim proof headers": {false, headersWritten{}}, "metaim proof verify": {false, proof.Result{}},
}

// fieldsOf lists the JSON fields of a type and of the types in it.
func fieldsOf(t reflect.Type, indent string, met []reflect.Type) string {
	var b strings.Builder
	for f := range fields(t) {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			b.WriteString(fieldsOf(f.Type, indent, met))
			continue
		}
		if tag == "-" || !f.IsExported() {
			continue
		}
		kind, inner := jsonKind(f.Type)
		if strings.Contains(options, "omitempty") {
			kind += ", may be missing"
		}
		fmt.Fprintf(&b, "%s%s: %s\n", indent, tag, kind)
		if inner != nil && !slices.Contains(met, inner) && len(met) < 3 {
			b.WriteString(fieldsOf(inner, indent+"  ", append(slices.Clone(met), inner)))
		}
	}
	return b.String()
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// jsonKind names a type as JSON has it, and the struct in it.
func jsonKind(t reflect.Type) (string, reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes in base64", nil
		}
		kind, inner := jsonKind(t.Elem())
		return "list of " + kind, inner
	case reflect.Map:
		kind, inner := jsonKind(t.Elem())
		return "object of " + kind, inner
	case reflect.Bool:
		return "true or false", nil
	case reflect.String:
		return "text", nil
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return "text", nil
		}
		return "object", t
	}
	return "number", nil
}

// document writes docs/cli.md.
func document(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# Commands

Made from the commands themselves; a test fails when it isn't current. Every command
answers --help. What was asked for goes to standard output, all the rest to standard
error. The exit status is 0 when it is done, 1 when it failed, 2 when it was asked for
wrongly: then the last line says what to try. With --json a command prints JSON with the
fields named here, one object or one object a line; fields may be added, and none is
renamed or taken away. Colours are for terminals only, and NO_COLOR turns them off.

A setting is what a flag says, else the environment variable named in brackets, else the
file of settings under the flag's name, else the default.
`)
	for _, c := range everyCommand(root) {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.CommandPath(), c.Short)
		if c.Long != "" {
			fmt.Fprintf(&b, "\n```text\n%s\n```\n", strings.TrimSpace(c.Long))
		}
		fmt.Fprintf(&b, "\n```text\n%s\n", c.UseLine())
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != configFlag {
				fmt.Fprintf(&b, "  %s\n", strings.TrimSpace(flagLine(f)))
			}
		})
		b.WriteString("```\n")
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```text\n%s\n```\n", c.Example)
		}
		if s, ok := shapes[c.CommandPath()]; ok {
			how := map[bool]string{false: "one object", true: "one object a line"}[s.lines]
			fmt.Fprintf(&b, "\nWith --json %s:\n\n```text\n%s```\n", how, fieldsOf(reflect.TypeOf(s.of), "", nil))
		}
	}
	return b.String()
}

func flagLine(f *pflag.Flag) string {
	name, usage := pflag.UnquoteUsage(f)
	line := "--" + f.Name
	if f.Shorthand != "" {
		line = "-" + f.Shorthand + ", " + line
	}
	return strings.TrimSpace(line+" "+name) + ": " + usage
}

// TestDocument compares docs/cli.md with the commands. After a change:
// go test ./cmd/metaim -run TestDocument -update
func TestDocument(t *testing.T) {
	p, _, _ := testProgram(nil)
	root := newRoot(p)
	want := document(root)
	path := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/cli.md is not current: go test ./cmd/metaim -run TestDocument -update")
	}
	for name := range shapes {
		if c, _, err := root.Find(strings.Fields(name)[1:]); err != nil || c.CommandPath() != name || c.Flags().Lookup("json") == nil {
			t.Errorf("%q has a JSON shape, and no --json", name)
		}
	}
	for _, c := range everyCommand(root) {
		_, has := shapes[c.CommandPath()]
		if c.Flags().Lookup("json") != nil && !has && !strings.Contains(c.Long, "--json") {
			t.Errorf("%s: the shape of its JSON is nowhere", c.CommandPath())
		}
	}
}
