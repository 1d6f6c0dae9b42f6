package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/spf13/cobra"
)

const (
	configFlag     = "config"
	configVariable = "METAIM_CONFIG"
	maxSettings    = 1 << 20 // bytes of the file that are read at all
)

// A fileValue is a setting in the file.
type fileValue struct {
	text  string
	where string // file and line
}

// settingsPath returns the file of settings, and whether it was named: then it
// must be there.
func settingsPath(c *cobra.Command, p *program) (path string, named bool, err error) {
	if f := c.Flags().Lookup(configFlag); f != nil && f.Changed {
		if f.Value.String() == "" {
			return "", false, usagef("--%s names no file", configFlag)
		}
		return f.Value.String(), true, nil
	}
	if path := p.getenv(configVariable); path != "" {
		return path, true, nil
	}
	if folder := p.getenv("XDG_CONFIG_HOME"); folder != "" {
		return filepath.Join(folder, "metaim", "metaim.toml"), false, nil
	}
	if home := p.getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "metaim", "metaim.toml"), false, nil
	}
	return "", false, nil
}

// loadSettings reads the file of settings, if there is one, and tells every
// fault in it.
func loadSettings(c *cobra.Command, p *program) error {
	path, named, err := settingsPath(c, p)
	if err != nil || path == "" {
		return err
	}
	text, err := readSettings(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named, errors.Is(err, fs.ErrPermission) && !named:
		return nil
	case err != nil:
		return usagef("settings: %w", err)
	}
	p.file, err = parseSettings(path, text)
	return err
}

func readSettings(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err == nil && len(text) > maxSettings {
		err = fmt.Errorf("%s holds over %s", path, size(maxSettings))
	}
	return string(text), err
}

// parseSettings reads the text of a file of settings and reports every fault
// with its line.
func parseSettings(path, text string) (map[string]fileValue, error) {
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		var broken toml.ParseError
		if errors.As(err, &broken) {
			return nil, usagef("%s:%d: %s", path, broken.Position.Line, safetext.Line(broken.Message))
		}
		return nil, usagef("%s: %s", path, safetext.Line(err.Error()))
	}
	values := map[string]fileValue{}
	lines := map[string]int{}
	var keys []string
	for key := range raw {
		lines[key] = lineThatSets(text, key)
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if lines[a] != lines[b] {
			return lines[a] - lines[b]
		}
		return strings.Compare(a, b)
	})
	var faults []error
	for _, key := range keys {
		where := fmt.Sprintf("%s:%d", path, lines[key])
		value, err := settingValue(key, raw[key])
		if err != nil {
			faults = append(faults, usagef("%s: %w", where, err))
			continue
		}
		values[key] = fileValue{value, where}
	}
	return values, errors.Join(faults...)
}

// settingValue checks a key and its value.
func settingValue(key string, value any) (string, error) {
	all := settings()
	i := slices.IndexFunc(all, func(s setting) bool { return s.flag == key })
	if i < 0 {
		return "", fmt.Errorf("there is no setting %q%s", safetext.Line(key), nearest(key, all))
	}
	s := all[i]
	if s.secret {
		return "", fmt.Errorf("%s doesn't belong in this file: name a file in %s", key, passphraseFileSetting.flag)
	}
	text, err := s.text(value)
	if err != nil {
		return "", err
	}
	return text, s.refuse(text)
}

// text checks the type of a value.
func (s setting) text(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	parts, ok := value.([]any)
	if !s.many || !ok {
		return "", s.wrongType(value)
	}
	var texts []string
	for _, part := range parts {
		text, ok := part.(string)
		if !ok {
			return "", s.wrongType(value)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ","), nil
}

func (s setting) wrongType(value any) error {
	kind := map[bool]string{false: "a text in quotes", true: "a text in quotes, or a list of them"}[s.many]
	is := fmt.Sprintf("%T", value)
	switch value.(type) {
	case int64, float64:
		is = "a number"
	case bool:
		is = "true or false"
	case map[string]any, []map[string]any:
		is = "a table"
	case []any:
		is = "a list"
	}
	return fmt.Errorf("%s is %s, not %s", s.flag, kind, is)
}

// lineThatSets returns the line that sets a key, 1 when it isn't found.
func lineThatSets(text, key string) int {
	quoted := regexp.QuoteMeta(key)
	at := regexp.MustCompile(`(?m)^[ \t]*(\[+[ \t]*)?["']?` + quoted + `["']?[ \t]*[=.\]]`).FindStringIndex(text)
	if at == nil {
		return 1
	}
	return 1 + strings.Count(text[:at[0]], "\n")
}

// nearest says which key was probably meant: the one with the fewest letters to
// change, if that are not too many.
func nearest(key string, all []setting) string {
	const longest = 64 // bytes; longer ones are nobody's slip
	if len(key) > longest {
		return ""
	}
	normal := strings.ReplaceAll(strings.ToLower(key), "_", "-")
	normal = strings.TrimPrefix(normal, "metaim-")
	best, least := "", 3
	for _, s := range all {
		if d := distance(normal, s.flag); d < least && !s.secret {
			best, least = s.flag, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": is it %q?", best)
}

// distance counts the letters to add, take away or change between two texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
