package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/postgres"
	"github.com/metaim/metaim/index/sqlite"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/internal/testpg"
)

// stores are the kinds of store that are measured, each as durable as a service
// runs it: SQLite in WAL with synchronous=FULL, PostgreSQL with fsync, full page
// writes and synchronous_commit.
var stores = []string{"sqlite", "postgres"}

// durability says how what is measured is kept.
const durability = "durable: SQLite WAL synchronous=FULL; PostgreSQL fsync, full_page_writes and synchronous_commit on, shared_buffers 1 GB, max_wal_size 8 GB"

// A place is where stores of one kind are made.
type place struct {
	kind   string
	folder string         // of SQLite
	server *testpg.Server // of PostgreSQL
	pids   []int          // processes that work for the stores, beside who opens them
	made   int
}

// newPlace makes a place for stores; end removes it.
func newPlace(kind string) (p *place, end func(), err error) {
	p = &place{kind: kind}
	if kind == "sqlite" {
		if p.folder, err = os.MkdirTemp("", "metaim-bench-"); err != nil {
			return nil, nil, err
		}
		return p, func() { _ = os.RemoveAll(p.folder) }, nil
	}
	p.server, err = testpg.New(testpg.Durable(), testpg.Set("shared_buffers", "1GB"), testpg.Set("max_wal_size", "8GB"),
		testpg.Set("checkpoint_timeout", "30min"), testpg.Set("jit", "off"), testpg.Set("autovacuum_naptime", "20s"))
	if err != nil {
		return nil, nil, err
	}
	end = func() { _ = p.server.Remove() }
	pid, err := p.server.PID()
	p.pids = []int{pid}
	return p, end, err
}

// fresh returns the specification of a store that isn't there yet.
func (p *place) fresh() (spec string, err error) {
	if p.kind == "sqlite" {
		p.made++
		return "sqlite:" + filepath.Join(p.folder, fmt.Sprintf("index%d.db", p.made)), nil
	}
	return p.server.Database()
}

// openStore opens a store by its specification.
func openStore(ctx context.Context, spec string) (index.Store, error) {
	if path, ok := strings.CutPrefix(spec, "sqlite:"); ok {
		return sqlite.Open(ctx, path, sqlite.Config{Network: simchain.Network})
	}
	if !strings.HasPrefix(spec, "postgres:") {
		return nil, errors.New("no such store")
	}
	return postgres.Open(ctx, spec, postgres.Config{Network: simchain.Network})
}
