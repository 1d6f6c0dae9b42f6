//go:build unix

package devnet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

// inFolder keeps a node's chain in a folder.
func inFolder(dir string) testnode.Option { return func(c *devnet.Config) { c.Dir = dir } }

func height(t *testing.T, n *devnet.Node) int32 {
	t.Helper()
	h, err := n.RPC().GetBlockCount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mempool(t *testing.T, n *devnet.Node) map[frame.Hash]bool {
	t.Helper()
	txids, err := n.RPC().GetRawMempool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := make(map[frame.Hash]bool)
	for _, txid := range txids {
		set[txid] = true
	}
	return set
}

// stranger is an address of nobody here.
func stranger() frame.KeyHash { return signer.NewKey().KeyHash() }

func TestStartMineFund(t *testing.T) {
	n := testnode.Start(t)
	if got := height(t, n); got != 110 {
		t.Errorf("a new chain has height %d, want 110", got)
	}
	to := stranger()
	raw := testnode.Fund(t, n, to, 12345)
	tx, err := signer.ParseTransaction(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := frame.PayToPublicKeyHash(*tx.Outputs[0].LockingScript)
	if !ok || got != to || tx.Outputs[0].Satoshis != 12345 {
		t.Errorf("the faucet paid %d satoshis to %x, want 12345 to %x", tx.Outputs[0].Satoshis, got, to)
	}
	if !mempool(t, n)[frame.HashOf(raw)] {
		t.Errorf("%s isn't in the mempool", frame.HashOf(raw))
	}
	testnode.Mine(t, n, 1)
	if got := mempool(t, n); len(got) != 0 {
		t.Errorf("%d transactions are in the mempool after a block, want none", len(got))
	}
}

func TestFundMany(t *testing.T) {
	n := testnode.Start(t)
	to := stranger()
	raw, err := n.FundMany(t.Context(), to, 1000, 2000)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := signer.ParseTransaction(raw)
	if err != nil {
		t.Fatal(err)
	}
	paid := 0
	for _, out := range tx.Outputs {
		if hash, ok := frame.PayToPublicKeyHash(*out.LockingScript); ok && hash == to && out.Satoshis == 1000 {
			paid++
		}
	}
	if paid != 2000 {
		t.Errorf("got %d coins of 1000 satoshis, want 2000", paid)
	}
}

func TestFaucetRefuses(t *testing.T) {
	n := testnode.Start(t)
	for _, tt := range []struct {
		name     string
		satoshis uint64
		coins    int
		want     error
	}{
		{"nothing", 0, 1, devnet.ErrFunding},
		{"no coins", 1, 0, devnet.ErrFunding},
		{"too many coins", 1, devnet.MaxCoins + 1, devnet.ErrFunding},
		{"more satoshis than there are", 1 << 62, 3, devnet.ErrFunding},
		{"more than it has", 5000 * 100_000_000, 1, devnet.ErrFaucetEmpty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := n.FundMany(t.Context(), stranger(), tt.satoshis, tt.coins); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	testnode.Fund(t, n, stranger(), 1) // still works
}

func TestRestartGoesOnWithTheChain(t *testing.T) {
	dir := t.TempDir()
	first := testnode.Start(t, inFolder(dir))
	// Most of what the faucet has, so that the second start must find the change.
	raw := testnode.Fund(t, first, stranger(), 350*100_000_000)
	testnode.Mine(t, first, 3)
	lost := testnode.Fund(t, first, stranger(), 1) // in the mempool only
	tip, pid := testnode.Tip(t, first), first.PID()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after Stop: %v, want %v", pid, err, syscall.ESRCH)
	}
	if _, err := devnet.ReadConnection(dir); err == nil {
		t.Errorf("%s is there after Stop", devnet.ConnectionFile)
	}

	second := testnode.Start(t, inFolder(dir))
	if got := testnode.Tip(t, second); got != tip {
		t.Errorf("after a restart the tip is %s, want %s", got, tip)
	}
	if _, err := second.RPC().GetRawTransaction(t.Context(), frame.HashOf(raw)); err != nil {
		t.Errorf("a confirmed transaction after a restart: %v", err)
	}
	if _, err := second.RPC().GetRawTransaction(t.Context(), frame.HashOf(lost)); !errors.Is(err, noderpc.ErrNotFound) {
		t.Errorf("an unconfirmed transaction after a restart: got %v, want %v", err, noderpc.ErrNotFound)
	}
	for range 3 {
		testnode.Fund(t, second, stranger(), 100_000)
	}
	testnode.Mine(t, second, 1)
	if got := mempool(t, second); len(got) != 0 {
		t.Errorf("%d of the faucet's transactions weren't mined", len(got))
	}
}

func TestFolderBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	n := testnode.Start(t, inFolder(dir))
	_, err := devnet.Start(t.Context(), devnet.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another local network runs in "+dir) {
		t.Errorf("a second start in one folder: %v", err)
	}
	if err := n.RPC().Ping(t.Context()); err != nil {
		t.Errorf("the first node after it: %v", err)
	}
}

func TestSecretsAreTheOwners(t *testing.T) {
	n := testnode.Start(t)
	for _, name := range []string{devnet.ConnectionFile, "bsvd.conf", "miner.key", "chain.dat"} {
		info, err := os.Stat(filepath.Join(n.Dir(), name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, want 0600", name, info.Mode().Perm())
		}
	}
	c, err := devnet.ReadConnection(n.Dir())
	if err != nil || c != n.Connection() {
		t.Errorf("got connection %v, error %v; want %v", c, err, n.Connection())
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n.PID()))
	if err == nil && bytes.Contains(line, []byte(c.RPCPassword)) {
		t.Error("the password is in bsvd's arguments, where everyone can read it")
	}
	client, err := noderpc.New(noderpc.Config{URL: c.RPC, User: c.RPCUser, Password: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()); !errors.Is(err, noderpc.ErrUnauthorized) {
		t.Errorf("a wrong password: got %v, want %v", err, noderpc.ErrUnauthorized)
	}
}

func TestDeadNodeIsNoticed(t *testing.T) {
	n := testnode.Start(t)
	result := make(chan error, 1)
	go func() { result <- n.Run(t.Context()) }()
	if err := syscall.Kill(n.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-n.Done()
	err := <-result
	if err == nil || !strings.Contains(err.Error(), "bsvd has ended (signal: killed)") {
		t.Errorf("Run after the node was killed: %v", err)
	}
	if _, err := n.Mine(t.Context(), 1); !errors.Is(err, noderpc.ErrUnreachable) {
		t.Errorf("Mine after the node was killed: got %v, want %v", err, noderpc.ErrUnreachable)
	}
}

func TestStartTellsWhy(t *testing.T) {
	taken := testnode.Start(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(taken.Connection().RPC, "http://"), ":")
	var rpcPort int
	fmt.Sscan(port, &rpcPort)
	dying := filepath.Join(t.TempDir(), "bsvd")
	if err := os.WriteFile(dying, []byte("#!/bin/sh\necho no space on this disk\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  devnet.Config
		want string
	}{
		{"binary dies", devnet.Config{Binary: dying}, "exit status 3); its last lines: no space on this disk"},
		{"no such binary", devnet.Config{Binary: "/nowhere/bsvd"}, "no such file or directory"},
		{"port taken", devnet.Config{Binary: dying, RPCPort: rpcPort}, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := devnet.Start(t.Context(), tt.cfg)
			if err == nil {
				n.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestRunMinesWhatWaits(t *testing.T) {
	n := testnode.Start(t, func(c *devnet.Config) { c.BlockEvery = 20 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- n.Run(ctx) }()
	before := height(t, n)
	raw := testnode.Fund(t, n, stranger(), 1000)
	testnode.Await(t, "the transaction is mined", func() bool { return !mempool(t, n)[frame.HashOf(raw)] })
	if got := height(t, n); got != before+1 {
		t.Errorf("height %d after one transaction, want %d", got, before+1)
	}
	cancel()
	if err := <-result; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestRunHeartbeat(t *testing.T) {
	n := testnode.Start(t, func(c *devnet.Config) {
		c.BlockEvery, c.Heartbeat = 10*time.Millisecond, 20*time.Millisecond
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- n.Run(ctx) }()
	testnode.Await(t, "three empty blocks", func() bool { return height(t, n) >= 113 })
	cancel()
	if err := <-result; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

// parentFolder is the variable that makes the test binary the process that
// TestNodeDiesWithItsParent kills.
const parentFolder = "DEVNET_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentFolder); dir != "" {
		if err := parent(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// parent starts a node, says which, and waits to be killed.
func parent(dir string) error {
	n, err := devnet.Start(context.Background(), devnet.Config{Dir: dir})
	if err != nil {
		return err
	}
	info, err := n.Info(context.Background())
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"pid": n.PID(), "tip": info.Best}); err != nil {
		return err
	}
	select {}
}

func TestNodeDiesWithItsParent(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentFolder+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said struct {
		PID int
		Tip string
	}
	err = json.NewDecoder(out).Decode(&said)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	n := testnode.Start(t, inFolder(dir))
	if got := testnode.Tip(t, n).String(); got != said.Tip {
		t.Errorf("after the crash the tip is %s, want %s", got, said.Tip)
	}
	testnode.Await(t, "the first node's process is gone", func() bool {
		return errors.Is(syscall.Kill(said.PID, 0), syscall.ESRCH)
	})
	testnode.Fund(t, n, stranger(), 1)
}
