package reliability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/index/postgres"
	"github.com/metaim/metaim/index/sqlite"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/nprotocol"
)

// long tells whether the long form is asked for.
func long() bool { return os.Getenv("METAIM_LONG") != "" }

// pick returns the first in the short form and the second in the long one.
func pick[T any](short, whole T) T {
	if long() {
		return whole
	}
	return short
}

var program string // the built metaim

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "metaim-reliability-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "metaim")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/metaim/metaim/cmd/metaim").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build metaim: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// metaim runs the program and returns what it printed; it must succeed.
func metaim(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("metaim %v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// A backend is one of the stores that must behave alike.
type backend struct {
	name string
	spec func(t *testing.T) string // of a fresh store, for --store
	open func(t *testing.T, spec string) index.Store
}

var backends = []backend{
	{"sqlite", func(t *testing.T) string {
		return "sqlite:" + filepath.Join(t.TempDir(), "index.db")
	}, func(t *testing.T, spec string) index.Store {
		s, err := sqlite.Open(context.Background(), spec[len("sqlite:"):], sqlite.Config{Network: frame.Regtest})
		return opened(t, s, err)
	}},
	{"postgres", func(t *testing.T) string { return testpg.URL(t) }, func(t *testing.T, spec string) index.Store {
		s, err := postgres.Open(context.Background(), spec, postgres.Config{Network: frame.Regtest, Wait: true})
		return opened(t, s, err)
	}},
}

func opened(t *testing.T, s index.Store, err error) index.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s index.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func eachBackend(t *testing.T, try func(t *testing.T, b backend)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) { try(t, b) })
	}
}

// A town makes transactions of a few people, with frames of every kind, from a
// seed.
type town struct {
	rand   *rand.Rand
	people []simchain.Person
	coin   uint64
	stamp  uint64
	sent   [][]byte // scripts, for copies
}

func newTown(seed uint64) *town {
	c := &town{rand: rand.New(rand.NewPCG(seed, 1)), stamp: 1_700_000_000_000}
	for i := range 6 {
		c.people = append(c.people, simchain.NewPerson(seed, i))
	}
	return c
}

// transaction makes one transaction with a frame.
func (c *town) transaction() []byte {
	from, to := c.people[c.rand.IntN(len(c.people))], c.people[c.rand.IntN(len(c.people))]
	c.coin++
	c.stamp++
	outputs := []simchain.Output{simchain.Data(c.script(from, to)), simchain.Pay(to.Hash, 1)}
	for _, id := range []string{frame.NPI, frame.IMPI} {
		registration, err := frame.Main.ParseAddress(id)
		if err != nil {
			panic(err) // a constant
		}
		outputs = append(outputs, simchain.Pay(registration, 1))
	}
	outputs = append(outputs, simchain.Pay(from.Hash, 1000))
	tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(c.coin), from.Key.PublicKey())}, Outputs: outputs}
	return tx.Bytes()
}

func (c *town) script(from, to simchain.Person) []byte {
	form := simchain.ScriptForm(c.rand.IntN(simchain.ScriptForms))
	signature := simchain.SignatureForm(c.rand.IntN(simchain.SignatureForms))
	name := fmt.Sprintf("name %d", c.rand.IntN(12))
	record := nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: from.Hash, TimeStamp: fmt.Sprint(c.stamp)}
	switch dice := c.rand.IntN(20); {
	case dice == 0 && len(c.sent) > 0:
		return c.sent[c.rand.IntN(len(c.sent))]
	case dice < 3:
		return simchain.Record(&record, simchain.Compact, simchain.Pushes, from.Key)
	case dice == 3:
		record.Operation = nprotocol.Delete
		return simchain.Record(&record, simchain.Compact, simchain.Pushes, from.Key)
	case dice == 4 && from.Hash != to.Hash:
		record.Operation, record.NewAddress = nprotocol.Transfer, to.Hash
		return simchain.Record(&record, simchain.Compact, simchain.Pushes, from.Key, to.Key)
	case dice == 5:
		record = nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: fmt.Sprintf("10.0.0.%d", c.rand.IntN(9)),
			Address: from.Hash, TimeStamp: fmt.Sprint(c.stamp)}
		return simchain.Record(&record, simchain.Compact, simchain.Pushes, from.Key)
	}
	source := from.Address()
	if c.rand.IntN(3) == 0 {
		source = name
	}
	m := improtocol.Message{Source: source, Type: improtocol.Text, Encryption: improtocol.Plain,
		Body: fmt.Appendf(nil, "message %d", c.stamp), Other: "to=" + to.Address(), TimeStamp: fmt.Sprint(c.stamp)}
	script := simchain.Message(&m, from.Key, signature, form)
	c.sent = append(c.sent, script)
	return script
}

const startTime = 1_700_000_000 // of the first block, Unix seconds

// extend mines blocks with so many transactions each after parent.
func (c *town) extend(tree *simchain.Tree, parent *simchain.Block, blocks, txs int) *simchain.Block {
	for range blocks {
		var list [][]byte
		for range txs {
			list = append(list, c.transaction())
		}
		parent = tree.Mine(parent, uint32(startTime+600*(parent.Height+1)), list)
	}
	return parent
}

// follow brings a store to a tip, by the same follower that the service runs.
func follow(t *testing.T, store index.Store, tree *simchain.Tree, tips ...*simchain.Block) {
	t.Helper()
	source := simchain.NewSource(tree)
	f := newFollower(t, store, source)
	for _, tip := range tips {
		source.SetTips(tip)
		if err := f.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func newFollower(t *testing.T, store index.Store, source chainwatch.Source) *chainwatch.Follower {
	t.Helper()
	writer := index.NewWriter(store, index.DefaultRules(frame.Regtest), nil)
	f := chainwatch.NewFollower(source, writer, chainwatch.Config{Params: chainwatch.ParamsOf(frame.Regtest), Logger: slog.New(slog.DiscardHandler)})
	if err := f.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return f
}

// whole returns the state hash and the export of a store's confirmed state.
func whole(t *testing.T, store index.Store) (tip index.Tip, export string) {
	t.Helper()
	var b bytes.Buffer
	err := store.View(context.Background(), func(v index.View) (err error) {
		tip, err = v.Tip()
		return errors.Join(err, index.Export(&b, v, frame.Regtest, true))
	})
	if err != nil {
		t.Fatal(err)
	}
	return tip, b.String()
}

// clean returns what an index made from nothing says of a tip.
func clean(t *testing.T, tree *simchain.Tree, tip *simchain.Block) (index.Tip, string) {
	t.Helper()
	store := memory.New()
	defer closeStore(t, store)
	follow(t, store, tree, tip)
	return whole(t, store)
}
