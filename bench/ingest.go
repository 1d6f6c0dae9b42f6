package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/metaim/metaim/bench/measure"
	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/blockfile"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

const (
	messageBytes     = 300 // of a message's body
	messagesInBlock  = 1_000
	sendersInChain   = 100
	recipientsOfThem = 1_000
)

// A conversation is a chain of signed messages: the same for the same number.
type conversation struct {
	tree     *simchain.Tree
	tip      *simchain.Block
	messages int
	people   []simchain.Person
}

// converse makes a chain of so many messages in blocks of a thousand, each from
// one of 100 senders to one of 1,000 addresses, with change.
func converse(messages int) *conversation {
	c := &conversation{tree: simchain.NewTree(), messages: messages}
	for n := range sendersInChain {
		c.people = append(c.people, simchain.NewPerson(1, 4*n)) // with keys of 33 bytes
	}
	c.tip = c.tree.Genesis
	for made := 0; made < messages; made += messagesInBlock {
		n := min(messagesInBlock, messages-made)
		txs := make([][]byte, n)
		parallel(n, func(i int) { txs[i] = c.transaction(made + i) })
		c.tip = c.tree.Mine(c.tip, uint32(1_700_000_000+made), txs)
	}
	return c
}

func (c *conversation) transaction(n int) []byte {
	from := c.people[n%len(c.people)]
	to := frame.HashKey(fmt.Append(nil, "recipient ", n%recipientsOfThem))
	body := fmt.Appendf(nil, "%-*d", messageBytes, n)
	m := &improtocol.Message{Source: from.Address(), Type: improtocol.Text, Encryption: improtocol.Plain, Body: body}
	m.SetTime(1_700_000_000_000 + uint64(n))
	script := simchain.Message(m, from.Key, simchain.Compact, simchain.Pushes)
	tx := simchain.Tx{
		Inputs:  []simchain.Input{simchain.Spend(simchain.Coin(uint64(n)), from.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(script), simchain.Pay(to, 1), simchain.Pay(from.Hash, 1_000)},
	}
	return tx.Bytes()
}

// parallel calls do for 0 to n-1 on all cores.
func parallel(n int, do func(i int)) {
	workers := runtime.GOMAXPROCS(0)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	group.Wait()
}

// write writes the chain as a block file.
func (c *conversation) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := simchain.WriteFile(f, c.tip.Branch()[1:]...); err != nil {
		return err
	}
	return f.Close()
}

// roleIngest is the role of who indexes.
const roleIngest = "ingest"

// ingestChild indexes a block file into a store, both given as arguments, each
// time it is asked.
func ingestChild(ctx context.Context, args []string) error {
	params := chainwatch.ParamsOf(simchain.Network)
	source, err := blockfile.Open(ctx, args[:1], params, blockfile.Options{})
	if err != nil {
		return err
	}
	store, err := openStore(ctx, args[1])
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // what was measured is committed
	writer := index.NewWriter(store, index.DefaultRules(simchain.Network), nil)
	follower := chainwatch.NewFollower(source, writer, chainwatch.Config{Params: params})
	if err := follower.Load(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	go source.Run(running) //nolint:errcheck // ends with its context
	return measure.Serve(measure.Ready{}, func([]byte) (any, error) {
		if err := follower.CatchUp(ctx); err != nil {
			return nil, err
		}
		counts := map[frame.Verdict]int64{}
		err := store.View(ctx, func(v index.View) (err error) {
			counts, err = v.Counts()
			return err
		})
		return counts, err
	})
}

// signatureGoal is a goal for builds in pure Go, or with libsecp256k1.
func signatureGoal(pureGo, library float64, goal func(float64) *measure.Goal) *measure.Goal {
	if frame.SignatureBackend == "libsecp256k1" {
		return goal(library)
	}
	return goal(pureGo)
}

func ingestComparisons() []*measure.Comparison {
	var list []*measure.Comparison
	for _, kind := range stores {
		list = append(list, ingest(kind))
	}
	return list
}

// ingest measures the way from a block file to messages that can be queried.
func ingest(kind string) *measure.Comparison {
	return &measure.Comparison{
		Name: "ingest/" + kind, Title: "Block file to durable, verified, queryable messages, " + kind,
		Note: "One message of 300 bytes in each transaction, blocks of 1,000; CPU of our process and of the database's. " + durability + ".",
		Prepare: func(ctx context.Context, c *measure.Comparison, size measure.Size) (func(), error) {
			chain := converse(measure.Pick(size, 50_000, 1_000))
			folder, err := os.MkdirTemp("", "metaim-bench-")
			if err != nil {
				return nil, err
			}
			at, end, err := newPlace(kind)
			if err != nil {
				return func() { _ = os.RemoveAll(folder) }, err
			}
			path := filepath.Join(folder, "chain.dat")
			c.Sides = []measure.Side{
				{Name: "metaim", Run: func(ctx context.Context, r *measure.Round) error { return ingestOnce(ctx, r, at, path, chain.messages) }},
				{Name: "signatures alone", Run: func(_ context.Context, r *measure.Round) error { return proveAlone(r, chain) }},
			}
			return func() { end(); _ = os.RemoveAll(folder) }, chain.write(path)
		},
		Figures: []measure.Figure{
			{Name: "messages a second of one core's CPU", Unit: "/s", Goal: signatureGoal(5_000, 15_000, measure.AtLeast),
				Of: func(s map[string]measure.Sample) float64 { return s["metaim"].PerCPU() }},
			{Name: "CPU of a message", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Cost() }},
			{Name: "of these, its signature alone", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s["signatures alone"].Cost() }},
			{Name: "the database's processes", Unit: "µs CPU", Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Values["database"] }},
			{Name: "messages a second, all cores", Unit: "/s", Of: func(s map[string]measure.Sample) float64 { return s["metaim"].Rate() }},
		},
	}
}

func ingestOnce(ctx context.Context, r *measure.Round, at *place, path string, messages int) error {
	spec, err := at.fresh()
	if err != nil {
		return err
	}
	child, err := measure.Role(ctx, roleIngest, path, spec)
	if err != nil {
		return err
	}
	defer child.Stop()
	r.Count(true, append([]int{child.PID()}, at.pids...)...)
	before := measure.CPU(at.pids...)
	r.Start()
	var counts map[frame.Verdict]int
	if err := child.Ask(json.RawMessage(`{}`), &counts); err != nil {
		return err
	}
	r.Stop(float64(messages))
	r.Set("database", float64((measure.CPU(at.pids...)-before).Nanoseconds())/1e3/float64(messages))
	if counts[frame.Valid] != messages {
		return fmt.Errorf("the index holds %v, not %d valid messages", counts, messages)
	}
	return nil
}

// proveAlone recovers the key of each message's signature with the library, on
// all cores, and does nothing else.
func proveAlone(r *measure.Round, c *conversation) error {
	txs, err := c.read()
	if err != nil {
		return err
	}
	list, err := parsed(txs)
	if err != nil {
		return err
	}
	r.Start()
	parallel(len(list), func(i int) { list[i].recover() })
	r.Stop(float64(len(list)))
	return nil
}
