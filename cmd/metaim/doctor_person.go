package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// keys looks at the files that nobody else may read.
func (d *doctor) keys(context.Context) {
	home, err := homeOf(d.cmd, d.program)
	if err != nil {
		d.say("keys", stateFail, "metaim doctor --home FOLDER", "%v", err)
		return
	}
	for _, s := range []setting{passphraseFileSetting, tokenFileSetting} {
		if path := s.value(nil, d.program); path != "" {
			d.private("keys", path)
		}
	}
	ring := &keyring{program: d.program, network: d.network, home: home, store: &signer.Keystore{Path: filepath.Join(home, "keys.age")}}
	if _, err := os.Stat(ring.store.Path); errors.Is(err, fs.ErrNotExist) {
		d.ok("keys", "there are no keys in %s yet, which only who sends needs (metaim key new LABEL)", home)
		return
	}
	d.private("keys", ring.store.Path)
	list, err := ring.store.List()
	if err != nil {
		d.say("keys", stateFail, "restore the file from your backup", "the keys can't be listed: %v", err)
		return
	}
	d.ok("keys", "%d keys are in %s", len(list), ring.store.Path)
}

// private looks at who can reach a file with secrets.
func (d *doctor) private(check, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		d.say(check, stateFail, "", "a file with secrets can't be looked at: %v", err)
	case info.IsDir():
		d.say(check, stateFail, "", "%s is a folder, not a file", path)
	case othersReach(info.Mode()):
		d.say(check, stateFail, "chmod 600 "+shellWord(path), "other users can reach %s (mode %04o)", path, info.Mode().Perm())
	}
}

// shellWord writes a path as one word for a shell.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("/._-+:@%", r) && !isAlnum(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// reach asks the server who it is, and whether it is ready.
func (d *doctor) reach(ctx context.Context) {
	ctx, cancel := within(ctx)
	defer cancel()
	url := serverSetting.value(d.cmd, d.program)
	server, err := newClient(d.cmd, d.program)
	if err != nil {
		d.say("server", stateFail, "metaim config", "%v", err)
		return
	}
	info, err := server.Info(ctx)
	if err != nil {
		d.say("server", stateFail, "metaim serve, or name another one with --server or METAIM_SERVER", "%s doesn't answer: %s", withoutPassword(url), brief(err))
		return
	}
	network, err := frame.ParseNetwork(info.Network)
	_, origin := networkSetting.lookup(d.cmd, d.program)
	switch {
	case err != nil:
		d.say("server", stateFail, "name another server with --server", "%s is no server of metaim: %v", withoutPassword(url), err)
		return
	case origin != fromDefault && network != d.network:
		d.say("server", stateFail, "metaim doctor --network "+string(network), "%s serves network %s, not %s", withoutPassword(url), network, d.network)
		return
	}
	d.network, d.info, d.server = network, info, server
	d.ok("server", "%s serves %s at height %d, version %s", withoutPassword(url), network, info.Tip.Height, info.Version)
	if mine := releaseOf(version); mine != "" && releaseOf(info.Version) != "" && mine != releaseOf(info.Version) {
		d.say("server", stateWarn, "upgrade the older one", "the server is version %s, this program %s", info.Version, version)
	}
	if !info.Submits {
		d.say("server", stateWarn, "metaim broadcast --node-rpc URL, or a server with --node-rpc or --submit", "the server takes no transactions: sending isn't possible through it")
	}
	d.ready(ctx, "server")
}

// releaseOf returns major and minor of a release's version, "" of others.
func releaseOf(v string) string {
	parts := strings.Split(strings.TrimPrefix(v, "v"), ".")
	if len(parts) < 3 {
		return ""
	}
	return parts[0] + "." + parts[1]
}

// brief is an error's innermost sentence of a few words, without what was asked.
func brief(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}

