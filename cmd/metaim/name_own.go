package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/internal/safetext"
	"github.com/spf13/cobra"
)

const (
	remindDays  = 30             // a name that expires sooner is spoken of
	remindEvery = 24 * time.Hour // how often
	mostNames   = 10_000         // that are remembered
)

// An ownName is a name of a key of this machine, as `name list --json` prints it.
type ownName struct {
	Name      string `json:"name"`
	Label     string `json:"label"` // of the key
	Address   string `json:"address"`
	State     string `json:"state"`
	ExpiresAt int64  `json:"expires_at"` // Unix seconds
	DaysLeft  int64  `json:"days_left"`  // whole days; negative when it has expired
	Primary   bool   `json:"primary"`
}

// ownNames asks the server for the names of all keys of this machine, those
// first that expire first.
func (u *person) ownNames(ctx context.Context) ([]ownName, error) {
	keys, err := u.ring.store.List()
	if err != nil {
		return nil, err
	}
	names := []ownName{}
	for _, e := range keys {
		a, err := u.Client.Address(ctx, u.Network.Address(e.KeyHash))
		var problem *client.Problem
		if errors.As(err, &problem) && problem.Code == client.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, n := range a.Names {
			names = append(names, ownName{Name: n.Name, Label: e.Label, Address: u.Network.Address(e.KeyHash), State: n.State,
				ExpiresAt: n.ExpiresAt, DaysLeft: daysLeft(n.ExpiresAt, a.Tip.MedianTime), Primary: n.Primary})
		}
	}
	slices.SortFunc(names, func(a, b ownName) int {
		return cmp.Or(cmp.Compare(a.ExpiresAt, b.ExpiresAt), strings.Compare(a.Name, b.Name))
	})
	return names, nil
}

// daysLeft counts whole days from now, as the chain has it, to a time; both are
// Unix seconds.
func daysLeft(expires, now int64) int64 {
	const day = 86_400
	left := expires - now
	if left < 0 {
		return -((-left + day - 1) / day)
	}
	return left / day
}

func newNameList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the names of your keys with the days that are left of each",
		Long: `Lists the names of all keys of this machine, those first that expire first, with
the days that are left of each. It asks for no passphrase.`,
		Example: "  metaim name list\n  metaim name list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := connect(cmd, p)
			if err != nil {
				return err
			}
			names, err := u.ownNames(cmd.Context())
			if err != nil {
				return err
			}
			u.ring.remember(names)
			if asJSON {
				encoder := json.NewEncoder(p.out)
				for _, n := range names {
					if err := encoder.Encode(n); err != nil {
						return err
					}
				}
				return nil
			}
			return p.printOwnNames(names)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return c
}

func (p *program) printOwnNames(names []ownName) error {
	if len(names) == 0 {
		fmt.Fprintln(p.err, "Your keys have no names: metaim name register NAME --from LABEL")
		return nil
	}
	t := p.table("name", "key", "state", ">days left", "expires", "address")
	for _, n := range names {
		t.row(safetext.Line(n.Name), safetext.Line(n.Label), safetext.Line(n.State), fmt.Sprint(n.DaysLeft), clock(n.ExpiresAt*1000), n.Address)
	}
	return t.print()
}

// A namesFile is what was last heard of the names of the keys. Its time of
// change is when that was.
type namesFile struct {
	Names []rememberedName `json:"names"`
}

type rememberedName struct {
	Name      string `json:"name"`
	ExpiresAt int64  `json:"expires_at"` // Unix seconds
}

// namesPath returns the file, in the user's folder of what can be had again, "" if
// there is none.
func (k *keyring) namesPath() string {
	p := k.program
	cache := p.getenv("XDG_CACHE_HOME")
	if home := p.getenv("HOME"); cache == "" && home != "" {
		if _, err := os.Stat(home); err != nil {
			return ""
		}
		cache = filepath.Join(home, ".cache")
	}
	at, err := filepath.Abs(k.home)
	if cache == "" || err != nil {
		return ""
	}
	digest := sha256.Sum256([]byte(at))
	return filepath.Join(cache, "metaim", fmt.Sprintf("names-%s-%x.json", k.network, digest[:8]))
}

// knownNames returns the names of the keys as a server last told them.
func (k *keyring) knownNames() []rememberedName {
	var f namesFile
	if readLimited(k.namesPath(), &f) != nil {
		return nil
	}
	return f.Names
}

// forget makes the next command that asks a server ask for the names too.
func (k *keyring) forget() {
	if path := k.namesPath(); path != "" {
		_ = os.Chtimes(path, time.Time{}, time.Unix(0, 0))
	}
}

// remember keeps the names for completion, and that they were asked for. Only
// comfort hangs on it: a file that can't be written is done without.
func (k *keyring) remember(names []ownName) {
	f := namesFile{Names: []rememberedName{}}
	for _, n := range names[:min(len(names), mostNames)] {
		if n.State == client.NameValid {
			f.Names = append(f.Names, rememberedName{n.Name, n.ExpiresAt})
		}
	}
	text, err := json.Marshal(f)
	if err != nil {
		return
	}
	path := k.namesPath()
	if path == "" || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	if os.WriteFile(path+".part", append(text, '\n'), 0o600) == nil {
		_ = os.Rename(path+".part", path)
	}
}

// remind says once a day which names of the keys here expire soon. It keeps
// quiet about everything that goes wrong: nobody asked for it.
func (u *person) remind(ctx context.Context) {
	if asked, err := os.Stat(u.ring.namesPath()); err == nil && time.Since(asked.ModTime()) < remindEvery && time.Since(asked.ModTime()) >= 0 {
		return
	}
	keys, err := u.ring.store.List()
	if err != nil || len(keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	names, err := u.ownNames(ctx)
	if err != nil {
		return
	}
	u.ring.remember(names)
	for _, n := range names {
		if n.State == client.NameValid && n.DaysLeft < remindDays {
			fmt.Fprintf(u.program.err, "metaim: the name %q expires in %s, on %s: metaim name renew %s\n",
				n.Name, days(n.DaysLeft), clock(n.ExpiresAt*1000), quoted(n.Name))
		}
	}
}

func days(n int64) string {
	switch n {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// quoted writes a name as a word of a shell.
func quoted(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r > '~' || r <= ' ' || strings.ContainsRune("\"'`$\\&;|<>()*?[]#~!{}", r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(safetext.Line(name), "'", `'\''`) + "'"
}
