package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/noderpc"
)

// othersReach tells whether a file's mode lets others at it, where modes mean
// something.
func othersReach(mode fs.FileMode) bool { return runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 }

// node looks at the nodes that would be followed, and at the one that would be
// submitted to.
func (d *doctor) node(ctx context.Context) {
	ctx, cancel := within(ctx)
	defer cancel()
	d.source(ctx)
	text := rpcSetting.value(d.cmd, d.program)
	if text == "" {
		return
	}
	if client, err := rpcClient(text); err != nil {
		d.say("node", stateFail, "metaim config", "%v", err)
	} else {
		d.rpc(ctx, client)
	}
}

// source connects to the nodes as metaim serve would.
func (d *doctor) source(ctx context.Context) {
	s := &service{network: d.network, logger: slog.New(slog.DiscardHandler), readOnly: true}
	spec, err := s.sourceSpec(d.cmd, d.program)
	switch {
	case err != nil:
		d.say("node", stateFail, "metaim devnet, or another --devnet-dir", "%v", err)
		return
	case s.local == nil && (spec == "p2p:" || spec == ""):
		d.absent("node", "metaim doctor node --peer HOST:PORT", "no node is set up to be followed: --source, --peer and --devnet-dir are empty")
		return
	case strings.HasPrefix(spec, "blocks:"):
		for _, path := range list(strings.TrimPrefix(spec, "blocks:")) {
			if _, err := os.Stat(path); err != nil {
				d.say("node", stateFail, "", "the block files can't be read: %v", err)
			}
		}
		return
	}
	if path := wocKeyFileSetting.value(nil, d.program); path != "" && strings.HasPrefix(spec, "whatsonchain:") {
		d.private("node", path)
	}
	params := chainwatch.ParamsOf(d.network)
	var source chainwatch.Source
	if s.local != nil {
		source, err = s.local.source(params, s.logger)
	} else {
		source, err = openSource(ctx, spec, zmqSetting.value(d.cmd, d.program), params, s.logger, d.program)
	}
	if err != nil {
		d.say("node", stateFail, "metaim config", "%v", err)
		return
	}
	d.connect(ctx, source)
}

// connect runs a source until it is connected or says what is wrong.
func (d *doctor) connect(ctx context.Context, source chainwatch.Source) {
	run, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- source.Run(run) }()
	var failed error
	status := source.Status()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for failed == nil && ctx.Err() == nil && (status.Connected == 0 || len(status.Nodes) > status.Connected && status.Trouble == "") {
		select {
		case failed = <-ended:
			ended <- failed
			if failed == nil {
				failed = errors.New("the source has ended")
			}
		case <-tick.C:
			if status = source.Status(); status.Connected == 0 && status.Trouble != "" {
				failed = errors.New(status.Trouble)
			}
		case <-ctx.Done():
		}
	}
	end()
	<-ended
	const try = "see that the node runs and that its address, network and port are right"
	switch {
	case failed != nil:
		d.say("node", stateFail, try, "%v", failed)
	case status.Connected == 0:
		d.say("node", stateFail, try, "no node has answered in %s", people(doctorPatience))
	case status.Trouble != "":
		d.say("node", stateWarn, try, "%s", status.Trouble)
	default:
		d.ok("node", "%d nodes are connected, and claim height %d on %s", status.Connected, status.Height, d.network)
	}
	if d.info != nil && status.Connected > 0 && status.Height > d.info.Tip.Height+2 {
		d.say("node", stateWarn, "metaim doctor server", "the server's index is %d blocks behind the height that a node claims", status.Height-d.info.Tip.Height)
	}
}

// rpc asks the node that transactions would be submitted to.
func (d *doctor) rpc(ctx context.Context, client *noderpc.Client) {
	defer client.Close()
	height, err := client.GetBlockCount(ctx)
	var first frame.Hash
	if err == nil {
		first, err = client.GetBlockHash(ctx, 0)
	}
	params := chainwatch.ParamsOf(d.network)
	switch {
	case errors.Is(err, noderpc.ErrUnauthorized):
		d.say("node", stateFail, "correct user and password in "+rpcSetting.variable, "the node at %s refuses the user or the password", client.URL())
	case err != nil:
		d.say("node", stateFail, "see that the node runs with its RPC open to this machine", "the RPC of the node at %s: %v", client.URL(), err)
	case first != params.Genesis.Hash():
		d.say("node", stateFail, "name a node of the same network", "the node at %s is of another network than %s", client.URL(), d.network)
	default:
		d.ok("node", "the RPC of the node at %s answers, at height %d", client.URL(), height)
	}
}

// store opens the index for reading, and looks at where it lies.
func (d *doctor) store(ctx context.Context) {
	ctx, cancel := within(ctx)
	defer cancel()
	spec := storeSetting.value(d.cmd, d.program)
	if spec == "" {
		home, err := homeOf(d.cmd, d.program)
		if err != nil {
			return // keys has told
		}
		spec = "sqlite:" + filepath.Join(home, "index-"+string(d.network)+".db")
	}
	path, embedded := strings.CutPrefix(spec, "sqlite:")
	if embedded && !d.serves() && !d.asked {
		if _, err := os.Stat(path); err != nil {
			return // no server has been here
		}
	}
	if embedded {
		d.disk(filepath.Dir(path))
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			d.ok("store", "there is no index at %s yet: metaim serve makes it", path)
			return
		}
	} else {
		d.postgres(ctx, spec)
	}
	d.openIndex(ctx, spec)
}