// ready asks /readyz.
func (d *doctor) ready(ctx context.Context, check string) {
	const answerMost = 64 << 10
	base := strings.TrimRight(serverSetting.value(d.cmd, d.program), "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		d.say(check, stateFail, "", "the server's address can't be asked")
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.say(check, stateFail, "metaim serve", "%s doesn't answer: %s", withoutPassword(base), brief(err))
		return
	}
	defer resp.Body.Close()
	var status struct {
		client.Status
		Detail string `json:"detail"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &status)
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		d.say(check, stateFail, "metaim doctor node store, on the server's machine", "the server is not ready: %s", strings.TrimPrefix(status.Detail, "not ready: "))
	case resp.StatusCode != http.StatusOK || err != nil || status.Status.Status != "ready":
		d.say(check, stateFail, "name another server with --server", "the server answers status %d to /readyz", resp.StatusCode)
	default:
		d.ok(check, "the server is ready")
	}
	for _, w := range status.Warnings {
		d.say(check, stateWarn, "", "the server warns: %s", w)
	}
}

// health is for engines of containers: one request and one line.
func (d *doctor) health(ctx context.Context) {
	ctx, cancel := within(ctx)
	defer cancel()
	d.ready(ctx, healthCheck)
}

// clockMost is how far the clock may be from the chain's median time, which is
// that of the sixth block from the tip: an hour behind on average.
const clockMost = 24 * time.Hour

// clock compares this clock with the chain's.
func (d *doctor) clock(context.Context) {
	if d.info == nil || d.info.Tip.Height < 0 {
		d.absent("clock", "metaim doctor server clock", "no server was asked, or it has no block: nothing to compare the clock with")
		return
	}
	state, try, says := judgeClock(time.Now(), time.Unix(d.info.Tip.MedianTime, 0), d.network)
	d.say("clock", state, try, "%s", says)
}

// judgeClock says what a clock's difference from the median time means.
func judgeClock(now, median time.Time, network frame.Network) (state, try, says string) {
	switch ahead := now.Sub(median); {
	case ahead < -2*time.Hour:
		return stateFail, "timedatectl set-ntp true", fmt.Sprintf("this clock is %s behind the chain's median time: set it", people(-ahead))
	case ahead >= clockMost && network == frame.Main:
		return stateFail, "timedatectl; metaim doctor server",
			fmt.Sprintf("this clock is %s ahead of the chain's median time: it is wrong, or the server has stopped following the chain", people(ahead))
	case ahead >= clockMost:
		return stateOK, "", fmt.Sprintf("the newest blocks are %s old, as may be on %s", people(ahead), network)
	}
	return stateOK, "", "this clock agrees with the chain's median time"
}

// openRing returns the keys, nil when there are none or they can't be read: that was
// told by keys.
func (d *doctor) openRing() (*keyring, []signer.PublicEntry) {
	ring, err := openKeyring(d.cmd, d.program)
	if err != nil {
		return nil, nil
	}
	ring.network = d.network
	list, err := ring.store.List()
	if err != nil || len(list) == 0 {
		return nil, nil
	}
	return ring, list
}

// coins looks at what can be spent.
func (d *doctor) coins(ctx context.Context) {
	ring, list := d.openRing()
	if ring == nil {
		d.absent("coins", "metaim key new LABEL", "there are no keys, and so no coins")
		return
	}
	ctx, cancel := within(ctx)
	defer cancel()
	if _, err := os.Stat(ring.journal()); errors.Is(err, fs.ErrNotExist) {
		d.noCoins(ring, list)
		return
	}
	b, err := ring.balances(ctx, list)
	switch {
	case err != nil:
		d.say("coins", stateFail, "", "the coins can't be read: %v", err)
	case b.Total.Satoshis == 0:
		d.noCoins(ring, list)
	default:
		d.ok("coins", "%s satoshis are in %d coins on %s", grouped(b.Total.Satoshis), b.Total.Coins, ring.network)
	}
}

func (d *doctor) noCoins(ring *keyring, list []signer.PublicEntry) {
	try := "metaim wallet receive " + shellWord(list[0].Label)
	if ring.network == frame.Regtest {
		try = "metaim key fund " + shellWord(list[0].Label)
	}
	d.say("coins", stateWarn, try, "your keys have no coins on %s: nothing can be sent", ring.network)
}

// expirySoon is how long before its end a name is warned of.
const expirySoon = 30 * 24 * time.Hour

// names looks at the names of all keys.
func (d *doctor) names(ctx context.Context) {
	ring, list := d.openRing()
	if ring == nil || d.server == nil {
		d.absent("names", "metaim doctor server keys", "there are no keys, or no server to ask about their names")
		return
	}
	ctx, cancel := within(ctx)
	defer cancel()
	held, soon := 0, 0
	for _, e := range list {
		a, err := d.server.Address(ctx, ring.network.Address(e.KeyHash))
		if err != nil {
			d.say("names", stateFail, "metaim doctor server", "the server can't be asked about the names of %s: %s", e.Label, brief(err))
			return
		}
		for _, n := range a.Names {
			h, s := d.oneName(n, e.Label, a.Tip.MedianTime)
			held, soon = held+h, soon+s
		}
	}
	if held > 0 && soon == 0 {
		d.ok("names", "%d names are yours, and none expires within %s", held, people(expirySoon))
	}
	if held+soon == 0 {
		d.ok("names", "your keys hold no names")
	}
}

// oneName tells whether a name is held, and warns when it isn't for long.
func (d *doctor) oneName(n client.Name, label string, now int64) (held, soon int) {
	if n.State != client.NameValid || n.ExpiresAt == 0 {
		return 0, 0
	}
	if left := n.ExpiresAt - now; left < int64(expirySoon/time.Second) {
		d.say("names", stateWarn, "metaim name renew "+shellWord(n.Name)+" --from "+shellWord(label), "the name %q expires in %s", n.Name, people(time.Duration(max(left, 0))*time.Second))
		return 1, 1
	}
	return 1, 0
}
