package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/postgres"
	"github.com/metaim/metaim/index/sqlite"
	"github.com/spf13/cobra"
)

var storeSetting = setting{flag: "store", variable: "METAIM_STORE", check: checkStore, usage: "sqlite:PATH or postgres://USER@HOST/DATABASE (default: SQLite in the folder of --home)"}

// storeSpec returns the store that is meant.
func storeSpec(c *cobra.Command, p *program, network frame.Network) (string, error) {
	if text := storeSetting.value(c, p); text != "" {
		return text, nil
	}
	home, err := homeOf(c, p)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", err
	}
	return "sqlite:" + filepath.Join(home, "index-"+string(network)+".db"), nil
}

// openStore opens a store by its specification. For writing, a PostgreSQL store
// waits until the one that writes now is gone.
func openStore(ctx context.Context, spec string, network frame.Network, readOnly bool, logger *slog.Logger) (index.Store, error) {
	kind, path, ok := strings.Cut(spec, ":")
	switch {
	case ok && path != "" && kind == "sqlite":
		return openSQLite(ctx, path, network, readOnly, logger)
	case ok && (kind == "postgres" || kind == "postgresql"):
		return postgres.Open(ctx, spec, postgres.Config{Network: network, ReadOnly: readOnly, Wait: true, Logger: logger})
	}
	return nil, usagef("store %q is neither sqlite:PATH nor postgres://USER@HOST/DATABASE", withoutPassword(spec))
}

func openSQLite(ctx context.Context, path string, network frame.Network, readOnly bool, logger *slog.Logger) (index.Store, error) {
	if readOnly {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("store %s: %w", path, err)
		}
	}
	return sqlite.Open(ctx, path, sqlite.Config{Network: network, ReadOnly: readOnly, Logger: logger})
}

// withoutPassword makes a URL fit to be shown.
func withoutPassword(spec string) string {
	if at := strings.LastIndex(spec, "@"); at >= 0 {
		return "...@" + spec[at+1:]
	}
	return spec
}

// withStore opens the store that a command names for reading, and reads it in
// one snapshot.
func withStore(c *cobra.Command, p *program, read func(v index.View, network frame.Network) error) error {
	network, err := networkOf(c, p)
	if err != nil {
		return err
	}
	spec, err := storeSpec(c, p, network)
	if err != nil {
		return err
	}
	store, err := openStore(c.Context(), spec, network, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = store.View(c.Context(), func(v index.View) error { return read(v, network) })
	return errors.Join(err, store.Close())
}

func addStoreFlags(c *cobra.Command) {
	for _, s := range []setting{storeSetting, networkSetting, homeSetting} {
		s.add(c)
	}
}
