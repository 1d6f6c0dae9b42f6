// Package devnet runs a Bitcoin SV network on this machine: bsvd, a real node, as
// a child process on loopback, with a miner and a faucet.
//
// [Build] finds or builds the binary, [Start] runs it, [Node.Run] mines when there
// is something to mine, [Node.Fund] gives coins away and [Handler] does both over
// HTTP. The network is always regtest. A node that is started again in the same
// folder goes on with its chain; what was in its mempool is lost. The child never
// outlives this process: it is stopped by [Node.Stop], killed by the kernel where
// that can be arranged (Linux), and an orphan is stopped by the next Start.
package devnet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/signer"
	"github.com/metaim/metaim/signer/broadcast"
)

// Config says how a node runs. The zero Config is good for a test.
type Config struct {
	Dir        string        // its folder, made if need be; empty: a temporary one, removed by Stop
	Binary     string        // of bsvd; empty: what Build finds or builds
	P2PPort    int           // on 127.0.0.1; 0: a free one
	RPCPort    int           // likewise
	BlockEvery time.Duration // how often Run looks for transactions to mine; 0: 10 seconds
	Heartbeat  time.Duration // Run mines a block at least so often, empty or not; 0: never an empty one
	MinerKey   signer.Key    // who is paid for blocks and pays for the faucet; the zero Key: one of its own, kept in Dir
	Empty      bool          // a chain that begins is left empty, for another node's to fill
	Logger     *slog.Logger  // nil: nothing is logged
}

const (
	// firstBlocks are mined when a chain begins: ten coinbases, 500 BSV, can be
	// spent at once.
	firstBlocks = 110
	// stale is how old a tip may be at a start: with a tip older than a day, bsvd
	// believes that it is still catching up and ignores what its peers announce.
	stale = time.Hour

	startTime = 30 * time.Second // how long bsvd may take until it answers
	loopback  = "127.0.0.1"

	// ConnectionFile is the name of the file in Config.Dir that says how to reach
	// the node, as JSON of a [Connection]. Only its owner can read it.
	ConnectionFile = "devnet.json"
)

// A Connection says how to reach a node.
type Connection struct {
	Network     frame.Network `json:"network"`
	P2P         string        `json:"p2p"` // host:port
	RPC         string        `json:"rpc"` // URL
	RPCUser     string        `json:"rpc_user"`
	RPCPassword string        `json:"rpc_password"`
}

// A Node is a running bsvd with its miner and faucet. Its methods are safe for
// concurrent use.
type Node struct {
	cfg        Config
	temporary  bool // Dir is removed at the end
	connection Connection
	rpc        *noderpc.Client
	submit     *broadcast.NodeRPC
	key        signer.Key // the miner's
	log        *slog.Logger
	unlock     func() // of Dir
	child      *child

	mu    sync.Mutex // over mining and paying: one at a time
	chain *chainFile
	purse *purse // nil when the coins must be counted again

	stopOnce sync.Once
	stopErr  error
}

// Start starts a node and returns when it is ready: its kept chain is replayed,
// and the faucet has coins. ctx bounds the start only; the node runs until Stop.
// It fails when the folder is another process's, the binary can't be had, the
// child dies (its last words are in the error) or a kept block is refused.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Logger}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.cfg.BlockEvery <= 0 {
		n.cfg.BlockEvery = 10 * time.Second
	}
	if err := n.start(ctx); err != nil {
		return nil, fmt.Errorf("start a local network: %w", errors.Join(err, n.Stop()))
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.claim(); err != nil {
		return err
	}
	if n.cfg.Binary == "" {
		binary, err := Build(ctx, slog.NewLogLogger(n.log.Handler(), slog.LevelInfo).Writer())
		if err != nil {
			return err
		}
		n.cfg.Binary = binary
	}
	if err := stopOrphan(ctx, n.path("bsvd.pid"), n.dataArgument()); err != nil {
		return err
	}
	var err error
	if n.key = n.cfg.MinerKey; !n.key.Valid() {
		n.key, err = minerKey(n.path("miner.key"))
	}
	if err != nil {
		return err
	}
	if err := n.launch(ctx); err != nil {
		return err
	}
	if err := n.restore(ctx); err != nil {
		return err
	}
	n.log.Info("local network is ready", "p2p", n.connection.P2P, "rpc", n.connection.RPC, "dir", n.cfg.Dir)
	return n.writeConnection()
}

// claim makes the folder and locks it.
func (n *Node) claim() error {
	var err error
	if n.cfg.Dir == "" {
		n.temporary = true
		n.cfg.Dir, err = os.MkdirTemp("", "metaim-devnet-")
	} else if n.cfg.Dir, err = filepath.Abs(n.cfg.Dir); err == nil {
		err = os.MkdirAll(n.cfg.Dir, 0o700)
	}
	if err != nil {
		return err
	}
	n.unlock, err = lockFile(n.path("lock"))
	if errors.Is(err, errLocked) {
		return fmt.Errorf("another local network runs in %s", n.cfg.Dir)
	}
	return err
}

func (n *Node) path(name string) string { return filepath.Join(n.cfg.Dir, name) }

// dataArgument is the argument by which a bsvd is known to be the one of our
// folder.
func (n *Node) dataArgument() string { return "--datadir=" + n.path("data") }

