package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/metaim/metaim/api"
	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/door"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/spf13/cobra"
)

// Bounds of a file of tokens.
const (
	tokenFileBytes = 1 << 20
	tokensMost     = 1000 // each request that shows one is compared with all
)

const tokenPrefix = "metaim_" // so that a token is known for one wherever it turns up

// A newTokenLine is what `token new --json` prints.
type newTokenLine struct {
	Token string `json:"token"`          // for whom it is meant; it can't be had again
	Line  string `json:"line,omitempty"` // for the server's file of tokens; empty: it was appended
}

func newToken(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make tokens that a server asks for",
		Long: `A server that is given a file with --write-tokens takes transactions only from who
shows one of its tokens; one in the file of --tokens has a quota of its own. The files
hold hashes, so that whoever reads them can't use the tokens.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newTokenNew(p))
	return c
}

func newTokenNew(p *program) *cobra.Command {
	var quota, file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a random token and print it, once, with the line for the server's file",
		Long: `Prints a token, which can't be had again, and the line with its hash for the file
that the server reads when it starts. With --append the line is written there. NAME is
who gets the token: it stands in the file only.

Who has a token shows it as "Authorization: Bearer TOKEN"; the commands here show what
is in METAIM_TOKEN, or in the file that METAIM_TOKEN_FILE names.`,
		Example: "  metaim token new alice\n  metaim token new alice --append /etc/metaim/write-tokens --quota 60000/60",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.makeToken(args[0], quota, file, asJSON)
		},
	}
	c.Flags().StringVar(&quota, "quota", "", "units and seconds of a quota, such as 60000/60 (default: as an address has)")
	c.Flags().StringVar(&file, "append", "", "file of tokens to append the line to; made, for its owner only, if it isn't there")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func (p *program) makeToken(name, quota, file string, asJSON bool) error {
	token := tokenPrefix + rand.Text() + rand.Text() // 256 bits
	line := tokenLine(name, token, quota)
	if _, err := parseTokens(strings.NewReader(line+"\n"), false); err != nil {
		return usageError{err}
	}
	if file != "" {
		if err := appendToken(file, line); err != nil {
			return err
		}
		line = ""
	}
	if asJSON {
		return json.NewEncoder(p.out).Encode(newTokenLine{Token: token, Line: line})
	}
	if _, err := fmt.Fprintln(p.out, token); err != nil || line == "" {
		return err
	}
	_, err := fmt.Fprintln(p.out, line)
	return err
}

func tokenLine(name, token, quota string) string {
	hash := sha256.Sum256([]byte(token))
	line := name + " sha256:" + hex.EncodeToString(hash[:])
	if quota != "" {
		line += " " + quota
	}
	return line
}

func appendToken(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := door.CheckPrivate(path); err != nil {
		return err
	}
	if _, err := parseTokens(f, false); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		return err
	}
	return f.Sync()
}

// readTokens reads a file of tokens. writes says that they are good for handing in
// transactions.
func readTokens(path string, writes bool) ([]api.Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := door.CheckPrivate(path); err != nil {
		return nil, err
	}
	keys, err := parseTokens(f, writes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

var (
	tokenName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
	tokenHash = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	quotaText = regexp.MustCompile(`^([1-9][0-9]{0,8})/([1-9][0-9]{0,5})$`)
)

// parseTokens reads lines NAME sha256:HASH [UNITS/SECONDS] and reports every fault
// with its line. Empty lines and those that begin with # are passed over.
func parseTokens(from io.Reader, writes bool) ([]api.Key, error) {
	text, err := io.ReadAll(io.LimitReader(from, tokenFileBytes+1))
	if err == nil && len(text) > tokenFileBytes {
		err = fmt.Errorf("it holds over %d bytes", tokenFileBytes)
	}
	if err != nil {
		return nil, err
	}
	var keys []api.Key
	var faults []error
	names := map[string]bool{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := parseToken(line)
		switch {
		case err == nil && names[key.Name]:
			err = fmt.Errorf("the name %s stands twice", key.Name)
		case err == nil && len(keys) == tokensMost:
			return nil, fmt.Errorf("it holds over %d tokens", tokensMost)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		names[key.Name], key.Writes = true, writes
		keys = append(keys, key)
	}
	return keys, errors.Join(faults...)
}

// parseToken reads one line. What is wrong isn't repeated: it may be a token.
func parseToken(line string) (key api.Key, err error) {
	fields := strings.Fields(line)
	switch {
	case len(fields) < 2 || len(fields) > 3:
		return key, errors.New("it is not NAME sha256:HASH, with or without UNITS/SECONDS")
	case !tokenName.MatchString(fields[0]):
		return key, errors.New("a name has 1 to 64 letters, digits, dots, lines and @")
	case strings.Contains(fields[0], tokenPrefix), !tokenHash.MatchString(fields[1]):
		return key, fmt.Errorf("the hash of %s is not sha256: and 64 hexadecimal digits; the token itself doesn't belong here", safetext.Line(fields[0]))
	}
	key.Name = fields[0]
	if _, err := hex.Decode(key.Hash[:], []byte(strings.TrimPrefix(fields[1], "sha256:"))); err != nil {
		return key, err
	}
	if len(fields) == 3 {
		parts := quotaText.FindStringSubmatch(fields[2])
		if parts == nil {
			return key, errors.New("a quota is units and seconds, such as 12000/60")
		}
		key.Quota = client.Quota{}
		key.Quota.Units, _ = strconv.Atoi(parts[1])   // it has digits only, and few
		key.Quota.Seconds, _ = strconv.Atoi(parts[2]) // the same
	}
	return key, nil
}
