package reliability

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

// TestKilledBackfill kills `metaim index` at random instants, again and again,
// until it has indexed a chain with a reorganisation in it; then the store must
// say what one says that was never killed, and tell every event once.
func TestKilledBackfill(t *testing.T) {
	kills := pick(6, 1000)
	eachBackend(t, func(t *testing.T, b backend) {
		k := newKiller(t, b)
		for round := 0; k.kills < kills; round++ {
			k.round(t, round, kills)
		}
		t.Logf("%d kills, %d whole runs: no difference; slowest resumption %v", k.kills, k.rounds, k.slowest.Round(time.Millisecond))
	})
}

type killer struct {
	backend
	rand          *rand.Rand
	first, second string // files: the first branch, and the one that wins
	want          index.Tip
	export        string
	frames        int
	kills, rounds int
	slowest       time.Duration
}

func newKiller(t *testing.T, b backend) *killer {
	t.Helper()
	tree := simchain.NewTree()
	town := newTown(9)
	blocks, txs := pick(60, 400), pick(10, 20)
	fork := town.extend(tree, tree.Genesis, blocks, txs)
	old := town.extend(tree, fork, 10, txs)
	best := town.extend(tree, fork, 12, txs)
	dir := t.TempDir()
	k := &killer{backend: b, rand: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2)),
		first: filepath.Join(dir, "first.dat"), second: filepath.Join(dir, "second.dat"), frames: int(best.Height) * txs}
	writeBlocks(t, k.first, old.Branch()[1:])
	writeBlocks(t, k.second, best.Branch()[fork.Height+1:])
	k.want, k.export = clean(t, tree, best)
	return k
}

func writeBlocks(t *testing.T, path string, blocks []*simchain.Block) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := simchain.WriteFile(f, blocks...); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// round indexes both files into a fresh store under fire.
func (k *killer) round(t *testing.T, round, kills int) {
	t.Helper()
	spec := k.spec(t)
	for _, source := range []string{"blocks:" + k.first, "blocks:" + k.first + "," + k.second} {
		for !k.once(t, spec, source, k.kills < kills) {
			k.kills++
		}
	}
	k.rounds++
	store := k.open(t, spec)
	defer closeStore(t, store)
	tip, export := whole(t, store)
	if tip != k.want || export != k.export {
		t.Fatalf("round %d, after %d kills: tip %+v, want %+v; the exports are equal: %t", round, k.kills, tip, k.want, export == k.export)
	}
	k.events(t, store)
}

// once runs the program, and kills it at a random instant unless it ended
// before; it tells whether it ended.
func (k *killer) once(t *testing.T, spec, source string, fire bool) bool {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "index", "--network", "regtest", "--source", source, "--store", spec)
	cmd.Stderr = log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	fuse := time.NewTimer(time.Duration(k.rand.IntN(pick(900, 1200))) * time.Millisecond)
	if !fire {
		fuse.Stop()
	}
	ended := func(err error) bool {
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("metaim index: %v\n%s", err, text)
		}
		k.slowest = max(k.slowest, time.Since(start))
		return true
	}
	select {
	case err := <-done:
		return ended(err)
	case <-fuse.C:
	}
	if err := cmd.Process.Kill(); errors.Is(err, os.ErrProcessDone) {
		return ended(<-done) // in the same instant
	} else if err != nil {
		t.Fatal(err)
	}
	<-done
	return false
}

// events replays the log: every block is connected once more than disconnected
// if it is on the chain, every frame is confirmed once more than unconfirmed if
// it is in a block, and no seq is missing or told twice.
func (k *killer) events(t *testing.T, store index.Store) {
	t.Helper()
	blocks, frames := map[[32]byte]int{}, map[int64]int{}
	last := int64(0)
	err := store.View(context.Background(), func(v index.View) error {
		for {
			page, err := v.Events(index.EventQuery{After: last, Limit: 5000})
			if err != nil || len(page) == 0 {
				return err
			}
			for _, e := range page {
				count(blocks, frames, e)
				last = e.Seq
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := wrong(blocks); n > 0 {
		t.Errorf("%d blocks were told other than once", n)
	}
	if n := wrong(frames); n > 0 {
		t.Errorf("%d frames were told other than once", n)
	}
	if got, want := sum(blocks), int(k.want.Height)+1; got != want {
		t.Errorf("the log ends with %d blocks connected, want %d", got, want)
	}
}

func count(blocks map[[32]byte]int, frames map[int64]int, e *index.Event) {
	switch e.Kind {
	case index.EventConnected:
		blocks[e.Block]++
	case index.EventDisconnected:
		blocks[e.Block]--
	}
	switch {
	case e.Arrival == 0:
	case slices.Contains([]string{"message.confirmed", "name.confirmed", "peer.confirmed"}, string(e.Kind)):
		frames[e.Arrival]++
	case slices.Contains([]string{"message.unconfirmed", "name.unconfirmed", "peer.unconfirmed"}, string(e.Kind)):
		frames[e.Arrival]--
	}
}

// wrong counts what was told neither once nor (again) taken back.
func wrong[K comparable](told map[K]int) (n int) {
	for _, times := range told {
		if times != 0 && times != 1 {
			n++
		}
	}
	return n
}

func sum[K comparable](told map[K]int) (n int) {
	for _, times := range told {
		n += times
	}
	return n
}

// TestVectors runs the commands over the shared chain in both stores.
func TestVectors(t *testing.T) {
	folder := filepath.Join("..", "..", "chainwatch", "testdata", "chain")
	base, reorg := filepath.Join(folder, "base.dat"), filepath.Join(folder, "reorg.dat")
	eachBackend(t, func(t *testing.T, b backend) {
		store := b.spec(t)
		metaim(t, "index", "--network", "regtest", "--store", store, "--source", "blocks:"+base)
		sameLines(t, metaim(t, "export", "--network", "regtest", "--store", store, "--confirmed"), filepath.Join(folder, "expected-base.ndjson"))
		metaim(t, "index", "--network", "regtest", "--store", store, "--source", "blocks:"+base+","+reorg)
		sameLines(t, metaim(t, "export", "--network", "regtest", "--store", store, "--confirmed"), filepath.Join(folder, "expected-reorg.ndjson"))
		lived := metaim(t, "state", "--network", "regtest", "--store", store, "--json")
		metaim(t, "audit", "--network", "regtest", "--store", store)
		again := b.spec(t)
		metaim(t, "index", "--network", "regtest", "--store", again, "--source", "blocks:"+base+","+reorg)
		if replayed := metaim(t, "state", "--network", "regtest", "--store", again, "--json"); replayed != lived {
			t.Errorf("a replay from nothing says %s, the index that lived through it %s", replayed, lived)
		}
		t.Logf("%s", lived)
	})
}

// sameLines compares JSON lines, whatever the order of their keys.
func sameLines(t *testing.T, got, path string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g, w := canonical(t, []byte(got)), canonical(t, want)
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s: line %d differs (%d lines, want %d)", path, i+1, len(g), len(w))
		}
	}
}

func canonical(t *testing.T, text []byte) (lines []string) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	for decoder.More() {
		var v any
		if err := decoder.Decode(&v); err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}