func (d *doctor) openIndex(ctx context.Context, spec string) {
	store, err := openStore(ctx, spec, d.network, true, slog.New(slog.DiscardHandler))
	if err != nil {
		d.say("store", stateFail, "metaim doctor store --store ... --network ...", "the index can't be opened: %v", err)
		return
	}
	var tip index.Tip
	err = store.View(ctx, func(v index.View) (err error) {
		tip, err = v.Tip()
		return err
	})
	if err = errors.Join(err, store.Close()); err != nil {
		d.say("store", stateFail, "metaim doctor store", "the index can't be read: %v", err)
		return
	}
	d.ok("store", "the index of %s ends at height %d, and this program reads its version", d.network, tip.Height)
}

const (
	leastFree = 2 << 30                // bytes: below it the disk is as good as full
	fewFree   = 20 << 30               // bytes: below it somebody should look
	slowSync  = 100 * time.Millisecond // for a small write to be safe on the disk
)

// disk looks at a folder that an index would lie in.
func (d *doctor) disk(folder string) {
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		d.say("store", stateFail, "mkdir -m 700 -p "+shellWord(folder), "the folder %s of the index isn't there", folder)
		return
	}
	if free, ok := freeBytes(folder); ok {
		state, try := stateOK, ""
		switch {
		case free < leastFree:
			state, try = stateFail, "make room, or move the index to a larger disk"
		case free < fewFree:
			state, try = stateWarn, "see that it lasts: metaim_index_tip_height_blocks and the size of the index grow together"
		}
		d.say("store", state, try, "%.1f GB are free in %s", float64(free)/1e9, folder)
	}
	took, err := syncTime(folder)
	switch {
	case err != nil:
		d.say("store", stateFail, "see who owns the folder, and what metaim runs as", "nothing can be written to %s: %v", folder, err)
	case took > slowSync:
		d.say("store", stateWarn, "a local SSD", "a small write takes %s to be safe on the disk: commits wait for that", took.Round(time.Millisecond))
	default:
		d.ok("store", "a small write is safe on the disk in %s", took.Round(10*time.Microsecond))
	}
}

// syncTime returns the median time that three small writes take to be on the disk.
func syncTime(folder string) (took time.Duration, err error) {
	f, err := os.CreateTemp(folder, ".metaim-doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var times [3]time.Duration
	for i := range times {
		start := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	return max(min(times[0], times[1]), min(max(times[0], times[1]), times[2])), nil
}

// postgres asks a database about what the index relies on.
func (d *doctor) postgres(ctx context.Context, url string) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		d.say("store", stateFail, "metaim config", "the store is no PostgreSQL URL such as postgres://user@host:5432/database") // the reason has parts of it
		return
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return // opening the index tells it in a sentence
	}
	defer func() { _ = conn.Close(ctx) }() // nothing hangs on how it ends
	var version, fsync, commit, pages string
	var size int64
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),
		current_setting('full_page_writes'), pg_database_size(current_database())`).Scan(&version, &fsync, &commit, &pages, &size)
	if err != nil {
		d.say("store", stateFail, "", "PostgreSQL can't be asked: %v", err)
		return
	}
	if fsync != "on" || pages != "on" {
		d.say("store", stateFail, "set fsync = on and full_page_writes = on in postgresql.conf", "PostgreSQL may lose or break the index when the machine fails: fsync is %s, full_page_writes %s", fsync, pages)
	}
	if commit == "off" {
		d.say("store", stateWarn, "set synchronous_commit = on", "PostgreSQL may forget the last commits when the machine fails; the index is then made up from the chain again")
	}
	d.ok("store", "PostgreSQL %s answers, and the database has %.1f GB", version, float64(size)/1e9)
}

// files are what a server with all its connections needs, and some.
const files = 32_768

// limits looks at file descriptors and ports.
func (d *doctor) limits(ctx context.Context) {
	if !d.serves() && !d.asked {
		return
	}
	if most, ok := mostFiles(); ok && most < files {
		d.say("limits", stateWarn, "ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit", "this process may open %d files: a server with 20,000 connections needs %d", most, files)
	} else if ok {
		d.ok("limits", "this process may open %d files", most)
	}
	for _, s := range []setting{listenSetting, metricsSetting, pprofSetting} {
		if at := s.value(d.cmd, d.program); at != "" {
			d.port(ctx, s, at)
		}
	}
}

// port tries whether an address could be listened on.
func (d *doctor) port(ctx context.Context, s setting, at string) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	if err == nil {
		_ = l.Close() // it was only a try
		d.ok("limits", "--%s %s is free", s.flag, at)
		return
	}
	if d.info != nil && s.flag == listenSetting.flag && strings.HasSuffix(serverSetting.value(d.cmd, d.program), "/"+at) {
		d.ok("limits", "--%s %s is taken by the server that answers there", s.flag, at)
		return
	}
	d.say("limits", stateWarn, "if that isn't the running server, name another address with --"+s.flag, "--%s %s can't be listened on: %s", s.flag, at, brief(err))
}
