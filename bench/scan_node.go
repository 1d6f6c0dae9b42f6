package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/bsv-blockchain/go-wire"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
)

// roleScanNode is a node of the wire protocol that serves one block to whoever
// connects, in a process of its own: what sending costs isn't ours.
const roleScanNode = "scan-node"

// A scanAsk tells the node which block to serve.
type scanAsk struct {
	Size int64 `json:"size"` // bytes
	Big  bool  `json:"big"`  // made as it is sent
}

// A scanBlock is the node's answer.
type scanBlock struct {
	Hash  frame.Hash `json:"hash"`
	Size  int64      `json:"size"`
	Count uint64     `json:"count"`
}

type scanNode struct {
	mu    sync.Mutex
	block scanBlock
	write func(io.Writer) (int64, error)
}

func serveScanNode(context.Context, []string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	n := &scanNode{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = n.serve(conn) // it ends when the other side has what it wanted
			}()
		}
	}()
	return measure.Serve(measure.Ready{Addr: listener.Addr().String()}, func(question []byte) (any, error) {
		var ask scanAsk
		if err := json.Unmarshal(question, &ask); err != nil {
			return nil, err
		}
		return n.make(ask)
	})
}

func (n *scanNode) make(ask scanAsk) (*scanBlock, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !ask.Big {
		f := foreignBlock(int(ask.Size))
		n.block = scanBlock{f.hash, int64(len(f.raw)), uint64(len(f.txs))}
		n.write = func(w io.Writer) (int64, error) {
			k, err := w.Write(f.raw)
			return int64(k), err
		}
		return &n.block, nil
	}
	big, err := simchain.NewBig(simchain.NewTree().Genesis, 1_700_000_000, ask.Size, bigTransaction, nil)
	if err != nil {
		return nil, err
	}
	n.block, n.write = scanBlock{big.Hash, big.Size, big.Count}, big.WriteTo
	return &n.block, nil
}

// serve shakes hands and answers what it is asked.
func (n *scanNode) serve(conn net.Conn) error {
	in, net := bufio.NewReader(conn), wire.BitcoinNet(chainwatch.ParamsOf(simchain.Network).Magic)
	for {
		msg, _, err := wire.ReadMessage(in, wire.ProtocolVersion, net)
		if err != nil {
			return err
		}
		var reply []wire.Message
		switch m := msg.(type) {
		case *wire.MsgVersion:
			v := wire.NewMsgVersion(&m.AddrMe, &m.AddrYou, m.Nonce+1, 1)
			v.UserAgent = "/Bitcoin SV:1.2.1/"
			reply = []wire.Message{v, wire.NewMsgVerAck()}
		case *wire.MsgPing:
			reply = []wire.Message{wire.NewMsgPong(m.Nonce)}
		case *wire.MsgGetData:
			err = n.send(conn)
		}
		for _, r := range reply {
			if err == nil {
				err = wire.WriteMessage(conn, r, wire.ProtocolVersion, net)
			}
		}
		if err != nil {
			return err
		}
	}
}

// send sends the block with the extended header, which has no checksum, so that
// one of any size needn't be hashed first.
func (n *scanNode) send(conn net.Conn) error {
	n.mu.Lock()
	size, write := n.block.Size, n.write
	n.mu.Unlock()
	head := binary.LittleEndian.AppendUint32(nil, chainwatch.ParamsOf(simchain.Network).Magic)
	head = append(head, "extmsg\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00block\x00\x00\x00\x00\x00\x00\x00"...)
	if _, err := conn.Write(binary.LittleEndian.AppendUint64(head, uint64(size))); err != nil {
		return err
	}
	_, err := write(conn)
	return err
}

// startScanNode starts the node, and a source that is connected to it.
func startScanNode(ctx context.Context) (*measure.Child, chainwatch.Source, func(), error) {
	node, err := measure.Role(ctx, roleScanNode)
	if err != nil {
		return nil, nil, nil, err
	}
	source := p2p.New(p2p.Config{Params: chainwatch.ParamsOf(simchain.Network), Peers: []string{node.Addr}})
	running, cancel := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() { _ = source.Run(running) })
	return node, source, func() { cancel(); run.Wait(); node.Stop() }, nil
}