// launch starts bsvd and waits until it answers. Ports that it was to choose
// itself may be taken by another process in between: then it tries others.
func (n *Node) launch(ctx context.Context) error {
	for try := 1; ; try++ {
		err := n.launchOnce(ctx)
		chosen := n.cfg.P2PPort == 0 || n.cfg.RPCPort == 0
		if err == nil || try == 3 || !chosen || !strings.Contains(err.Error(), "address already in use") {
			return err
		}
	}
}

func (n *Node) launchOnce(ctx context.Context) error {
	ports, err := choosePorts(n.cfg.P2PPort, n.cfg.RPCPort)
	if err != nil {
		return err
	}
	n.connection = Connection{
		Network: frame.Regtest, P2P: net.JoinHostPort(loopback, ports[0]),
		RPC:     "http://" + net.JoinHostPort(loopback, ports[1]),
		RPCUser: "metaim", RPCPassword: rand.Text(),
	}
	// A file, since anyone on the machine can read a process's arguments.
	secrets := fmt.Sprintf("[Application Options]\nrpcuser=%s\nrpcpass=%s\n", n.connection.RPCUser, n.connection.RPCPassword)
	err = errors.Join(
		os.WriteFile(n.path("bsvd.conf"), []byte(secrets), 0o600),
		os.MkdirAll(n.path("home"), 0o700))
	if err != nil {
		return err
	}
	n.rpc, err = noderpc.New(noderpc.Config{URL: n.connection.RPC, User: n.connection.RPCUser, Password: n.connection.RPCPassword})
	if err != nil {
		return err
	}
	n.submit = broadcast.NewNodeRPC(n.rpc)
	n.child, err = startChild(n.cfg.Binary, n.arguments(), n.path("home"), n.path("bsvd.log"), n.path("bsvd.pid"))
	if err != nil {
		return fmt.Errorf("run %s: %w", n.cfg.Binary, err)
	}
	if err := n.awaitAnswer(ctx); err != nil {
		n.child.stop()
		return err
	}
	return nil
}

func (n *Node) arguments() []string {
	_, rpc, _ := strings.Cut(n.connection.RPC, "//")
	return []string{
		"--regtest", n.dataArgument(), "--logdir=" + n.path("logs"), "--configfile=" + n.path("bsvd.conf"),
		"--notls", "--rpclisten=" + rpc, "--listen=" + n.connection.P2P,
		"--nodnsseed", "--nobanning", "--txindex", "--miningaddr=" + n.key.Address(frame.Regtest),
		"--blockmaxsize=31000000", "--excessiveblocksize=1000000000", "--minrelaytxfee=0.00000050",
		"--maxpeersperip=100", "--rpcmaxclients=200", "--rpcmaxwebsockets=100", "--rpcmaxconcurrentreqs=200",
	}
}

// choosePorts returns the ports wanted, or free ones of 127.0.0.1 for those that
// are 0.
func choosePorts(wanted ...int) ([]string, error) {
	ports := make([]string, len(wanted))
	for i, port := range wanted {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until all are chosen
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports, nil
}

// awaitAnswer returns when bsvd answers, or with the reason why it won't.
func (n *Node) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("bsvd doesn't answer after %s", startTime))
	defer cancel()
	for n.rpc.Ping(ctx) != nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; its last lines: %s", context.Cause(ctx), lastLines(n.child.log))
		case <-n.child.done:
			return n.child.ended()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// minerKey reads the miner's key, or makes one.
func minerKey(path string) (signer.Key, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := signer.NewKey()
		return key, os.WriteFile(path, []byte(key.WIF(frame.Regtest)+"\n"), 0o600)
	}
	if err != nil {
		return signer.Key{}, err
	}
	key, _, err := signer.Import{Network: frame.Regtest}.Parse(string(b))
	if err != nil {
		return signer.Key{}, fmt.Errorf("read the miner's key in %s: %w", path, err)
	}
	return key, nil
}

func (n *Node) writeConnection() error {
	b, err := json.MarshalIndent(n.connection, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(n.path(ConnectionFile), append(b, '\n'), 0o600)
}

// ReadConnection reads how to reach the node of a folder, as Start wrote it. The
// node may have ended since.
func ReadConnection(dir string) (Connection, error) {
	var c Connection
	b, err := os.ReadFile(filepath.Join(dir, ConnectionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("no local network runs in %s", dir)
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read how to reach the local network: %w", err)
	}
	return c, nil
}

// Connection says how to reach the node.
func (n *Node) Connection() Connection { return n.connection }

// RPC returns a client of the node.
func (n *Node) RPC() *noderpc.Client { return n.rpc }

// Dir returns the node's folder.
func (n *Node) Dir() string { return n.cfg.Dir }

// PID returns the number of bsvd's process.
func (n *Node) PID() int { return n.child.process.Pid }

// Done is closed when bsvd has ended, by Stop or by itself.
func (n *Node) Done() <-chan struct{} { return n.child.done }

// Stop keeps the newest blocks, ends bsvd and returns when it is gone. Calling it
// again does nothing more.
func (n *Node) Stop() error {
	n.stopOnce.Do(func() { n.stopErr = n.stop() })
	return n.stopErr
}

func (n *Node) stop() error {
	var errs []error
	if n.child != nil {
		errs = append(errs, n.keepLast())
		n.child.stop()
		n.rpc.Close()
	}
	if n.chain != nil {
		errs = append(errs, n.chain.close())
	}
	if n.unlock != nil {
		os.Remove(n.path(ConnectionFile)) // else it only says less than the truth
		n.unlock()
	}
	if n.temporary && n.cfg.Dir != "" {
		errs = append(errs, os.RemoveAll(n.cfg.Dir))
	}
	return errors.Join(errs...)
}
