package testnode

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// SVNodeVariable is the environment variable that names an svnode binary, the
// reference node. Tests of it are skipped where it is empty.
const SVNodeVariable = "SVNODE_BIN"

// An SVNode is a running svnode on regtest with a wallet of its own. Its
// addresses stay the same over Restart.
type SVNode struct {
	P2P string // host:port
	ZMQ string // tcp://host:port, of all topics
	RPC *noderpc.Client
	// RPCConfig is what RPC was made of.
	RPCConfig noderpc.Config

	binary  string
	args    []string
	log     string
	command *exec.Cmd
	ended   chan struct{} // closed when the process was waited for
}

// StartSVNode starts the svnode that SVNODE_BIN names, mines 110 blocks, and
// stops it when the test ends. Without one it skips the test.
func StartSVNode(t testing.TB) *SVNode {
	t.Helper()
	binary := os.Getenv(SVNodeVariable)
	if binary == "" {
		t.Skip("no svnode: name a binary in " + SVNodeVariable)
	}
	dir := t.TempDir()
	ports := freePorts(t, 3)
	password := rand.Text()
	n := &SVNode{
		P2P: "127.0.0.1:" + ports[0], ZMQ: "tcp://127.0.0.1:" + ports[2], binary: binary, log: filepath.Join(dir, "svnode.out"),
		RPCConfig: noderpc.Config{URL: "http://127.0.0.1:" + ports[1], User: "metaim", Password: password},
		args: []string{
			"-regtest", "-datadir=" + dir, "-conf=" + filepath.Join(dir, "svnode.conf"), "-server", "-rest", "-txindex=1", "-printtoconsole=0",
			"-listen=1", "-bind=127.0.0.1", "-port=" + ports[0], "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", "-rpcport=" + ports[1],
			"-dnsseed=0", "-discover=0", "-whitelist=127.0.0.1",
			// The first three are mandatory; the others make regtest behave as mainnet.
			"-excessiveblocksize=1000000000", "-maxstackmemoryusageconsensus=100000000", "-minminingtxfee=0.0000005",
			"-genesisactivationheight=1", "-acceptnonstdtxn=0", "-maxtxsizepolicy=0",
		},
	}
	for _, topic := range []string{"rawtx2", "hashblock2", "discardedfrommempool", "removedfrommempoolblock", "invalidtx"} {
		n.args = append(n.args, "-zmqpub"+topic+"="+n.ZMQ)
	}
	// A file, since anyone on the machine can read a process's arguments.
	secrets := "rpcuser=metaim\nrpcpassword=" + password + "\n"
	if err := os.WriteFile(filepath.Join(dir, "svnode.conf"), []byte(secrets), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if n.RPC, err = noderpc.New(n.RPCConfig); err != nil {
		t.Fatal(err)
	}
	n.Start(t)
	t.Cleanup(func() {
		n.Stop(t)
		n.RPC.Close()
	})
	n.Mine(t, 110)
	return n
}

func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are held until all are chosen
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// Start starts the process again after Stop and waits until it answers.
func (n *SVNode) Start(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	n.command = exec.Command(n.binary, n.args...)
	n.command.Stdout, n.command.Stderr = out, out
	if err := n.command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	n.ended = ended
	command := n.command
	go func() {
		_ = command.Wait() // that it ended is all that counts
		close(ended)
	}()
	Await(t, "svnode answers", func() bool {
		select {
		case <-ended:
			said, _ := os.ReadFile(n.log)
			t.Fatalf("svnode has ended: %s", noderpc.Clean(string(said)))
		default:
		}
		return n.RPC.Ping(t.Context()) == nil
	})
}

// Stop ends the process and waits for it.
func (n *SVNode) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-n.ended:
		return
	default:
	}
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-n.ended:
	case <-time.After(patience):
		t.Errorf("svnode doesn't end")
		_ = n.command.Process.Kill() // it is waited for below
		<-n.ended
	}
}

// Mine mines blocks to the node's wallet and returns their hashes.
func (n *SVNode) Mine(t testing.TB, blocks int) []frame.Hash {
	t.Helper()
	hashes, err := n.RPC.Generate(n.within(t), blocks)
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

// Pay makes the node's wallet pay to itself and returns the transaction, which is
// in the mempool.
func (n *SVNode) Pay(t testing.TB) []byte {
	t.Helper()
	ctx := n.within(t)
	var to, txid, text string
	err := n.RPC.Call(ctx, "getnewaddress", nil, &to)
	if err == nil {
		err = n.RPC.Call(ctx, "sendtoaddress", []any{to, 0.001}, &txid)
	}
	if err == nil {
		err = n.RPC.Call(ctx, "getrawtransaction", []any{txid, 0}, &text)
	}
	raw, bad := hex.DecodeString(text)
	if err := errors.Join(err, bad); err != nil {
		t.Fatal(err)
	}
	return raw
}

// Replace takes the best block off and mines two others in its place. A
// transaction goes into the first: else it could be the block that was taken off.
func (n *SVNode) Replace(t testing.TB) (gone frame.Hash, come []frame.Hash) {
	t.Helper()
	gone, err := n.RPC.GetBestBlockHash(n.within(t))
	if err == nil {
		err = n.RPC.Call(n.within(t), "invalidateblock", []any{gone.String()}, nil)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("take block %s off: %w", gone, err))
	}
	n.Pay(t)
	return gone, n.Mine(t, 2)
}

func (n *SVNode) within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