func scanSocket() *measure.Comparison {
	c := &measure.Comparison{Name: "scan/stream-socket", Title: "Scan of a block streamed from a node through a socket on loopback, with its Merkle root"}
	return streaming(c, "socket", func(ctx context.Context, size measure.Size, block *foreign) (chainwatch.Source, func(), error) {
		node, source, end, err := startScanNode(ctx)
		if err != nil {
			return nil, nil, err
		}
		var served scanBlock
		err = node.Ask(scanAsk{Size: int64(scanSize(size))}, &served)
		if err == nil && served.Hash != block.hash {
			err = fmt.Errorf("the node serves block %s, not %s", served.Hash, block.hash)
		}
		return source, end, err
	})
}

const bigTransaction = 250 // bytes of each in a big block

func scanGrowths() []*measure.Growth {
	cost := &measure.Growth{Plot: measure.Plot{Name: "block-size", Title: "CPU time of a GB of a block, by the size of the block",
		X: "block size, MB", Y: "seconds of CPU for a GB", LinearY: true}}
	cost.Run = func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
		return eachBlockSize(ctx, size, func(x float64, scan func() (bigScan, error)) error {
			p, err := measure.Repeat(x, size.Rounds, func() (float64, error) {
				s, err := scan()
				return 1e9 / s.PerCPU(), err
			})
			add("streamed from a node, with Merkle root", p)
			return err
		})
	}
	memory := &measure.Growth{Plot: measure.Plot{Name: "block-size-memory", Title: "Memory held while a block is scanned, by the size of the block",
		X: "block size, MB", Y: "RSS above that before, MB", LinearY: true}}
	memory.Run = func(ctx context.Context, size measure.Size, add func(string, measure.Point)) error {
		return eachBlockSize(ctx, size, func(x float64, scan func() (bigScan, error)) error {
			p, err := measure.Repeat(x, 1, func() (float64, error) {
				s, err := scan()
				return s.memory / 1e6, err
			})
			add("streamed from a node, with Merkle root", p)
			return err
		})
	}
	return []*measure.Growth{cost, memory}
}

// eachBlockSize has a node make blocks of growing size as they are sent.
func eachBlockSize(ctx context.Context, size measure.Size, each func(megabytes float64, scan func() (bigScan, error)) error) error {
	node, source, end, err := startScanNode(ctx)
	if err != nil {
		return err
	}
	defer end()
	for _, mb := range measure.Pick(size, []int64{1, 10, 100, 1000, 4000}, []int64{1, 4}) {
		var block scanBlock
		if err := node.Ask(scanAsk{Size: mb * 1e6, Big: true}, &block); err != nil {
			return err
		}
		if err := each(float64(mb), func() (bigScan, error) { return scanBig(ctx, source, &block) }); err != nil {
			return fmt.Errorf("block of %d MB: %w", mb, err)
		}
	}
	return nil
}

// A bigScan is what the scan of a big block took.
type bigScan struct {
	measure.Sample
	memory float64 // bytes at the most, above those before
}

func scanBig(ctx context.Context, source chainwatch.Source, block *scanBlock) (bigScan, error) {
	runtime.GC()
	scanner := chainwatch.NewScanner(simchain.Network)
	most := watchMemory()
	var r measure.Round
	passes := int(max(1, 20e6/block.Size)) // of a small block more than one, or there is nothing to measure
	r.Start()
	for range passes {
		scan, err := scanFrom(ctx, source, scanner, block.Hash)
		if err != nil {
			return bigScan{}, err
		}
		if scan.Count != block.Count {
			return bigScan{}, fmt.Errorf("scanned %d transactions of %d", scan.Count, block.Count)
		}
	}
	r.Stop(float64(int64(passes) * block.Size))
	return bigScan{r.Sample, most()}, nil
}

// watchMemory looks at what this process holds until what it returns is called,
// which tells the most.
func watchMemory() (most func() float64) {
	start, _ := measure.RSS(os.Getpid())
	highest := start
	look := func() {
		now, _ := measure.RSS(os.Getpid())
		highest = max(highest, now)
	}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-stop:
				return
			}
		}
	})
	return func() float64 {
		close(stop)
		watch.Wait()
		look()
		return highest - start
	}
}
