package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/spf13/cobra"
)

// Where things are when nothing else is said.
const (
	defaultListen = "127.0.0.1:8780"
	defaultServer = "http://" + defaultListen
)

// A setting is what a flag says, else an environment variable, else the file of
// settings under the flag's name, else a default.
type setting struct {
	flag     string // and key in the file
	variable string
	fallback string
	usage    string
	many     bool               // a list joined by commas; in the file also an array
	repeat   bool               // the flag may stand several times: then its values are joined
	only     bool               // no command has it as a flag
	secret   bool               // never shown, and refused in the file
	check    func(string) error // of a value that isn't empty; nil: anything will do
}

var (
	networkSetting        = setting{flag: "network", variable: "METAIM_NETWORK", fallback: string(frame.Main), usage: "main, test or regtest", check: checkNetwork}
	serverSetting         = setting{flag: "server", variable: "METAIM_SERVER", fallback: defaultServer, usage: "the server to ask", check: checkServer}
	homeSetting           = setting{flag: "home", variable: "METAIM_HOME", usage: "folder of keys and coins (default: metaim in the user's data folder)"}
	passphraseSetting     = setting{flag: "passphrase", variable: "METAIM_PASSPHRASE", usage: "of the keys; better in a file that only you can read", only: true, secret: true}
	passphraseFileSetting = setting{flag: "passphrase-file", variable: "METAIM_PASSPHRASE_FILE", usage: "file that holds the passphrase of the keys", only: true}
)

// settings are all there are, in the order in which `config` lists them. What
// isn't here can't stand in the file.
func settings() []setting {
	all := []setting{networkSetting, serverSetting, homeSetting, passphraseSetting, passphraseFileSetting, tokenSetting, tokenFileSetting, devnetSetting,
		storeSetting, listenSetting, sourceSetting, zmqSetting, peerSetting, rpcSetting, nodeDirectory, logSetting, originSetting, pprofSetting}
	all = append(all, guardSettings...)
	return slices.Concat(all, sourceSettings, watchSettings, submitSettings)
}

// asSetting marks a flag as one of a setting: other flags may have the same name.
const asSetting = "metaim_setting"

// add adds the setting to a command as a flag.
func (s setting) add(c *cobra.Command) {
	if s.repeat {
		c.Flags().Var(new(joined), s.flag, s.usage+" ["+s.variable+"]")
	} else {
		c.Flags().String(s.flag, "", s.usage+" ["+s.variable+"]")
	}
	f := c.Flags().Lookup(s.flag)
	if s.fallback != "" {
		f.Usage += " (default " + s.fallback + ")"
	}
	f.Annotations = map[string][]string{asSetting: {s.variable}}
}

// joined is the value of a flag that may stand several times.
type joined string

func (j *joined) String() string { return string(*j) }

func (j *joined) Type() string { return "string" }

func (j *joined) Set(value string) error {
	if *j != "" {
		value = string(*j) + "," + value
	}
	*j = joined(value)
	return nil
}

// value returns the setting as it is in force. c may be nil.
func (s setting) value(c *cobra.Command, p *program) string {
	value, _ := s.lookup(c, p)
	return value
}

// Where a value in force comes from, beside the environment and the file.
const (
	fromFlag    = "flag"
	fromDefault = "default"
)

// lookup returns the setting as it is in force, and where that comes from.
func (s setting) lookup(c *cobra.Command, p *program) (value, origin string) {
	if c != nil {
		if f := c.Flags().Lookup(s.flag); f != nil && f.Changed {
			return f.Value.String(), fromFlag
		}
	}
	if v := p.getenv(s.variable); v != "" {
		return v, s.variable
	}
	if v, ok := p.file[s.flag]; ok {
		return v.text, v.where
	}
	return s.fallback, fromDefault
}

// checkSettings tells every fault in the settings that a command has.
func checkSettings(c *cobra.Command, p *program) error {
	var faults []error
	for _, s := range settings() {
		f := c.Flags().Lookup(s.flag)
		if f == nil || f.Annotations[asSetting] == nil {
			continue
		}
		value, origin := s.lookup(c, p)
		if err := s.refuse(value); err != nil {
			faults = append(faults, at(origin, err))
		}
	}
	return errors.Join(faults...)
}

// at says where a fault is, unless the reader has just typed it.
func at(origin string, err error) error {
	if origin == fromFlag || origin == fromDefault {
		return err
	}
	return usagef("%s: %w", origin, err)
}

// refuse tells why a value can't be the setting's.
func (s setting) refuse(value string) error {
	if s.check == nil || value == "" {
		return nil
	}
	return s.check(value)
}

// shown returns a value as it may be printed.
func (s setting) shown(value string) string {
	if s.secret && value != "" {
		return "(not shown)"
	}
	var all []string
	for _, part := range strings.Split(value, ",") {
		all = append(all, withoutPassword(part))
	}
	return strings.Join(all, ",")
}

func networkOf(c *cobra.Command, p *program) (frame.Network, error) {
	n, err := frame.ParseNetwork(networkSetting.value(c, p))
	if err != nil {
		return "", usageError{err}
	}
	return n, nil
}

// homeOf returns the folder of keys and coins.
func homeOf(c *cobra.Command, p *program) (string, error) {
	if home := homeSetting.value(c, p); home != "" {
		return home, nil
	}
	if data := p.getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "metaim"), nil
	}
	home := p.getenv("HOME")
	if home == "" {
		return "", errors.New("there is no home folder: give --home")
	}
	return filepath.Join(home, ".local", "share", "metaim"), nil
}
